// What was dropped, by whose hand and why: the counters of rules that drop, and of actions that do, summed up by
// tenant, place and reason. Pure; shown.hpp gathers.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "agent/shown.hpp"

namespace sepal::agent {

struct Drop {
  Vni vni;            // 0: the host's
  std::string where;  // "port web-0", "tunnel", "uplink"; the device's name when nothing is known of it
  tc::DropReason reason = tc::DropReason::none;
  uint64_t packets = 0;
  uint64_t bytes = 0;  // of actions that drop nobody counts bytes: 0
  auto operator<=>(const Drop&) const = default;
};

// Sorted by tenant, place and reason; of those that dropped nothing there are none. Counters begin when their rule was
// written.
std::vector<Drop> drops_of(const Shown& shown);

// Why an action that is no verdict drops; none: it never does.
tc::DropReason reason_of(const tc::ActionKind& action);
// Whether it is the program that answers for neighbours: what it drops by itself is spoofed, and only what the rule's
// own verdict drops behind it has the action's reason.
bool guards(const tc::ActionKind& action);
// "port web-0", "tunnel", "uplink"; the device's name when nothing is known of it.
std::string place_of(IfIndex device, const Shown& shown);

}  // namespace sepal::agent
