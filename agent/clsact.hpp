// clsact on devices: ours to add, and ours to take away only when we made it and nobody else uses it. A clsact of our
// making carries a mark in the kernel itself: one filter with our cookie in an egress chain that nothing jumps to. It
// costs no packet anything (the first egress chain stays empty), dies with the qdisc, and is there after every crash.
#pragma once

#include "agent/kernel.hpp"
#include "base/net_types.hpp"

namespace sepal::agent {

inline constexpr uint32_t kClsactMarkChain = 0x0fffffff;

// Adds clsact and the mark; an existing clsact is used and left unmarked. True: made by us just now.
Result<bool> attach_clsact(Kernel& kernel, IfIndex device, uint16_t instance);

// Removes the clsact if it carries our mark and, ingress and egress, no filter but the mark. True: removed.
Result<bool> detach_clsact(Kernel& kernel, IfIndex device, uint16_t instance);

}  // namespace sepal::agent
