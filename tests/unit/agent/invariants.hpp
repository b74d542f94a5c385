// The invariants of the pipeline, asked of a kernel that was made what a configuration says, while the NIC holds some
// of its rules and not others.
#pragma once

#include <cstdint>
#include <functional>

#include "agent/kernel.hpp"
#include "agent/paths.hpp"
#include "agent/world.hpp"
#include "config/model.hpp"

namespace sepal::agent {

// Whether the NIC itself holds a rule.
using InNic = std::function<bool(const tc::CompiledRule& rule, const World& world)>;

struct Ends {
  size_t in_hardware = 0;        // rules
  size_t ended_in_hardware = 0;  // packets
};

// Fails the running test where one of these does not hold, of packets by `seed`:
// 1. what the NIC holds never overtakes software: a packet ends the same with it and without;
// 2. nothing the NIC executes is beyond its contract (tc/model's hardware walk has no fault);
// 3, 4. a packet ends as the configuration says, and what is dropped is counted under its reason;
// 5. the kernel's dump is what is compiled; and no rule of the set breaks lint.
void expect_invariants(Kernel kernel, const config::Config& config, const Paths& paths, uint64_t seed,
                       const InNic& in_nic, Ends& ends);

}  // namespace sepal::agent
