// Asking the NIC about one rule it did not take: why, and would it now.
//
// The kernel accepts a rule that the NIC refuses, and keeps the driver's errno to itself. Its words come with the
// answer to a write of that rule alone. Its errno comes when the rule may be in hardware only (skip_sw), which the
// kernel then refuses as a whole: so a copy is offered in a chain that nothing leads to, and taken out again. On the
// tunnel device, which is not the NIC's own, skip_sw never works: there the words must do, and whether the NIC takes
// anything at all at the moment is asked on the uplink.
#pragma once

#include <optional>

#include "agent/hardware.hpp"
#include "agent/kernel.hpp"
#include "agent/shared_actions.hpp"

namespace sepal::agent {

// Nothing leads here: lane 1 has no group 0.
inline constexpr uint32_t kSpareChain = tc::chain_number(tc::Lane::uplink, tc::Group::ingress, Vni());

// Who asks: the connection, and what stands for the actions that rules share.
struct Asker {
  Kernel& kernel;
  SharedActions& shared;
};

// Offers a copy of a rule of any device but the tunnel's in the spare chain. nullopt: the NIC takes it. The copy's
// actions are its own: a rule that may be in hardware only cannot refer to objects that are in software, too.
Result<std::optional<HardwareRefusal>> would_refuse(Asker asker, const tc::CompiledRule& rule);

// Writes a rule that stands in the kernel, but not in hardware, once more. nullopt: now it is there.
Result<std::optional<HardwareRefusal>> ask_again(Asker asker, const World& world, const tc::CompiledRule& rule);

}  // namespace sepal::agent
