// What security groups say, rule by rule, through the tables and the code that the kernel's program is made of.
#include "policy/judge.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "policy/compile.hpp"

namespace sepal::policy {
namespace {

using config::GroupRule;
using config::SecurityGroup;

IpAddr ip(const char* text) { return IpAddr::parse(text).value(); }
IpPrefix net(const char* text) { return IpPrefix::parse(text).value(); }

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kIcmp = 1;

GroupRule from_any(std::optional<uint8_t> protocol = {}, std::vector<PortRange> ports = {}) {
  GroupRule rule;
  rule.protocol = protocol;
  rule.ports = std::move(ports);
  rule.remote.any = true;
  return rule;
}
GroupRule deny(GroupRule rule) {
  rule.allow = false;
  return rule;
}
GroupRule at(uint16_t priority, GroupRule rule) {
  rule.priority = priority;
  return rule;
}
GroupRule of_networks(std::vector<IpPrefix> networks, GroupRule rule) {
  rule.remote = {};
  rule.remote.networks = std::move(networks);
  return rule;
}
GroupRule of_group(const char* name, GroupRule rule) {
  rule.remote = {};
  rule.remote.groups = {name};
  return rule;
}
SecurityGroup group(const char* name, std::vector<GroupRule> ingress, std::vector<GroupRule> egress = {}) {
  SecurityGroup made;
  made.name = name;
  made.ingress = std::move(ingress);
  made.egress = std::move(egress);
  return made;
}
SecurityGroup audited(SecurityGroup made) {
  made.audit = true;
  return made;
}
Port port(const char* name, const char* address, std::vector<std::string> groups = {}) {
  return {name, {IpPrefix::host(ip(address))}, std::move(groups)};
}
Network network(std::vector<SecurityGroup> groups, std::vector<Port> ports) {
  return {Vni(100), "blue", std::move(groups), std::move(ports), {}};
}
Flow flow(const char* source, const char* destination, uint8_t protocol, uint16_t detail = 0) {
  return {ip(source), ip(destination), protocol, detail, false};
}
bool allowed(const Network& net_, const Flow& flow_) { return Judge(compile(net_).tables).judge(flow_).allowed; }
Verdict verdict(const Network& net_, const Flow& flow_) { return Judge(compile(net_).tables).judge(flow_); }

const char* const kWeb = "10.0.0.1";
const char* const kDb = "10.0.0.2";
const char* const kAway = "10.9.9.9";  // nobody's here

TEST(Judge, a_port_without_groups_is_open) {
  const Network blue = network({group("web", {})}, {port("web-0", kWeb), port("db-0", kDb)});
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
  EXPECT_TRUE(allowed(blue, flow(kWeb, kDb, kUdp, 53)));
}

TEST(Judge, a_port_with_groups_denies_what_no_rule_allows_in_each_direction) {
  const Network blue = network({group("web", {from_any(kTcp, {{80, 80}})}, {from_any(kUdp, {{53, 53}})})},
                               {port("web-0", kWeb, {"web"})});
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 81)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kUdp, 80)));
  EXPECT_TRUE(allowed(blue, flow(kWeb, kAway, kUdp, 53)));
  EXPECT_FALSE(allowed(blue, flow(kWeb, kAway, kTcp, 80))) << "what may come in may not go out";
}

// What they say stands in the same entry, in an entry of its own, or in a table.
TEST(Judge, ports_begin_and_end_where_a_rule_says) {
  const auto at_port = [](const std::vector<PortRange>& ranges, std::optional<GroupRule> any, uint16_t detail) {
    std::vector<GroupRule> rules{from_any(kTcp, ranges)};
    if (any) rules.push_back(*any);
    return allowed(network({group("web", std::move(rules))}, {port("web-0", kWeb, {"web"})}),
                   flow(kAway, kWeb, kTcp, detail));
  };
  for (const uint16_t inside : std::initializer_list<uint16_t>{8000, 8001, 8099})
    EXPECT_TRUE(at_port({{8000, 8099}}, {}, inside)) << inside;
  for (const uint16_t outside : std::initializer_list<uint16_t>{0, 7999, 8100, 65535}) {
    EXPECT_FALSE(at_port({{8000, 8099}}, {}, outside)) << outside;
    EXPECT_FALSE(at_port({{8000, 8099}, {9000, 9000}}, {}, outside)) << outside;
    EXPECT_TRUE(at_port({{8000, 8099}}, from_any(), outside)) << "a rule of any protocol";
  }
  EXPECT_TRUE(at_port({{8000, 8099}, {9000, 9000}}, {}, 9000));
  EXPECT_TRUE(at_port({{0, 0}}, {}, 0));
  EXPECT_FALSE(at_port({{0, 0}}, {}, 1));
  EXPECT_TRUE(at_port({{65535, 65535}}, {}, 65535));
  EXPECT_FALSE(at_port({{8000, 8099}}, deny(from_any()), 8000)) << "denials first";
}

