// Where the rules stand that let first datagrams go past conntrack, and those that know what is about such a one.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "policy/network.hpp"
#include "tc/model/walk.hpp"
#include "tc/rule/build.hpp"
#include "two_ports.hpp"
#include "world.hpp"

namespace sepal::tc {
namespace {

using config::Config;
using config::Tenant;
using model::example_port;
using model::example_tenant;
using model::facts_with_all_ports;
using model::ip;
using model::kUplink;
using model::kVxlan;
using model::mac;
using model::prefix;

constexpr IfIndex kRed{12};  // where another tenant follows blue

RuleSet compiled(const Config& config) { return compile(config, facts_with_all_ports(config)); }

// Tenant blue with security groups; its ports are in none, and open.
Config judged_blue() {
  Config config = blue_with_two_ports();
  config.tenants[0].security_groups.push_back({"closed", false, {}, {}, {}, {}});
  return config;
}

Config with_peer() {
  Config config = judged_blue();
  Tenant& red = config.tenants.emplace_back(example_tenant("red", 200));
  red.ports = {example_port("web", 9)};
  red.peers = {"blue"};
  config.tenants[0].peers = {"red"};
  return config;
}

void translate(Config& config) {
  add_public(config);
  config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), std::nullopt, {}}};
}

std::vector<const CompiledRule*> asking(const RuleSet& rules, IfIndex device, uint32_t chain) {
  std::vector<const CompiledRule*> found;
  for (const CompiledRule& rule : rules.rules) {
    const RuleId& id = rule.rule.id;
    if (id.device == device && id.chain == chain && asks_untracked(rule.rule.spec)) found.push_back(&rule);
  }
  return found;
}

// How many rules of web let datagrams go to a network of this family.
size_t let_go_to(const Config& config, Family family) {
  const RuleSet rules = compiled(config);
  const auto found = asking(rules, kWeb, 0);
  return static_cast<size_t>(std::count_if(found.begin(), found.end(), [family](const CompiledRule* rule) {
    return rule->rule.spec.match.find(family == Family::ipv4 ? Key::dst_ip4 : Key::dst_ip6) != nullptr;
  }));
}

size_t let_go(const Config& config, IfIndex device = kWeb) { return asking(compiled(config), device, 0).size(); }

model::Judges judges_of(const Config& config) {
  model::Judges judges;
  for (const policy::TenantPolicy& policy : policy::compile(config))
    judges.emplace(policy.vni, policy::Judge(policy.tables));
  return judges;
}

}  // namespace

TEST(Untracked, usual_datagrams_within_the_tenants_networks_may_go_straight_to_routing) {
  const Config config = judged_blue();
  const RuleSet rules = compiled(config);
  const auto found = asking(rules, kWeb, 0);
  EXPECT_EQ(found.size(), 2U) << "one of each family";
  for (const CompiledRule* rule : found) {
    const RuleSpec& spec = rule->rule.spec;
    EXPECT_TRUE(spec.skip_hw);
    ASSERT_NE(spec.match.find(Key::ip_proto), nullptr);
    EXPECT_EQ(spec.match.find(Key::ip_proto)->value_u32(), uint32_t{kProtoUdp});
    EXPECT_EQ(spec.actions.front(), police_fits(config.host.underlay.mtu - 50U + 14U));
    EXPECT_EQ(spec.actions.back(), goto_chain(blue(Group::encap)));
    EXPECT_EQ(spec.actions[spec.actions.size() - 2], set_mark(0));
    for (const Action& action : spec.actions) EXPECT_FALSE(std::holds_alternative<Ct>(action.kind));
    EXPECT_TRUE(std::any_of(rules.rules.begin(), rules.rules.end(),
                            [&](const CompiledRule& next) {
                              return next.rule.id.device == kWeb && next.rule.id.chain == 0 &&
                                     next.rule.id.prio > rule->rule.id.prio && !next.rule.spec.skip_hw &&
                                     next.rule.spec.match.covers(spec.match) && next.origin.drop == DropReason::none;
                            }))
        << "what is not let go has another rule: " << to_text(rule->rule);
  }
}

TEST(Untracked, nothing_is_let_go_where_nobody_judges_or_somebody_counts_or_writes_down) {
  EXPECT_EQ(let_go(blue_with_two_ports()), 0U) << "no security groups";
  Config config = judged_blue();
  EXPECT_EQ(let_go(config), 2U);
  config.tenants[0].connections = 10;
  EXPECT_EQ(let_go(config), 0U);
  config = judged_blue();
  config.host.limits.connections = 1000;
  EXPECT_EQ(let_go(config), 0U);
  config = judged_blue();
  config.tenants[0].flow_log = true;
  EXPECT_EQ(let_go(config), 0U);
}

