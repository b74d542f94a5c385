// The NIC's contract, and the pipeline's own invariants, as checks over a rule set alone: which rules would be refused,
// or worse, silently do something else in hardware than in software. What each number means:
// docs/reference/pipeline.md.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc {

struct LintFinding {
  std::string rule;          // "L1" … "L21", or "I2" … "I5" for the pipeline's own invariants
  RuleId id;                 // the offending rule
  std::string what;          // one line, names the other rule where there is one
  bool informative = false;  // works, but costs or differs: a configuration may be worth changing, no rule is wrong
  bool operator==(const LintFinding&) const = default;
};

struct LintContext {
  std::vector<std::pair<IfIndex, BlockKind>> blocks;  // devices and what they are; a device not named is a port

  // Who is who, for I3; it is checked when `zones` is given.
  std::map<IfIndex, Vni> owners;  // port devices
  std::map<Vni, Zone> zones;
  std::map<Vid, Vni> vlans;             // tenant VLANs on the uplink
  std::set<std::pair<Vni, Vni>> peers;  // both ways
};

LintContext lint_context(const config::Config& config, const Facts& facts, const std::map<Vni, Zone>& zones);

std::vector<LintFinding> lint(const std::vector<CompiledRule>& rules, const LintContext& context);

std::string to_string(const LintFinding& finding);  // one line: "L9 dev 7 chain g2 vni 100 prio 1: …"

}  // namespace sepal::tc
