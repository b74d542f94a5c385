// See hardware_order.hpp. A packet enters hardware through chain 0 only, and there the best rule that is in hardware
// decides. So with the worst gone first, what is left is always a head of the list: each packet meets the right rule
// there, or none and goes up. Behind a first chain that is out, hardware may hold what it likes.
#include "tc/pipeline/hardware_order.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace sepal::tc {
namespace {

enum class Phase : uint8_t { add, close, leave, rest, enter, open, remove };

bool same_place(const RuleId& a, const RuleId& b) {
  return std::tie(a.device, a.chain, a.prio, a.handle) == std::tie(b.device, b.chain, b.prio, b.handle);
}

const Observed* find_place(const std::vector<Observed>& observed, const RuleId& id) {
  const auto at = std::lower_bound(observed.begin(), observed.end(), id, [](const Observed& o, const RuleId& i) {
    return std::tie(o.id.device, o.id.chain, o.id.prio, o.id.handle) < std::tie(i.device, i.chain, i.prio, i.handle);
  });
  // Of two protocols at one place, which the kernel does not allow, any will do.
  return at != observed.end() && same_place(at->id, id) ? &*at : nullptr;
}

// A rule of the first chain that is in hardware before and after closes its entrance when it leads to group 5 now.
bool closes(const Observed& now, const RuleSpec& spec) {
  if (now.skip_hw != spec.skip_hw) return spec.skip_hw;
  const auto* last = spec.actions.empty() ? nullptr : std::get_if<Gact>(&spec.actions.back().kind);
  return last != nullptr && last->verdict.control == Control::goto_chain &&
         parse_chain(last->verdict.chain).group == Group::punted;
}

}  // namespace

void order_for_hardware(std::vector<Step>& steps, const std::vector<CompiledRule>& wanted,
                        const std::vector<Observed>& observed) {
  std::set<IfIndex> moving;
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::replace) continue;
    const Rule& rule = wanted[step.rule].rule;
    const Observed* now = find_place(observed, rule.id);
    if (now != nullptr && now->skip_hw != rule.spec.skip_hw) moving.insert(rule.id.device);
  }
  if (moving.empty()) return;
  const auto phase = [&](const Step& step) {
    if (step.kind == Step::Kind::remove) return Phase::remove;
    if (step.kind == Step::Kind::add) return Phase::add;
    const Rule& rule = wanted[step.rule].rule;
    if (!moving.contains(rule.id.device)) return Phase::rest;
    const Observed* now = find_place(observed, rule.id);
    if (now == nullptr) return Phase::rest;
    if (rule.id.chain == 0) return closes(*now, rule.spec) ? Phase::close : Phase::open;
    if (now->skip_hw == rule.spec.skip_hw) return Phase::rest;
    return rule.spec.skip_hw ? Phase::leave : Phase::enter;
  };
  std::stable_sort(steps.begin(), steps.end(), [&](const Step& a, const Step& b) {
    const Phase x = phase(a);
    const Phase y = phase(b);
    if (x != y) return x < y;
    if (x == Phase::close) return wanted[a.rule].rule.id.prio > wanted[b.rule].rule.id.prio;
    if (x == Phase::open) return wanted[a.rule].rule.id.prio < wanted[b.rule].rule.id.prio;
    return false;
  });
}

}  // namespace sepal::tc
