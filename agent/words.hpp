// Rules in words for `sepalctl show` and `plan`: devices by name, chains by group and tenant, actions as what they do.
#pragma once

#include <string>

#include "agent/names.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::agent {

// "redirect to veth1", "tunnel to 192.0.2.2 as vni 100", "ct zone 1 nat, to g2 vni 100"
std::string actions_in_words(const tc::RuleSpec& spec, const Names& names);
// The match as tc spells it; "any" when it is empty.
std::string match_in_words(const tc::Match& match);
// A whole rule on one line, tc's words with names for devices.
std::string rule_text(const tc::Rule& rule, const Names& names);

}  // namespace sepal::agent
