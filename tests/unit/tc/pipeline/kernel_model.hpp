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
  struct Chain {
    size_t filters = 0;
    std::map<uint32_t, size_t> jumps;  // target → how many filters lead there
  };

  explicit KernelModel(const std::vector<CompiledRule>& rules) {
    for (const CompiledRule& rule : rules) put(rule);
  }

  // What a terse dump would tell, sorted by id.
  [[nodiscard]] std::vector<Observed> observe() const;
  // Empty, or what the kernel would refuse.
  std::string apply(const Step& step, const std::vector<CompiledRule>& wanted, const std::vector<Observed>& observed);
  [[nodiscard]] const std::map<Place, CompiledRule>& filters() const { return filters_; }
  [[nodiscard]] const Chain* chain(IfIndex device, uint32_t number) const;  // null: no filter in it
  [[nodiscard]] bool holds(const std::vector<CompiledRule>& rules) const;   // these and no others

 private:
  void put(const CompiledRule& rule);
  bool take(const Place& at);

  std::map<Place, CompiledRule> filters_;
  std::map<std::pair<IfIndex, uint32_t>, Chain> chains_;
};

// Whether every chain that a packet can reach is whole, while a kernel changes from one rule set to another. A chain is
// whole when it holds everything that stands in it both before and after, or all of the side that has it alone.
class JumpCheck {
 public:
  // Watches `kernel`, which holds `before`.
  JumpCheck(const KernelModel& kernel, const std::vector<CompiledRule>& before, const std::vector<CompiledRule>& after);
  // To be asked after every step, with its place. Empty, or the jump on that device that leads to a chain that is empty
  // or not whole.
  [[nodiscard]] std::string unsafe(const Place& changed);

 private:
  using ChainKey = std::pair<IfIndex, uint32_t>;
  void note(const Place& at);

  const KernelModel& kernel_;
  std::set<Place> needed_;
  std::set<Place> absent_;              // of those needed
  std::map<ChainKey, size_t> missing_;  // how many of a chain are absent; a chain nobody wants is not here
};

}  // namespace sepal::tc::model
