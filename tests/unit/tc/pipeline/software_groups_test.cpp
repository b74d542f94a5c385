// What compile makes of small configurations in the groups that are software's alone, and of neighbours' questions.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tc/model/walk.hpp"
#include "two_ports.hpp"
#include "world.hpp"

namespace sepal::tc {
namespace {

using config::Config;
using model::facts_with_all_ports;
using model::ip;
using model::kUplink;
using model::kVxlan;
using model::mac;
using model::prefix;

}  // namespace

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

// Who begins TCP within the tenant's networks takes a shorter way to the same end.
TEST(Group7, a_syn_to_the_tenants_own_subnets_begins_in_group_2_as_it_would_here) {
  const auto early = [](const Config& config, IfIndex device, Vni vni = Vni(100)) {
    std::vector<std::string> networks;
    const RuleSet rules = compile(config, facts_with_all_ports(config));
    for (const CompiledRule& rule : rules.rules) {
      const ChainId chain = parse_chain(rule.rule.id.chain);
      const Match& match = rule.rule.spec.match;
      if (rule.rule.id.device != device || rule.rule.id.chain == 0 || chain.group != Group::nat || chain.vni != vni ||
          match.find(Key::tcp_flags) == nullptr)
        continue;
      const bool v4 = match.find(Key::dst_ip4) != nullptr;
      networks.push_back(v4 ? "IPv4" : "IPv6");
      EXPECT_TRUE(rule.rule.spec.skip_hw);
      const auto late = std::find_if(rules.rules.begin(), rules.rules.end(), [&](const CompiledRule& other) {
        const Match& its = other.rule.spec.match;
        const KeyMatch* to = its.find(v4 ? Key::dst_ip4 : Key::dst_ip6);
        return other.rule.id.device == device && parse_chain(other.rule.id.chain).group == Group::fresh &&
               parse_chain(other.rule.id.chain).vni == vni && to != nullptr && its.covers(match);
      });
      if (late == rules.rules.end()) {
        ADD_FAILURE() << "group 7 has nothing for " << to_text(rule.rule);
        continue;
      }
      EXPECT_EQ(rule.rule.spec.actions, late->rule.spec.actions) << to_text(rule.rule);
    }
    std::sort(networks.begin(), networks.end());
    return networks;
  };
  using Networks = std::vector<std::string>;
  const Networks both{"IPv4", "IPv6"};
  const Networks only6{"IPv6"};
  const auto routed = [](const char* to, config::Via via) {
    Config config = blue_with_two_ports();
    add_public(config);
    config.tenants[0].nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), std::nullopt, {}}};
    config.tenants[0].routes = {{prefix(to), std::move(via), {}, {}}};
    return config;
  };
  Config config = blue_with_two_ports();
  EXPECT_EQ(early(config, kWeb), both);
  EXPECT_EQ(early(config, kVxlan), both);
  EXPECT_EQ(early(routed("0.0.0.0/0", config::ViaPublic{}), kWeb), both) << "around the subnet";
  EXPECT_EQ(early(routed("10.0.0.128/25", config::ViaVtep{ip("192.0.2.2")}), kWeb), both) << "another hypervisor";
  EXPECT_EQ(early(routed("10.0.0.128/25", config::ViaPublic{}), kWeb), only6);
  EXPECT_EQ(early(routed("10.0.0.0/24", config::ViaPublic{}), kWeb), only6);
  EXPECT_EQ(early(routed("10.0.0.128/25", config::ViaBlackhole{}), kWeb), only6);
  EXPECT_EQ(early(routed("10.0.0.0/8", config::ViaBlackhole{}), kWeb), both) << "a subnet is longer";
  EXPECT_EQ(early(routed("10.0.0.0/24", config::ViaPublic{}), kUplink), Networks{});
  config.tenants[0].vlans = {{Vid(40), mac("02:00:00:00:77:01"), {}}};
  EXPECT_EQ(early(config, kUplink), Networks{}) << "there a public address comes first";
  config.tenants[0].ports[0].limits.new_connections_per_second = 10;
  EXPECT_EQ(early(config, kWeb), Networks{}) << "the limit counts all that begins";
  EXPECT_EQ(early(config, kDb), both);
  config.tenants[0].connections = 10;
  EXPECT_EQ(early(config, kDb), both) << "the bound is asked in both places";
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
  EXPECT_EQ(answer("0.0.0.0/0"), Answer::guard);
  EXPECT_EQ(answer("::/0"), Answer::guard);
}

TEST(Neighbours, what_is_a_ports_own_bears_its_mac_and_a_subnet_within_its_prefix_is_its_own_too) {
  Config config = blue_with_two_ports();
  config::Port& web = config.tenants[0].ports[0];
  web.prefixes = {prefix("10.0.0.0/8"), prefix("::/0")};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  using Answer = NeighbourEntry::Answer;
  auto entry = [&](IfIndex device, const char* target) {
    NeighbourEntry found;
    for (const NeighbourEntry& e : rules.neighbours)
      if (e.device == device && e.target == prefix(target)) found = e;
    EXPECT_EQ(found.device, device) << target;
    return found;
  };
  EXPECT_EQ(entry(kWeb, "0.0.0.0/0").answer, Answer::guard);
  EXPECT_EQ(entry(kWeb, "0.0.0.0/0").mac, web.mac);
  EXPECT_EQ(entry(kWeb, "::/0").answer, Answer::silent) << "its own prefix, which stands for the guard";
  EXPECT_EQ(entry(kWeb, "::/0").mac, web.mac);
  EXPECT_EQ(entry(kWeb, "10.0.0.1/32").mac, web.mac);
  EXPECT_EQ(entry(kWeb, "10.0.0.0/24").answer, Answer::neighbour);
  EXPECT_TRUE(entry(kWeb, "10.0.0.0/24").own);
  EXPECT_FALSE(entry(kWeb, "169.254.1.1/32").own) << "the gateway's is nobody's, whatever is routed to a port";
  EXPECT_FALSE(entry(kDb, "10.0.0.0/24").own);
  EXPECT_EQ(entry(kDb, "::/0").answer, Answer::guard);
}

TEST(Neighbours, a_guest_that_is_not_who_it_says_it_is_gets_no_answer_and_has_spoofed) {
  const Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  const model::Dataplane dataplane(rules, kVxlan);
  model::Packet question = guest_packet(1, "10.0.0.2");
  question.eth_type = kEthArp;
  question.asked = ip("10.0.0.2");
  auto end_of = [&](const model::Packet& packet) {
    model::Conntrack conntrack;
    return dataplane.software(kWeb, packet, conntrack);
  };
  EXPECT_TRUE(end_of(question).packet.answer);
  model::Packet forged = question;
  forged.src = ip("10.0.0.2");
  EXPECT_FALSE(end_of(forged).packet.answer);
  EXPECT_EQ(end_of(forged).reason(), DropReason::spoofed);
  EXPECT_EQ(end_of(forged).by->origin.where, config.tenants[0].ports[0].where);
  forged = question;
  forged.src_mac = config.tenants[0].ports[1].mac;
  EXPECT_EQ(end_of(forged).reason(), DropReason::spoofed);
  forged = question;
  forged.arp_operation = model::kArpReply;
  EXPECT_EQ(end_of(forged).kind, model::Outcome::Kind::dropped);
  EXPECT_EQ(end_of(forged).reason(), DropReason::none) << "an honest reply, which nobody asked for";
}

}  // namespace sepal::tc
