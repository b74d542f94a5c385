// Units out of hardware, in every world and at random: nothing of theirs is there, nothing worse overtakes them, all
// others are as they were. `compile` runs lint on each of these rule sets (debug builds).
#include <gtest/gtest.h>

#include "kernel_model.hpp"
#include "oracle.hpp"
#include "tc/pipeline/hardware_order.hpp"
#include "tc/pipeline/lint.hpp"
#include "traffic.hpp"
#include "worlds.hpp"

namespace sepal::tc::model {
namespace {

constexpr unsigned kPacketsPerWorld = 60;
std::vector<HardwareUnit> units_of(const World& world) {
  std::vector<HardwareUnit> units{{kVxlan, Vni()}, {kUplink, Vni()}};
  for (const config::Tenant& tenant : world.config.tenants) {
    units.push_back({kVxlan, tenant.vni});
    units.push_back({kUplink, tenant.vni});
  }
  for (const auto& [key, device] : world.facts.ports) units.push_back({device, Vni()});
  return units;
}

std::map<HardwareUnit, Demotion> draw(const World& world, Dice& dice) {
  std::map<HardwareUnit, Demotion> demoted;
  const uint32_t share = dice.between(5, 60);
  for (const HardwareUnit& unit : units_of(world)) {
    const bool whole_wire = unit.vni == Vni() && (unit.device == kVxlan || unit.device == kUplink);
    if (!dice.chance(whole_wire ? share / 5 : share)) continue;
    demoted[unit] = dice.of<Demotion>({Demotion::staged, Demotion::punted, Demotion::whole});
  }
  return demoted;
}

// What hardware may still hold of a unit.
bool may_be_in_hardware(const CompiledRule& rule, const std::map<HardwareUnit, Demotion>& demoted) {
  const RuleId& id = rule.rule.id;
  const auto block = demoted.find({id.device, Vni()});
  if (block != demoted.end() && (block->second != Demotion::staged || id.chain == 0)) return false;
  if (rule.origin.block == BlockKind::port) return true;
  const Vni vni = id.chain == 0 ? rule.origin.vni : parse_chain(id.chain).vni;
  const auto part = vni == Vni() ? demoted.end() : demoted.find({id.device, vni});
  if (part == demoted.end()) return true;
  if (part->second == Demotion::whole) return false;
  return part->second == Demotion::staged || id.chain == 0;
}

bool looks_up_a_connection(const CompiledRule& rule) {
  return std::any_of(rule.rule.spec.actions.begin(), rule.rule.spec.actions.end(),
                     [](const Action& action) { return std::holds_alternative<Ct>(action.kind); });
}

// Several sets of demotions for each world.
template <typename Body>
void in_every_world_with_demotions(uint64_t draws, const Body& body) {
  in_every_world([&](const Compiled& compiled, uint64_t seed) {
    for (uint64_t i = 0; i < draws && !testing::Test::HasFailure(); ++i) {
      Dice dice(seed * 1000 + i);
      World world = compiled.world;
      world.facts.demoted = draw(world, dice);
      const RuleSet rules = compile(world.config, world.facts);
      body(world, rules, compiled, seed * 1000 + i);
    }
  });
}

}  // namespace

TEST(Demotion, nothing_of_a_demoted_unit_is_in_hardware_and_every_other_rule_is_as_it_was) {
  size_t kept_out = 0;
  in_every_world_with_demotions(1, [&](const World& world, const RuleSet& rules, const Compiled& all_in, uint64_t) {
    std::map<RuleId, const CompiledRule*> before;
    for (const CompiledRule& rule : all_in.rules.rules) before.emplace(rule.rule.id, &rule);
    const bool tenant_out = std::any_of(world.facts.demoted.begin(), world.facts.demoted.end(), [](const auto& entry) {
      return entry.first.vni != Vni() && entry.second == Demotion::whole;
    });
    for (const CompiledRule& rule : rules.rules) {
      const bool allowed = may_be_in_hardware(rule, world.facts.demoted);
      const bool punts = rule.origin.block != BlockKind::port && rule.rule.id.chain == 0 && rule.origin.vni != Vni() &&
                         world.facts.demoted.contains({rule.rule.id.device, rule.origin.vni});
      if (!rule.rule.spec.skip_hw) {
        EXPECT_TRUE(allowed) << to_text(rule.rule);
        EXPECT_FALSE(punts && looks_up_a_connection(rule)) << "tracked by hardware: " << to_text(rule.rule);
      }
      const auto old = before.find(rule.rule.id);
      if (old == before.end()) {
        EXPECT_TRUE(rule.rule.spec.skip_hw) << "new, and for hardware: " << to_text(rule.rule);
        continue;
      }
      if (!allowed && !old->second->rule.spec.skip_hw) ++kept_out;
      // The drops that tenants of a wire share leave with one that is wholly out.
      const bool shared = rule.origin.block != BlockKind::port && rule.rule.id.chain == 0 && rule.origin.vni == Vni();
      if (allowed && !punts && !(shared && tenant_out)) {
        EXPECT_EQ(rule.cookie, old->second->cookie) << to_text(rule.rule) << "\nwas " << to_text(old->second->rule);
      }
    }
  });
  const Seeds all = seeds_to_try(kWorlds);
  if (all.first != all.last) {
    EXPECT_GT(kept_out, 5'000U);
  }
}

TEST(Demotion, with_units_out_of_hardware_every_packet_ends_as_in_software_and_as_the_configuration_says) {
  unsigned ended_in_hardware = 0;
  unsigned handed_up = 0;
  in_every_world_with_demotions(2, [&](const World& world, const RuleSet& rules, const Compiled& all_in,
                                       uint64_t seed) {
    const Dataplane dataplane(rules, world.facts.vxlan, &all_in.judges);
    Oracle oracle(world);
    Traffic traffic(world, seed);
    Conntrack conntrack;
    for (unsigned i = 0; i < kPacketsPerWorld && !testing::Test::HasFailure(); ++i) {
      const Arrival arrival = traffic.next();
      Conntrack beside = conntrack;
      const Outcome hardware = dataplane.hardware(arrival.device, arrival.packet, beside, [&](const Connection& c) {
        return (c.original.src_port + i) % 3 != 0;
      });
      const Outcome software = dataplane.software(arrival.device, arrival.packet, conntrack);
      const auto story = [&] {
        return model::to_string(arrival.packet) + "\nhardware: " + hardware.to_string() +
               "\nsoftware: " + software.to_string();
      };
      EXPECT_TRUE(same_end(hardware, software)) << story();
      EXPECT_EQ(hardware.fault, "") << story();
      EXPECT_TRUE(beside == conntrack) << "the connections differ after " << story();
      EXPECT_EQ(Oracle::difference(oracle.judge(arrival.device, arrival.packet, software), software), "") << story();
      traffic.seen(arrival, software);
      if (hardware.left_hardware)
        ++handed_up;
      else if (hardware.kind == Outcome::Kind::sent)
        ++ended_in_hardware;
    }
  });
  const Seeds all = seeds_to_try(kWorlds);
  if (all.first != all.last) {
    EXPECT_GT(ended_in_hardware, 100U);
    EXPECT_GT(handed_up, 1000U);
  }
}

// Out and in again, looked at between the steps, with the connections of a packet's own past.
TEST(Demotion, while_units_go_out_and_come_back_no_packet_is_overtaken) {
  constexpr uint64_t kWorldsWatched = 40;
  unsigned in_hardware = 0;
  unsigned watched = 0;
  in_every_world(
      [&](const Compiled& compiled, uint64_t seed) {
        Dice dice(seed);
        World world = compiled.world;
        world.facts.demoted = draw(world, dice);
        const RuleSet out = compile(world.config, world.facts);
        Traffic traffic(world, seed);
        Conntrack conntrack;
        std::vector<Arrival> arrivals;
        {
          const Dataplane before(compiled.rules, world.facts.vxlan);
          for (unsigned i = 0; i < 60; ++i) {
            arrivals.push_back(traffic.next());
            const Outcome outcome = before.software(arrivals.back().device, arrivals.back().packet, conntrack);
            traffic.seen(arrivals.back(), outcome);
          }
        }
        const RuleSet* from = &compiled.rules;
        const RuleSet* to = &out;
        for (int turn = 0; turn < 2; ++turn, std::swap(from, to)) {
          KernelModel kernel(from->rules);
          const std::vector<Observed> observed = kernel.observe();
          std::vector<Step> steps = diff(to->rules, observed);
          order_for_hardware(steps, to->rules, observed);
          const size_t every = std::max<size_t>(1, steps.size() / 25);
          for (size_t i = 0; i < steps.size() && !testing::Test::HasFailure(); ++i) {
            EXPECT_EQ(kernel.apply(steps[i], to->rules, observed), "");
            if (i % every != dice.below(static_cast<uint32_t>(every))) continue;
            RuleSet now;
            for (const auto& [place, filter] : kernel.filters()) now.rules.push_back(filter);
            const Dataplane dataplane(now, world.facts.vxlan, &compiled.judges);
            ++watched;
            for (unsigned packet = 0; packet < 6; ++packet) {
              const Arrival& arrival = dice.of<Arrival>(arrivals);
              Conntrack beside = conntrack;
              Conntrack other = conntrack;
              const Outcome hardware =
                  dataplane.hardware(arrival.device, arrival.packet, beside, [](const Connection&) { return true; });
              const Outcome software = dataplane.software(arrival.device, arrival.packet, other);
              EXPECT_TRUE(same_end(hardware, software))
                  << "turn " << turn << ", after step " << i << " of " << steps.size() << ": "
                  << model::to_string(arrival.packet) << "\nhardware: " << hardware.to_string()
                  << "\nsoftware: " << software.to_string();
              in_hardware += hardware.left_hardware ? 0 : 1;
            }
          }
          EXPECT_TRUE(testing::Test::HasFailure() || kernel.holds(to->rules));
        }
      },
      false, kWorldsWatched);
  const Seeds all = seeds_to_try(kWorldsWatched);
  if (all.first != all.last) {
    EXPECT_GT(watched, 500U);
    EXPECT_GT(in_hardware, 500U);
  }
}

TEST(Demotion, without_anything_that_moves_the_order_of_steps_is_diffs_own) {
  const Compiled& compiled = compiled_world(1);
  const std::vector<Step> steps = diff(compiled.rules.rules, {});
  std::vector<Step> ordered = steps;
  order_for_hardware(ordered, compiled.rules.rules, {});
  EXPECT_TRUE(ordered == steps);
}

}  // namespace sepal::tc::model
