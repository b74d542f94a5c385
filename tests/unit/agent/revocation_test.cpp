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
constexpr uint32_t kAnswered = 8;

netlink::Connection tcp(const char* source, const char* destination, uint16_t port, Zone zone = kZone,
                        uint32_t mark = kCommitted) {
  netlink::Connection connection;
  connection.original = {*IpAddr::parse(source), *IpAddr::parse(destination), 6, 40000, port, 0, 0, 0};
  connection.reply = {*IpAddr::parse(destination), *IpAddr::parse(source), 6, port, 40000, 0, 0, 0};
  connection.zone = zone;
  connection.mark = mark;
  return connection;
}

// Of a datagram that was let go past conntrack, which saw the answer first.
netlink::Connection answered(const char* answerer, const char* asker, uint16_t port, uint32_t mark = kAnswered) {
  netlink::Connection connection;
  connection.original = {*IpAddr::parse(answerer), *IpAddr::parse(asker), 17, port, 40000, 0, 0, 0};
  connection.reply = {*IpAddr::parse(asker), *IpAddr::parse(answerer), 17, 40000, port, 0, 0, 0};
  connection.zone = kZone;
  connection.mark = kCommitted | mark;
  return connection;
}

class Revocation : public testing::Test {
 protected:
  Revocation() {
    before_.tenants[Vni(100)].zone = kZone;
    after_ = before_;
  }

