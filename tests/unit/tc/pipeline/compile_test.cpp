// What compile makes of small configurations, rule by rule, and what holds for every rule set it makes.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tc/model/walk.hpp"
#include "tc/pipeline/lint.hpp"
#include "tc/pipeline/plan.hpp"
#include "world.hpp"
#include "worlds.hpp"

namespace sepal::tc {
namespace {

using config::Config;
using config::Tenant;
using model::example_config;
using model::example_port;
using model::example_tenant;
using model::facts_with_all_ports;
using model::ip;
using model::kUplink;
using model::kVxlan;
using model::mac;
using model::prefix;

constexpr IfIndex kWeb{10};
constexpr IfIndex kDb{11};

Config blue_with_two_ports() {
  Config config = example_config();
  Tenant& t = config.tenants.emplace_back(example_tenant("blue", 100));
  t.ports = {example_port("web", 1), example_port("db", 2)};
  return config;
}

void add_public(Config& config, std::optional<Vid> vlan = {}) {
  config.host.public_net = config::Public{vlan, {ip("198.51.100.1")}, mac("02:00:00:00:99:01"), true, {}};
}

// The rules of one chain as text without their place: match and actions.
std::vector<std::string> chain_text(const RuleSet& rules, IfIndex device, uint32_t chain) {
  std::vector<std::string> lines;
  for (const CompiledRule& rule : rules.rules) {
    if (rule.rule.id.device != device || rule.rule.id.chain != chain) continue;
    lines.push_back(std::to_string(rule.rule.id.prio) + " " + to_text(rule.rule.spec));
  }
  std::sort(lines.begin(), lines.end(), [](const std::string& a, const std::string& b) {
    const int x = std::stoi(a);
    const int y = std::stoi(b);
    return x != y ? x < y : a < b;
  });
  return lines;
}

const CompiledRule* routed_to(const RuleSet& rules, IfIndex device, uint32_t chain, const char* to) {
  for (const CompiledRule& rule : rules.rules) {
    if (rule.rule.id.device != device || rule.rule.id.chain != chain) continue;
    const IpPrefix wanted = prefix(to);
    if (rule.rule.spec.match.find(Key::ct_mark) != nullptr) continue;
    if (Match().eth_type(eth_of(wanted.family())).ip(Key::dst_ip4, wanted) == rule.rule.spec.match) return &rule;
  }
  return nullptr;
}

model::Packet guest_packet(uint8_t from, const char* to) {
  model::Packet packet;
  packet.src_mac = example_port("", from).mac;
  packet.dst_mac = example_config().host.gateway_mac;
  packet.src = IpAddr::v4(10, 0, 0, from);
  packet.dst = ip(to);
  packet.src_port = 4000;
  packet.dst_port = 53;
  return packet;
}

constexpr uint32_t blue(Group group, Lane lane = Lane::guest) { return chain_number(lane, group, Vni(100)); }

}  // namespace

TEST(Compile, is_a_pure_function) {
  model::in_every_world([](const model::Compiled& compiled, uint64_t seed) {
    const model::World copy = model::random_world(seed);
    EXPECT_TRUE(compiled.rules == compile(copy.config, copy.facts));
  });
}

TEST(Compile, places_are_unique_sorted_and_of_one_protocol_per_priority) {
  model::in_every_world([](const model::Compiled& compiled, uint64_t) {
    const CompiledRule* before = nullptr;
    for (const CompiledRule& rule : compiled.rules.rules) {
      const RuleId& id = rule.rule.id;
      ASSERT_GE(id.handle, 1U);
      ASSERT_LE(id.handle, 0x7fffffffU);
      if (before != nullptr) {
        const RuleId& last = before->rule.id;
        ASSERT_LT(std::tie(last.device, last.chain, last.prio, last.handle),
                  std::tie(id.device, id.chain, id.prio, id.handle));
        if (std::tie(last.device, last.chain, last.prio) == std::tie(id.device, id.chain, id.prio)) {
          ASSERT_EQ(last.protocol, id.protocol);
        }
      }
      before = &rule;
    }
  });
}

TEST(Compile, a_rules_place_and_cookie_do_not_depend_on_other_tenants) {
  Config config = blue_with_two_ports();
  const RuleSet alone = compile(config, facts_with_all_ports(config));
  Facts facts = facts_with_all_ports(config);
  config.tenants.push_back(example_tenant("red", 200));
  config.tenants[1].ports = {example_port("web", 1)};
  facts.ports[{"red", "web"}] = IfIndex(12);
  const RuleSet both = compile(config, facts);
  for (const CompiledRule& rule : alone.rules) {
    EXPECT_NE(std::find(both.rules.begin(), both.rules.end(), rule), both.rules.end()) << to_text(rule.rule);
  }
}

TEST(Compile, cookies_carry_the_instance_and_the_tenants_zone) {
  const Config config = blue_with_two_ports();
  Facts facts = facts_with_all_ports(config);
  facts.zones = {{Vni(100), Zone(42)}};
  for (const CompiledRule& rule : compile(config, facts).rules) {
    EXPECT_EQ(rule.cookie.instance, facts.instance);
    EXPECT_EQ(rule.cookie.zone, rule.origin.vni == Vni() ? Zone() : Zone(42)) << to_text(rule.rule);
    EXPECT_EQ(rule.cookie.content, content_hash(rule.rule.spec, rule.rule.id.protocol));
  }
}

TEST(Compile, rewrites_checksums_and_tunnel_keys_are_shared_but_not_beside_ct_and_police_and_never_last) {
  size_t shared = 0;
  model::in_every_world([&shared](const model::Compiled& compiled, uint64_t) {
    for (const CompiledRule& rule : compiled.rules.rules) {
      bool needs_own = false;
      for (const Action& action : rule.rule.spec.actions)
        needs_own |= std::holds_alternative<Ct>(action.kind) || std::holds_alternative<Police>(action.kind);
      EXPECT_FALSE(rule.rule.spec.actions.back().shared) << to_text(rule.rule);
      for (const Action& action : rule.rule.spec.actions) {
        const bool bulk = std::holds_alternative<Pedit>(action.kind) || std::holds_alternative<Csum>(action.kind) ||
                          std::holds_alternative<TunnelSet>(action.kind);
        EXPECT_EQ(action.shared, bulk && !needs_own) << to_text(rule.rule);
        shared += action.shared ? 1U : 0U;
      }
    }
  });
  EXPECT_GT(shared, 1000U);
}

TEST(Compile, a_rule_is_deeper_than_everything_it_can_jump_to) {
  model::in_every_world([](const model::Compiled& compiled, uint64_t) {
    const RuleSet& rules = compiled.rules;
    std::map<std::pair<IfIndex, uint32_t>, unsigned> deepest;
    for (const CompiledRule& rule : rules.rules) {
      unsigned& depth = deepest[{rule.rule.id.device, rule.rule.id.chain}];
      depth = std::max<unsigned>(depth, rule.depth);
    }
    for (const CompiledRule& rule : rules.rules) {
      for (const Action& action : rule.rule.spec.actions) {
        const auto* gact = std::get_if<Gact>(&action.kind);
        if (gact == nullptr || gact->verdict.control != Control::goto_chain) continue;
        EXPECT_EQ(rule.depth, (deepest[{rule.rule.id.device, gact->verdict.chain}]) + 1);
      }
    }
  });
}

TEST(Compile, random_worlds_break_no_lint_rule) {
  auto check = [](const model::Compiled& compiled, uint64_t) {
    const auto context = lint_context(compiled.world.config, compiled.world.facts, compiled.rules.zones);
    for (const LintFinding& finding : lint(compiled.rules.rules, context)) {
      EXPECT_TRUE(finding.informative) << to_string(finding);
    }
  };
  model::in_every_world(check);
  model::in_every_world(check, true, model::kWorldsBeyondNic);
}

TEST(Compile, a_waiting_port_has_no_rules_and_its_addresses_drop_by_name) {
  const Config config = blue_with_two_ports();
  Facts facts = facts_with_all_ports(config);
  facts.ports.erase({"blue", "db"});
  const RuleSet rules = compile(config, facts);
  EXPECT_EQ(rules.waiting, (std::vector<PortKey>{{"blue", "db"}}));
  EXPECT_TRUE(std::none_of(rules.rules.begin(), rules.rules.end(),
                           [](const CompiledRule& r) { return r.rule.id.device == kDb; }));
  const CompiledRule* route = routed_to(rules, kWeb, blue(Group::encap), "10.0.0.2/32");
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->origin.drop, DropReason::waiting);
  EXPECT_EQ(route->rule.spec.actions, std::vector<Action>{drop()});
}

