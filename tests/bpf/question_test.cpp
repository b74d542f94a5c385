// Guests' questions through the real program: what reaches the ring, and what is counted instead.
#include <cstring>
#include <optional>

#include "bpf/questions.hpp"
#include "tests/bpf/bed.hpp"

namespace sepal::test {
namespace {

Bytes udp4(size_t payload) {
  Ip4 packet;
  packet.protocol = 17;
  packet.payload = big_endian(68) + big_endian(67) + big_endian(static_cast<uint16_t>(8 + payload)) + big_endian(0) +
                   Bytes(payload, 0x5a);
  return ethernet(0x0800, packet.bytes());
}

Bytes ip6(uint8_t next_header, const Bytes& payload) {
  Ip6 packet;
  packet.next_header = next_header;
  packet.payload = payload;
  return ethernet(0x86dd, packet.bytes());
}

class QuestionProgram : public BedTest {
 protected:
  void SetUp() override {
    BedTest::SetUp();
    if (IsSkipped()) return;
    auto loaded = bpf::Questions::load({"lab", "/nowhere"});
    ASSERT_TRUE(loaded) << loaded.error().message();
    questions_.emplace(std::move(*loaded));
    auto ring = questions_->open_ring();
    ASSERT_TRUE(ring) << ring.error().message();
    ring_.emplace(std::move(*ring));
  }

  int ask(const Bytes& frame) { return run(questions_->program().fd.get(), frame).verdict; }
  int overhear(const Bytes& frame) {
    return run(questions_->program().fd.get(), frame, 1, {}, SEPAL_QUESTION_OVERHEARD).verdict;
  }
  std::vector<Bytes> heard(size_t most = 1000) {
    std::vector<Bytes> frames;
    auto read = ring_->read(
        [&](std::span<const std::byte> record) {
          sepal_question question{};
          ASSERT_GE(record.size(), sizeof question);
          std::memcpy(&question, record.data(), sizeof question);
          EXPECT_EQ(question.device, 1U);
          ASSERT_LE(question.length, sizeof question.frame);
          frames.emplace_back(question.frame, question.frame + question.length);
        },
        most);
    EXPECT_TRUE(read);
    return frames;
  }

  std::optional<bpf::Questions> questions_;
  std::optional<bpf::Ring> ring_;
};

TEST_F(QuestionProgram, copies_whole_frames_of_udp_and_router_solicitations_in_order) {
  const std::vector<Bytes> asked{udp4(300), ip6(17, big_endian(546) + big_endian(547) + Bytes(40, 1)),
                                 ip6(58, Icmp{133, 0, 0, {}}.bytes()), udp4(1472)};
  for (const Bytes& frame : asked) EXPECT_EQ(ask(frame), kPipe);
  EXPECT_EQ(heard(), asked);
  EXPECT_EQ(questions_->heard()->heard, asked.size());
}

TEST_F(QuestionProgram, drops_and_counts_what_is_no_question_or_too_long) {
  EXPECT_EQ(ask(ip6(58, Icmp{136, 0, 0, {}}.bytes())), kShot);
  EXPECT_EQ(ask(ip6(6, Bytes(20))), kShot);
  EXPECT_EQ(ask(ethernet(0x0806, Bytes(28))), kShot);
  EXPECT_EQ(ask(udp4(1473)), kShot);
  EXPECT_TRUE(heard().empty());
  EXPECT_EQ(questions_->heard()->ignored, 3U);
  EXPECT_EQ(questions_->heard()->unreadable, 1U);
}

TEST_F(QuestionProgram, what_is_overheard_goes_on_whether_the_agent_could_be_told_or_not) {
  const std::vector<Bytes> said{ethernet(0x0806, Bytes(28)), ip6(58, Icmp{135, 0, 0, {}}.bytes())};
  for (const Bytes& frame : said) EXPECT_EQ(overhear(frame), kPipe);
  EXPECT_EQ(heard(), said);
  EXPECT_EQ(overhear(udp4(1473)), kPipe) << "too long to be told";
  for (int i = 0; i < 400; ++i) EXPECT_EQ(overhear(said[0]), kPipe);
  EXPECT_EQ(questions_->heard()->lost, 0U);
  EXPECT_EQ(questions_->heard()->ignored, 0U);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(ask(udp4(300)), kPipe) << "room is left for questions";
  EXPECT_LT(heard().size(), 64U + 64U);
}

TEST_F(QuestionProgram, counts_what_a_full_ring_loses_and_goes_on_when_there_is_room) {
  uint64_t taken = 0;
  for (int i = 0; i < 400; ++i)
    if (ask(udp4(300)) == kPipe) ++taken;
  EXPECT_GT(taken, 128U);
  EXPECT_LT(taken, 400U);
  EXPECT_EQ(questions_->heard()->lost, 400 - taken);
  EXPECT_EQ(heard(64).size(), 64U);
  EXPECT_EQ(ask(udp4(300)), kPipe);
  EXPECT_EQ(heard().size(), taken - 64 + 1);
}

TEST_F(QuestionProgram, a_restart_finds_what_was_asked_meanwhile) {
  Bpffs bpffs;
  auto first = bpf::Questions::load(bpffs.place());
  ASSERT_TRUE(first) << first.error().message();
  ASSERT_TRUE(first->pin());
  EXPECT_EQ(run(first->program().fd.get(), udp4(300)).verdict, kPipe);
  auto second = bpf::Questions::load(bpffs.place());
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(second->program().id, first->program().id);
  auto ring = second->open_ring();
  ASSERT_TRUE(ring);
  EXPECT_EQ(*ring->read([](std::span<const std::byte>) {}, 10), 1U);
}

}  // namespace
}  // namespace sepal::test
