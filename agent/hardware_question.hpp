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

// A copy of a rule to be tried in `chain`. Its actions are its own, for a rule that may be in hardware only cannot
// refer to objects that are in software, too; its jumps lead to the chain behind, for not every NIC jumps back.
tc::Rule trial_of(const tc::Rule& rule, uint32_t chain);
// Offers a trial to hardware alone, which no tunnel's device allows, and takes it out again. nullopt: the NIC takes it;
// else what kernel and driver said.
Result<std::optional<Error>> try_in_hardware(Kernel& kernel, const tc::Rule& trial, const tc::Cookie& cookie);
Result<void> withdraw_trial(Kernel& kernel, const tc::RuleId& id);

// Tries a rule of any device but the tunnel's in the spare chain. nullopt: the NIC takes it.
Result<std::optional<HardwareRefusal>> would_refuse(Kernel& kernel, const tc::CompiledRule& rule);

// Writes a rule that stands in the kernel, but not in hardware, once more. nullopt: now it is there.
Result<std::optional<HardwareRefusal>> ask_again(Asker asker, const World& world, const tc::CompiledRule& rule);

}  // namespace sepal::agent
