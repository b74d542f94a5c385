// See worlds.hpp.
#include "worlds.hpp"

#include <cstdlib>
#include <map>
#include <utility>

#include "policy/network.hpp"

namespace sepal::tc::model {

const Compiled& compiled_world(uint64_t seed, bool beyond_nic) {
  static std::map<std::pair<bool, uint64_t>, Compiled> known;
  auto at = known.find({beyond_nic, seed});
  if (at == known.end()) {
    Compiled made;
    made.world = random_world(seed, beyond_nic ? Wishes{4, true} : Wishes{});
    made.rules = compile(made.world.config, made.world.facts);
    for (const policy::TenantPolicy& policy : policy::compile(made.world.config))
      made.judges.emplace(policy.vni, policy::Judge(policy.tables));
    at = known.emplace(std::pair{beyond_nic, seed}, std::move(made)).first;
  }
  return at->second;
}

Seeds seeds_to_try(uint64_t count) {
  if (const char* only = std::getenv("SEPAL_SEED")) {
    const uint64_t seed = std::strtoull(only, nullptr, 10);
    return {seed, seed};
  }
  return {1, count};
}

}  // namespace sepal::tc::model
