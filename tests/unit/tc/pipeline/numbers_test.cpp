// The small functions everything stands on: chain numbers, port ranges as masks, priorities, zones, slices.
#include <gtest/gtest.h>

#include <set>

#include "tc/pipeline/plan.hpp"
#include "world.hpp"

namespace sepal::tc {
namespace {

using model::example_config;
using model::example_tenant;
using model::prefix;

// Empty, or why the blocks are not exactly the range: they must follow one another, each aligned to its own size.
std::string wrong_split(PortRange range) {
  const std::vector<MaskedPort> blocks = split_range(range);
  if (blocks.empty() || blocks.size() > 30) return "between 1 and 30 blocks, not " + std::to_string(blocks.size());
  uint32_t next = range.first;
  for (const MaskedPort& block : blocks) {
    const uint32_t size = 0x10000U - block.mask;
    if ((size & (size - 1)) != 0) return "a mask that is no prefix";
    if (block.value != next) return "a hole or an overlap at " + std::to_string(next);
    if (block.value % size != 0) return "a block that is not aligned";
    next += size;
  }
  return next == uint32_t{range.last} + 1 ? "" : "an end at " + std::to_string(next);
}

}  // namespace

TEST(ChainNumber, carries_lane_group_and_vni_and_gives_them_back) {
  EXPECT_EQ(chain_number(Lane::guest, Group::nat, Vni(100)), 0x2000064U);
  EXPECT_EQ(chain_number(Lane::uplink, Group::fresh, Vni(0xffffff)), limits::kChainMax);
  std::set<uint32_t> numbers;
  for (Lane lane : {Lane::guest, Lane::uplink}) {
    for (unsigned group = 0; group < 8; ++group) {
      for (uint32_t vni : {0U, 1U, 100U, 0xffffffU}) {
        const ChainId id{lane, static_cast<Group>(group), Vni(vni)};
        const uint32_t number = chain_number(id.lane, id.group, id.vni);
        EXPECT_EQ(parse_chain(number), id);
        EXPECT_LE(number, limits::kChainMax);
        EXPECT_TRUE(numbers.insert(number).second);
      }
    }
  }
}

TEST(ChainNumber, reads_as_words) {
  EXPECT_EQ(to_string(parse_chain(0x2000064)), "g2 vni 100");
  EXPECT_EQ(to_string(parse_chain(0xa000064)), "uplink g2 vni 100");
  EXPECT_EQ(to_string(parse_chain(0xd000000)), "uplink g5");
}

TEST(SplitRange, is_the_range_for_every_pair_at_the_edges) {
  for (uint32_t first = 0; first < 300; ++first) {
    for (uint32_t last = first; last < 300; ++last) {
      ASSERT_EQ(wrong_split({static_cast<uint16_t>(first), static_cast<uint16_t>(last)}), "") << first << "-" << last;
      const auto high_first = static_cast<uint16_t>(0xffff - last);
      const auto high_last = static_cast<uint16_t>(0xffff - first);
      ASSERT_EQ(wrong_split({high_first, high_last}), "") << high_first << "-" << high_last;
    }
  }
}

TEST(SplitRange, is_the_range_from_every_port) {
  model::Dice dice(1);
  for (uint32_t first = 0; first <= 0xffff; ++first) {
    for (uint32_t last : {first, 0xffffU, dice.between(first, 0xffff)}) {
      ASSERT_EQ(wrong_split({static_cast<uint16_t>(first), static_cast<uint16_t>(last)}), "") << first << "-" << last;
    }
  }
}

TEST(SplitRange, takes_one_block_for_an_aligned_slice_and_thirty_at_worst) {
  EXPECT_EQ(split_range({1024, 2047}), (std::vector<MaskedPort>{{1024, 0xfc00}}));
  EXPECT_EQ(split_range({0, 0xffff}), (std::vector<MaskedPort>{{0, 0}}));
  EXPECT_EQ(split_range({80, 80}), (std::vector<MaskedPort>{{80, 0xffff}}));
  EXPECT_EQ(split_range({1, 0xfffe}).size(), 30U);
}

TEST(PrefixPrio, puts_the_longest_prefix_first_and_ends_before_the_last_rule) {
  EXPECT_EQ(prefix_prio(prefix("10.0.0.1/32"), 1), 1);
  EXPECT_EQ(prefix_prio(prefix("fd00::1/128"), 1), 1);
  EXPECT_EQ(prefix_prio(prefix("10.0.0.0/24"), 1), 9);
  EXPECT_EQ(prefix_prio(prefix("0.0.0.0/0"), 1), 33);
  EXPECT_EQ(prefix_prio(prefix("::/0"), 1), 129);
  EXPECT_EQ(prefix_prio(prefix("10.0.0.0/24"), 2, 2), 18);
  EXPECT_LT(prefix_prio(prefix("::/0"), 2, 2) + 1, kPrioLast);
}

TEST(Zones, are_kept_and_the_others_get_the_lowest_free_numbers_in_vni_order) {
  config::Config config = example_config();
  for (uint32_t vni : {10U, 20U, 30U, 40U}) config.tenants.push_back(example_tenant("t" + std::to_string(vni), vni));
  Facts facts;
  facts.zones = {{Vni(20), Zone(1)}, {Vni(40), Zone(7)}};
  EXPECT_EQ(allocate_zones(config, facts),
            (std::map<Vni, Zone>{{Vni(10), Zone(2)}, {Vni(20), Zone(1)}, {Vni(30), Zone(3)}, {Vni(40), Zone(7)}}));
}

TEST(Zones, of_a_tenant_that_is_gone_are_not_given_out_while_its_rules_stand) {
  config::Config config = example_config();
  config.tenants = {example_tenant("new", 10)};
  Facts facts;
  facts.zones = {{Vni(99), Zone(1)}};
  EXPECT_EQ(allocate_zones(config, facts), (std::map<Vni, Zone>{{Vni(10), Zone(2)}}));
}

TEST(Zones, that_two_tenants_claim_or_that_are_nobodys_are_not_kept) {
  config::Config config = example_config();
  config.tenants = {example_tenant("a", 10), example_tenant("b", 20), example_tenant("c", 30)};
  Facts facts;
  facts.zones = {{Vni(10), Zone(5)}, {Vni(20), Zone(5)}, {Vni(30), Zone(0)}};
  const auto zones = allocate_zones(config, facts);
  EXPECT_EQ(zones.at(Vni(10)), Zone(5));
  EXPECT_EQ(zones.at(Vni(20)), Zone(1));
  EXPECT_EQ(zones.at(Vni(30)), Zone(2));
  facts.zones = {{Vni(10), Zone(limits::kZoneReassembly)}};
  EXPECT_EQ(allocate_zones(config, facts).at(Vni(10)), Zone(1));
}

TEST(SliceNumber, stays_with_the_slice_and_is_never_zero) {
  const config::Nat one{prefix("10.0.0.0/24"), model::ip("203.0.113.10"), PortRange{1024, 2047}, {}};
  config::Nat same = one;
  same.from = prefix("10.0.1.0/24");
  config::Nat next = one;
  next.ports = PortRange{2048, 3071};
  config::Nat other = one;
  other.address = model::ip("203.0.113.11");
  EXPECT_EQ(slice_number(one), slice_number(same));
  EXPECT_NE(slice_number(one), slice_number(next));
  EXPECT_NE(slice_number(one), slice_number(other));
  std::set<uint32_t> numbers;
  for (uint32_t first = 0; first < 0x10000; first += 16) {
    config::Nat nat = one;
    nat.ports = PortRange{static_cast<uint16_t>(first), static_cast<uint16_t>(first + 15)};
    EXPECT_TRUE(numbers.insert(slice_number(nat)).second);
    EXPECT_NE(slice_number(nat), 0U);
  }
}

TEST(Classify, names_what_differs_from_the_subnet_and_nothing_else) {
  using Kind = DestinationClass::Kind;
  config::Config config = example_config();
  config::Tenant& t = config.tenants.emplace_back(example_tenant("blue", 100));
  t.ports = {model::example_port("here", 1), model::example_port("waiting", 2)};
  t.routes = {{prefix("10.0.0.9/32"), config::ViaVtep{model::ip("192.0.2.2")}, {}, {}},
              {prefix("10.0.0.64/26"), config::ViaBlackhole{}, {}, {}},
              {prefix("10.0.0.70/32"), config::ViaVtep{model::ip("192.0.2.2")}, {}, {}},
              {prefix("172.16.0.0/12"), config::ViaVtep{model::ip("192.0.2.2")}, {}, {}}};
  Facts facts = model::facts_with_all_ports(config);
  facts.ports.erase({"blue", "waiting"});
  RuleSet out;
  Plan plan;
  make_plan(config, facts, plan, out);
  auto names = [&](Routes routes) {
    std::vector<std::string> list;
    for (const DestinationClass& c : classify(plan.tenants[0], routes)) {
      list.push_back(c.to.to_string() + (c.kind == Kind::drop ? " drop" : c.kind == Kind::open ? " open" : " plain"));
    }
    return list;
  };
  EXPECT_EQ(names(Routes::all),
            (std::vector<std::string>{"10.0.0.0/24 plain", "10.0.0.64/26 drop", "10.0.0.70/32 plain",
                                      "172.16.0.0/12 plain", "fd00:1::/64 plain"}));
  EXPECT_EQ(names(Routes::local_only),
            (std::vector<std::string>{"10.0.0.0/24 plain", "10.0.0.64/26 drop", "fd00:1::/64 plain"}));
}

TEST(Classify, a_neighbour_that_waits_under_a_public_route_begins_no_translation) {
  config::Config config = example_config();
  config.host.public_net =
      config::Public{std::nullopt, {model::ip("198.51.100.1")}, model::mac("02:00:00:00:99:01"), true, {}};
  config::Tenant& t = config.tenants.emplace_back(example_tenant("blue", 100));
  t.ports = {model::example_port("waiting", 66)};
  t.nat = {{prefix("10.0.0.0/24"), model::ip("203.0.113.10"), std::nullopt, {}}};
  t.routes = {{prefix("10.0.0.64/26"), config::ViaPublic{}, {}, {}}};
  Facts facts = model::plain_facts(config);
  RuleSet out;
  Plan plan;
  make_plan(config, facts, plan, out);
  const auto classes = classify(plan.tenants[0], Routes::all);
  const auto waiting = std::find_if(classes.begin(), classes.end(),
                                    [](const DestinationClass& c) { return c.to == prefix("10.0.0.66/32"); });
  ASSERT_NE(waiting, classes.end());
  EXPECT_EQ(waiting->kind, DestinationClass::Kind::drop);
  EXPECT_EQ(waiting->reason, DropReason::waiting);
}

}  // namespace sepal::tc
