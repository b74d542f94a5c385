// Packets through the compiled rules of random worlds: invariants 1, 3 and 4 of docs/reference/pipeline.md.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "config/read.hpp"
#include "oracle.hpp"
#include "traffic.hpp"

namespace sepal::tc::model {
namespace {

constexpr uint64_t kWorlds = 220;
constexpr unsigned kPacketsPerWorld = 110;

// SEPAL_SEED=n runs one world only, to look at a failure.
template <typename Body>
void in_every_world(const Body& body, const Wishes& wishes = {}) {
  uint64_t first = 1;
  uint64_t last = kWorlds;
  if (const char* only = std::getenv("SEPAL_SEED")) first = last = std::strtoull(only, nullptr, 10);
  for (uint64_t seed = first; seed <= last && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("SEPAL_SEED=" + std::to_string(seed));
    body(random_world(seed, wishes), seed);
  }
}

// Some connections of those it could know, by chance but the same in every run.
bool known_to_nic(const Connection& connection, uint64_t salt) {
  const uint64_t mix = (connection.original.src_port * 31ULL + connection.original.dst_port + salt) * 0x9e3779b97f4a7c15ULL;
  return (mix >> 60U) < 11;
}

}  // namespace

TEST(World, every_generated_configuration_is_valid) {
  in_every_world([](const World& world, uint64_t) {
    for (const config::Fault& fault : config::validate(world.config)) ADD_FAILURE() << fault.to_string();
  });
}

TEST(Way, software_does_with_every_packet_what_the_configuration_says) {
  std::map<DropReason, unsigned> drops;
  std::map<std::string, unsigned> seen;
  in_every_world([&](const World& world, uint64_t seed) {
    const RuleSet rules = compile(world.config, world.facts);
    const Dataplane dataplane(rules, world.facts.vxlan);
    Oracle oracle(world);
    Traffic traffic(world, seed);
    Conntrack conntrack;
    for (unsigned i = 0; i < kPacketsPerWorld && !testing::Test::HasFailure(); ++i) {
      const Arrival arrival = traffic.next();
      const Outcome outcome = dataplane.software(arrival.device, arrival.packet, conntrack);
      const Expected expected = oracle.judge(arrival.device, arrival.packet, outcome);
      const std::string difference = Oracle::difference(expected, outcome);
      EXPECT_EQ(outcome.fault, "") << model::to_string(arrival.packet) << "\n" << outcome.to_string();
      EXPECT_EQ(difference, "") << "packet " << i << " on " << arrival.device.value() << ": "
                                << model::to_string(arrival.packet) << "\n" << outcome.to_string();
      traffic.seen(arrival, outcome);
      ++drops[outcome.reason()];
      ++seen[std::to_string(static_cast<int>(expected.kind)) + (outcome.kind == Outcome::Kind::sent ? "s" : "")];
    }
  });
  if (std::getenv("SEPAL_SEED") != nullptr) return;
  for (auto& [reason, count] : drops) RecordProperty(std::string("drop ") + std::string(to_string(reason)), static_cast<int>(count));
  for (auto& [reason, count] : drops) std::printf("%s %u\n", std::string(to_string(reason)).c_str(), count);
  for (auto& [reason, count] : seen) std::printf("%s %u\n", reason.c_str(), count);
}

TEST(Way, hardware_never_overtakes_software) {
  in_every_world([&](const World& world, uint64_t seed) {
    const RuleSet rules = compile(world.config, world.facts);
    const Dataplane dataplane(rules, world.facts.vxlan);
    Traffic traffic(world, seed);
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
    }
  });
}

TEST(Way, tenants_beyond_the_zones_of_a_nic_work_in_software_alone) {
  const Wishes wishes{4, true};
  in_every_world(
      [&](const World& world, uint64_t seed) {
        if (seed % 4 != 0) return;
        const RuleSet rules = compile(world.config, world.facts);
        const Dataplane dataplane(rules, world.facts.vxlan);
        Oracle oracle(world);
        Traffic traffic(world, seed);
        Conntrack conntrack;
        for (unsigned i = 0; i < kPacketsPerWorld && !testing::Test::HasFailure(); ++i) {
          const Arrival arrival = traffic.next();
          const Outcome outcome = dataplane.hardware(arrival.device, arrival.packet, conntrack,
                                                     [](const Connection&) { return true; });
          EXPECT_EQ(outcome.fault, "") << outcome.to_string();
          EXPECT_EQ(Oracle::difference(oracle.judge(arrival.device, arrival.packet, outcome), outcome), "")
              << model::to_string(arrival.packet) << "\n" << outcome.to_string();
          traffic.seen(arrival, outcome);
        }
      },
      wishes);
}

}  // namespace sepal::tc::model
