// What security groups mean, told as plainly as it can be: a walk over all rules of all groups, no tables. The compiled
// tables and the kernel's program are judged by it.
#pragma once

#include <iosfwd>
#include <string>

#include "policy/compile.hpp"
#include "policy/judge.hpp"

namespace sepal::policy::model {

// What one end says. `line` is the rule's place in the configuration; 0: none of its rules.
struct Said {
  bool judged = false;
  bool allows = true;  // of those groups that are enforced
  uint32_t line = 0;
  bool would_allow = true;  // of all groups
  uint32_t would_line = 0;
  bool operator==(const Said&) const = default;
};
struct Judgement {
  Said egress;
  Said ingress;
  [[nodiscard]] bool allowed() const { return egress.allows && ingress.allows; }
  bool operator==(const Judgement&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Judgement& judgement);

Judgement judge(const Network& network, const Flow& flow);

// A verdict of the tables in the same words.
Judgement in_words(const TenantPolicy& policy, const Verdict& verdict);

}  // namespace sepal::policy::model