TEST(Untracked, a_port_with_a_limit_of_new_connections_lets_nothing_go_and_others_do) {
  Config config = judged_blue();
  config.tenants[0].ports[0].limits.new_connections_per_second = 10;
  EXPECT_EQ(let_go(config, kWeb), 0U);
  EXPECT_EQ(let_go(config, kDb), 2U);
  EXPECT_EQ(asking(compiled(config), kWeb, blue(Group::nat)).size(), 4U) << "db's questions are answered";
  config = judged_blue();
  config.tenants[0].port_limits.new_connections_per_second = 10;
  EXPECT_EQ(let_go(config, kDb), 0U);
  config = judged_blue();
  config.host.limits.new_connections_per_second = 10;
  EXPECT_EQ(let_go(config, kDb), 0U);
}

TEST(Untracked, a_guest_that_is_not_known_has_nothing_to_let_go) {
  Config config = judged_blue();
  config.tenants[0].ports[0].mac_is_open = true;
  EXPECT_EQ(let_go(config), 2U);
  config.tenants[0].ports[0].mac = MacAddr();
  EXPECT_EQ(let_go(config), 0U);
}

TEST(Untracked, a_route_within_a_network_to_the_public_side_or_a_peer_keeps_the_network_tracked) {
  const auto with_route = [](Config config, const char* to, config::Via via, std::optional<Vni> vni = std::nullopt) {
    config.tenants[0].routes = {{prefix(to), std::move(via), vni, {}}};
    return config;
  };
  Config outside = judged_blue();
  translate(outside);
  const auto expect = [](const Config& config, size_t v4, size_t v6, const char* why) {
    EXPECT_EQ(let_go_to(config, Family::ipv4), v4) << why;
    EXPECT_EQ(let_go_to(config, Family::ipv6), v6) << why;
  };
  expect(outside, 1, 1, "no route");
  expect(with_route(outside, "10.0.0.128/25", config::ViaPublic{}), 0, 1, "a translation");
  expect(with_route(outside, "10.0.0.0/24", config::ViaPublic{}), 0, 1, "of all of it");
  expect(with_route(outside, "0.0.0.0/0", config::ViaPublic{}), 1, 1, "around it");
  expect(with_peer(), 1, 1, "a peer without a route");
  expect(with_route(with_peer(), "10.0.0.9/32", config::ViaPort{"web"}, Vni(200)), 0, 1, "a peer's port");
  expect(with_route(judged_blue(), "10.0.0.128/25", config::ViaVtep{ip("192.0.2.2")}), 1, 1, "another hypervisor");
  expect(with_route(judged_blue(), "10.0.0.128/25", config::ViaBlackhole{}), 1, 1, "nowhere");
}

// Wherever an answer, or an error about one, may come in.
TEST(Untracked, who_lets_go_knows_answers_and_errors_in_every_block_of_the_tenant) {
  const auto expect = [](const Config& config, size_t rules) {
    const RuleSet made = compiled(config);
    EXPECT_EQ(asking(made, kWeb, blue(Group::nat)).size(), rules);
    EXPECT_EQ(asking(made, kDb, blue(Group::nat)).size(), rules);
    EXPECT_EQ(asking(made, kVxlan, blue(Group::nat)).size(), rules);
    EXPECT_EQ(asking(made, kUplink, blue(Group::nat, Lane::uplink)).size(), rules);
  };
  const auto with_vlan = [](Config config) {
    config.tenants[0].vlans = {{Vid(40), mac("02:00:00:00:77:01"), {}}};
    return config;
  };
  expect(with_vlan(judged_blue()), 4);
  expect(with_vlan(blue_with_two_ports()), 0);
  Config config = with_vlan(judged_blue());
  config.tenants[0].flow_log = true;
  expect(config, 0);
  config = with_vlan(judged_blue());
  config.tenants[0].connections = 10;
  expect(config, 0);
}

// Rules are written by depth: nothing is let go before all that may be about it is known.
TEST(Untracked, rules_that_let_go_come_later_than_those_that_know_answers_in_all_blocks) {
  const auto expect = [](const Config& config, size_t lets_go, size_t knows) {
    const RuleSet rules = compiled(config);
    std::vector<const CompiledRule*> letting_go;
    std::vector<const CompiledRule*> knowing;
    for (const CompiledRule& rule : rules.rules)
      if (asks_untracked(rule.rule.spec)) (rule.rule.id.chain == 0 ? letting_go : knowing).push_back(&rule);
    EXPECT_EQ(letting_go.size(), lets_go);
    EXPECT_EQ(knowing.size(), knows);
    for (const CompiledRule* first : knowing)
      for (const CompiledRule* later : letting_go)
        EXPECT_GT(later->depth, first->depth) << to_text(later->rule) << "\nbefore " << to_text(first->rule);
  };
  Config config = judged_blue();
  config.tenants[0].vlans = {{Vid(40), mac("02:00:00:00:77:01"), {}}};
  expect(config, 2 * 2, 4 * 4);  // web's and db's blocks, the overlay's and the uplink's
  config = with_peer();
  config.tenants[0].routes = {{prefix("192.168.0.0/24"), config::ViaPort{"web"}, Vni(200), {}}};
  expect(config, 2 * 2, 3 * 4);  // deeper where blue leads into red
  config = judged_blue();
  config.tenants[0].ports.pop_back();
  expect(config, 2, 2 * 4);  // web is alone: its own routes lead nowhere, those of the overlay's block do
}

