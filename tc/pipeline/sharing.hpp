// Which actions of a rule are shared objects of the kernel and which are the rule's own.
#pragma once

#include "tc/rule/rule.hpp"

namespace sepal::tc {

// Marks them: pedit, csum and tunnel_key set of a rule without ct and police, but never its last action, which holds
// the rule's cookie and counters. A function of this one rule: what else is there changes nothing, so that nobody's
// rules are rewritten when a neighbour comes or goes.
void mark_shared_actions(RuleSpec& spec);

}  // namespace sepal::tc
