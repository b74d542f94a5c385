// What compile makes of small configurations for packets that have been through conntrack.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
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
using model::kUplink;
using model::kVxlan;
using model::prefix;

}  // namespace

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
    return found.size() == 1 && found[0].substr(0, 2) == "5 " && found[0].find("+trk+new") != std::string::npos &&
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

// The kernel asks the masks of one priority in the order in which they came, and rules are written by depth.
TEST(Group2, software_looks_at_the_state_alone_before_it_looks_at_more) {
  const Config config = blue_with_two_ports();
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  for (const IfIndex device : {kWeb, kVxlan}) {
    std::vector<const CompiledRule*> first;
    for (const CompiledRule& rule : rules.rules) {
      const RuleId& id = rule.rule.id;
      if (id.device == device && id.chain == blue(Group::nat) && id.prio == 1) first.push_back(&rule);
    }
    std::stable_sort(first.begin(), first.end(),
                     [](const CompiledRule* a, const CompiledRule* b) { return a->depth < b->depth; });
    ASSERT_EQ(first.size(), 5U);
    EXPECT_EQ(first[0]->rule.spec.match, Match().ct_state(kCtTrk | kCtEst));
    for (const size_t syn : {1U, 2U}) {
      EXPECT_EQ(first[syn]->rule.spec.match.find(Key::tcp_flags)->value_u32(), 2U) << to_text(first[syn]->rule);
      EXPECT_GT(first[syn]->depth, first[0]->depth);
    }
    for (const size_t hardware : {3U, 4U}) {
      EXPECT_FALSE(first[hardware]->rule.spec.skip_hw);
      EXPECT_GT(first[hardware]->depth, first[2]->depth);
      EXPECT_EQ(first[hardware]->rule.spec.actions, first[0]->rule.spec.actions);
    }
    for (const CompiledRule& rule : rules.rules) {
      const std::vector<Action>& actions = rule.rule.spec.actions;
      if (rule.rule.id.device != device || actions.back() != goto_chain(blue(Group::nat))) continue;
      EXPECT_GT(rule.depth, first.back()->depth) << "a jump comes after all of its target";
    }
  }
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
                          [](const std::string& l) {
                            return l.find("commit") != std::string::npos && l.find("tcp_flags") == std::string::npos;
                          }),
            2);
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

}  // namespace sepal::tc
