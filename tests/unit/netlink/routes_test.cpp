#include "netlink/routes.hpp"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "netlink/message.hpp"
#include "netlink/route_monitor.hpp"
#include "tests/support/fake_channel.hpp"
#include "tests/support/fake_kernel.hpp"

namespace sepal::netlink {
namespace {

IpAddr ip(const char* text) { return *IpAddr::parse(text); }

TEST(Routes, a_destination_on_the_link_is_its_own_next_hop) {
  test::FakeKernel kernel;
  const IfIndex uplink = kernel.add_link("uplink");
  for (const auto& [to, from] : {std::pair{"192.0.2.9", "192.0.2.1"}, {"2001:db8::9", "2001:db8::1"}}) {
    const auto answer = find_route(kernel, {ip(to), ip(from)});
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(*answer, (RouteAnswer{uplink, ip(to), 0, ""}));
  }
}

TEST(Routes, a_gateway_is_the_next_hop_even_one_of_the_other_family) {
  test::FakeKernel kernel;
  const IfIndex uplink = kernel.add_link("uplink");
  kernel.routes[ip("192.0.2.9")] = {uplink, ip("192.0.2.254"), 1400, ""};
  kernel.routes[ip("2001:db8::9")] = {uplink, ip("fe80::254"), 0, ""};
  kernel.routes[ip("192.0.2.8")] = {uplink, ip("fe80::254"), 0, ""};
  EXPECT_EQ(*find_route(kernel, {ip("192.0.2.9"), ip("192.0.2.1")}),
            (RouteAnswer{uplink, ip("192.0.2.254"), 1400, ""}));
  EXPECT_EQ(find_route(kernel, {ip("2001:db8::9"), ip("2001:db8::1")})->next_hop, ip("fe80::254"));
  EXPECT_EQ(find_route(kernel, {ip("192.0.2.8"), ip("192.0.2.1")})->next_hop, ip("fe80::254"));
}

TEST(Routes, that_there_is_no_way_is_an_answer_in_both_families) {
  test::FakeKernel kernel;  // without an uplink
  EXPECT_EQ(find_route(kernel, {ip("192.0.2.9"), ip("192.0.2.1")})->obstacle, "no route");
  EXPECT_EQ(find_route(kernel, {ip("2001:db8::9"), ip("2001:db8::1")})->obstacle, "no route");
}

TEST(Routes, a_question_the_kernel_does_not_understand_is_an_error) {
  class Deaf : public test::FakeKernel {
   public:
    Result<void> get(Bytes, const MessageSink&) override { return fail_errno(EOPNOTSUPP, ""); }
  } kernel;
  const auto answer = find_route(kernel, {ip("192.0.2.9"), ip("192.0.2.1")});
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message().find("192.0.2.9"), std::string::npos);
}

// --- events

Bytes route_event(uint16_t type, const char* prefix) {
  const IpPrefix to = *IpPrefix::parse(prefix);
  rtmsg header{};
  header.rtm_family = to.family() == Family::ipv4 ? AF_INET : AF_INET6;
  header.rtm_dst_len = to.length;
  Bytes bytes;
  MessageBuilder message(bytes, type, 0, header);
  if (to.length != 0) message.put_bytes(RTA_DST, to.address.bytes.data(), to.address.size());
  (void)message.finish();
  return bytes;
}

class RouteEvents : public testing::Test {
 protected:
  RouteEvents() : RouteEvents(std::make_unique<test::FakeChannel>()) {}
  explicit RouteEvents(std::unique_ptr<test::FakeChannel> channel)
      : kernel_(channel.get()), monitor_(std::move(channel)) {}
  RouteChanges drain() {
    auto changes = monitor_.drain();
    EXPECT_TRUE(changes);
    return changes ? *changes : RouteChanges{};
  }
  test::FakeChannel* kernel_;
  RouteMonitor monitor_;
};

TEST_F(RouteEvents, a_change_concerns_the_addresses_its_prefix_leads_to) {
  kernel_->push(route_event(RTM_NEWROUTE, "192.0.2.0/24"));
  kernel_->push(route_event(RTM_DELROUTE, "2001:db8::/32"));
  const RouteChanges changes = drain();
  EXPECT_TRUE(changes.concern(ip("192.0.2.9")));
  EXPECT_TRUE(changes.concern(ip("2001:db8::9")));
  EXPECT_FALSE(changes.concern(ip("198.51.100.9")));
  EXPECT_TRUE(drain().empty());
}

TEST_F(RouteEvents, a_default_route_concerns_its_family) {
  kernel_->push(route_event(RTM_NEWROUTE, "0.0.0.0/0"));
  const RouteChanges changes = drain();
  EXPECT_TRUE(changes.concern(ip("203.0.113.7")));
  EXPECT_FALSE(changes.concern(ip("2001:db8::9")));
}

TEST_F(RouteEvents, a_rule_a_nexthop_or_a_lost_event_may_concern_anything) {
  for (const uint16_t type : {RTM_NEWRULE, RTM_DELRULE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP}) {
    kernel_->push(test::plain_message(type, 0, 0, Bytes(16)));
    EXPECT_TRUE(drain().everything) << type;
  }
  kernel_->push_overrun();
  EXPECT_TRUE(drain().everything);
  Bytes half = route_event(RTM_NEWROUTE, "192.0.2.0/24");
  half.resize(half.size() - 4);
  kernel_->push(half);
  EXPECT_TRUE(drain().everything);
}

TEST_F(RouteEvents, a_flood_is_read_in_bounded_pieces_and_becomes_everything) {
  constexpr size_t kEvents = RouteMonitor::kDatagramsMax + 10;
  for (size_t i = 0; i < kEvents; ++i) {
    const std::string prefix = "10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24";
    kernel_->push(route_event(RTM_NEWROUTE, prefix.c_str()));
  }
  const RouteChanges flood = drain();
  EXPECT_TRUE(flood.everything);
  EXPECT_LE(flood.prefixes.size(), RouteMonitor::kPrefixesMax + 1);
  const RouteChanges rest = drain();
  EXPECT_EQ(rest.prefixes.size(), 10U);
  EXPECT_FALSE(rest.everything);
}

TEST_F(RouteEvents, an_event_of_some_process_is_not_believed) {
  kernel_->push(route_event(RTM_NEWROUTE, "192.0.2.0/24"), /*sender=*/99);
  EXPECT_TRUE(drain().empty());
}

TEST_F(RouteEvents, a_dead_socket_is_an_error) {
  kernel_->push_failure(EBADF);
  EXPECT_FALSE(monitor_.drain());
}

}  // namespace
}  // namespace sepal::netlink
