// The inside of compile(): numbers given to what rules speak of, and the two halves of the tables. Internal to policy/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "policy/compile.hpp"

namespace sepal::policy {

// A combination of groups, as ports have them: sorted names.
using Combination = std::vector<std::string>;

// Names that rules give to the other end, numbered from 1, and policies, numbered 2, 4, 6 … (one more for ingress).
struct Numbers {
  std::map<IpPrefix, uint32_t> networks;
  std::map<std::string, uint32_t> groups;  // those that some rule names as its other end
  std::map<Combination, uint32_t> policies;

  [[nodiscard]] uint32_t policy_of(const Port& port) const;
};
Combination combination_of(const Port& port);
Numbers number(const Network& network);

// Who an address is: entries of the tables IPv4 and IPv6, and the pages of their sets.
void add_ends(const Network& network, const Numbers& numbers, Tables& tables);

// A rule with its word (bpf/policy_layout.h), in the order of the configuration.
struct WordedRule {
  const config::SecurityGroup* group = nullptr;
  const config::GroupRule* rule = nullptr;
  Direction direction = Direction::egress;
  uint32_t word = 0;
};

// What each combination of groups says to each name.
void add_choices(const Network& network, const std::vector<WordedRule>& rules, const Numbers& numbers, Tables& tables);

// "allow tcp 80-443 from any"
std::string to_text(const config::GroupRule& rule, Direction direction);

}  // namespace sepal::policy
