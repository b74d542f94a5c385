// Why a rule is kept out of hardware: the pipeline's own decision, in words for `explain`. What a NIC refused is
// another matter (agent/offload.hpp).
#pragma once

#include <string_view>

#include "tc/rule/rule.hpp"

namespace sepal::tc {

// Empty for a rule that may be in hardware.
std::string_view software_reason(const Rule& rule);

}  // namespace sepal::tc
