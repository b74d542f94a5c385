// The kernel's filters as a diff changes them, one step at a time, and what must hold after every step.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tc/pipeline/diff.hpp"

namespace sepal::tc::model {

using Place = std::tuple<IfIndex, uint32_t, uint16_t, uint32_t>;
inline Place place_of(const RuleId& id) { return {id.device, id.chain, id.prio, id.handle}; }

class KernelModel {
 public:
  explicit KernelModel(const std::vector<CompiledRule>& rules) {
    for (const CompiledRule& rule : rules) filters_[place_of(rule.rule.id)] = rule;
  }

  // What a terse dump would tell, sorted by id.
  [[nodiscard]] std::vector<Observed> observe() const;
  // Empty, or what the kernel would refuse.
  std::string apply(const Step& step, const std::vector<CompiledRule>& wanted, const std::vector<Observed>& observed);
  [[nodiscard]] const std::map<Place, CompiledRule>& filters() const { return filters_; }
  [[nodiscard]] bool holds(const std::vector<CompiledRule>& rules) const;  // these and no others

 private:
  std::map<Place, CompiledRule> filters_;
};

// Whether every chain that a packet can reach is whole, while a kernel changes from one rule set to another. A chain is
// whole when it holds everything that stands in it both before and after, or all of the side that has it alone.
class JumpCheck {
 public:
  JumpCheck(const std::vector<CompiledRule>& before, const std::vector<CompiledRule>& after);
  // Empty, or the jump that leads to a chain of `device` that is empty or not whole.
  [[nodiscard]] std::string unsafe(const KernelModel& kernel, IfIndex device) const;

 private:
  std::map<std::pair<IfIndex, uint32_t>, std::vector<Place>> needed_;
};

}  // namespace sepal::tc::model
