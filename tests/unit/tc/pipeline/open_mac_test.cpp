// Ports whose guest's MAC address nobody configured: before it is known, and after.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "tc/pipeline/plan.hpp"
#include "world.hpp"
#include "worlds.hpp"

namespace sepal::tc {
namespace {

using model::example_config;
using model::example_port;
using model::example_tenant;
using model::facts_with_all_ports;
using model::mac;

constexpr IfIndex kWeb{10};

// web's guest is at `known`; db's is configured.
RuleSet rules_with(const MacAddr& known) {
  config::Config config = example_config();
  config::Tenant& blue = config.tenants.emplace_back(example_tenant("blue", 100));
  blue.ports = {example_port("web", 1), example_port("db", 2)};
  blue.ports[0].mac = known;
  blue.ports[0].mac_is_open = true;
  return compile(config, facts_with_all_ports(config));
}

size_t count(const RuleSet& rules, const std::function<bool(const CompiledRule&, const std::string&)>& which) {
  return static_cast<size_t>(std::count_if(rules.rules.begin(), rules.rules.end(), [&](const CompiledRule& rule) {
    return which(rule, to_text(rule.rule.spec));
  }));
}

bool is_in(const CompiledRule& rule, Group group) { return parse_chain(rule.rule.id.chain).group == group; }
bool has(const std::string& text, const char* what) { return text.find(what) != std::string::npos; }

TEST(OpenMac, nothing_leads_to_a_guest_that_is_not_known_and_nothing_of_it_is_tracked) {
  const RuleSet rules = rules_with(MacAddr());
  EXPECT_EQ(count(rules,
                  [](const CompiledRule& rule, const std::string& text) {
                    return rule.rule.id.device == kWeb && rule.rule.id.chain == 0 && has(text, "action ct");
                  }),
            0U);
  EXPECT_EQ(
      count(rules, [](const CompiledRule& rule,
                      const std::string& text) { return is_in(rule, Group::egress) && has(text, "redirect dev 10"); }),
      0U);
  EXPECT_EQ(count(rules, [](const CompiledRule&, const std::string& text) { return has(text, "00:00:00:00:00:00"); }),
            0U);
  EXPECT_GT(count(rules,
                  [](const CompiledRule& rule, const std::string&) {
                    return rule.rule.id.device != kWeb && is_in(rule, Group::encap) &&
                           rule.origin.drop == DropReason::waiting;
                  }),
            0U)
      << "what is sent to it";
  EXPECT_EQ(count(rules,
                  [](const CompiledRule& rule, const std::string&) {
                    return rule.rule.id.device == kWeb && rule.rule.id.chain == 0 &&
                           rule.origin.drop == DropReason::waiting;
                  }),
            1U);
  ASSERT_EQ(rules.notes.size(), 1U);
  EXPECT_TRUE(has(rules.notes[0], "port web: its guest's MAC address is not known yet")) << rules.notes[0];
  EXPECT_TRUE(rules.waiting.empty()) << "its device is there";
}

// Else the peer would make a connection, and count it, for what drops one network further.
TEST(OpenMac, a_peers_route_to_a_guest_that_is_not_known_waits) {
  config::Config config = example_config();
  for (uint32_t vni : {100, 200}) {
    config::Tenant& tenant = config.tenants.emplace_back(example_tenant(vni == 100 ? "blue" : "green", vni));
    tenant.ports = {example_port("web", static_cast<uint8_t>(vni / 100))};
  }
  config.tenants[0].subnets = {{model::prefix("10.1.0.0/24"), {}, {}}};
  config.tenants[0].ports[0].addresses = {model::ip("10.1.0.1")};
  config.tenants[0].peers = {"green"};
  config.tenants[1].peers = {"blue"};
  config::Route route;
  route.to = IpPrefix::host(config.tenants[1].ports[0].addresses[0]);
  route.via = config::ViaPort{"web"};
  route.vni = Vni(200);
  config.tenants[0].routes = {route};
  const auto waiting = [&config] {
    return count(compile(config, facts_with_all_ports(config)), [](const CompiledRule& rule, const std::string&) {
      return rule.rule.id.device == kWeb && parse_chain(rule.rule.id.chain).vni == Vni(100) &&
             is_in(rule, Group::fresh) && rule.origin.drop == DropReason::waiting;
    });
  };
  EXPECT_EQ(waiting(), 0U);
  config.tenants[1].ports[0].mac_is_open = true;
  config.tenants[1].ports[0].mac = MacAddr();
  EXPECT_EQ(waiting(), 1U);
}

TEST(OpenMac, what_an_unknown_guest_says_of_neighbours_is_heard_and_answered) {
  const auto overheard = [](const RuleSet& rules) {
    return count(rules, [](const CompiledRule& rule, const std::string& text) {
      return rule.rule.id.device == kWeb && is_in(rule, Group::services) && has(text, "sepal_question") &&
             has(text, "sepal_neigh");
    });
  };
  const auto answered = [](const RuleSet& rules) {
    return count(rules, [](const CompiledRule& rule, const std::string& text) {
      return rule.rule.id.device == kWeb && is_in(rule, Group::services) && has(text, "src_mac 02:00:00:00:00:77") &&
             has(text, "sepal_neigh") && !has(text, "sepal_question");
    });
  };
  EXPECT_EQ(overheard(rules_with(MacAddr())), 2U) << "ARP and neighbour solicitations";
  EXPECT_EQ(answered(rules_with(MacAddr())), 0U);
  EXPECT_EQ(overheard(rules_with(mac("02:00:00:00:00:77"))), 2U) << "it may come back as another";
  EXPECT_EQ(answered(rules_with(mac("02:00:00:00:00:77"))), 2U) << "of whom it is known nobody needs to hear";
}

TEST(OpenMac, a_known_guest_is_served_as_one_that_is_configured) {
  config::Config config = example_config();
  config::Tenant& blue = config.tenants.emplace_back(example_tenant("blue", 100));
  blue.ports = {example_port("web", 1), example_port("db", 2)};
  const RuleSet configured = compile(config, facts_with_all_ports(config));
  const RuleSet known = rules_with(blue.ports[0].mac);
  const auto but_services = [](const RuleSet& rules, std::vector<RuleSpec>& into) {
    for (const CompiledRule& rule : rules.rules)
      if (!is_in(rule, Group::services) && !(rule.rule.id.device == kWeb && rule.rule.id.chain == 0))
        into.push_back(rule.rule.spec);
  };
  std::vector<RuleSpec> one;
  std::vector<RuleSpec> other;
  but_services(configured, one);
  but_services(known, other);
  EXPECT_EQ(one, other);
  EXPECT_TRUE(known.notes.empty());
}

}  // namespace
}  // namespace sepal::tc
