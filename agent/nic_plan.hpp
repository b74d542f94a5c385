// From a NIC as it is to the NIC that is wanted: the steps, in an order every driver of an eSwitch takes. Pure.
//
//   bring-up                                            back to what was found
//   parameters (while legacy)                           uplink as it was
//   number of VFs, through 0, new ones without driver   VFs unbound
//   VFs unbound                                         MACs, inline and encap mode as they were
//   mode switchdev                                      number of VFs to 0, if it was another
//   inline and encap mode                               mode legacy, parameters
//   MACs of VFs                                         number of VFs
//   hw-tc-offload, up: uplink and representors          VFs bound
//   VFs bound
//
// A plan sees no further than the next structural step: what that brings is expected as drivers bring it, and planned
// anew when it is there.
#pragma once

#include <vector>

#include "agent/nic_record.hpp"
#include "agent/nic_step.hpp"

namespace sepal::agent {

// Empty when all is as wanted. Errc::conflict: a step would disturb a VF somebody uses; every such VF and its user is
// named. Errc::unsupported: this NIC cannot. Errc::not_found: VFs that others should have made are not there.
Result<std::vector<NicStep>> plan_nic(const NicWanted& wanted, const NicState& now);

// The same, back to the record. What the record does not speak of stays as it is.
Result<std::vector<NicStep>> plan_nic_reset(const NicRecord& record, const NicState& now);

}  // namespace sepal::agent
