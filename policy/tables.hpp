// What a tenant's security groups come to: the content of its maps (bpf/policy_layout.h) and a directory of the rules
// that verdicts name. Values; compile.hpp makes them, judge.hpp reads them, the agent moves them into the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/net_types.hpp"
#include "bpf/policy_entries.hpp"
#include "config/groups.hpp"

namespace sepal::policy {

using bpf::ChoiceEntry;
using bpf::PrefixEntry;
using bpf::RuleCount;

struct Tables {
  std::vector<PrefixEntry> prefixes;  // sorted by key, each key once
  std::vector<ChoiceEntry> choices;   // the same
  uint64_t space = 0;                 // hash of both; never 0
};

enum class Direction : uint8_t { egress, ingress };

// A rule that a verdict may name.
struct NamedRule {
  uint32_t id = 0;  // SEPAL_RULE_FIRST and up; the same over reloads that leave the rule as it is
  std::string group;
  Direction direction = Direction::egress;
  bool audit = false;  // of an audited group
  std::string text;    // "allow tcp 80-443 from any"
  config::Location where;
};

struct TenantPolicy {
  Vni vni;
  std::string tenant;
  Tables tables;
  std::vector<NamedRule> rules;  // sorted by id

  // Null for the ids that stand for no rule.
  [[nodiscard]] const NamedRule* rule(uint32_t id) const;
};

// "group web, ingress: allow tcp 80-443 from any"; for ids without a rule what they mean: "no rule of its groups allows
// it".
std::string rule_text(const TenantPolicy& policy, uint32_t rule);

}  // namespace sepal::policy
