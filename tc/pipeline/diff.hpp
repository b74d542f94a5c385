// wanted − observed → ordered steps. A goto's target is built before the jump and removed after it; a changed rule is
// replaced in place; a rule whose match or place changed is added first and its old one removed after.
#pragma once

#include <cstdint>
#include <vector>

#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc {

// What a terse dump tells of one filter of ours.
struct Observed {
  RuleId id;
  Cookie cookie;
  bool skip_hw = false;
  bool in_hw = false;    // some hardware took it
  uint64_t packets = 0;  // counted by its last action
  auto operator<=>(const Observed&) const = default;
};

struct Step {
  enum class Kind : uint8_t { add, replace, remove } kind = Kind::add;
  uint32_t rule = 0;  // add, replace: index into the RuleSet's rules; remove: index into observed
  auto operator<=>(const Step&) const = default;
};

// Both inputs sorted by id. Steps: adds and replaces by ascending depth, then removals: jumps before their targets
// (chain 0 first, then groups 1, 5, 6, 2, 7, 3, 4).
std::vector<Step> diff(const std::vector<CompiledRule>& wanted, const std::vector<Observed>& observed);

}  // namespace sepal::tc
