// The order of writes when rules leave hardware or come back into it, so that hardware overtakes software at no time
// while they go: out, its entrance closes before what lies behind it; in, the entrance opens last.
#pragma once

#include <vector>

#include "tc/pipeline/diff.hpp"

namespace sepal::tc {

// Reorders the adds and replaces of `steps` (from diff(), of the same `wanted` and `observed`); removals stay behind
// them. First what is new, targets before jumps; then, of each block that a rule leaves, the first chain from its
// worst rule to its best; then what lies behind, which makes room; then everything else by depth; then what comes in;
// last, of each block that a rule comes back into, the first chain from its best rule to its worst. A replacement needs
// no order among targets and jumps, for whatever it jumps to stands by then.
void order_for_hardware(std::vector<Step>& steps, const std::vector<CompiledRule>& wanted,
                        const std::vector<Observed>& observed);

}  // namespace sepal::tc
