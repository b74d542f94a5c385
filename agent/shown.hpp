// Rules as `sepalctl show` and `sepalctl offload` tell them: read from the kernel, joined with what the configuration
// knows of their purpose, and placed in hardware or not. Gathering only; how they are printed is the commands'.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/filters.hpp"
#include "agent/names.hpp"
#include "agent/paths.hpp"
#include "agent/placement.hpp"
#include "agent/world.hpp"
#include "config/model.hpp"

namespace sepal::agent {

struct ShownRule {
  Filter filter;
  Vni vni;  // whose; 0: the host's
  tc::ChainId chain;
  std::optional<tc::Origin> origin;  // when the configuration would make this very rule
  bool changed = false;              // the configuration would have another rule in this place
  Placed placed;
  // What it took, as its first action saw it; of a rule that looks at sizes, what was too big.
  [[nodiscard]] uint64_t packets() const { return taken().packets; }
  [[nodiscard]] uint64_t bytes() const { return taken().bytes; }
  [[nodiscard]] uint64_t hw_packets() const { return taken().hw_packets; }
  // What one action dropped, the verdict's apart. The kernel counts a drop of an action that runs a program only when
  // the program itself says so: where the rule's own verdict is to drop what the program leaves alone, it is what the
  // next action never saw. Of a redirect it is what the device did not take. A rule's own counts only: no action that
  // rules share (tc/pipeline/sharing.hpp) drops.
  [[nodiscard]] uint64_t dropped_by(size_t action) const;
  // Of all actions but the verdict and the program of security groups: a policer, a full conntrack slice, a bad
  // fragment, a question that no program answers, a device that takes nothing.
  [[nodiscard]] uint64_t dropped_by_action() const;
  // Connections that security groups denied: what the action of their program dropped.
  [[nodiscard]] uint64_t denied() const;

 private:
  [[nodiscard]] tc::ActionStats taken() const;
};

// Whether it is the program of security groups.
bool judges(const tc::ActionKind& kind);

struct Shown {
  Names names;
  std::vector<ShownRule> rules;      // ours, by device, chain, priority, handle
  std::vector<Filter> foreign;       // of others, on devices with clsact
  std::vector<tc::PortKey> waiting;  // as the configuration sees it
  std::map<IfIndex, tc::BlockKind> blocks;
  HardwareView view;
  tc::Facts facts;
  std::optional<tc::RuleSet> wanted;  // nullopt: no configuration, or one that does not compile on this host
};

// `config` may be null: then tenants are numbers and purposes unknown.
Result<Shown> gather_shown(Kernel& kernel, const config::Config* config, const Paths& paths);

}  // namespace sepal::agent
