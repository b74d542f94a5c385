// A difference in tenants' terms: which object of whom gains, changes or loses how many rules in how many blocks. For
// `plan` and for the log of a pass.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "agent/filters.hpp"
#include "agent/names.hpp"
#include "agent/reconciler.hpp"

namespace sepal::agent {

struct Change {
  char sign = '+';     // '+' new rules, '~' replaced in place, '-' removed
  Vni vni;             // 0: the host's
  std::string object;  // "port web-0", "route 10.0.0.2/32 via 192.0.2.2", "group 2"
  size_t rules = 0;
  size_t blocks = 0;  // devices they stand on
  auto operator<=>(const Change&) const = default;
};

// `removed`: full dumps of the rules that go, where known (a terse dump tells neither route nor port); may be empty.
// `keeps`: devices that keep rules, even where none of `wanted` stands there.
std::vector<Change> summarize(const Names& names, const std::vector<tc::CompiledRule>& wanted,
                              const std::vector<tc::Observed>& observed, const std::vector<tc::Step>& steps,
                              const std::vector<Filter>& removed = {}, const std::set<IfIndex>& keeps = {});

// "+ port web-0: 12 rules in 3 blocks"
std::string to_string(const Change& change);
// "tenant blue: + port web-0: 12 rules in 3 blocks"
std::string to_line(const Names& names, const Change& change);

// "1 rule", "2 rules"
std::string count_text(size_t count, std::string_view noun);

}  // namespace sepal::agent
