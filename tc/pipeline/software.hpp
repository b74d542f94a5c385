// Why a rule is kept out of hardware: the pipeline's own decision, in words for `explain`. What a NIC refused is
// another matter (agent/offload.hpp).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/net_types.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::tc {

// Empty for a rule that may be in hardware.
std::string_view software_reason(const Rule& rule);
// Remote VTEPs that a NIC cannot send to, and why: "leaves by eth1 …".
using KeptOutVteps = std::map<IpAddr, std::string>;
// The same with the reason of a tunnel, where the rule is kept out because of one.
std::string software_reason(const Rule& rule, const KeptOutVteps& kept_out);

}  // namespace sepal::tc
