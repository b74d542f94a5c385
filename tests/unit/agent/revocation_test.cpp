// Live connections after a change of security groups, and of a port that moved.
#include "agent/revocation.hpp"

#include <gtest/gtest.h>

#include "agent/connections.hpp"
#include "policy/network.hpp"
#include "tests/support/fake_conntrack.hpp"
#include "world_fixture.hpp"

namespace sepal::agent {
namespace {

constexpr Zone kZone{3};
constexpr uint32_t kCommitted = 1;
constexpr uint32_t kFromPeer = 4;

netlink::Connection tcp(const char* source, const char* destination, uint16_t port, Zone zone = kZone,
                        uint32_t mark = kCommitted) {
  netlink::Connection connection;
  connection.original = {*IpAddr::parse(source), *IpAddr::parse(destination), 6, 40000, port, 0, 0, 0};
  connection.reply = {*IpAddr::parse(destination), *IpAddr::parse(source), 6, port, 40000, 0, 0, 0};
  connection.zone = zone;
  connection.mark = mark;
  return connection;
}

class Revocation : public testing::Test {
 protected:
  Revocation() {
    before_.tenants[Vni(100)].zone = kZone;
    after_ = before_;
  }

  static std::vector<policy::TenantPolicy> allowing(uint16_t port) {
    config::GroupRule rule;
    rule.protocol = 6;
    rule.ports = {{port, port}};
    rule.remote.any = true;
    config::SecurityGroup group;
    group.name = "web";
    group.ingress = {rule};
    policy::Network network{Vni(100), "blue", {group}, {}, {}};
    network.ports = {{"web-0", {*IpPrefix::parse("10.0.0.1/32")}, {"web"}}};
    return {policy::compile(network)};
  }

  void hold(std::vector<netlink::Connection> connections) {
    for (netlink::Connection& connection : connections) {
      connection.id = ++id_;
      conntrack_.table.push_back(connection);
    }
  }
  Result<size_t> end(const std::vector<policy::TenantPolicy>& policies) {
    Kernel kernel{kernel_, conntrack_, slow_path_};
    return end_forbidden(kernel, policies, before_, after_);
  }
  [[nodiscard]] std::vector<uint32_t> left() const {
    std::vector<uint32_t> ids;
    for (const auto& connection : conntrack_.table) ids.push_back(connection.id);
    return ids;
  }

  test::FakeKernel kernel_;
  test::FakeConntrack conntrack_;
  FakeSlowPath slow_path_;
  SavedState before_;
  SavedState after_;
  uint32_t id_ = 0;
};

TEST_F(Revocation, ends_what_is_forbidden_now_and_leaves_the_rest_alone) {
  hold({tcp("10.9.9.9", "10.0.0.1", 80), tcp("10.9.9.9", "10.0.0.1", 443), tcp("10.9.9.9", "10.0.0.1", 443, Zone(4)),
        tcp("10.9.9.9", "10.0.0.7", 443)});
  EXPECT_EQ(end(allowing(80)), 1U);
  EXPECT_EQ(left(), (std::vector<uint32_t>{1, 3, 4})) << "another zone, and a port without groups, are not asked";
}

TEST_F(Revocation, judges_only_after_a_change_and_once) {
  const auto policies = allowing(80);
  EXPECT_EQ(end(policies), 0U);
  EXPECT_EQ(after_.tenants[Vni(100)].judged, policies[0].tables.space);
  before_ = after_;
  hold({tcp("10.9.9.9", "10.0.0.1", 443)});  // cannot be: the program would not have let it begin
  EXPECT_EQ(end(policies), 0U) << "the table is not even read";
  EXPECT_EQ(end(allowing(81)), 1U);
}

TEST_F(Revocation, judges_again_when_the_kernel_refused_the_first_time) {
  hold({tcp("10.9.9.9", "10.0.0.1", 443)});
  conntrack_.allowed = false;
  EXPECT_FALSE(end(allowing(80)));
  EXPECT_EQ(after_.tenants[Vni(100)].judged, 0U);
  conntrack_.allowed = true;
  EXPECT_EQ(end(allowing(80)), 1U);
}

TEST_F(Revocation, a_guest_of_a_peer_is_not_taken_for_the_port_that_has_its_address) {
  hold({tcp("10.0.0.1", "10.0.0.7", 443, kZone, kCommitted | kFromPeer), tcp("10.0.0.1", "10.0.0.8", 443)});
  EXPECT_EQ(end(allowing(80)), 1U) << "group web lets nothing out";
  EXPECT_EQ(left(), std::vector<uint32_t>{1});
}

TEST(Departed, a_port_that_moved_leaves_its_connections) {
  const IpPrefix address = *IpPrefix::parse("10.0.0.1/32");
  SavedState before;
  before.tenants[Vni(100)] = {kZone, {{address, "vf1"}}, {}, 0};
  SavedState after = before;
  EXPECT_TRUE(departed(before, after).empty());
  after.tenants[Vni(100)].served[address] = "vf2";
  EXPECT_EQ(departed(before, after).addresses.at(kZone), std::vector<IpPrefix>{address});
  before.tenants[Vni(100)].served[address] = "";
  EXPECT_TRUE(departed(before, after).empty()) << "a state file of an earlier version";
}

}  // namespace
}  // namespace sepal::agent
