// Invariants 2 and 5: steps replayed on a model of the kernel, over random changes of random worlds.
#include "tc/pipeline/diff.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "config/read.hpp"
#include "kernel_model.hpp"
#include "tc/pipeline/plan.hpp"
#include "world.hpp"
#include "worlds.hpp"

namespace sepal::tc::model {
namespace {

using config::Config;
using config::Tenant;

struct Change {
  World world;
  std::string what;
  std::set<Vni> touched;  // whose rules may change
};

Tenant* find(Config& config, const std::string& name) {
  for (Tenant& t : config.tenants) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

void drop_routes_into(Tenant& tenant, Vni vni) {
  std::erase_if(tenant.routes, [&](const config::Route& r) { return r.vni == vni; });
}

void sever(Config& config, Tenant& a, const std::string& name) {
  std::erase(a.peers, name);
  if (Tenant* b = find(config, name)) {
    std::erase(b->peers, a.name);
    drop_routes_into(a, b->vni);
    drop_routes_into(*b, a.vni);
  }
}

Change change(const World& before, Dice& dice, uint64_t seed) {
  Change made{before, {}, {}};
  Config& config = made.world.config;
  Facts& facts = made.world.facts;
  Tenant& t = config.tenants[dice.below(static_cast<uint32_t>(config.tenants.size()))];
  auto touch = [&](const Tenant& who) {
    made.touched.insert(who.vni);
    for (const std::string& peer : who.peers) made.touched.insert(find(config, peer)->vni);
  };
  touch(t);
  switch (dice.below(9)) {
    case 0: {
      made.what = "a tenant comes";
      World other = random_world(seed + 1000000);
      Tenant extra = other.config.tenants[0];
      extra.vni = Vni(0xabcde);
      extra.name = "extra";
      extra.peers.clear();
      extra.nat.clear();
      extra.vlans.clear();
      std::erase_if(extra.routes, [](const config::Route& r) {
        return r.vni || std::holds_alternative<config::ViaPublic>(r.via) ||
               std::holds_alternative<config::ViaVlan>(r.via) || std::holds_alternative<config::ViaVtep>(r.via);
      });
      uint32_t device = 500;
      for (const config::Port& p : extra.ports) facts.ports[{extra.name, p.name}] = IfIndex(device++);
      for (config::Port& p : extra.ports) p.device = "extra-" + p.name;
      made.touched = {extra.vni};
      auto at = std::lower_bound(config.tenants.begin(), config.tenants.end(), extra.vni,
                                 [](const Tenant& x, Vni vni) { return x.vni < vni; });
      config.tenants.insert(at, extra);
      break;
    }
    case 1: {
      made.what = "tenant " + t.name + " goes";
      const std::string name = t.name;
      for (const std::string& peer : std::vector<std::string>(t.peers)) sever(config, *find(config, name), peer);
      std::erase_if(config.tenants, [&](const Tenant& x) { return x.name == name; });
      break;
    }
    case 2: {
      made.what = t.name + " loses its peerings";
      for (const std::string& peer : std::vector<std::string>(t.peers)) sever(config, t, peer);
      break;
    }
    case 3: {
      made.what = t.name + " gets a peering and a route into it";
      for (Tenant& other : config.tenants) {
        if (other.vni == t.vni || other.ports.empty()) continue;
        if (std::find(t.peers.begin(), t.peers.end(), other.name) == t.peers.end()) {
          t.peers.push_back(other.name);
          other.peers.push_back(t.name);
        }
        made.touched.insert(other.vni);
        const IpPrefix to = IpPrefix::host(other.ports[0].addresses[0]);
        const bool taken =
            std::any_of(t.routes.begin(), t.routes.end(), [&](const config::Route& r) { return r.to == to; }) ||
            std::any_of(t.ports.begin(), t.ports.end(), [&](const config::Port& p) {
              return std::any_of(p.addresses.begin(), p.addresses.end(),
                                 [&](const IpAddr& a) { return IpPrefix::host(a) == to; }) ||
                     std::find(p.prefixes.begin(), p.prefixes.end(), to) != p.prefixes.end();
            });
        if (!taken) t.routes.push_back({to, config::ViaPort{other.ports[0].name}, other.vni, {}});
        break;
      }
      break;
    }
    case 4: {
      made.what = "a device of " + t.name + " comes or goes";
      if (t.ports.empty()) break;
      const PortKey key{t.name, t.ports[0].name};
      if (facts.ports.erase(key) == 0) facts.ports[key] = IfIndex(700);
      break;
    }
    case 5: {
      made.what = "a port of " + t.name + " is taken out";
      if (t.ports.empty()) break;
      const config::Port gone = t.ports.back();
      t.ports.pop_back();
      facts.ports.erase({t.name, gone.name});
      for (Tenant& x : config.tenants) {
        std::erase_if(x.routes, [&](const config::Route& r) {
          const auto* via = std::get_if<config::ViaPort>(&r.via);
          return via != nullptr && via->port == gone.name && r.vni.value_or(x.vni) == t.vni;
        });
      }
      break;
    }
    case 6: {
      made.what = "the routes of " + t.name + " change";
      for (config::Route& r : t.routes) {
        if (!r.vni && !std::holds_alternative<config::ViaPort>(r.via) && dice.chance(60))
          r.via = config::ViaBlackhole{};
      }
      std::erase_if(t.routes, [&](const config::Route&) { return dice.chance(30); });
      break;
    }
    case 7: {
      made.what = t.name + " loses its nat and its vlans";
      std::erase_if(t.routes, [](const config::Route& r) {
        return std::holds_alternative<config::ViaPublic>(r.via) || std::holds_alternative<config::ViaVlan>(r.via);
      });
      t.nat.clear();
      t.vlans.clear();
      break;
    }
    default: {
      made.what = "the device of one tenant becomes another's";
      for (Tenant& other : config.tenants) {
        if (other.vni == t.vni || other.ports.empty() || t.ports.empty()) continue;
        auto mine = facts.ports.find({t.name, t.ports[0].name});
        if (mine == facts.ports.end()) break;
        facts.ports[{other.name, other.ports[0].name}] = mine->second;
        facts.ports.erase(mine);
        touch(other);
        break;
      }
      break;
    }
  }
  return made;
}

// Back and forth: what comes also goes.
struct Turn {
  World before;
  World after;
  std::string what;
  std::set<Vni> touched;
  // As the agent does, zones are read back from the kernel's rules.
  RuleSet rules_before;
  RuleSet rules_after;
};

RuleSet compile_over(World& world, const RuleSet& standing) {
  world.facts.zones = standing.zones;
  return compile(world.config, world.facts);
}

Turn make_turn(uint64_t seed) {
  Dice dice(seed + 77);
  const Compiled& known = compiled_world(seed);
  Change made = change(known.world, dice, seed);
  if (dice.chance(50)) {
    RuleSet before = compile(made.world.config, made.world.facts);
    Turn turn{made.world, known.world, made.what + " (the other way round)", made.touched, std::move(before), {}};
    turn.rules_after = compile_over(turn.after, turn.rules_before);
    return turn;
  }
  Turn turn{known.world, made.world, made.what, made.touched, known.rules, {}};
  turn.rules_after = compile_over(turn.after, turn.rules_before);
  return turn;
}

// As compiled_world: made once for all tests.
const Turn& turn_of(uint64_t seed) {
  static std::map<uint64_t, Turn> known;
  auto at = known.find(seed);
  if (at == known.end()) at = known.emplace(seed, make_turn(seed)).first;
  return at->second;
}

template <typename Body>
void in_every_turn(const Body& body) {
  const Seeds seeds = seeds_to_try(kWorlds);
  for (uint64_t seed = seeds.first; seed <= seeds.last && !testing::Test::HasFailure(); ++seed) {
    const Turn& turn = turn_of(seed);
    SCOPED_TRACE("SEPAL_SEED=" + std::to_string(seed) + ": " + turn.what);
    body(turn);
  }
}

Place changed_by(const Step& step, const std::vector<CompiledRule>& wanted, const std::vector<Observed>& observed) {
  return place_of(step.kind == Step::Kind::remove ? observed[step.rule].id : wanted[step.rule].rule.id);
}

}  // namespace

TEST(Change, every_generated_change_is_valid) {
  in_every_turn([](const Turn& turn) {
    for (const World* world : {&turn.before, &turn.after}) {
      for (const config::Fault& fault : config::validate(world->config)) ADD_FAILURE() << fault.to_string();
    }
  });
}

TEST(Diff, no_step_leaves_a_jump_without_its_whole_target) {
  size_t steps_seen = 0;
  in_every_turn([&](const Turn& turn) {
    const std::vector<CompiledRule>& wanted = turn.rules_after.rules;
    KernelModel kernel(turn.rules_before.rules);
    JumpCheck jumps(kernel, turn.rules_before.rules, wanted);
    const std::vector<Observed> observed = kernel.observe();
    for (const Step& step : diff(wanted, observed)) {
      ++steps_seen;
      ASSERT_EQ(kernel.apply(step, wanted, observed), "");
      ASSERT_EQ(jumps.unsafe(changed_by(step, wanted, observed)), "");
    }
    EXPECT_TRUE(kernel.holds(wanted)) << "the steps do not lead to what was wanted";
    EXPECT_TRUE(diff(wanted, kernel.observe()).empty()) << "a second look writes again";
  });
  const Seeds all = seeds_to_try(kWorlds);
  if (all.first != all.last) {
    EXPECT_GT(steps_seen, 1000U);
  }
}

TEST(Diff, a_world_is_built_and_taken_down_without_an_open_jump) {
  in_every_world([](const Compiled& compiled, uint64_t) {
    const std::vector<CompiledRule>& rules = compiled.rules.rules;
    KernelModel kernel({});
    JumpCheck up(kernel, {}, rules);
    for (const Step& step : diff(rules, {})) {
      ASSERT_EQ(step.kind, Step::Kind::add);
      ASSERT_EQ(kernel.apply(step, rules, {}), "");
      ASSERT_EQ(up.unsafe(changed_by(step, rules, {})), "");
    }
    const std::vector<Observed> observed = kernel.observe();
    JumpCheck down(kernel, rules, {});
    for (const Step& step : diff({}, observed)) {
      ASSERT_EQ(step.kind, Step::Kind::remove);
      ASSERT_EQ(kernel.apply(step, {}, observed), "");
      ASSERT_EQ(down.unsafe(changed_by(step, {}, observed)), "");
    }
    EXPECT_TRUE(kernel.filters().empty());
  });
}

// The last rule of a chain aside, which the execution keeps to the end by itself.
TEST(Diff, of_a_chain_the_worst_rules_go_first) {
  size_t compared = 0;
  in_every_turn([&compared](const Turn& turn) {
    const std::vector<Observed> observed = KernelModel(turn.rules_before.rules).observe();
    const std::vector<CompiledRule> nothing;
    for (const std::vector<CompiledRule>* wanted : {&nothing, &turn.rules_after.rules}) {
      std::map<std::pair<IfIndex, uint32_t>, const RuleId*> gone;  // the last one of each chain
      for (const Step& step : diff(*wanted, observed)) {
        if (step.kind != Step::Kind::remove || observed[step.rule].id.prio == kPrioLast) continue;
        const RuleId& id = observed[step.rule].id;
        const RuleId* before = std::exchange(gone[{id.device, id.chain}], &id);
        if (before == nullptr) continue;
        ASSERT_GE(before->prio, id.prio) << "device " << id.device.value() << ", chain " << id.chain;
        if (before->prio > id.prio) ++compared;
      }
    }
  });
  EXPECT_GT(compared, 0U);
}

TEST(Diff, a_port_that_goes_loses_its_first_rules_from_the_worst_to_the_best) {
  Config config = example_config();
  config.tenants = {example_tenant("blue", 100)};
  config.tenants[0].ports = {example_port("web", 1), example_port("db", 2)};
  Facts facts = facts_with_all_ports(config);
  const IfIndex db = facts.ports.at({"blue", "db"});
  const RuleSet both = compile(config, facts);
  config.tenants[0].ports.pop_back();
  facts = facts_with_all_ports(config);
  facts.zones = both.zones;
  const std::vector<Observed> observed = KernelModel(both.rules).observe();
  std::vector<uint16_t> gone;
  for (const Step& step : diff(compile(config, facts).rules, observed)) {
    if (step.kind != Step::Kind::remove) continue;
    const RuleId& id = observed[step.rule].id;
    if (id.device == db && id.chain == 0 && id.prio != kPrioLast) gone.push_back(id.prio);
  }
  ASSERT_GT(gone.size(), 10U);
  EXPECT_TRUE(std::is_sorted(gone.rbegin(), gone.rend())) << "from " << gone.front() << " to " << gone.back();
  EXPECT_EQ(gone.back(), 1U) << "ARP, the best";
}

TEST(Diff, tenants_that_do_not_change_are_never_touched) {
  in_every_turn([&](const Turn& turn) {
    const std::vector<Observed> observed = KernelModel(turn.rules_before.rules).observe();
    std::set<IfIndex> shared{kUplink, kVxlan};
    for (const Step& step : diff(turn.rules_after.rules, observed)) {
      const RuleSet& side = step.kind == Step::Kind::remove ? turn.rules_before : turn.rules_after;
      const CompiledRule& rule = side.rules[step.rule];
      const Vni vni = rule.origin.vni;
      const bool hosts = vni == Vni() && shared.contains(rule.rule.id.device);
      EXPECT_TRUE(hosts || turn.touched.contains(vni)) << to_text(rule.rule);
    }
  });
}

TEST(Diff, the_same_configuration_again_has_no_steps) {
  in_every_world([](const Compiled& compiled, uint64_t) {
    Facts facts = compiled.world.facts;
    facts.zones = compiled.rules.zones;
    const RuleSet second = compile(compiled.world.config, facts);
    EXPECT_TRUE(compiled.rules == second);
    EXPECT_TRUE(diff(second.rules, KernelModel(compiled.rules.rules).observe()).empty());
  });
}

TEST(Diff, a_changed_rule_is_replaced_in_place_and_a_lost_one_added) {
  Config config = example_config();
  config.tenants = {example_tenant("blue", 100)};
  config.tenants[0].ports = {example_port("web", 1)};
  const RuleSet rules = compile(config, facts_with_all_ports(config));
  std::vector<Observed> observed = KernelModel(rules.rules).observe();
  observed[3].cookie.content ^= 1;
  EXPECT_EQ(diff(rules.rules, observed), (std::vector<Step>{{Step::Kind::replace, 3}}));
  observed = KernelModel(rules.rules).observe();
  observed.erase(observed.begin() + 5);
  EXPECT_EQ(diff(rules.rules, observed), (std::vector<Step>{{Step::Kind::add, 5}}));
  observed = KernelModel(rules.rules).observe();
  Observed extra = observed.back();
  extra.id.handle += 1;
  observed.push_back(extra);
  EXPECT_EQ(diff(rules.rules, observed),
            (std::vector<Step>{{Step::Kind::remove, static_cast<uint32_t>(observed.size() - 1)}}));
}

// The promise that `./dev bench` measures.
TEST(Diff, one_more_port_costs_its_own_block_and_one_route_and_one_egress_rule_elsewhere) {
  for (const bool outside : {false, true}) {
    Config config = example_config();
    if (outside)
      config.host.public_net = config::Public{std::nullopt, {ip("198.51.100.1")}, mac("02:00:00:00:99:01"), true, {}};
    for (uint32_t vni = 100; vni < 104; ++vni) {
      Tenant t = example_tenant("t" + std::to_string(vni), vni);
      for (uint8_t p = 1; p <= 3; ++p) t.ports.push_back(example_port("p" + std::to_string(p), p));
      if (outside) {
        t.nat = {{prefix("10.0.0.0/24"),
                  ip("203.0.113.10"),
                  PortRange{static_cast<uint16_t>(vni * 100), static_cast<uint16_t>(vni * 100 + 99)},
                  {}}};
        t.routes.push_back({prefix("0.0.0.0/0"), config::ViaPublic{}, std::nullopt, {}});
      }
      config.tenants.push_back(t);
    }
    Facts facts = facts_with_all_ports(config);
    const RuleSet before = compile(config, facts);
    config::Port added = example_port("p9", 9);
    added.addresses.resize(1);
    config.tenants[1].ports.push_back(added);
    facts.ports[{"t101", "p9"}] = IfIndex(99);
    facts.zones = before.zones;
    const RuleSet after = compile(config, facts);

    std::map<IfIndex, std::map<Group, unsigned>> writes;
    for (const Step& step : diff(after.rules, KernelModel(before.rules).observe())) {
      EXPECT_EQ(step.kind, Step::Kind::add);
      const CompiledRule& rule = after.rules[step.rule];
      EXPECT_EQ(rule.origin.vni, Vni(101));
      ++writes[rule.rule.id.device][rule.origin.group];
    }
    const std::map<Group, unsigned> one_each{{Group::encap, 1}, {Group::egress, 1}};
    for (uint32_t device = 13; device <= 15; ++device) EXPECT_EQ(writes[IfIndex(device)], one_each) << device;
    EXPECT_EQ(writes[kVxlan], one_each);
    if (outside) {
      EXPECT_EQ(writes[kUplink], one_each);
    }
    EXPECT_EQ(writes.size(), outside ? 6U : 5U);
    const auto own = std::count_if(after.rules.begin(), after.rules.end(),
                                   [](const CompiledRule& r) { return r.rule.id.device == IfIndex(99); });
    unsigned written = 0;
    for (const auto& [group, count] : writes[IfIndex(99)]) written += count;
    EXPECT_EQ(written, own);
  }
}

TEST(Diff, a_device_that_comes_late_costs_the_same) {
  Config config = example_config();
  config.tenants = {example_tenant("blue", 100), example_tenant("red", 200)};
  for (uint8_t p = 1; p <= 3; ++p) {
    for (Tenant& t : config.tenants) t.ports.push_back(example_port("p" + std::to_string(p), p));
  }
  Facts facts = facts_with_all_ports(config);
  const RuleSet after = compile(config, facts);
  facts.ports.erase({"blue", "p2"});
  const RuleSet before = compile(config, facts);
  EXPECT_EQ(before.waiting, (std::vector<PortKey>{{"blue", "p2"}}));
  std::map<IfIndex, unsigned> writes;
  for (const Step& step : diff(after.rules, KernelModel(before.rules).observe())) {
    ++writes[after.rules[step.rule].rule.id.device];
    EXPECT_NE(step.kind, Step::Kind::remove);
  }
  // Two addresses: two routes turn from drops into routes, one egress rule is new.
  EXPECT_EQ(writes[IfIndex(10)], 3U);
  EXPECT_EQ(writes[IfIndex(12)], 3U);
  EXPECT_EQ(writes[kVxlan], 3U);
  EXPECT_EQ(writes.size(), 4U);
}

}  // namespace sepal::tc::model
