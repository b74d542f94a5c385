// The bound of a tenant's connections through the real program.
#include <chrono>
#include <optional>

#include "bpf/policy_layout.h"
#include "bpf/rooms.hpp"
#include "tests/bpf/bed.hpp"

namespace sepal::test {
namespace {

constexpr Vni kBlue{100};
constexpr Vni kGreen{200};

class RoomProgram : public BedTest {
 protected:
  void SetUp() override {
    BedTest::SetUp();
    if (IsSkipped()) return;
    auto loaded = bpf::Rooms::load({"lab", "/nowhere"});
    ASSERT_TRUE(loaded) << loaded.error().message();
    rooms_.emplace(std::move(*loaded));
  }

  int begin(Vni vni, uint32_t other_bits = 0) {
    return run(rooms_->program().fd.get(), ethernet(0x0800, Bytes(46)), 1, {}, vni.value() | other_bits).verdict;
  }
  void give(Vni vni, uint64_t begun_max, std::chrono::nanoseconds from_now) {
    const auto until = std::chrono::steady_clock::now().time_since_epoch() + from_now;
    ASSERT_TRUE(rooms_->give(vni, {begun_max, static_cast<uint64_t>(std::chrono::nanoseconds(until).count())}));
  }

  std::optional<bpf::Rooms> rooms_;
};

TEST_F(RoomProgram, bounds_nobody_whose_connections_are_not_counted) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(begin(kBlue), kPipe);
  give(kBlue, 0, std::chrono::hours(1));
  EXPECT_EQ(begin(kBlue), kPipe) << "begun is not counted yet";
}

TEST_F(RoomProgram, lets_a_tenant_begin_what_there_is_room_for_and_others_any_number) {
  ASSERT_EQ(*rooms_->begun(kBlue), 0U);
  give(kBlue, 3, std::chrono::hours(1));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(begin(kBlue, SEPAL_MARK_FROM_PEER), kPipe);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(begin(kBlue), kShot);
  EXPECT_EQ(begin(kGreen), kPipe);
  EXPECT_EQ(*rooms_->begun(kBlue), 3U) << "what was refused has not begun";
  give(kBlue, 4, std::chrono::hours(1));
  EXPECT_EQ(begin(kBlue), kPipe);
  EXPECT_EQ(begin(kBlue), kShot);
}

TEST_F(RoomProgram, bounds_nobody_when_what_was_said_is_old) {
  ASSERT_TRUE(rooms_->begun(kBlue));
  give(kBlue, 0, std::chrono::hours(1));
  EXPECT_EQ(begin(kBlue), kShot);
  give(kBlue, 0, -std::chrono::seconds(1));
  EXPECT_EQ(begin(kBlue), kPipe);
  EXPECT_EQ(*rooms_->begun(kBlue), 1U) << "and goes on counting";
}

TEST_F(RoomProgram, forgets_who_is_bounded_no_longer) {
  for (const Vni vni : {kBlue, kGreen}) {
    ASSERT_TRUE(rooms_->begun(vni));
    give(vni, 0, std::chrono::hours(1));
  }
  ASSERT_TRUE(rooms_->keep_only({kGreen}));
  EXPECT_EQ(begin(kBlue), kPipe);
  EXPECT_EQ(begin(kGreen), kShot);
}

}  // namespace
}  // namespace sepal::test
