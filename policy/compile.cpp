// Numbers, words and hashes around the two halves of the tables (ends.cpp, choices.cpp).
#include "policy/compile.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "policy/parts.hpp"

namespace sepal::policy {
namespace {

// FNV-1a: stable over releases, for rule ids name counters that outlive the agent.
class Fnv {
 public:
  void mix(const void* bytes, size_t size) {
    const auto* at = static_cast<const uint8_t*>(bytes);
    for (size_t i = 0; i < size; ++i) hash_ = (hash_ ^ at[i]) * 0x100000001b3U;
  }
  void mix(std::string_view text) {
    mix(text.data(), text.size());
    mix("\0", 1);
  }
  [[nodiscard]] uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325U;
};

template <typename Entry>
void sort_by_key(std::vector<Entry>& entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::memcmp(&a.key, &b.key, sizeof a.key) < 0; });
}

// Structs without padding (their sizes are asserted), zeroed where nothing was written: bytes are values.
uint64_t space_of(Vni vni, const Tables& tables) {
  Fnv hash;
  const uint32_t number = vni.value();
  hash.mix(&number, sizeof number);
  auto mix = [&hash](const auto& entry) {
    hash.mix(&entry.key, sizeof entry.key);
    hash.mix(&entry.value, sizeof entry.value);
  };
  for (const PrefixEntry& entry : tables.prefixes) mix(entry);
  for (const ChoiceEntry& entry : tables.choices) mix(entry);
  return hash.value() == 0 ? 1 : hash.value();
}

// Gives every rule an id that it keeps while its group and its text stay, whatever stands around it.
class Naming {
 public:
  Naming(TenantPolicy& policy, bool log_denied) : policy_(policy), log_denied_(log_denied) {}

  void add(const config::SecurityGroup& group, const std::vector<config::GroupRule>& rules, Direction direction) {
    for (const config::GroupRule& rule : rules) {
      NamedRule named{0, group.name, direction, group.audit, to_text(rule, direction), rule.where};
      named.id = take(named);
      const bool log = rule.log || (log_denied_ && !rule.allow);
      const uint32_t word = named.id | (rule.allow ? SEPAL_RULE_ALLOWS : 0U) | (log ? SEPAL_RULE_LOGS : 0U);
      worded_.push_back({&group, &rule, direction, word});
      policy_.rules.push_back(std::move(named));
    }
  }
  [[nodiscard]] const std::vector<WordedRule>& worded() const { return worded_; }

 private:
  uint32_t take(const NamedRule& rule) {
    Fnv hash;
    hash.mix(rule.group);
    hash.mix(rule.direction == Direction::egress ? "egress" : "ingress");
    hash.mix(rule.text);
    uint32_t id = static_cast<uint32_t>(hash.value() ^ hash.value() >> 32U) & SEPAL_RULE_ID;
    while (id < SEPAL_RULE_FIRST || !taken_.insert(id).second) id = (id + 1) & SEPAL_RULE_ID;
    return id;
  }

  TenantPolicy& policy_;
  bool log_denied_;
  std::vector<WordedRule> worded_;
  std::set<uint32_t> taken_;
};

}  // namespace

Combination combination_of(const Port& port) {
  Combination groups = port.groups;
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

uint32_t Numbers::policy_of(const Port& port) const {
  const auto found = policies.find(combination_of(port));
  return found == policies.end() ? 0 : found->second;
}

Numbers number(const Network& network) {
  Numbers numbers;
  for (const config::SecurityGroup& group : network.groups) {
    for (const auto* rules : {&group.egress, &group.ingress}) {
      for (const config::GroupRule& rule : *rules) {
        for (const IpPrefix& prefix : rule.remote.networks) numbers.networks[prefix] = 0;
        for (const std::string& name : rule.remote.groups) numbers.groups[name] = 0;
      }
    }
  }
  for (const Port& port : network.ports)
    if (!port.groups.empty()) numbers.policies[combination_of(port)] = 0;
  uint32_t next = 1;
  for (auto& [prefix, name] : numbers.networks) name = next++;
  for (auto& [group, name] : numbers.groups) name = next++;
  uint32_t policy = 2;
  for (auto& [groups, judge] : numbers.policies) judge = std::exchange(policy, policy + 2);
  return numbers;
}

TenantPolicy compile(const Network& network) {
  TenantPolicy policy;
  policy.vni = network.vni;
  policy.tenant = network.tenant;
  Naming naming(policy, network.log_denied);
  for (const config::SecurityGroup& group : network.groups) {
    naming.add(group, group.egress, Direction::egress);
    naming.add(group, group.ingress, Direction::ingress);
  }
  std::sort(policy.rules.begin(), policy.rules.end(),
            [](const NamedRule& a, const NamedRule& b) { return a.id < b.id; });
  const Numbers numbers = number(network);
  add_ends(network, numbers, policy.tables);
  add_choices(network, naming.worded(), numbers, policy.tables);
  sort_by_key(policy.tables.prefixes);
  sort_by_key(policy.tables.choices);
  policy.tables.space = space_of(policy.vni, policy.tables);
  return policy;
}

}  // namespace sepal::policy
