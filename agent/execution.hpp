// Steps → kernel, in an order that loses no packet: targets before jumps, jumps before targets on the way out, one
// refused rule never stopping the others. What was refused, and what was held back because of it, is the outcome; what
// is tried again when is the reconciler's business.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "agent/kernel.hpp"
#include "agent/world.hpp"
#include "tc/pipeline/diff.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {

// A wanted rule that is not in the kernel, and why.
struct Refusal {
  tc::RuleId id;
  uint64_t content = 0;
  tc::Origin origin;
  bool held = false;  // not tried, because the chain it jumps to could not be closed
  bool tried = true;  // false: held, or not due again yet
  Error error;
};

struct Outcome {
  size_t added = 0;
  size_t replaced = 0;
  size_t removed = 0;
  std::vector<Refusal> refusals;  // in the order of the rules
  std::vector<std::pair<tc::RuleId, Error>> not_removed;
  size_t kept = 0;            // unwanted last rules that stay because something may still jump to their chains
  bool devices_left = false;  // a device went away meanwhile: look again
  bool surprised = false;     // from memory: the kernel is not as it was remembered: look
  bool stopped = false;       // `progress` asked for it; the rest is undone
  [[nodiscard]] size_t writes() const { return added + replaced + removed; }
};

// Gives the earlier refusal of a rule that is not to be tried now; null: try it.
using Remembered = std::function<const Refusal*(const tc::CompiledRule&)>;

struct ExecutionInput {
  const std::vector<tc::CompiledRule>& wanted;
  const World& world;
  const std::vector<tc::Step>& steps;
  std::map<IfIndex, Error> unusable = {};  // devices no rule can stand on, and why
  Remembered remembered = {};              // may be empty
  Progress progress = {};                  // may be empty
  // The steps come of what was remembered, not seen, and concern only a part of what stands. A rule of ours where none
  // was remembered is then left alone, for it may be another part's; `goes_on` tells of a chain whether rules of other
  // parts stand in it, behind the last that is known here.
  bool from_memory = false;
  std::function<bool(const tc::RuleId&)> goes_on = {};
};

// An Error: the connection to the kernel broke, or answers are unknown; look again.
Result<Outcome> execute(Kernel& kernel, const ExecutionInput& input);

}  // namespace sepal::agent
