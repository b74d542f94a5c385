// Families, groups and the hw-tc-offload bit as bytes. Requests and replies marked "seen" come from strace of `genl`,
// `devlink` and `ethtool` on Linux 6.1; the others are laid out by hand after the uapi headers.
#include "netlink/generic.hpp"

#include <cerrno>

#include "netlink/features.hpp"
#include "tests/unit/netlink/generic_bed.hpp"

namespace sepal::netlink {
namespace {

const GenericFamily kEthtool{"ethtool", 0x14, 1, {}};

// Seen: genl ctrl get name devlink, without its 56 operations.
constexpr const char* kDevlinkFamily = R"(
  01 02 00 00                                # CTRL_CMD_NEWFAMILY
  0c 00 02 00 "devlink" 00
  06 00 01 00 15 00 00 00                    # family 0x15
  08 00 03 00 01 00 00 00                    # version 1
  08 00 04 00 00 00 00 00
  08 00 05 00 b0 00 00 00
  18 00 06 00 14 00 01 00 08 00 01 00 01 00 00 00 08 00 02 00 0e 00 00 00
  1c 00 07 00 18 00 01 00 08 00 02 00 05 00 00 00 0b 00 01 00 "config" 00 00
)";

using Generic = GenericBed;

TEST_F(Generic, a_family_is_found_with_its_groups) {
  answer(GENL_ID_CTRL, {kDevlinkFamily});
  auto family = find_family(*transport_, "devlink");
  ASSERT_TRUE(family) << family.error().message();
  EXPECT_EQ(family->id, 0x15);
  EXPECT_EQ(family->version, 1);
  EXPECT_EQ(family->groups.at("config"), 5U);
  // seen: devlink dev (its version of nlctrl is 1, here as of the kernel)
  expect_sent(R"(20 00 00 00 10 00 05 00 00 00 00 00 00 00 00 00
                 03 02 00 00 0c 00 02 00 "devlink" 00)");
}

TEST_F(Generic, a_family_this_kernel_lacks_is_unsupported_and_named) {
  kernel_->refuse[0] = {.error = ENOENT};
  auto family = find_family(*transport_, "devlink");
  ASSERT_FALSE(family);
  EXPECT_EQ(family.error().code, Errc::unsupported);
  EXPECT_NE(family.error().message().find("family devlink"), std::string::npos);
}

TEST_F(Generic, a_reply_of_another_family_is_refused) {
  answer(0x99, {kDevlinkFamily});
  EXPECT_EQ(find_family(*transport_, "devlink").error().code, Errc::protocol);
}

TEST_F(Generic, an_acknowledgement_without_a_reply_is_refused) {
  EXPECT_EQ(find_family(*transport_, "devlink").error().code, Errc::protocol);
}

TEST_F(Generic, only_what_changes_something_counts_as_a_write) {
  answer(GENL_ID_CTRL, {kDevlinkFamily});
  ASSERT_TRUE(find_family(*transport_, "devlink"));
  EXPECT_EQ(transport_->writes(), 0U);
  kernel_->reply = nullptr;
  ASSERT_TRUE(set_tc_offload(*transport_, kEthtool, IfIndex(1), true));
  EXPECT_EQ(transport_->writes(), 1U);
}

TEST_F(Generic, switching_tc_offload_names_the_bit_and_touches_no_other) {
  ASSERT_TRUE(set_tc_offload(*transport_, kEthtool, IfIndex(0x1234), true));
  // seen: ethtool -K lo hw-tc-offload on; there by name and with a reply, here by index and without
  expect_sent(R"(
    4c 00 00 00 14 00 05 00 00 00 00 00 00 00 00 00
    0c 01 00 00                                       # ETHTOOL_MSG_FEATURES_SET
    14 00 01 80 08 00 01 00 34 12 00 00 08 00 03 00 02 00 00 00
    24 00 03 80 20 00 03 80 1c 00 01 80 12 00 02 00 "hw-tc-offload" 00 00 00 04 00 03 00)");
  ASSERT_TRUE(set_tc_offload(*transport_, kEthtool, IfIndex(0x1234), false));
  expect_sent(R"(
    48 00 00 00 14 00 05 00 00 00 00 00 00 00 00 00
    0c 01 00 00
    14 00 01 80 08 00 01 00 34 12 00 00 08 00 03 00 02 00 00 00
    20 00 03 80 1c 00 03 80 18 00 01 80 12 00 02 00 "hw-tc-offload" 00 00 00)");
}

// HW with a mask of all bits, two shown: the value flag tells which can be changed. ACTIVE: the list is what is on.
constexpr const char* kCanAndIsOn = R"(
  0b 01 00 00
  10 00 01 80 0c 00 02 00 "pf0vf3" 00 00
  50 00 02 80 08 00 02 00 40 00 00 00
              44 00 03 80 1c 00 01 80 08 00 01 00 05 00 00 00 0d 00 02 00 "tx-hello" 00 00 00 00
                          24 00 01 80 08 00 01 00 06 00 00 00 12 00 02 00 "hw-tc-offload" 00 00 00
                          04 00 03 00
  34 00 04 80 04 00 01 00 08 00 02 00 40 00 00 00
              24 00 03 80 20 00 01 80 08 00 01 00 06 00 00 00 12 00 02 00 "hw-tc-offload" 00 00 00
)";

TEST_F(Generic, tc_offload_is_read_from_the_list_of_active_features) {
  answer(kEthtool.id, {kCanAndIsOn});
  auto offload = get_tc_offload(*transport_, kEthtool, IfIndex(0x1234));
  ASSERT_TRUE(offload) << offload.error().message();
  EXPECT_EQ(*offload, (TcOffload{true, true}));
  expect_sent(R"(20 00 00 00 14 00 05 00 00 00 00 00 00 00 00 00
                 0b 01 00 00 0c 00 01 80 08 00 01 00 34 12 00 00)");
}

TEST_F(Generic, a_device_without_the_feature_cannot_offload) {
  answer(kEthtool.id, {"0b 01 00 00 10 00 01 80 0c 00 02 00 \"pf0vf3\" 00 00 08 00 02 80 04 00 03 80"});
  EXPECT_EQ(*get_tc_offload(*transport_, kEthtool, IfIndex(7)), (TcOffload{false, false}));
}

TEST_F(Generic, a_refused_feature_tells_the_drivers_words) {
  kernel_->refuse[0] = {.error = EINVAL, .ext_ack = "filters are offloaded"};
  auto set = set_tc_offload(*transport_, kEthtool, IfIndex(7), false);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().ext_ack, "filters are offloaded");
}

TEST(GenericMonitorTest, events_are_told_once_and_losses_count_as_events) {
  auto channel = std::make_unique<test::FakeChannel>();
  auto* kernel = channel.get();
  GenericMonitor monitor(std::move(channel));
  EXPECT_FALSE(*monitor.drain());
  kernel->push(test::plain_message(0x15, 0, 0, hex("07 01 00 00")));
  EXPECT_TRUE(*monitor.drain());
  EXPECT_FALSE(*monitor.drain());
  kernel->push(test::plain_message(0x15, 0, 0, hex("07 01 00 00")), 4711);  // somebody's process
  EXPECT_FALSE(*monitor.drain());
  kernel->push_overrun();
  EXPECT_TRUE(*monitor.drain());
  kernel->push_failure(EBADF);
  EXPECT_FALSE(monitor.drain());
}

TEST(GenericMonitorTest, a_group_the_family_lacks_is_unsupported) {
  EXPECT_EQ(GenericMonitor::open(kEthtool, "config").error().code, Errc::unsupported);
}

}  // namespace
}  // namespace sepal::netlink
