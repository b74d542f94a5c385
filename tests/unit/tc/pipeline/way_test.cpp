// Packets through the compiled rules of random worlds: invariants 1, 3 and 4 of docs/reference/pipeline.md.
#include <gtest/gtest.h>

#include <algorithm>

#include "config/read.hpp"
#include "oracle.hpp"
#include "traffic.hpp"
#include "worlds.hpp"

namespace sepal::tc::model {
namespace {

constexpr unsigned kPacketsPerWorld = 110;

// Some connections of those it could know, by chance but the same in every run.
bool known_to_nic(const Connection& connection, uint64_t salt) {
  const uint64_t mix =
      (connection.original.src_port * 31ULL + connection.original.dst_port + salt) * 0x9e3779b97f4a7c15ULL;
  return (mix >> 60U) < 11;
}

// What a test of many packets has met, so that it cannot pass by having met nothing.
struct Seen {
  std::map<DropReason, unsigned> drops;
  std::map<Expected::Kind, unsigned> ends;

  void add(const Expected& expected, const Outcome& outcome) {
    ++ends[expected.kind];
    if (outcome.kind == Outcome::Kind::dropped) ++drops[outcome.reason()];
  }
};

}  // namespace

TEST(World, every_generated_configuration_is_valid) {
  in_every_world([](const Compiled& compiled, uint64_t) {
    for (const config::Fault& fault : config::validate(compiled.world.config)) ADD_FAILURE() << fault.to_string();
  });
}

TEST(Way, software_does_with_every_packet_what_the_configuration_says) {
  Seen seen;
  in_every_world([&](const Compiled& compiled, uint64_t seed) {
    const World& world = compiled.world;
    const Dataplane dataplane(compiled.rules, world.facts.vxlan, &compiled.judges);
    Oracle oracle(world);
    Traffic traffic(world, seed);
    Conntrack conntrack;
    for (unsigned i = 0; i < kPacketsPerWorld && !testing::Test::HasFailure(); ++i) {
      const Arrival arrival = traffic.next();
      const Outcome outcome = dataplane.software(arrival.device, arrival.packet, conntrack);
      const Expected expected = oracle.judge(arrival.device, arrival.packet, outcome);
      auto story = [&] {
        return "packet " + std::to_string(i) + " on " + std::to_string(arrival.device.value()) + ": " +
               model::to_string(arrival.packet) + "\n" + outcome.to_string();
      };
      EXPECT_EQ(outcome.fault, "") << story();
      EXPECT_EQ(Oracle::difference(expected, outcome), "") << story();
      traffic.seen(arrival, outcome);
      seen.add(expected, outcome);
    }
  });
  const Seeds all = seeds_to_try(kWorlds);
  if (all.first == all.last || testing::Test::HasFailure()) return;
  using Kind = Expected::Kind;
  for (Kind kind : {Kind::drop, Kind::host, Kind::answer, Kind::deliver, Kind::overlay, Kind::wire}) {
    EXPECT_GT(seen.ends[kind], 100U) << "packets that end as kind " << static_cast<int>(kind);
  }
  // All reasons but two, which no packet meets while the rules are right.
  for (auto reason = DropReason::spoofed; reason <= DropReason::unpublished;
       reason = static_cast<DropReason>(static_cast<int>(reason) + 1)) {
    if (reason == DropReason::untracked || reason == DropReason::unknown_mac) {
      EXPECT_EQ(seen.drops[reason], 0U) << to_string(reason);
    } else {
      EXPECT_GT(seen.drops[reason], 0U) << "no packet dropped as " << to_string(reason);
    }
  }
}

TEST(Way, hardware_never_overtakes_software) {
  unsigned ended_in_hardware = 0;
  in_every_world([&](const Compiled& compiled, uint64_t seed) {
    const Dataplane dataplane(compiled.rules, compiled.world.facts.vxlan, &compiled.judges);
    Traffic traffic(compiled.world, seed);
    Conntrack conntrack;
    for (unsigned i = 0; i < kPacketsPerWorld && !testing::Test::HasFailure(); ++i) {
      const Arrival arrival = traffic.next();
      Conntrack beside = conntrack;
      const Outcome hardware = dataplane.hardware(arrival.device, arrival.packet, beside,
                                                  [&](const Connection& c) { return known_to_nic(c, seed + i / 20); });
      const Outcome software = dataplane.software(arrival.device, arrival.packet, conntrack);
      EXPECT_TRUE(same_end(hardware, software))
          << model::to_string(arrival.packet) << "\nhardware: " << hardware.to_string()
          << "\nsoftware: " << software.to_string();
      EXPECT_EQ(hardware.fault, "");
      EXPECT_TRUE(beside == conntrack) << "the connections differ after " << model::to_string(arrival.packet);
      traffic.seen(arrival, software);
      if (!hardware.left_hardware && hardware.kind == Outcome::Kind::sent) ++ended_in_hardware;
    }
  });
  const Seeds all = seeds_to_try(kWorlds);
  if (all.first != all.last) {
    EXPECT_GT(ended_in_hardware, 100U);
  }
}

// Only the rule that drops may be another: group 7's before there is a connection, group 3's where there is none.
TEST(Way, a_first_datagram_that_is_let_go_ends_as_one_that_is_tracked_and_leaves_no_connection) {
  unsigned let_go = 0;
  unsigned sent = 0;
  in_every_world([&](const Compiled& compiled, uint64_t seed) {
    const Dataplane dataplane(compiled.rules, compiled.world.facts.vxlan, &compiled.judges);
    Traffic traffic(compiled.world, seed);
    Conntrack conntrack;
    for (unsigned i = 0; i < kPacketsPerWorld && !testing::Test::HasFailure(); ++i) {
      const Arrival arrival = traffic.next();
      const Conntrack before = conntrack;
      Conntrack beside = conntrack;
      Packet first = arrival.packet;
      first.unseen = true;
      const Outcome unseen = dataplane.software(arrival.device, first, beside);
      const Outcome tracked = dataplane.software(arrival.device, arrival.packet, conntrack);
      auto story = [&] {
        return model::to_string(arrival.packet) + "\nunseen: " + unseen.to_string() +
               "\ntracked: " + tracked.to_string();
      };
      const bool dropped = unseen.kind == Outcome::Kind::dropped && tracked.kind == Outcome::Kind::dropped;
      EXPECT_TRUE(same_end(unseen, tracked) || (dropped && unseen.reason() == tracked.reason())) << story();
      EXPECT_EQ(unseen.fault, "") << story();
      const bool went_past = std::any_of(unseen.way.begin(), unseen.way.end(), [](const Visit& visit) {
        return visit.rule != nullptr && asks_untracked(visit.rule->rule.spec);
      });
      EXPECT_TRUE(beside == (went_past ? before : conntrack)) << "the connections are others after " << story();
      let_go += went_past ? 1 : 0;
      sent += went_past && unseen.kind == Outcome::Kind::sent ? 1 : 0;
      traffic.seen(arrival, tracked);
    }
  });
  const Seeds all = seeds_to_try(kWorlds);
  if (all.first != all.last) {
    EXPECT_GT(let_go, 10U);
    EXPECT_GT(sent, 0U);
  }
}

TEST(Way, tenants_beyond_the_zones_of_a_nic_work_in_software_alone) {
  in_every_world(
      [&](const Compiled& compiled, uint64_t seed) {
        const World& world = compiled.world;
        const Dataplane dataplane(compiled.rules, world.facts.vxlan, &compiled.judges);
        Oracle oracle(world);
        Traffic traffic(world, seed);
        Conntrack conntrack;
        for (unsigned i = 0; i < kPacketsPerWorld && !testing::Test::HasFailure(); ++i) {
          const Arrival arrival = traffic.next();
          const Outcome outcome =
              dataplane.hardware(arrival.device, arrival.packet, conntrack, [](const Connection&) { return true; });
          EXPECT_EQ(outcome.fault, "") << outcome.to_string();
          EXPECT_EQ(Oracle::difference(oracle.judge(arrival.device, arrival.packet, outcome), outcome), "")
              << model::to_string(arrival.packet) << "\n"
              << outcome.to_string();
          traffic.seen(arrival, outcome);
        }
      },
      true, kWorldsBeyondNic);
}

}  // namespace sepal::tc::model