  static std::vector<policy::TenantPolicy> allowing(uint16_t port, uint8_t protocol = 6, Vni vni = Vni(100)) {
    config::GroupRule rule;
    rule.protocol = protocol;
    rule.ports = {{port, port}};
    rule.remote.any = true;
    config::SecurityGroup group;
    group.name = "web";
    group.ingress = {rule};
    policy::Network network{vni, "blue", {group}, {}, {}};
    network.ports = {{"web-0", {*IpPrefix::parse("10.0.0.1/32"), *IpPrefix::parse("fd00::1/128")}, {"web"}}};
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

TEST_F(Revocation, what_was_let_go_past_conntrack_is_forgotten_of_those_tenants_of_which_a_connection_ended) {
  before_.tenants[Vni(200)].zone = Zone(4);
  after_ = before_;
  const auto both = [](uint16_t blue, uint16_t green) {
    std::vector<policy::TenantPolicy> policies = allowing(blue);
    policies.push_back(allowing(green, 6, Vni(200)).front());
    return policies;
  };
  hold({tcp("10.9.9.9", "10.0.0.1", 443), tcp("10.9.9.9", "10.0.0.1", 80, Zone(4))});
  EXPECT_EQ(end(both(80, 80)), 1U);
  const Untracked blue{{Vni(100), {}}};
  EXPECT_EQ(slow_path_.forgotten, std::vector<Untracked>{blue}) << "the whole network, and no other";
  before_ = after_;
  EXPECT_EQ(end(both(81, 80)), 0U);
  EXPECT_EQ(slow_path_.forgotten.size(), 1U) << "a change that ends nothing";
  before_ = after_;
  EXPECT_EQ(end(both(81, 81)), 1U);
  const Untracked green{{Vni(200), {}}};
  ASSERT_EQ(slow_path_.forgotten.size(), 2U);
  EXPECT_EQ(slow_path_.forgotten[1], green);
}

TEST_F(Revocation, is_not_done_when_the_slow_path_cannot_forget) {
  const auto policies = allowing(80);
  EXPECT_EQ(end(policies), 0U);
  EXPECT_TRUE(slow_path_.forgotten.empty());
  before_ = after_;
  hold({tcp("10.9.9.9", "10.0.0.1", 80)});
  slow_path_.forgets = false;
  const auto refused = end(allowing(81));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("forget flows"), std::string::npos) << refused.error().message();
  EXPECT_EQ(after_.tenants[Vni(100)].judged, policies[0].tables.space) << "so that the next pass judges again";
}

TEST_F(Revocation, a_guest_of_a_peer_is_not_taken_for_the_port_that_has_its_address) {
  hold({tcp("10.0.0.1", "10.0.0.7", 443, kZone, kCommitted | kFromPeer), tcp("10.0.0.1", "10.0.0.8", 443)});
  EXPECT_EQ(end(allowing(80)), 1U) << "group web lets nothing out";
  EXPECT_EQ(left(), std::vector<uint32_t>{1});
}

TEST_F(Revocation, what_conntrack_saw_the_answer_of_first_is_judged_in_the_direction_of_its_question) {
  hold({answered("10.0.0.1", "10.9.9.9", 53), answered("10.0.0.1", "10.9.9.9", 54), answered("fd00::1", "fd00::9", 53),
        answered("fd00::1", "fd00::9", 54),
        answered("10.9.9.9", "10.0.0.1", 53),       // web asked, which its group does not let it
        answered("10.0.0.1", "10.9.9.8", 53, 0)});  // begun by web, from port 53
  EXPECT_EQ(end(allowing(53, 17)), 4U);
  EXPECT_EQ(left(), (std::vector<uint32_t>{1, 3}));
  before_ = after_;
  EXPECT_EQ(end(allowing(54, 17)), 2U);
  EXPECT_TRUE(left().empty());
}

TEST(Departed, a_port_that_moved_leaves_its_connections) {
  const IpPrefix address = *IpPrefix::parse("10.0.0.1/32");
  SavedState before;
  before.tenants[Vni(100)] = {kZone, {{address, "vf1"}}, {}, 0};
  SavedState after = before;
  EXPECT_TRUE(departed(before, after).empty());
  after.tenants[Vni(100)].served[address] = "vf2";
  EXPECT_EQ(departed(before, after).addresses.at(kZone), std::vector<IpPrefix>{address});
  EXPECT_EQ(departed(before, after).untracked, (Untracked{{Vni(100), {address}}}));
  before.tenants[Vni(100)].served[address] = "";
  EXPECT_TRUE(departed(before, after).empty()) << "a state file of an earlier version";
}

TEST(Departed, an_address_that_left_leaves_what_conntrack_does_not_know_too) {
  const IpPrefix first = *IpPrefix::parse("10.0.0.1/32");
  const IpPrefix second = *IpPrefix::parse("fd00::1/128");
  SavedState before;
  before.tenants[Vni(100)] = {kZone, {{first, "vf1"}, {second, "vf1"}}, {}, 0};
  SavedState after = before;
  after.tenants[Vni(100)].served.erase(second);
  EXPECT_EQ(departed(before, after).untracked, (Untracked{{Vni(100), {second}}}));
  after.tenants[Vni(100)].served.clear();
  EXPECT_EQ(departed(before, after).untracked, (Untracked{{Vni(100), {first, second}}}));
}

TEST(Departed, a_tenant_that_left_leaves_the_whole_of_its_network) {
  SavedState before;
  before.tenants[Vni(100)] = {kZone, {{*IpPrefix::parse("10.0.0.1/32"), "vf1"}}, {}, 0};
  SavedState after;
  const Untracked all{{Vni(100), {}}};
  EXPECT_EQ(departed(before, after).untracked, all);
  EXPECT_EQ(departed(before, after).zones, std::vector<Zone>{kZone});
  after.tenants[Vni(200)].zone = kZone;
  EXPECT_EQ(departed(before, after).untracked, all);
  EXPECT_TRUE(departed(before, after).zones.empty()) << "the zone is another tenant's now";
  EXPECT_FALSE(departed(before, after).empty());
  after = before;
  after.tenants[Vni(100)].zone = Zone(4);
  EXPECT_EQ(departed(before, after).untracked, all) << "begins anew, in another zone";
}

class EndConnections : public Revocation {
 protected:
  Result<size_t> end(const Departed& gone) {
    Kernel kernel{kernel_, conntrack_, slow_path_};
    return end_connections(kernel, gone);
  }
};

TEST_F(EndConnections, forgets_what_was_let_go_past_conntrack) {
  hold({answered("10.0.0.1", "10.9.9.9", 53), answered("10.0.0.2", "10.9.9.9", 53)});
  const IpPrefix address = *IpPrefix::parse("10.0.0.1/32");
  const Departed gone{{}, {{kZone, {address}}}, {{Vni(100), {address}}}};
  EXPECT_EQ(end(gone), 1U);
  EXPECT_EQ(left(), std::vector<uint32_t>{2});
  EXPECT_EQ(slow_path_.forgotten, std::vector<Untracked>{gone.untracked});
  EXPECT_EQ(end(Departed{}), 0U);
  EXPECT_EQ(end(Departed{{kZone}, {}, {}}), 1U);
  EXPECT_EQ(slow_path_.forgotten.size(), 1U) << "nothing to forget is not asked for";
}

TEST_F(EndConnections, ends_connections_when_the_slow_path_cannot_forget_and_a_later_pass_forgets) {
  hold({answered("10.0.0.1", "10.9.9.9", 53)});
  const Departed gone{{kZone}, {}, {{Vni(100), {}}}};
  slow_path_.forgets = false;
  const auto refused = end(gone);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("forget flows"), std::string::npos) << refused.error().message();
  EXPECT_TRUE(left().empty()) << "what conntrack knows has ended all the same";
  slow_path_.forgets = true;
  EXPECT_EQ(end(gone), 0U);
  EXPECT_EQ(slow_path_.forgotten.size(), 1U);
}

}  // namespace
}  // namespace sepal::agent
