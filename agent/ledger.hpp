// What the last complete pass left in the kernel, part by part of the rule set (tc::Parts): with it a change is told
// from what stands without asking the kernel, at the cost of the tenants that it concerns. Places and cookies, no
// rules. It may be wrong, for others may write, too; whoever acts on it must notice and look.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/model.hpp"
#include "tc/pipeline/diff.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {

// The parts that a change concerns.
struct Due {
  tc::Parts compile;   // to be compiled anew
  std::set<Vni> gone;  // tenants that left: nothing of theirs is wanted
  [[nodiscard]] bool nothing() const { return compile.tenants.empty() && gone.empty() && !compile.common; }
  [[nodiscard]] bool concerns(Vni part) const {
    return part == Vni() ? compile.common : compile.tenants.contains(part) || gone.contains(part);
  }
};

class Ledger {
 public:
  // `rules` are all that `config` compiles to, and they stand. `zones`: every zone in use, by whomever. nullopt: what
  // was compiled cannot be told apart into parts.
  static std::optional<Ledger> of(const config::Config& config, const tc::RuleSet& rules,
                                  const std::map<Vni, Zone>& zones);

  // `before` are the facts that what stands was compiled for. nullopt: the change is everybody's (the host, the uplink,
  // the programs …).
  [[nodiscard]] std::optional<Due> due(const config::Config& config, const tc::Facts& before,
                                       const tc::Facts& now) const;

  // What stands of these parts, sorted by id.
  [[nodiscard]] std::vector<tc::Observed> rules_of(const Due& due) const;
  // Entries of these parts under keys that `made` has not.
  [[nodiscard]] std::vector<tc::NeighbourEntry> stale_neighbours(const Due& due, const tc::RuleSet& made) const;
  [[nodiscard]] std::vector<tc::SliceEntry> stale_slices(const Due& due, const tc::RuleSet& made) const;
  // Whether one of the rules made for these parts wants a place where another part's stands.
  [[nodiscard]] bool clashes(const Due& due, const tc::RuleSet& made) const;
  // Whether rules of parts that are not due stand in the chain of this place, which only shared blocks have.
  [[nodiscard]] bool others_share_chain(const Due& due, const tc::RuleId& id) const;
  [[nodiscard]] bool stands_on(const std::set<IfIndex>& devices) const;

  // The parts that were due are now as `made`.
  void settle(const Due& due, const config::Config& config, const tc::RuleSet& made);

  [[nodiscard]] std::set<IfIndex> devices() const;  // that rules stand on
  [[nodiscard]] const std::map<Vni, Zone>& zones() const { return zones_; }
  void set_zones(std::map<Vni, Zone> zones) { zones_ = std::move(zones); }
  // Of the host and all tenants, as they were compiled.
  [[nodiscard]] uint64_t config_digest() const;

 private:
  struct Part {
    uint64_t digest = 0;              // of the tenant; of part 0: what it depends on of all tenants
    std::vector<tc::Observed> rules;  // sorted by id
    std::vector<tc::NeighbourEntry> neighbours;
    std::vector<tc::SliceEntry> slices;
    std::vector<IfIndex> devices;  // that its rules stand on
  };

  void enter(const tc::RuleSet& rules);

  uint64_t host_ = 0;  // digest
  std::map<Vni, Part> parts_;
  std::map<Vni, Zone> zones_;
  // Places in chains that parts share, and whose rule stands there.
  std::map<tc::RuleId, Vni> shared_;
};

// Of the host and all tenants of a configuration: as Ledger::config_digest().
uint64_t config_digest(const config::Config& config);

}  // namespace sepal::agent
