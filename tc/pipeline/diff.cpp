// wanted − observed → ordered steps; see diff.hpp for the order and why.
#include "tc/pipeline/diff.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace sepal::tc {
namespace {

// A dump tells no gotos, so removals go by what the groups are: jumps before the chains they may lead to.
int removal_rank(const RuleId& id) {
  if (id.chain == 0) return 0;
  switch (parse_chain(id.chain).group) {
    case Group::ingress:
    case Group::decap: return 2;
    case Group::punted: return parse_chain(id.chain).vni == Vni() ? 1 : 3;  // slot 0: its fragments go to group 1
    case Group::services: return 3;
    case Group::nat: return 5;
    case Group::fresh: return parse_chain(id.chain).vni == Vni() ? 4 : 6;  // slot 0: by slice, into group 2
    case Group::encap: return 7;
    case Group::egress: return 8;
  }
  return 8;
}

bool same_place(const RuleId& a, const RuleId& b) {
  return std::tie(a.device, a.chain, a.prio, a.handle) == std::tie(b.device, b.chain, b.prio, b.handle);
}

bool place_less(const RuleId& a, const RuleId& b) {
  return std::tie(a.device, a.chain, a.prio, a.handle) < std::tie(b.device, b.chain, b.prio, b.handle);
}

}  // namespace

std::vector<Step> diff(const std::vector<CompiledRule>& wanted, const std::vector<Observed>& observed) {
  std::vector<Step> writes;
  std::vector<Step> removals;
  size_t w = 0;
  size_t o = 0;
  while (w < wanted.size() || o < observed.size()) {
    if (o == observed.size() || (w < wanted.size() && place_less(wanted[w].rule.id, observed[o].id))) {
      writes.push_back({Step::Kind::add, static_cast<uint32_t>(w++)});
    } else if (w == wanted.size() || !same_place(wanted[w].rule.id, observed[o].id)) {
      removals.push_back({Step::Kind::remove, static_cast<uint32_t>(o++)});
    } else {
      if (wanted[w].cookie != observed[o].cookie) writes.push_back({Step::Kind::replace, static_cast<uint32_t>(w)});
      ++w;
      ++o;
    }
  }
  std::stable_sort(writes.begin(), writes.end(),
                   [&](const Step& a, const Step& b) { return wanted[a.rule].depth < wanted[b.rule].depth; });
  // Within a chain the worst go first: as long as one stands, so do those that were to take its packets before it.
  std::reverse(removals.begin(), removals.end());
  std::stable_sort(removals.begin(), removals.end(), [&](const Step& a, const Step& b) {
    return removal_rank(observed[a.rule].id) < removal_rank(observed[b.rule].id);
  });
  if (removals.empty()) return writes;
  // A tenant that stays in a block may lose a jump into a peer's chains that leave it: its removals come first.
  std::set<std::pair<IfIndex, Vni>> staying;
  for (const CompiledRule& rule : wanted) staying.emplace(rule.rule.id.device, parse_chain(rule.rule.id.chain).vni);
  std::stable_partition(removals.begin(), removals.end(), [&](const Step& step) {
    const RuleId& id = observed[step.rule].id;
    return id.chain == 0 || staying.contains({id.device, parse_chain(id.chain).vni});
  });
  writes.insert(writes.end(), removals.begin(), removals.end());
  return writes;
}

}  // namespace sepal::tc