// A port's own address is found by a hash, of which two may share one; and the words of an address are none of the
// other family's.
TEST(Judge, addresses_that_look_alike_are_told_apart) {
  const char* const one = "fd00::1";
  IpAddr other = ip(one);
  constexpr uint32_t kOdd = 0x9e3779b1U;  // of sepal_host_key()
  const uint32_t third = 1;
  for (size_t i = 0; i < 4; ++i) {
    other.bytes[i] = static_cast<uint8_t>(other.bytes[i] ^ kOdd >> 8U * i);
    other.bytes[8 + i] = static_cast<uint8_t>(third >> 8U * i);
  }
  const auto key_of = [](const IpAddr& address) {
    alignas(uint32_t) std::array<uint8_t, 16> words = address.bytes;
    return sepal_host_key(words.data(), 1);
  };
  const sepal_choice_key key = key_of(ip(one));
  const sepal_choice_key same = key_of(other);
  ASSERT_EQ(std::memcmp(&key, &same, sizeof key), 0) << other.to_string();
  const SecurityGroup open = group("open", {from_any()});
  const SecurityGroup closed = group("closed", {});
  const std::string text = other.to_string();
  const Network blue = network({open, closed}, {port("a", one, {"closed"}), port("b", text.c_str(), {"open"}),
                                                port("c", "a00:1::", {}), port("d", kWeb, {"closed"})});
  EXPECT_FALSE(allowed(blue, flow("fd00::9", one, kTcp, 80)));
  EXPECT_TRUE(allowed(blue, flow("fd00::9", text.c_str(), kTcp, 80)));
  EXPECT_TRUE(allowed(blue, flow("fd00::9", "a00:1::", kTcp, 80)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
}

// Another's route takes over what is delivered, and leaves who sends.
TEST(Judge, a_route_decides_who_receives_what_is_sent_to_a_ports_address) {
  Network blue = network({group("open", {from_any()}, {from_any()}), group("closed", {})},
                         {port("web-0", kWeb, {"open"}), port("db-0", kDb, {"closed"})});
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
  blue.routes = {{net("10.0.0.1/32"), "db-0"}};
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
  EXPECT_TRUE(allowed(blue, flow(kWeb, kAway, kTcp, 80)));
}

TEST(Judge, a_group_without_rules_denies_everything) {
  const Network blue = network({group("closed", {})}, {port("web-0", kWeb, {"closed"})});
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
  EXPECT_FALSE(allowed(blue, flow(kWeb, kAway, kTcp, 80)));
}

TEST(Judge, both_ends_on_one_host_are_judged) {
  const Network out_only =
      network({group("a", {}, {from_any()}), group("b", {})}, {port("web-0", kWeb, {"a"}), port("db-0", kDb, {"b"})});
  EXPECT_FALSE(allowed(out_only, flow(kWeb, kDb, kTcp, 5432))) << "the receiver does not allow it";
  const Network in_only =
      network({group("a", {}), group("b", {from_any()})}, {port("web-0", kWeb, {"a"}), port("db-0", kDb, {"b"})});
  EXPECT_FALSE(allowed(in_only, flow(kWeb, kDb, kTcp, 5432))) << "the sender is not let out";
  const Network both = network({group("a", {}, {from_any()}), group("b", {from_any()})},
                               {port("web-0", kWeb, {"a"}), port("db-0", kDb, {"b"})});
  EXPECT_TRUE(allowed(both, flow(kWeb, kDb, kTcp, 5432)));
}

TEST(Judge, rules_of_all_groups_of_a_port_count) {
  const Network blue = network({group("ssh", {from_any(kTcp, {{22, 22}})}), group("web", {from_any(kTcp, {{80, 80}})})},
                               {port("web-0", kWeb, {"web", "ssh"})});
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 22)));
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 23)));
}

