// Does this NIC take each shape of our rules? One rule of each shape is tried in a chain that no packet comes to, and
// taken away again. A shape is what a NIC may refuse: which keys under which masks, which actions in which order.
#pragma once

#include <string>
#include <vector>

#include "agent/doctor/finding.hpp"
#include "agent/kernel.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent::doctor {

// In lane 1 no rule of ours stands in a chain of group 0.
inline constexpr uint32_t kProbeChain = 1U << 27U | 0xfffffeU;

struct Shape {
  tc::Rule rule;  // as it is tried: in the spare chain, its jumps to the chain behind it
  tc::BlockKind block = tc::BlockKind::port;
  std::string name;  // "port g2: eth_type ct_state → goto"
  std::string of;    // the pipeline's rule it stands for, as text
};

// One rule per shape, of those that may be in hardware. Pure.
std::vector<Shape> shapes_of(const tc::RuleSet& rules);

struct ProbeOutcome {
  Shape shape;
  bool taken = false;
  std::string words;  // of the kernel or driver, when it was not
};

// Tries them one after another; a shape whose device has no clsact is refused with that word. Ends with an Error only
// when the connection breaks, or a tried rule cannot be removed.
Result<std::vector<ProbeOutcome>> probe(Kernel& kernel, const std::vector<Shape>& shapes);
// What a probing doctor that was killed left behind on these devices; returns how many filters.
Result<size_t> clear_probes(Kernel& kernel, const std::set<IfIndex>& devices);

Findings judge_probes(const std::vector<ProbeOutcome>& outcomes);

}  // namespace sepal::agent::doctor
