// Routing is where very many rules do the same: all routes of a tenant through one hypervisor have one tunnel key, all
// routes off this host one rewrite. Rules with ct or police share nothing: a NIC's driver keeps their statistics by the
// address of the action (lint L3).
#include "tc/pipeline/sharing.hpp"

#include <algorithm>

namespace sepal::tc {
namespace {

bool needs_its_own(const Action& action) {
  return std::holds_alternative<Ct>(action.kind) || std::holds_alternative<Police>(action.kind);
}

bool can_be_shared(const Action& action) {
  return std::holds_alternative<Pedit>(action.kind) || std::holds_alternative<Csum>(action.kind) ||
         std::holds_alternative<TunnelSet>(action.kind);
}

}  // namespace

void mark_shared_actions(RuleSpec& spec) {
  if (spec.actions.size() < 2 || std::any_of(spec.actions.begin(), spec.actions.end(), needs_its_own)) return;
  for (auto action = spec.actions.begin(); action != std::prev(spec.actions.end()); ++action)
    action->shared = can_be_shared(*action);
}

}  // namespace sepal::tc