TEST(Judge, the_lowest_priority_decides_whatever_name_it_matches_by) {
  const Network blue =
      network({group("web", {at(20, from_any(kTcp)), at(10, deny(of_networks({net("10.9.0.0/16")}, from_any()))),
                             at(5, of_networks({net("10.9.9.0/24")}, from_any(kTcp, {{80, 80}})))})},
              {port("web-0", kWeb, {"web"})});
  EXPECT_TRUE(allowed(blue, flow("10.8.0.1", kWeb, kTcp, 443)));
  EXPECT_FALSE(allowed(blue, flow("10.9.1.1", kWeb, kTcp, 443)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 443))) << "the longer network has no rule for this port";
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
}

TEST(Judge, of_equal_priorities_a_denial_decides) {
  const Network blue = network({group("web", {from_any(kTcp, {{80, 90}}), deny(from_any(kTcp, {{85, 85}}))})},
                               {port("web-0", kWeb, {"web"})});
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 84)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 85)));
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, 86)));
}

TEST(Judge, ranges_and_lists_of_ports_end_where_they_say) {
  const Network blue = network({group("web", {from_any(kTcp, {{80, 80}, {1000, 2999}, {65535, 65535}})})},
                               {port("web-0", kWeb, {"web"})});
  for (const uint16_t open : std::initializer_list<uint16_t>{80, 1000, 1024, 2048, 2999, 65535})
    EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kTcp, open))) << open;
  for (const uint16_t closed : std::initializer_list<uint16_t>{0, 1, 79, 81, 999, 3000, 65534})
    EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, closed))) << closed;
}

TEST(Judge, icmp_is_told_apart_by_type_and_code) {
  GroupRule echo = from_any(kIcmp);
  echo.icmp_type = 8;
  GroupRule one_code = from_any(kIcmp);
  one_code.icmp_type = 3;
  one_code.icmp_code = 4;
  const Network blue = network({group("web", {echo, one_code})}, {port("web-0", kWeb, {"web"})});
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kIcmp, 8 << 8)));
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kIcmp, 8 << 8 | 1)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kIcmp, 13 << 8)));
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, kIcmp, 3 << 8 | 4)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kIcmp, 3 << 8 | 3)));
}

TEST(Judge, a_protocol_by_number_is_allowed_as_such) {
  const Network blue = network({group("tunnels", {from_any(47)})}, {port("web-0", kWeb, {"tunnels"})});
  EXPECT_TRUE(allowed(blue, flow(kAway, kWeb, 47)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, 50)));
}

TEST(Judge, a_group_is_its_ports_here_and_its_members_elsewhere) {
  SecurityGroup app = group("app", {}, {from_any()});
  app.members = {net("10.5.0.0/24"), net("fd00:5::7/128")};
  const Network blue = network({app, group("db", {of_group("app", from_any(kTcp, {{5432, 5432}}))})},
                               {port("web-0", kWeb, {"app"}), port("db-0", kDb, {"db"})});
  EXPECT_TRUE(allowed(blue, flow(kWeb, kDb, kTcp, 5432)));
  EXPECT_TRUE(allowed(blue, flow("10.5.0.200", kDb, kTcp, 5432)));
  EXPECT_FALSE(allowed(blue, flow("10.5.1.1", kDb, kTcp, 5432)));
  EXPECT_FALSE(allowed(blue, flow(kWeb, kDb, kTcp, 22)));
}

TEST(Judge, groups_may_name_each_other_in_a_circle_and_themselves) {
  const Network blue =
      network({group("a", {of_group("b", from_any())}, {of_group("b", from_any())}),
               group("b", {of_group("a", from_any()), of_group("b", from_any())}, {of_group("a", from_any())})},
              {port("web-0", kWeb, {"a"}), port("db-0", kDb, {"b"})});
  EXPECT_TRUE(allowed(blue, flow(kWeb, kDb, kTcp, 1)));
  EXPECT_TRUE(allowed(blue, flow(kDb, kWeb, kTcp, 1)));
  EXPECT_FALSE(allowed(blue, flow(kAway, kDb, kTcp, 1)));
}

TEST(Judge, all_of_ipv6_is_not_ipv4) {
  Network blue = network({group("web", {of_networks({net("::/0")}, from_any())})}, {port("web-0", kWeb, {"web"})});
  blue.ports[0].sources.push_back(net("fd00::1/128"));
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 80)));
  EXPECT_TRUE(allowed(blue, flow("fd00::9", "fd00::1", kTcp, 80)));
}

