// Security groups over several passes, some of which fail or are killed: what a policy forbids does not live on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "agent/state.hpp"
#include "policy/network.hpp"
#include "tc/pipeline/pipeline.hpp"
#include "tests/support/fake_kernel.hpp"
#include "tests/unit/agent/follow_fixture.hpp"

namespace sepal::agent {
namespace {

constexpr Vni kBlue{100};
constexpr uint32_t kCommitted = 1;

// blue: web lets in TCP to these ports from anywhere; app may do anything outwards.
config::Config open_to(const std::string& ports) {
  return read_config(
      kHostYaml + kBlueHead +
      "  - {name: web, device: blue-web, mac: \"02:00:00:00:01:01\", addresses: [10.0.0.1], security_groups: [web]}\n" +
      kAppPort + kRemoteRoute + "security_groups:\n  web: {ingress: [{protocol: tcp, ports: [" + ports +
      "], from: any}]}\n" + kGreen);
}

class Policing : public FollowTest {
 protected:
  uint32_t connect(uint16_t port) {
    netlink::Connection connection;
    connection.id = ++id_;
    connection.original = {*IpAddr::parse("10.0.0.3"), *IpAddr::parse("10.0.0.1"), 6, 40000, port, 0, 0, 0};
    connection.reply = {*IpAddr::parse("10.0.0.1"), *IpAddr::parse("10.0.0.3"), 6, port, 40000, 0, 0, 0};
    connection.zone = load_state(paths_.state).tenants.at(kBlue).zone;
    connection.mark = kCommitted;
    conntrack_.table.push_back(connection);
    return connection.id;
  }
  // A daemon that has applied it and seen that it stands.
  Reconciler settled_with(const config::Config& config) {
    Reconciler daemon = listening();
    EXPECT_TRUE(daemon.apply(config, {}));
    auto looked = daemon.look_again(config, {});
    EXPECT_TRUE(looked && looked->quiet);
    return daemon;
  }
  [[nodiscard]] bool lives(uint32_t id) const {
    return std::any_of(conntrack_.table.begin(), conntrack_.table.end(), [&](const auto& c) { return c.id == id; });
  }
  [[nodiscard]] uint64_t judged() const { return load_state(paths_.state).tenants.at(kBlue).judged; }
  static uint64_t space_of(const config::Config& config) { return policy::compile(config).front().tables.space; }

  // A process that is killed at a write of a rule: from then on nothing it does arrives, the end of connections
  // neither.
  void killed_at_write(const config::Config& config, uint64_t write) {
    DyingTransport dying(kernel_, write);
    Kernel kernel{dying, conntrack_, slow_path_};
    Reconciler process(kernel, paths_);
    ASSERT_FALSE(process.apply(config, {}).has_value());
    kernel_.break_at_write = 0;
  }

