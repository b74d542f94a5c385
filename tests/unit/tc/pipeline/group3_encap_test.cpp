// What compile makes of small configurations for packets on their way out: routes, rewrites, tunnels, the last table.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tc/model/walk.hpp"
#include "two_ports.hpp"
#include "world.hpp"

namespace sepal::tc {
namespace {

using config::Config;
using model::example_port;
using model::example_tenant;
using model::facts_with_all_ports;
using model::ip;
using model::kVxlan;
using model::prefix;

}  // namespace

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

}  // namespace sepal::tc
