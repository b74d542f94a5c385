// A rule set falls into parts: compiled apart, they make up the whole. What follows a change tenant by tenant stands on
// it (agent/ledger.hpp).
#include <gtest/gtest.h>

#include <algorithm>

#include "worlds.hpp"

namespace sepal::tc {
namespace {

using model::Compiled;
using model::in_every_world;

// Worlds whose parts are each compiled alone: some compiles each, so not all of them.
constexpr uint64_t kWorldsTakenApart = 60;

std::vector<Parts> one_by_one(const config::Config& config) {
  std::vector<Parts> parts{{{}, true}};
  for (const config::Tenant& tenant : config.tenants) parts.push_back({{tenant.vni}, false});
  return parts;
}

TEST(Parts, compiled_apart_they_make_up_the_whole) {
  in_every_world(
      [](const Compiled& compiled, uint64_t) {
        const auto& [config, facts] = compiled.world;
        RuleSet sum;
        for (const Parts& parts : one_by_one(config)) {
          const RuleSet made = compile_parts(config, facts, parts);
          sum.rules.insert(sum.rules.end(), made.rules.begin(), made.rules.end());
          sum.neighbours.insert(sum.neighbours.end(), made.neighbours.begin(), made.neighbours.end());
          sum.slices.insert(sum.slices.end(), made.slices.begin(), made.slices.end());
          EXPECT_EQ(made.zones, compiled.rules.zones);
          EXPECT_EQ(made.waiting, compiled.rules.waiting);
          EXPECT_EQ(made.notes, compiled.rules.notes);
        }
        std::sort(sum.rules.begin(), sum.rules.end(),
                  [](const CompiledRule& a, const CompiledRule& b) { return a.rule.id < b.rule.id; });
        std::sort(sum.neighbours.begin(), sum.neighbours.end());
        std::sort(sum.slices.begin(), sum.slices.end());
        ASSERT_EQ(sum.rules.size(), compiled.rules.rules.size());
        for (size_t i = 0; i < sum.rules.size(); ++i) {
          EXPECT_EQ(sum.rules[i].rule, compiled.rules.rules[i].rule);
          EXPECT_EQ(sum.rules[i].cookie, compiled.rules.rules[i].cookie);
          EXPECT_EQ(sum.rules[i].part, compiled.rules.rules[i].part);
        }
        EXPECT_EQ(sum.neighbours, compiled.rules.neighbours);
        EXPECT_EQ(sum.slices, compiled.rules.slices);
      },
      false, kWorldsTakenApart);
}

TEST(Parts, no_part_at_all_tells_zones_waiting_ports_and_notes) {
  in_every_world([](const Compiled& compiled, uint64_t) {
    const RuleSet made = compile_parts(compiled.world.config, compiled.world.facts, {});
    EXPECT_TRUE(made.rules.empty());
    EXPECT_TRUE(made.neighbours.empty());
    EXPECT_TRUE(made.slices.empty());
    EXPECT_EQ(made.zones, compiled.rules.zones);
    EXPECT_EQ(made.waiting, compiled.rules.waiting);
    EXPECT_EQ(made.notes, compiled.rules.notes);
  });
}

TEST(Parts, what_a_port_sends_through_is_its_tenants_part_a_peers_tables_included) {
  size_t peers_rules = 0;
  in_every_world([&peers_rules](const Compiled& compiled, uint64_t) {
    std::map<IfIndex, Vni> owners;
    for (const config::Tenant& tenant : compiled.world.config.tenants)
      for (const auto& [port, device] : compiled.world.facts.ports)
        if (port.tenant == tenant.name) owners[device] = tenant.vni;
    for (const CompiledRule& rule : compiled.rules.rules) {
      const auto owner = owners.find(rule.rule.id.device);
      EXPECT_EQ(rule.part, owner == owners.end() ? rule.origin.vni : owner->second);
      if (owner != owners.end() && rule.origin.vni != owner->second) ++peers_rules;
    }
  });
  EXPECT_TRUE(HasFailure() || peers_rules > 0);
}

TEST(Parts, a_fact_that_changes_changes_the_digest_and_a_zone_does_not) {
  const Facts facts = model::facts_with_all_ports(model::random_world(3).config);
  Facts zoned = facts;
  zoned.zones[Vni(7)] = Zone(9);
  EXPECT_EQ(digest_without_zones(zoned), digest_without_zones(facts));
  std::vector<Facts> others(6, facts);
  others[0].uplink = IfIndex(77);
  others[1].ports[{"t", "p"}] = IfIndex(78);
  others[2].public_gateway6 = model::mac("02:00:00:00:00:99");
  others[3].host_vlans.insert(Vid(9));
  others[4].programs.answer_neighbour.tag[7] ^= 1U;
  others[5].instance ^= 1U;
  for (const Facts& other : others) EXPECT_NE(digest_without_zones(other), digest_without_zones(facts));
}

}  // namespace
}  // namespace sepal::tc