TEST(Judge, what_a_route_delivers_to_a_port_is_judged_by_that_port) {
  Network blue = network({group("web", {from_any(kTcp, {{80, 80}})})}, {port("web-0", kWeb, {"web"})});
  blue.routes = {{net("10.50.0.0/16"), "web-0"}, {net("10.50.1.0/24"), ""}};
  EXPECT_TRUE(allowed(blue, flow(kAway, "10.50.0.9", kTcp, 80)));
  EXPECT_FALSE(allowed(blue, flow(kAway, "10.50.0.9", kTcp, 81)));
  EXPECT_TRUE(allowed(blue, flow(kAway, "10.50.1.9", kTcp, 81))) << "leaves again: nobody's here to judge";
}

TEST(Judge, a_source_in_a_peers_network_is_in_no_group_here_and_was_let_out_there) {
  const Network blue = network(
      {group("app", {}, {}), group("db", {of_group("app", from_any()), of_networks({net("10.7.0.0/16")}, from_any())})},
      {port("web-0", kWeb, {"app"}), port("db-0", kDb, {"db"})});
  Flow same_address = flow(kWeb, kDb, kTcp, 5432);
  EXPECT_FALSE(allowed(blue, same_address)) << "group app lets nothing out";
  same_address.from_peer = true;
  EXPECT_FALSE(allowed(blue, same_address)) << "the same address in another network is no member";
  Flow by_network = flow("10.7.0.1", kDb, kTcp, 5432);
  by_network.from_peer = true;
  EXPECT_TRUE(allowed(blue, by_network));
}

TEST(Judge, an_audited_group_changes_nothing_and_says_what_it_would) {
  const Network blue =
      network({audited(group("trial", {from_any(kTcp, {{80, 80}})}))}, {port("web-0", kWeb, {"trial"})});
  const Verdict fits = verdict(blue, flow(kAway, kWeb, kTcp, 80));
  EXPECT_TRUE(fits.allowed);
  EXPECT_FALSE(fits.ingress.audited());
  const Verdict not_allowed = verdict(blue, flow(kAway, kWeb, kTcp, 81));
  EXPECT_TRUE(not_allowed.allowed);
  EXPECT_TRUE(not_allowed.ingress.audited());
  EXPECT_EQ(not_allowed.ingress.rule & SEPAL_RULE_ID, SEPAL_RULE_DEFAULT_INGRESS);
}

TEST(Judge, an_audited_group_beside_an_enforced_one_neither_opens_nor_closes) {
  const Network blue =
      network({group("web", {from_any(kTcp, {{80, 80}})}),
               audited(group("trial", {at(1, deny(from_any(kTcp, {{80, 80}}))), from_any(kTcp, {{22, 22}})}))},
              {port("web-0", kWeb, {"web", "trial"})});
  const Verdict would_close = verdict(blue, flow(kAway, kWeb, kTcp, 80));
  EXPECT_TRUE(would_close.allowed);
  EXPECT_TRUE(would_close.ingress.audited());
  EXPECT_FALSE(allowed(blue, flow(kAway, kWeb, kTcp, 22))) << "as if the audited group were not there";
}

TEST(Judge, the_rule_that_decided_is_named_and_a_log_flag_comes_with_it) {
  GroupRule logged = from_any(kTcp, {{80, 443}});
  logged.log = true;
  const TenantPolicy policy = compile(network({group("web", {logged})}, {port("web-0", kWeb, {"web"})}));
  const Verdict said = Judge(policy.tables).judge(flow(kAway, kWeb, kTcp, 80));
  EXPECT_NE(said.ingress.rule & SEPAL_RULE_LOGS, 0U);
  EXPECT_EQ(rule_text(policy, said.ingress.rule), "group web, ingress: allow tcp 80-443 from any");
  const Verdict denied = Judge(policy.tables).judge(flow(kWeb, kAway, kTcp, 80));
  EXPECT_EQ(rule_text(policy, denied.egress.rule), "egress: no rule of its groups matches");
}

TEST(Judge, tables_without_an_entry_fail_closed) {
  TenantPolicy policy = compile(network({group("web", {from_any()})}, {port("web-0", kWeb, {"web"})}));
  policy.tables.choices.clear();
  EXPECT_FALSE(Judge(policy.tables).judge(flow(kAway, kWeb, kTcp, 80)).allowed);
}

