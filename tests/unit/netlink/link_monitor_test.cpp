#include "netlink/link_monitor.hpp"

#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "tests/support/fake_channel.hpp"

namespace sepal::netlink {
namespace {

using test::FakeChannel;

template <typename Header>
Bytes event(uint16_t type, const Header& header) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&header);
  return test::plain_message(type, 0, 0, BytesView(bytes, sizeof header));
}

Bytes link_event(int index) {
  ifinfomsg header{};
  header.ifi_index = index;
  return event(RTM_NEWLINK, header);
}

class Monitor : public testing::Test {
 protected:
  Monitor() : Monitor(std::make_unique<FakeChannel>()) {}
  explicit Monitor(std::unique_ptr<FakeChannel> channel) : kernel_(channel.get()), monitor_(std::move(channel)) {}
  FakeChannel* kernel_;
  LinkMonitor monitor_;
};

TEST_F(Monitor, nothing_queued_is_no_change) {
  auto changes = monitor_.drain();
  ASSERT_TRUE(changes);
  EXPECT_TRUE(changes->empty());
}

TEST_F(Monitor, all_queued_events_are_told_at_once_and_once) {
  kernel_->push(link_event(7));
  ifaddrmsg address{};
  address.ifa_index = 8;
  kernel_->push(event(RTM_DELADDR, address));
  ndmsg neighbour{};
  neighbour.ndm_ifindex = 9;
  kernel_->push(event(RTM_NEWNEIGH, neighbour));
  kernel_->push(link_event(7));
  auto changes = monitor_.drain();
  ASSERT_TRUE(changes);
  EXPECT_EQ(changes->devices, (std::set<IfIndex>{IfIndex(7), IfIndex(8), IfIndex(9)}));
  EXPECT_FALSE(changes->overrun);
  EXPECT_TRUE(monitor_.drain()->empty());
}

TEST_F(Monitor, an_overrun_is_told_and_what_follows_it_is_still_read) {
  kernel_->push_overrun();
  kernel_->push(link_event(7));
  auto changes = monitor_.drain();
  ASSERT_TRUE(changes);
  EXPECT_TRUE(changes->overrun);
  EXPECT_TRUE(changes->devices.contains(IfIndex(7)));
}

TEST_F(Monitor, a_malformed_event_counts_as_lost) {
  Bytes half = link_event(7);
  half.resize(half.size() - 4);
  kernel_->push(half);
  EXPECT_TRUE(monitor_.drain()->overrun);
}

TEST_F(Monitor, an_event_of_some_process_is_not_believed) {
  kernel_->push(link_event(7), /*sender=*/99);
  EXPECT_TRUE(monitor_.drain()->empty());
}

TEST_F(Monitor, a_dead_socket_is_an_error) {
  kernel_->push_failure(EBADF);
  EXPECT_FALSE(monitor_.drain());
}

}  // namespace
}  // namespace sepal::netlink
