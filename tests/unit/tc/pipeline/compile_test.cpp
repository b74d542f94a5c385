// What holds for every rule set that compile makes, and what it makes of tenants that wait or exceed the NIC.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tc/pipeline/lint.hpp"
#include "tc/pipeline/plan.hpp"
#include "two_ports.hpp"
#include "world.hpp"
#include "worlds.hpp"

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
        const RuleId& id = rule.rule.id;
        const unsigned later = id.chain == 0 && asks_untracked(rule.rule.spec) ? limits::kGotoDepthMax : 0;
        const unsigned depth = deepest[{id.device, gact->verdict.chain}] + 1 + later;
        // What stands first in group 2 has an order of its own.
        const bool ordered = id.chain != 0 && parse_chain(id.chain).group == Group::nat && id.prio == 1;
        EXPECT_GE(rule.depth, depth);
        EXPECT_LE(rule.depth, depth + (ordered ? 2 : 0));
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

}  // namespace sepal::tc