TEST(Untracked, what_comes_from_a_peer_answers_nothing) {
  Config config = with_peer();
  config.tenants[1].routes = {{prefix("10.0.0.1/32"), config::ViaPort{"web"}, Vni(100), {}}};
  const RuleSet rules = compiled(config);
  EXPECT_FALSE(chain_text(rules, kRed, blue(Group::nat)).empty()) << "the peer's table in red's block";
  EXPECT_TRUE(asking(rules, kRed, blue(Group::nat)).empty());
  EXPECT_EQ(asking(rules, kWeb, blue(Group::nat)).size(), 4U);
}

// A port that may begin few connections a second answers as many questions as it is asked.
TEST(Untracked, an_answer_is_asked_about_before_a_limit_and_before_a_verdict) {
  Config config = judged_blue();
  config.tenants[0].ports[0].limits.new_connections_per_second = 10;
  const RuleSet rules = compiled(config);
  const auto answers = asking(rules, kWeb, blue(Group::nat));
  ASSERT_EQ(answers.size(), 4U);
  size_t looked = 0;
  for (const CompiledRule& rule : rules.rules) {
    if (rule.rule.id.device != kWeb || rule.rule.id.chain != blue(Group::nat)) continue;
    const bool begins = rule.rule.spec.actions.back() == goto_chain(blue(Group::fresh));
    if (!begins && rule.origin.drop != DropReason::invalid) continue;
    if (begins) {
      EXPECT_TRUE(std::holds_alternative<Police>(rule.rule.spec.actions.front().kind)) << to_text(rule.rule);
    }
    for (const CompiledRule* answer : answers) EXPECT_LT(answer->rule.id.prio, rule.rule.id.prio);
    ++looked;
  }
  EXPECT_EQ(looked, 2U);
}

TEST(Untracked, a_first_datagram_leaves_no_connection_unless_something_about_it_is_unusual) {
  Config config = judged_blue();
  const model::Judges judges = judges_of(config);
  const RuleSet rules = compiled(config);
  const model::Dataplane dataplane(rules, kVxlan, &judges);
  model::Packet question = guest_packet(1, "10.0.0.2");
  question.unseen = true;
  const auto connections_after = [&dataplane](const model::Packet& packet) {
    model::Conntrack conntrack;
    const model::Outcome outcome = dataplane.software(kWeb, packet, conntrack);
    EXPECT_EQ(outcome.device, kDb) << outcome.to_string();
    EXPECT_EQ(outcome.fault, "");
    return conntrack.connections().size();
  };
  EXPECT_EQ(connections_after(question), 0U);
  model::Packet other = question;
  other.ttl = 128;
  EXPECT_EQ(connections_after(other), 0U);
  other = question;
  other.unseen = false;
  EXPECT_EQ(connections_after(other), 1U);
  other = question;
  other.ttl = 255;
  EXPECT_EQ(connections_after(other), 1U);
  other = question;
  other.fragment = true;
  EXPECT_EQ(connections_after(other), 1U);
  other = question;
  other.dst_port = 546;
  EXPECT_EQ(connections_after(other), 1U) << "DHCP has its own";
  other = question;
  other.protocol = kProtoTcp;
  other.tcp_flags = model::kTcpSyn;
  EXPECT_EQ(connections_after(other), 1U);
}

TEST(Untracked, what_may_not_begin_is_not_let_go_but_denied_and_counted_as_ever) {
  Config config = judged_blue();
  config.tenants[0].ports[0].security_groups = {"closed"};
  const model::Judges judges = judges_of(config);
  const RuleSet rules = compiled(config);
  const model::Dataplane dataplane(rules, kVxlan, &judges);
  model::Packet question = guest_packet(1, "10.0.0.2");
  question.unseen = true;
  model::Conntrack conntrack;
  const model::Outcome outcome = dataplane.software(kWeb, question, conntrack);
  EXPECT_EQ(outcome.reason(), DropReason::denied) << outcome.to_string();
  EXPECT_EQ(outcome.judged.size(), 1U);
  EXPECT_TRUE(conntrack.connections().empty());
}

}  // namespace sepal::tc
