// After a policy changed: live connections are judged again by the code that judged their first packet, and those it
// forbids now are deleted one by one, thereby from the NIC. TCP does not come back by itself (group 7 wants a SYN), and
// whatever begins anew is judged by the new policy.
#pragma once

#include <vector>

#include "agent/kernel.hpp"
#include "agent/state.hpp"
#include "policy/tables.hpp"

namespace sepal::agent {

// Judges the connections of tenants whose policy is another than the one they were last judged by (`before`), notes in
// `after` by which they are now, and returns how many were deleted. Interrupted, or refused by the kernel, it leaves
// `before` true, so that the next pass judges again.
Result<size_t> end_forbidden(Kernel& kernel, const std::vector<policy::TenantPolicy>& policies,
                             const SavedState& before, SavedState& after);

}  // namespace sepal::agent
