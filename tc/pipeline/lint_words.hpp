// Which lint rule is about what a driver said: a refusal in such words is what that rule keeps out of a rule set.
#pragma once

#include <string_view>

namespace sepal::tc {

// "L10" …; empty: no lint rule is about it (a table that is full, a capability this NIC lacks).
std::string_view lint_rule_about(std::string_view words);

}  // namespace sepal::tc