TEST(Compile, the_same_network_gives_the_same_tables) {
  const Network blue = network({group("web", {from_any(kTcp, {{80, 443}})})}, {port("web-0", kWeb, {"web"})});
  EXPECT_EQ(compile(blue).tables.space, compile(blue).tables.space);
  Network other = blue;
  other.groups[0].ingress[0].ports = {{80, 444}};
  EXPECT_NE(compile(other).tables.space, compile(blue).tables.space);
  other = blue;
  other.vni = Vni(101);
  EXPECT_NE(compile(other).tables.space, compile(blue).tables.space);
}

TEST(Compile, a_rule_keeps_its_id_when_others_come_and_go) {
  const auto id_of = [](const Network& net_, const char* text) {
    for (const NamedRule& rule : compile(net_).rules)
      if (rule.text == text) return rule.id;
    return 0U;
  };
  const Network before = network({group("web", {from_any(kTcp, {{80, 80}})})}, {port("web-0", kWeb, {"web"})});
  const Network after = network(
      {group("a", {from_any(kTcp, {{80, 80}})}), group("web", {deny(from_any(kUdp)), from_any(kTcp, {{80, 80}})})},
      {port("db-0", kDb, {"a"}), port("web-0", kWeb, {"web"})});
  const uint32_t id = id_of(before, "allow tcp 80 from any");
  EXPECT_GE(id, uint32_t{SEPAL_RULE_FIRST});
  const TenantPolicy policy = compile(after);
  const NamedRule* same = policy.rule(id);
  ASSERT_NE(same, nullptr);
  EXPECT_EQ(same->group, "web");
}

TEST(Compile, keys_are_sorted_and_each_stands_once) {
  const TenantPolicy policy =
      compile(network({group("web", {from_any(kTcp, {{1, 65535}}), of_networks({net("10.0.0.0/8"), net("10.0.0.0/24")},
                                                                               from_any(kTcp, {{7, 9000}}))})},
                      {port("web-0", kWeb, {"web"})}));
  const auto rising = [](const auto& entries) {
    for (size_t i = 1; i < entries.size(); ++i)
      if (std::memcmp(&entries[i - 1].key, &entries[i].key, sizeof entries[i].key) >= 0) return false;
    return true;
  };
  EXPECT_TRUE(rising(policy.tables.prefixes));
  EXPECT_TRUE(rising(policy.tables.choices));
}

// The tables grow with the rules and with the addresses, not with their product.
TEST(Compile, ten_thousand_rules_and_a_hundred_thousand_addresses_stay_small) {
  SecurityGroup app = group("app", {});
  for (uint32_t i = 0; i < 100'000; ++i)
    app.members.push_back(
        IpPrefix::host(IpAddr::v4(172, static_cast<uint8_t>(16 + (i >> 16U)), static_cast<uint8_t>(i >> 8U & 0xffU),
                                  static_cast<uint8_t>(i & 0xffU))));
  SecurityGroup web = group("web", {of_group("app", from_any(kTcp, {{5432, 5432}}))});
  for (uint32_t i = 0; i < 10'000; ++i) {
    const IpPrefix from =
        IpPrefix::make(IpAddr::v4(20, static_cast<uint8_t>(i >> 8U), static_cast<uint8_t>(i & 0xffU), 0), 24);
    const auto first = static_cast<uint16_t>(1000 + i);
    web.ingress.push_back(i % 2 == 0 ? of_networks({from}, from_any(kTcp, {{first, first}}))
                                     : from_any(kUdp, {{first, first}}));
  }
  const TenantPolicy policy = compile(network({app, web}, {port("web-0", kWeb, {"web"})}));
  EXPECT_LT(policy.tables.choices.size(), 20'000U);
  EXPECT_LT(policy.tables.prefixes.size(), 100'000U + 3 * 10'000U);
  const Judge judge(policy.tables);
  EXPECT_TRUE(judge.judge(flow("172.17.0.5", kWeb, kTcp, 5432)).allowed);
  EXPECT_FALSE(judge.judge(flow("172.17.0.5", kWeb, kTcp, 5433)).allowed);
  EXPECT_TRUE(judge.judge(flow("20.0.4.9", kWeb, kTcp, 1004)).allowed);
  EXPECT_FALSE(judge.judge(flow("20.0.4.9", kWeb, kTcp, 1006)).allowed);
  EXPECT_TRUE(judge.judge(flow("20.0.4.9", kWeb, kUdp, 1005)).allowed);
}

}  // namespace
}  // namespace sepal::policy
