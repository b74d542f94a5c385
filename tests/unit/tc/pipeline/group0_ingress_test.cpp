// What compile makes of small configurations where guests' packets come in: who is let in, asked less, or told.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tc/model/walk.hpp"
#include "tc/rule/build.hpp"
#include "two_ports.hpp"
#include "world.hpp"

namespace sepal::tc {
namespace {

using config::Config;
using model::facts_with_all_ports;
using model::ip;
using model::kVxlan;

// Of a port's first chain.
std::vector<const CompiledRule*> first_rules(const RuleSet& rules, IfIndex device, bool (*wanted)(const RuleSpec&)) {
  std::vector<const CompiledRule*> found;
  for (const CompiledRule& rule : rules.rules)
    if (rule.rule.id.device == device && rule.rule.id.chain == 0 && wanted(rule.rule.spec)) found.push_back(&rule);
  return found;
}

bool looks_up_at_once(const RuleSpec& rule) {
  return !rule.actions.empty() && std::holds_alternative<Ct>(rule.actions.front().kind);
}

}  // namespace

TEST(Group0, lets_in_own_mac_with_own_address_and_punts_what_is_not_for_conntrack) {
  const Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  EXPECT_EQ(chain_text(rules, kWeb, 0).size(), 1U + 3U + 2U + 2U + 8U + 4U + 1U + 2U + 1U)
      << "ARP, ND, DHCP, echo requests to the gateways, usual packets, punts, the size, addresses, the rest";
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

TEST(Group0, of_each_source_usual_packets_do_in_software_what_its_rule_does_and_only_by_a_better_place) {
  const Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const auto sources = first_rules(rules, kWeb, looks_up_at_once);
  const auto shortcuts = first_rules(rules, kWeb, is_shortcut);
  ASSERT_EQ(sources.size(), 2U) << "an address of each family";
  EXPECT_EQ(shortcuts.size(), sources.size() * 4);
  for (const CompiledRule* source : sources) {
    std::vector<Action> wanted{police_fits(config.host.underlay.mtu - 50U + 14U)};
    wanted.insert(wanted.end(), source->rule.spec.actions.begin(), source->rule.spec.actions.end());
    std::set<std::pair<uint32_t, uint32_t>> kinds;  // protocol and TTL class
    const Match* mask = nullptr;
    for (const CompiledRule* shortcut : shortcuts) {
      const RuleSpec& spec = shortcut->rule.spec;
      if (!source->rule.spec.match.covers(spec.match)) continue;
      EXPECT_EQ(spec.actions, wanted) << to_text(shortcut->rule);
      EXPECT_TRUE(spec.skip_hw);
      EXPECT_FALSE(source->rule.spec.skip_hw);
      EXPECT_LT(shortcut->rule.id.prio, source->rule.id.prio);
      EXPECT_EQ(shortcut->rule.id.protocol, source->rule.id.protocol);
      EXPECT_TRUE(mask == nullptr || mask->same_mask(spec.match)) << "software looks once";
      mask = &spec.match;
      ASSERT_TRUE(spec.match.find(Key::ip_proto) != nullptr && spec.match.find(Key::ip_ttl) != nullptr);
      EXPECT_EQ(spec.match.find(Key::ip_ttl)->mask_u32(), 0xc0U);
      kinds.emplace(spec.match.find(Key::ip_proto)->value_u32(), spec.match.find(Key::ip_ttl)->value_u32());
      const KeyMatch* flags = spec.match.find(Key::ip_flags);
      EXPECT_TRUE(flags != nullptr && flags->value_u32() == 0 && flags->mask_u32() == kIpFlagFrag) << "no fragments";
    }
    EXPECT_EQ(kinds, (std::set<std::pair<uint32_t, uint32_t>>{{6, 0x40}, {6, 0x80}, {17, 0x40}, {17, 0x80}}));
  }
}

TEST(Group0, nothing_of_a_guest_that_is_not_known_is_usual) {
  Config config = blue_with_two_ports();
  config.tenants[0].ports[0].mac_is_open = true;
  EXPECT_EQ(first_rules(compile(config, facts_with_all_ports(config)), kWeb, is_shortcut).size(), 8U) << "it is known";
  config.tenants[0].ports[0].mac = MacAddr();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  EXPECT_TRUE(first_rules(rules, kWeb, is_shortcut).empty());
  EXPECT_TRUE(first_rules(rules, kWeb, looks_up_at_once).empty());
  EXPECT_EQ(first_rules(rules, kDb, is_shortcut).size(), 8U);
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

}  // namespace sepal::tc