TEST(Compile, public_routes_wait_until_the_gateways_mac_is_known) {
  Config config = blue_with_two_ports();
  add_public(config);
  config.host.public_net->gateway_mac.reset();
  config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), std::nullopt, {}}};
  config.tenants[0].routes = {{prefix("0.0.0.0/0"), config::ViaPublic{}, {}, {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const CompiledRule* route = routed_to(rules, kWeb, blue(Group::encap), "0.0.0.0/0");
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->origin.drop, DropReason::waiting);
  ASSERT_EQ(rules.notes.size(), 1U);
  EXPECT_NE(rules.notes[0].find("198.51.100.1"), std::string::npos);
}

TEST(Compile, tenants_beyond_the_nics_zones_are_noted_and_wholly_skip_hw_behind_the_shared_chain) {
  Config config = blue_with_two_ports();
  config.tenants.push_back(example_tenant("red", 200));
  config.tenants[1].ports = {example_port("web", 1)};
  Facts facts = facts_with_all_ports(config);
  facts.zones = {{Vni(100), Zone(255)}, {Vni(200), Zone(254)}};
  const RuleSet rules = compile(config, facts);
  ASSERT_EQ(rules.notes.size(), 1U);
  EXPECT_NE(rules.notes[0].find("blue"), std::string::npos);
  bool red_in_hardware = false;
  for (const CompiledRule& rule : rules.rules) {
    if (rule.origin.vni == Vni(100) && (rule.rule.id.device != kVxlan || rule.rule.id.chain != 0)) {
      EXPECT_TRUE(rule.rule.spec.skip_hw) << to_text(rule.rule);
    }
    red_in_hardware |= rule.origin.vni == Vni(200) && !rule.rule.spec.skip_hw;
  }
  EXPECT_TRUE(red_in_hardware);
}

TEST(Compile, a_port_whose_peer_is_beyond_the_nics_zones_leaves_hardware_as_a_whole) {
  Config config = blue_with_two_ports();
  config.tenants.push_back(example_tenant("red", 200));
  config.tenants[1].ports = {example_port("web", 9)};
  config.tenants[0].peers = {"red"};
  config.tenants[1].peers = {"blue"};
  config.tenants[0].routes = {{prefix("10.0.0.9/32"), config::ViaPort{"web"}, Vni(200), {}}};
  Facts facts = facts_with_all_ports(config);
  facts.zones = {{Vni(200), Zone(300)}};
  for (const CompiledRule& rule : compile(config, facts).rules) {
    if (rule.rule.id.device == kWeb) {
      EXPECT_TRUE(rule.rule.spec.skip_hw) << to_text(rule.rule);
    }
  }
}

TEST(Group0, lets_in_own_mac_with_own_address_and_punts_what_is_not_for_conntrack) {
  const Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  EXPECT_EQ(chain_text(rules, kWeb, 0).size(), 1U + 3U + 2U + 2U + 4U + 1U + 2U + 1U)
      << "ARP, ND, DHCP, echo requests to the gateways, punts, the size, addresses, the rest";
  const auto lines = chain_text(rules, kWeb, 0);
  EXPECT_NE(std::find_if(lines.begin(), lines.end(),
                         [](const std::string& l) {
                           return l.find("src_mac 02:00:00:00:00:01") != std::string::npos &&
                                  l.find("src_ip 10.0.0.1") != std::string::npos &&
                                  l.find("ct zone 1 nat") != std::string::npos;
                         }),
            lines.end());
  EXPECT_EQ(lines.back().substr(0, 5), "1000 ");
}

TEST(Group0, hears_dhcp_where_it_is_answered_and_costs_nothing_elsewhere) {
  Config config = blue_with_two_ports();
  const auto rules_on = [&config](IfIndex device) {
    const RuleSet rules = compile(config, facts_with_all_ports(config));
    return std::count_if(rules.rules.begin(), rules.rules.end(),
                         [device](const CompiledRule& rule) { return rule.rule.id.device == device; });
  };
  const auto with = rules_on(kWeb);
  config.tenants[0].ports[0].guests.dhcp = false;
  EXPECT_EQ(rules_on(kWeb), with - 2) << "a question of each family";
  config.tenants[0].ports[0].guests.router_advertisements = false;
  EXPECT_EQ(rules_on(kWeb), with - 3) << "the program that hears them";
  config.tenants[0].ports[0].dhcp_server = true;
  EXPECT_EQ(rules_on(kWeb), with - 5) << "a guard of each family";
  EXPECT_EQ(rules_on(kDb), with);
}

TEST(Group0, a_clients_question_is_heard_from_whatever_address_and_a_servers_word_is_not) {
  const Config config = blue_with_two_ports();
  const Facts facts = facts_with_all_ports(config);
  const RuleSet rules = compile(config, facts);
  const model::Dataplane plane(rules, kVxlan);
  model::Packet packet = guest_packet(1, "255.255.255.255");
  packet.src = ip("0.0.0.0");
  packet.src_port = 68;
  packet.dst_port = 67;
  model::Conntrack conntrack;
  EXPECT_EQ(plane.software(kWeb, packet, conntrack).kind, model::Outcome::Kind::heard);
  packet = guest_packet(1, "10.0.0.254");  // renewing
  packet.src_port = 68;
  packet.dst_port = 67;
  EXPECT_EQ(plane.software(kWeb, packet, conntrack).kind, model::Outcome::Kind::heard);
  packet.src_mac.bytes[5] = 0x77;
  EXPECT_EQ(plane.software(kWeb, packet, conntrack).reason(), DropReason::spoofed);
  packet = guest_packet(1, "10.0.0.2");
  packet.src_port = 67;
  packet.dst_port = 68;
  EXPECT_EQ(plane.software(kWeb, packet, conntrack).reason(), DropReason::rogue_service);
}

// The port's own limit before its tenant's before the host's, on the way of what its guest begins and on no other.
TEST(Group2, a_limit_of_new_connections_stands_before_group_7) {
  Config config = blue_with_two_ports();
  auto limited = [&config](IfIndex device) {
    const RuleSet rules = compile(config, facts_with_all_ports(config));
    std::vector<std::string> found;
    for (const std::string& line : chain_text(rules, device, blue(Group::nat)))
      if (line.find("police") != std::string::npos) found.push_back(line);
    return found;
  };
  EXPECT_TRUE(limited(kWeb).empty()) << "any number";
  auto has_rate = [&](IfIndex device, const std::string& rate) {
    const auto found = limited(device);
    return found.size() == 1 && found[0].substr(0, 2) == "7 " && found[0].find("+trk+new") != std::string::npos &&
           found[0].find("pkts_rate " + rate + " ") != std::string::npos;
  };
  config.host.limits.new_connections_per_second = 1000;
  EXPECT_TRUE(has_rate(kWeb, "1000"));
  config.tenants[0].port_limits.new_connections_per_second = 100;
  EXPECT_TRUE(has_rate(kWeb, "100"));
  config.tenants[0].ports[0].limits.new_connections_per_second = 10;
  EXPECT_TRUE(has_rate(kWeb, "10"));
  EXPECT_TRUE(has_rate(kDb, "100")) << "the other port";
  EXPECT_TRUE(limited(kVxlan).empty()) << "what comes from elsewhere";
}

// The host's bound or the tenant's own; it asks what is about to be committed, after the security groups.
TEST(Group7, a_bound_of_connections_asks_before_every_commit) {
  Config config = blue_with_two_ports();
  auto asked = [&config](IfIndex device) {
    size_t rules = 0;
    for (const std::string& line :
         chain_text(compile(config, facts_with_all_ports(config)), device, blue(Group::fresh))) {
      const size_t ask = line.find("sepal_room");
      if (ask == std::string::npos) continue;
      EXPECT_LT(line.find("skbedit mark"), ask) << line;
      EXPECT_LT(ask, line.find("ct commit")) << line;
      ++rules;
    }
    return rules;
  };
  EXPECT_EQ(asked(kWeb), 0U);
  config.host.limits.connections = 1000;
  EXPECT_GT(asked(kWeb), 0U);
  EXPECT_GT(asked(kVxlan), 0U) << "whoever begins them";
  config.host.limits.connections.reset();
  config.tenants[0].connections = 10;
  const RuleSet ten = compile(config, facts_with_all_ports(config));
  EXPECT_GT(asked(kWeb), 0U);
  config.tenants[0].connections = 20;
  EXPECT_EQ(compile(config, facts_with_all_ports(config)), ten) << "another number is no other rule";
}

TEST(Group0, in_software_what_is_larger_than_the_tenants_mtu_goes_back_as_an_error) {
  Config config = blue_with_two_ports();
  auto check = [&config] {
    const RuleSet rules = compile(config, facts_with_all_ports(config));
    std::vector<const CompiledRule*> found;
    for (const CompiledRule& rule : rules.rules)
      if (is_size_check(rule.rule.spec)) found.push_back(&rule);
    EXPECT_EQ(found.size(), 2U) << "one for each port, none elsewhere";
    for (const CompiledRule* rule : found) {
      EXPECT_TRUE(rule->rule.spec.skip_hw && rule->rule.id.chain == 0);
      EXPECT_EQ(rule->origin.drop, DropReason::too_big);
    }
    return std::get<Police>(found.at(0)->rule.spec.actions.front().kind).mtu;
  };
  EXPECT_EQ(check(), config.host.underlay.mtu - 50U + 14U);
  config.tenants[0].mtu = 1400;
  EXPECT_EQ(check(), 1414U);
}

TEST(Group0, limits_of_questions_are_the_ports_own_then_its_tenants_then_the_hosts) {
  Config config = blue_with_two_ports();
  auto rate = [&config] {
    const RuleSet rules = compile(config, facts_with_all_ports(config));
    const std::string first = chain_text(rules, kWeb, 0).front();
    const size_t at = first.find("pkts_rate ");
    return at == std::string::npos ? first : first.substr(at + 10, first.find(' ', at + 10) - at - 10);
  };
  EXPECT_EQ(rate(), "200");
  config.tenants[0].port_limits.arp_nd_per_second = 20;
  EXPECT_EQ(rate(), "20");
  config.tenants[0].ports[0].limits.arp_nd_per_second = 2;
  EXPECT_EQ(rate(), "2");
}

TEST(Group2, translates_again_only_where_something_is_translated) {
  Config config = blue_with_two_ports();
  const auto plain = chain_text(compile(config, facts_with_all_ports(config)), kWeb, blue(Group::nat));
  add_public(config);
  config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), std::nullopt, {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const auto translating = chain_text(rules, kWeb, blue(Group::nat));
  EXPECT_EQ(translating.size(), plain.size() + 2);
  EXPECT_EQ(chain_text(rules, kVxlan, blue(Group::nat)).size(), plain.size());
  EXPECT_EQ(std::count_if(translating.begin(), translating.end(),
                          [](const std::string& l) { return l.find("commit") != std::string::npos; }),
            2);
}

TEST(Group3, prefers_the_longest_prefix_down_to_the_default_route) {
  Config config = blue_with_two_ports();
  const char* nested[] = {"0.0.0.0/0", "10.0.0.0/8", "10.9.0.0/16", "10.9.9.0/24", "10.9.9.9/32"};
  for (size_t i = 0; i < std::size(nested); ++i) {
    const IpAddr vtep = IpAddr::v4(192, 0, 2, static_cast<uint8_t>(10 + i));
    config.tenants[0].routes.push_back({prefix(nested[i]), config::ViaVtep{vtep}, {}, {}});
  }
  const Facts facts = facts_with_all_ports(config);
  const RuleSet rules = compile(config, facts);
  const model::Dataplane dataplane(rules, kVxlan);
  const std::pair<const char*, uint8_t> expected[] = {
      {"8.8.8.8", 10}, {"10.1.2.3", 11}, {"10.9.1.1", 12}, {"10.9.9.1", 13}, {"10.9.9.9", 14}};
  for (const auto& [to, vtep] : expected) {
    model::Conntrack conntrack;
    const model::Outcome outcome = dataplane.software(kWeb, guest_packet(1, to), conntrack);
    ASSERT_TRUE(outcome.packet.leaves_in.has_value()) << outcome.to_string();
    EXPECT_EQ(outcome.packet.leaves_in->dst, IpAddr::v4(192, 0, 2, vtep)) << to;
  }
}

TEST(Group3, an_address_of_the_own_subnet_that_is_not_there_follows_no_wider_route) {
  Config config = blue_with_two_ports();
  config.tenants[0].routes = {{prefix("0.0.0.0/0"), config::ViaVtep{ip("192.0.2.9")}, {}, {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Conntrack conntrack;
  const model::Outcome absent = dataplane.software(kWeb, guest_packet(1, "10.0.0.77"), conntrack);
  EXPECT_EQ(absent.kind, model::Outcome::Kind::dropped);
  EXPECT_EQ(absent.reason(), DropReason::no_route);
  EXPECT_EQ(dataplane.software(kWeb, guest_packet(1, "10.0.1.77"), conntrack).device, kVxlan);
}

TEST(Group3, a_tunnel_that_does_not_leave_by_the_nic_stays_in_software_with_every_wider_route) {
  Config config = blue_with_two_ports();
  const std::pair<const char*, const char*> routes[] = {{"0.0.0.0/0", "192.0.2.10"},   {"10.9.0.0/16", "192.0.2.11"},
                                                        {"10.9.9.0/24", "192.0.2.12"}, {"10.9.9.9/32", "192.0.2.11"},
                                                        {"10.8.0.0/16", "192.0.2.11"}, {"2001:db8::/32", "192.0.2.11"}};
  for (const auto& [to, vtep] : routes)
    config.tenants[0].routes.push_back({prefix(to), config::ViaVtep{ip(vtep)}, {}, {}});
  Facts facts = facts_with_all_ports(config);
  facts.ways[ip("192.0.2.12")].keep_out = "leaves by eth1";
  const RuleSet rules = compile(config, facts);
  const auto in_software = [&](const char* to) {
    const CompiledRule* rule = routed_to(rules, kWeb, blue(Group::encap), to);
    return rule != nullptr && rule->rule.spec.skip_hw;
  };
  const auto last = std::find_if(rules.rules.begin(), rules.rules.end(), [](const CompiledRule& r) {
    return r.rule.id.device == kWeb && r.rule.id.chain == blue(Group::encap) && r.rule.id.prio == 1000;
  });
  ASSERT_NE(last, rules.rules.end());
  EXPECT_TRUE(last->rule.spec.skip_hw);
  EXPECT_TRUE(in_software("10.9.9.0/24")) << "it leaves by another device";
  EXPECT_TRUE(in_software("10.9.0.0/16")) << "in hardware it would overtake the one before";
  EXPECT_TRUE(in_software("0.0.0.0/0"));
  EXPECT_FALSE(in_software("10.9.9.9/32")) << "it is longer";
  EXPECT_FALSE(in_software("10.8.0.0/16")) << "beside it";
  EXPECT_FALSE(in_software("2001:db8::/32")) << "of the other family";
  EXPECT_EQ(rules.notes,
            (std::vector<std::string>{"VTEP 192.0.2.12 leaves by eth1; routes via it, and wider ones around "
                                      "them, stay in software"}));
}

TEST(Group3, each_generation_of_a_tunnel_is_another_tunnel_key_to_the_nic) {
  Config config = blue_with_two_ports();
  config.tenants[0].routes = {{prefix("10.9.0.0/16"), config::ViaVtep{ip("192.0.2.9")}, {}, {}}};
  Facts facts = facts_with_all_ports(config);
  std::set<TunnelSet> keys;
  for (uint8_t generation = 0; generation < kTunnelGenerations; ++generation) {
    facts.ways[ip("192.0.2.9")].generation = generation;
    for (const CompiledRule& rule : compile(config, facts).rules)
      for (const Action& action : rule.rule.spec.actions)
        if (const auto* set = std::get_if<TunnelSet>(&action.kind)) keys.insert(*set);
  }
  EXPECT_EQ(keys.size(), kTunnelGenerations);
  for (const TunnelSet& key : keys) EXPECT_TRUE(key.ttl == 0 || (key.ttl > 56 && key.ttl <= 64)) << unsigned{key.ttl};
}

TEST(Group3, rewrites_macs_and_takes_one_from_the_ttl) {
  Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Conntrack conntrack;
  const model::Outcome outcome = dataplane.software(kWeb, guest_packet(1, "10.0.0.2"), conntrack);
  ASSERT_EQ(outcome.device, kDb) << outcome.to_string();
  EXPECT_EQ(outcome.packet.src_mac, config.host.gateway_mac);
  EXPECT_EQ(outcome.packet.dst_mac, config.tenants[0].ports[1].mac);
  EXPECT_EQ(outcome.packet.ttl, 63);
  EXPECT_EQ(outcome.fault, "");
}

TEST(Group3, the_ttl_falls_once_on_the_way_through_a_peering) {
  Config config = blue_with_two_ports();
  config.tenants.push_back(example_tenant("red", 200));
  config.tenants[1].ports = {example_port("web", 9)};
  config.tenants[0].peers = {"red"};
  config.tenants[1].peers = {"blue"};
  config.tenants[0].routes = {{prefix("10.0.0.9/32"), config::ViaPort{"web"}, Vni(200), {}}};
  config.tenants[1].routes = {{prefix("10.0.0.1/32"), config::ViaPort{"web"}, Vni(100), {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Conntrack conntrack;
  const model::Outcome there = dataplane.software(kWeb, guest_packet(1, "10.0.0.9"), conntrack);
  ASSERT_EQ(there.device, IfIndex(12)) << there.to_string();
  EXPECT_EQ(there.packet.ttl, 63);
  EXPECT_EQ(there.packet.dst_mac, config.tenants[1].ports[0].mac);
  EXPECT_EQ(conntrack.connections().size(), 2U) << "one entry in each network's zone";
  model::Packet reply = guest_packet(9, "10.0.0.1");
  reply.src_port = 53;
  reply.dst_port = 4000;
  const model::Outcome back = dataplane.software(IfIndex(12), reply, conntrack);
  ASSERT_EQ(back.device, kWeb) << back.to_string();
  EXPECT_EQ(back.packet.ttl, 63);
  EXPECT_EQ(conntrack.connections().size(), 2U);
}

TEST(Group3, nothing_untranslated_follows_a_public_route) {
  Config config = blue_with_two_ports();
  add_public(config);
  config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), std::nullopt, {}}};
  config.tenants[0].routes = {{prefix("0.0.0.0/0"), config::ViaPublic{}, {}, {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Conntrack conntrack;
  // A guest elsewhere, to which this host has no route, opens a connection; the answer must not leave for the public
  // side.
  model::Packet opens = guest_packet(1, "10.0.0.1");
  opens.src = ip("172.30.0.5");
  opens.received_in = model::Tunnel{100, ip("192.0.2.2"), ip("192.0.2.1"), 4789};
  ASSERT_EQ(dataplane.software(kVxlan, opens, conntrack).device, kWeb);
  model::Packet answer = guest_packet(1, "172.30.0.5");
  answer.src_port = 53;
  answer.dst_port = 4000;
  const model::Outcome outcome = dataplane.software(kWeb, answer, conntrack);
  EXPECT_EQ(outcome.kind, model::Outcome::Kind::dropped) << outcome.to_string();
  EXPECT_EQ(outcome.reason(), DropReason::no_nat);
}

TEST(Trap1, repeated_first_packets_and_the_guests_own_errors_leave_translated) {
  Config config = blue_with_two_ports();
  add_public(config, Vid(30));
  config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), PortRange{1024, 2047}, {}}};
  config.tenants[0].routes = {{prefix("0.0.0.0/0"), config::ViaPublic{}, {}, {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Conntrack conntrack;
  std::optional<model::Tuple> first;
  for (int i = 0; i < 4; ++i) {
    const model::Outcome outcome = dataplane.software(kWeb, guest_packet(1, "8.8.8.8"), conntrack);
    ASSERT_EQ(outcome.device, kUplink) << outcome.to_string();
    EXPECT_EQ(outcome.packet.src, ip("203.0.113.10"));
    if (!first) first = outcome.packet.tuple();
    EXPECT_EQ(outcome.packet.tuple(), *first);
  }
  model::Packet reply;
  reply.dst_mac = facts_with_all_ports(config).uplink_mac;
  reply.tags = {{kEthVlan, Vid(30)}};
  reply.src = ip("8.8.8.8");
  reply.dst = ip("203.0.113.10");
  reply.src_port = 53;
  reply.dst_port = first->src_port;
  const model::Outcome delivered = dataplane.software(kUplink, reply, conntrack);
  ASSERT_EQ(delivered.device, kWeb) << delivered.to_string();
  model::Packet error = guest_packet(1, "8.8.8.8");
  error.protocol = kProtoIcmp;
  error.icmp_type = 3;
  error.src_port = error.dst_port = 0;
  error.quoted = delivered.packet.tuple();
  const model::Outcome told = dataplane.software(kWeb, error, conntrack);
  ASSERT_EQ(told.device, kUplink) << told.to_string();
  EXPECT_EQ(told.packet.src, ip("203.0.113.10"));
  EXPECT_EQ(*told.packet.quoted, reply.tuple());
}

TEST(Group4, unsets_the_tunnel_beside_the_redirect) {
  const Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const auto overlay = chain_text(rules, kVxlan, blue(Group::egress));
  ASSERT_EQ(overlay.size(), 3U);
  EXPECT_NE(overlay[0].find("tunnel_key unset"), std::string::npos);
  const auto own = chain_text(rules, kWeb, blue(Group::egress));
  ASSERT_EQ(own.size(), 2U) << "no way back to the port itself";
  EXPECT_EQ(own[0].find("tunnel_key"), std::string::npos);
}

TEST(Group5, pings_too_big_for_one_packet_pass_both_kinds_of_nat) {
  for (const bool shared : {false, true}) {
    Config config = blue_with_two_ports();
    add_public(config);
    config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), std::nullopt, {}}};
    if (shared) config.tenants[0].nat[0].ports = PortRange{1024, 2047};
    config.tenants[0].routes = {{prefix("0.0.0.0/0"), config::ViaPublic{}, {}, {}}};
    const RuleSet rules = compile(config, facts_with_all_ports(config));
    const model::Dataplane dataplane(rules, kVxlan);
    model::Conntrack conntrack;
    model::Packet ping = guest_packet(1, "8.8.8.8");
    ping.protocol = kProtoIcmp;
    ping.icmp_type = 8;
    ping.icmp_id = 7;
    ping.src_port = ping.dst_port = 0;
    ping.fragment = true;
    const model::Outcome out = dataplane.software(kWeb, ping, conntrack);
    ASSERT_EQ(out.device, kUplink) << out.to_string();
    model::Packet answer = ping;
    answer.dst_mac = facts_with_all_ports(config).uplink_mac;
    answer.src = ip("8.8.8.8");
    answer.dst = ip("203.0.113.10");
    answer.icmp_type = 0;
    answer.icmp_id = out.packet.icmp_id;
    const model::Outcome back = dataplane.software(kUplink, answer, conntrack);
    ASSERT_EQ(back.device, kWeb) << (shared ? "shared: " : "whole: ") << back.to_string();
    EXPECT_EQ(back.packet.icmp_id, 7);
  }
}

TEST(Group5, a_guests_report_of_its_groups_is_multicast_and_no_expired_ttl) {
  const Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Packet igmp = guest_packet(1, "224.0.0.22");
  igmp.protocol = 2;
  igmp.ttl = 1;
  igmp.src_port = igmp.dst_port = 0;
  model::Packet mld = igmp;
  mld.eth_type = kEthIpv6;
  mld.protocol = kProtoIcmpv6;
  mld.icmp_type = 143;
  mld.src = ip("fe80::1234");  // its link-local address: no address of the port
  mld.dst = ip("ff02::16");
  model::Packet expired = guest_packet(1, "10.0.0.2");
  expired.ttl = 1;
  for (const bool tunnelled : {false, true}) {
    auto reason = [&](model::Packet packet) {
      if (tunnelled) packet.received_in = model::Tunnel{100, ip("192.0.2.2"), ip("192.0.2.1"), 4789};
      model::Conntrack conntrack;
      return dataplane.software(tunnelled ? kVxlan : kWeb, packet, conntrack).reason();
    };
    EXPECT_EQ(reason(igmp), DropReason::multicast);
    EXPECT_EQ(reason(mld), DropReason::multicast);
    EXPECT_EQ(reason(expired), DropReason::ttl_expired);
  }
}

TEST(Group6, echo_requests_to_the_gateway_are_answered_with_any_ttl_and_others_go_their_way) {
  Config config = blue_with_two_ports();
  config.tenants[0].subnets[0].gateway = ip("10.0.0.254");
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Packet echo = guest_packet(1, "10.0.0.254");
  echo.protocol = kProtoIcmp;
  echo.icmp_type = 8;
  echo.src_port = echo.dst_port = 0;
  auto end_of = [&](const char* to, uint8_t type, uint8_t ttl) {
    model::Packet packet = echo;
    packet.dst = ip(to);
    packet.icmp_type = type;
    packet.ttl = ttl;
    model::Conntrack conntrack;
    return dataplane.software(kWeb, packet, conntrack);
  };
  for (const char* gateway : {"10.0.0.254", "169.254.1.1"}) {
    for (uint8_t ttl : {uint8_t{1}, uint8_t{64}}) {
      const model::Outcome outcome = end_of(gateway, 8, ttl);
      EXPECT_EQ(outcome.packet.answer, echo.dst_mac) << outcome.to_string();
      EXPECT_EQ(outcome.device, kWeb);
    }
  }
  EXPECT_EQ(end_of("10.0.0.254", 0, 64).packet.answer, std::nullopt) << "a reply is no question";
  EXPECT_EQ(end_of("10.0.0.253", 8, 1).reason(), DropReason::ttl_expired);
}

TEST(Group7, multicast_follows_no_default_route_and_leaves_no_connection) {
  Config config = blue_with_two_ports();
  config.tenants[0].routes = {{prefix("0.0.0.0/0"), config::ViaVtep{ip("192.0.2.9")}, {}, {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Conntrack conntrack;
  for (const char* group : {"224.0.0.251", "239.255.255.250"}) {
    const model::Outcome outcome = dataplane.software(kWeb, guest_packet(1, group), conntrack);
    EXPECT_EQ(outcome.kind, model::Outcome::Kind::dropped) << outcome.to_string();
    EXPECT_EQ(outcome.reason(), DropReason::multicast);
  }
  EXPECT_TRUE(conntrack.connections().empty());
  EXPECT_EQ(dataplane.software(kWeb, guest_packet(1, "223.255.255.255"), conntrack).device, kVxlan);
}

TEST(Group7, a_slice_is_for_protocols_with_ports) {
  Config config = blue_with_two_ports();
  add_public(config);
  config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), PortRange{1024, 2047}, {}}};
  config.tenants[0].routes = {{prefix("0.0.0.0/0"), config::ViaPublic{}, {}, {}}};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Conntrack conntrack;
  model::Packet gre = guest_packet(1, "8.8.8.8");
  gre.protocol = 47;
  const model::Outcome outcome = dataplane.software(kWeb, gre, conntrack);
  EXPECT_EQ(outcome.kind, model::Outcome::Kind::dropped);
  EXPECT_EQ(outcome.reason(), DropReason::no_nat);
  EXPECT_TRUE(conntrack.connections().empty());
}

TEST(Neighbours, a_port_learns_of_its_link_but_not_of_itself) {
  Config config = blue_with_two_ports();
  config.tenants[0].subnets[0].gateway = ip("10.0.0.254");
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  using Answer = NeighbourEntry::Answer;
  auto answer = [&](const char* target) -> std::optional<Answer> {
    for (const NeighbourEntry& entry : rules.neighbours) {
      if (entry.device == kWeb && entry.target == prefix(target)) return entry.answer;
    }
    return std::nullopt;
  };
  EXPECT_EQ(answer("10.0.0.1/32"), Answer::silent);
  EXPECT_EQ(answer("10.0.0.0/24"), Answer::neighbour);
  EXPECT_EQ(answer("10.0.0.254/32"), Answer::gateway);
  EXPECT_EQ(answer("169.254.1.1/32"), Answer::gateway);
  EXPECT_EQ(answer("fe80::1/128"), Answer::gateway);
  EXPECT_EQ(answer("10.0.0.2/32"), std::nullopt);
}

}  // namespace sepal::tc
