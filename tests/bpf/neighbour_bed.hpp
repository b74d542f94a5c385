// What tests of program sepal_neighbour stand on: the program with a map of neighbours, a silent one and a gateway in
// both families, and questions to ask it.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "tests/bpf/slow_path_bed.hpp"

namespace sepal::test {

inline const MacAddr kAsker = mac("02:00:00:00:00:0a");
inline const MacAddr kNeighbour = mac("02:00:00:00:00:0b");
inline const MacAddr kGateway = mac("02:00:5e:00:00:01");
inline constexpr uint32_t kLoopback = 1;

inline bpf::Neighbour entry(const char* target, sepal_answer answer, const MacAddr& who, uint16_t vlan = 0,
                            uint32_t device = kLoopback) {
  return {bpf::make_neighbour_key(IfIndex(device), Vid(vlan), *IpPrefix::parse_lenient(target)),
          bpf::make_neighbour_value(answer, who)};
}

class NeighbourProgram : public SlowPathTest {
 protected:
  void SetUp() override {
    SlowPathTest::SetUp();
    if (!slow_path_) return;
    know({entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour), entry("10.0.0.1", SEPAL_ANSWER_SILENT, MacAddr{}),
          entry("10.0.0.254", SEPAL_ANSWER_GATEWAY, kGateway),
          entry("fd00:100::/64", SEPAL_ANSWER_NEIGHBOUR, kNeighbour),
          entry("fd00:100::1", SEPAL_ANSWER_SILENT, MacAddr{}), entry("fd00:100::fe", SEPAL_ANSWER_GATEWAY, kGateway)});
  }

  void know(const std::vector<bpf::Neighbour>& entries) {
    auto written = slow_path_->sync_neighbours(entries);
    ASSERT_TRUE(written) << written.error().message();
  }
  Outcome ask(const Bytes& frame, uint32_t device = kLoopback) {
    return run(slow_path_->neighbour().fd.get(), frame, device);
  }
  // The question of a packet that wears a tag.
  Outcome ask_tagged(const Bytes& frame, uint16_t vid, uint16_t protocol = 0x8100) {
    const int program = slow_path_->neighbour().fd.get();
    if (!probe_.valid()) probe_ = load_test_program("neighbour_probe.bpf.o", "probe", map_of(program).get());
    return run(probe_.get(), frame, kLoopback, {protocol, vid});
  }
  void expect_untouched(const Bytes& question, const char* why) {
    const Outcome outcome = ask(question);
    EXPECT_EQ(outcome.verdict, kUnspec) << why << ": " << to_hex(question);
    EXPECT_EQ(to_hex(outcome.frame), to_hex(question)) << why;
  }

  UniqueFd probe_;
};

inline Nd solicitation_for(const char* target) {
  Nd question;
  question.target = ip(target);
  question.destination = IpAddr::parse("ff02::1:ff00:0").value();
  for (size_t i = 13; i < 16; ++i) question.destination.bytes[i] = question.target.bytes[i];
  question.to = mac("33:33:ff:00:00:00");
  for (size_t i = 3; i < 6; ++i) question.to.bytes[i] = question.target.bytes[10 + i];
  return question;
}

inline Nd duplicate_detection_for(const char* target) {
  Nd question = solicitation_for(target);
  question.source = ip("::");
  question.options.clear();
  return question;
}

}  // namespace sepal::test
