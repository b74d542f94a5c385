// The random worlds of this program and their rules. Most tests here ask one question of every world; a world is
// compiled once, by the first that asks, because under sanitizers compiling costs more than most questions.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tc/model/walk.hpp"
#include "world.hpp"

namespace sepal::tc::model {

inline constexpr uint64_t kWorlds = 240;
inline constexpr uint64_t kWorldsBeyondNic = 80;

struct Compiled {
  World world;
  RuleSet rules;
  Judges judges;  // of tenants with security groups
};

// `seed` from 1 on. With `beyond_nic` some tenants have zones that no NIC restores.
const Compiled& compiled_world(uint64_t seed, bool beyond_nic = false);

// SEPAL_SEED=n looks at one world only: how a failure is looked at.
struct Seeds {
  uint64_t first = 1;
  uint64_t last = 0;
};
Seeds seeds_to_try(uint64_t count);

// Asks `body(compiled, seed)` of the first `count` worlds, until one fails.
template <typename Body>
void in_every_world(const Body& body, bool beyond_nic = false, uint64_t count = kWorlds) {
  const Seeds seeds = seeds_to_try(count);
  for (uint64_t seed = seeds.first; seed <= seeds.last && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("SEPAL_SEED=" + std::to_string(seed));
    body(compiled_world(seed, beyond_nic), seed);
  }
}

}  // namespace sepal::tc::model