  uint32_t id_ = 0;
};

TEST_F(Policing, a_pass_that_ends_connections_says_by_which_policy_they_are_judged) {
  const config::Config http = open_to("80");
  apply(http);
  EXPECT_EQ(judged(), space_of(http));
  const uint32_t allowed = connect(80);
  const uint32_t forbidden = connect(22);
  apply(open_to("80, 443"));
  EXPECT_TRUE(lives(allowed));
  EXPECT_FALSE(lives(forbidden));
  EXPECT_EQ(judged(), space_of(open_to("80, 443")));
}

// Two policies that make different rules, so that there is something to be killed at: the second has a port more.
TEST_F(Policing, what_a_killed_change_let_begin_ends_when_the_former_policy_returns) {
  const config::Config former = open_to("80");
  apply(former);
  config::Config change = open_to("80, 22");
  change.tenants.front().ports.back().mac = *MacAddr::parse("02:00:00:00:01:77");
  killed_at_write(change, 1);
  EXPECT_EQ(slow_path_.in_force.at(kBlue), space_of(change)) << "the kill came after the policy";
  EXPECT_EQ(judged(), 0U) << "nobody knows what began meanwhile";
  const uint32_t begun_meanwhile = connect(22);
  apply(former);
  EXPECT_FALSE(lives(begun_meanwhile));
  EXPECT_EQ(judged(), space_of(former));
}

TEST_F(Policing, what_began_while_a_killed_change_had_taken_the_groups_away_ends_when_they_return) {
  const config::Config former = open_to("80");
  apply(former);
  config::Config free = usual_config();
  killed_at_write(free, 1);
  EXPECT_EQ(judged(), 0U);
  const uint32_t begun_meanwhile = connect(22);
  apply(former);
  EXPECT_FALSE(lives(begun_meanwhile));
}

TEST_F(Policing, connections_that_could_not_be_ended_are_ended_by_the_next_look) {
  Reconciler daemon = listening();
  followed(daemon, open_to("80, 22"));
  const uint32_t forbidden = connect(22);
  const config::Config change = open_to("80");
  conntrack_.allowed = false;
  const PassReport failed = followed(daemon, change);
  EXPECT_FALSE(failed.problems.empty());
  EXPECT_TRUE(lives(forbidden));
  EXPECT_EQ(judged(), 0U);
  conntrack_.allowed = true;
  auto looked = daemon.look_again(change, {});
  ASSERT_TRUE(looked.has_value());
  EXPECT_FALSE(looked->quiet);
  EXPECT_FALSE(lives(forbidden));
  EXPECT_EQ(judged(), space_of(change));
  EXPECT_TRUE(daemon.look_again(change, {})->quiet);
}

// In group 2 those for what begins with a SYN within the tenant's subnets ask.
TEST_F(Policing, while_a_rule_that_asks_is_refused_its_tenant_is_judged_by_every_pass) {
  const config::Config change = open_to("80");
  const IfIndex app = device_index("blue-app");
  for (const tc::Group group : {tc::Group::nat, tc::Group::fresh}) {
    apply(usual_config());  // no groups: rules that ask nobody
    kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
      const auto filter = tc::decode_filter(message);
      if (!filter || filter->rule.id.device != app || tc::parse_chain(filter->rule.id.chain).group != group ||
          (group == tc::Group::nat && filter->rule.spec.match.find(tc::Key::tcp_flags) == nullptr))
        return std::nullopt;
      return test::FakeKernel::Refusal{EBUSY, ""};
    };
    const PassReport refused = apply(change);
    EXPECT_FALSE(refused.outcome.refusals.empty());
    EXPECT_EQ(judged(), 0U);
    const uint32_t by_the_former_rule = connect(22);
    kernel_.refuse = nullptr;
    apply(change);
    EXPECT_FALSE(lives(by_the_former_rule));
    EXPECT_EQ(judged(), space_of(change));
  }
}

TEST_F(Policing, one_tenant_whose_policy_does_not_fit_stops_no_other) {
  auto with_green = [](const std::string& ports) {
    config::Config config = open_to(ports);
    config.tenants.back().security_groups = config.tenants.front().security_groups;
    config.tenants.back().ports.front().security_groups = {"web"};
    return config;
  };
  const config::Config former = with_green("80");
  Reconciler daemon = settled_with(former);
  slow_path_.refused_policies.insert(kBlue);
  const config::Config change = with_green("443");
  const PassReport report = followed(daemon, change);
  ASSERT_FALSE(report.problems.empty());
  EXPECT_EQ(report.problems.front(), "security groups of tenant blue: no memory");
  EXPECT_EQ(slow_path_.in_force.at(kBlue), space_of(former)) << "the former policy goes on";
  EXPECT_EQ(slow_path_.in_force.at(Vni(200)), policy::compile(change).back().tables.space);
  EXPECT_EQ(judged(), 0U);
  slow_path_.refused_policies.clear();
  auto looked = daemon.look_again(change, {});
  ASSERT_TRUE(looked.has_value());
  EXPECT_TRUE(looked->problems.empty());
  EXPECT_EQ(judged(), space_of(change));
}

TEST_F(Policing, a_followed_change_that_takes_the_groups_away_takes_the_policy_away) {
  Reconciler daemon = settled_with(open_to("80"));
  EXPECT_TRUE(slow_path_.in_force.contains(kBlue));
  const uint64_t dumps = kernel_.dumps;
  followed(daemon, usual_config());
  EXPECT_EQ(kernel_.dumps, dumps) << "followed, without a look";
  EXPECT_FALSE(slow_path_.in_force.contains(kBlue));
  EXPECT_EQ(writes_of_a_look(usual_config()), 0U);
}

TEST_F(Policing, a_stop_before_a_tenants_turn_leaves_nothing_to_believe) {
  Reconciler daemon = settled_with(open_to("80, 22"));
  const uint32_t forbidden = connect(22);
  const config::Config change = open_to("80");
  auto stopped = daemon.follow(change, [] { return false; });
  ASSERT_TRUE(stopped.has_value());
  EXPECT_TRUE(stopped->outcome.stopped);
  EXPECT_NE(slow_path_.in_force.at(kBlue), space_of(change));
  EXPECT_EQ(judged(), 0U);
  apply(change);  // the next start
  EXPECT_EQ(slow_path_.in_force.at(kBlue), space_of(change));
  EXPECT_FALSE(lives(forbidden));
  EXPECT_EQ(judged(), space_of(change));
}

TEST_F(Policing, a_state_file_that_cannot_be_written_hides_no_connection_from_this_process) {
  const config::Config former = open_to("80");
  Reconciler daemon = settled_with(former);
  std::filesystem::create_directory(paths_.state + ".new");  // in the way of the file
  EXPECT_FALSE(followed(daemon, open_to("80, 22")).problems.empty());
  EXPECT_EQ(judged(), space_of(former)) << "the file could not be told";
  const uint32_t forbidden = connect(22);
  followed(daemon, former);
  EXPECT_FALSE(lives(forbidden));
  std::filesystem::remove(paths_.state + ".new");
  ASSERT_TRUE(daemon.look_again(former, {}));
  EXPECT_EQ(judged(), space_of(former));
  EXPECT_TRUE(daemon.look_again(former, {})->quiet);
}

TEST_F(Policing, a_start_believes_no_file_that_says_nobody_knows) {
  const config::Config config = open_to("80");
  apply(config);
  SavedState state = load_state(paths_.state);
  state.tenants.at(kBlue).judged = 0;
  ASSERT_TRUE(save_state(paths_.state, state));
  const uint32_t forbidden = connect(22);
  apply(config);
  EXPECT_FALSE(lives(forbidden));
  EXPECT_EQ(judged(), space_of(config));
}

TEST_F(Policing, a_port_keeps_its_connections_over_a_new_name) {
  config::Config config = open_to("80");
  apply(config);
  const uint32_t connection = connect(80);
  config.tenants.front().ports.front().name = "www";
  apply(config);
  EXPECT_TRUE(lives(connection));
}

}  // namespace
}  // namespace sepal::agent
