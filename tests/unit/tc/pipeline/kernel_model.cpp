// See kernel_model.hpp.
#include "kernel_model.hpp"

#include <algorithm>

namespace sepal::tc::model {
namespace {

uint32_t target_of(const CompiledRule& rule) {
  for (const Action& action : rule.rule.spec.actions) {
    const auto* gact = std::get_if<Gact>(&action.kind);
    if (gact != nullptr && gact->verdict.control == Control::goto_chain) return gact->verdict.chain;
  }
  return 0;
}

}  // namespace

std::vector<Observed> KernelModel::observe() const {
  std::vector<Observed> observed;
  for (const auto& [at, filter] : filters_) observed.push_back({filter.rule.id, filter.cookie, filter.rule.spec.skip_hw});
  return observed;
}

bool KernelModel::holds(const std::vector<CompiledRule>& rules) const {
  return filters_.size() == rules.size() && std::all_of(rules.begin(), rules.end(), [&](const CompiledRule& rule) {
           auto filter = filters_.find(place_of(rule.rule.id));
           return filter != filters_.end() && filter->second.rule == rule.rule && filter->second.cookie == rule.cookie;
         });
}

std::string KernelModel::apply(const Step& step, const std::vector<CompiledRule>& wanted,
                               const std::vector<Observed>& observed) {
  if (step.kind == Step::Kind::remove) {
    return filters_.erase(place_of(observed[step.rule].id)) == 1 ? "" : "removes what is not there";
  }
  const CompiledRule& rule = wanted[step.rule];
  auto old = filters_.find(place_of(rule.rule.id));
  if (step.kind == Step::Kind::add) {
    if (old != filters_.end()) return "adds where a filter stands already";
    const auto& id = rule.rule.id;
    auto neighbour = filters_.lower_bound(Place{id.device, id.chain, id.prio, 0});
    if (neighbour != filters_.end()) {
      const RuleId& beside = neighbour->second.rule.id;
      if (beside.device == id.device && beside.chain == id.chain && beside.prio == id.prio && beside.protocol != id.protocol) {
        return "adds a second protocol at one priority";
      }
    }
  } else {
    if (old == filters_.end()) return "replaces what is not there";
    if (!old->second.rule.spec.match.same_mask(rule.rule.spec.match)) return "replaces by another mask";
    if (old->second.rule == rule.rule && old->second.cookie == rule.cookie) return "replaces by the same";
  }
  filters_[place_of(rule.rule.id)] = rule;
  return {};
}

JumpCheck::JumpCheck(const std::vector<CompiledRule>& before, const std::vector<CompiledRule>& after) {
  std::map<std::pair<IfIndex, uint32_t>, std::set<Place>> sides[2];
  for (const CompiledRule& rule : before) sides[0][{rule.rule.id.device, rule.rule.id.chain}].insert(place_of(rule.rule.id));
  for (const CompiledRule& rule : after) sides[1][{rule.rule.id.device, rule.rule.id.chain}].insert(place_of(rule.rule.id));
  for (const auto& [chain, places] : sides[0]) {
    auto later = sides[1].find(chain);
    for (const Place& at : places) {
      if (later == sides[1].end() || later->second.contains(at)) needed_[chain].push_back(at);
    }
  }
  for (const auto& [chain, places] : sides[1]) {
    if (!sides[0].contains(chain)) needed_[chain].assign(places.begin(), places.end());
  }
}

std::string JumpCheck::unsafe(const KernelModel& kernel, IfIndex device) const {
  std::map<uint32_t, std::vector<const CompiledRule*>> chains;
  auto begin = kernel.filters().lower_bound({device, 0, 0, 0});
  for (auto at = begin; at != kernel.filters().end() && std::get<0>(at->first) == device; ++at) {
    chains[at->second.rule.id.chain].push_back(&at->second);
  }
  std::set<uint32_t> reached;
  std::vector<uint32_t> todo{0};
  while (!todo.empty()) {
    const uint32_t chain = todo.back();
    todo.pop_back();
    if (!chains.contains(chain) || !reached.insert(chain).second) continue;
    for (const CompiledRule* rule : chains[chain]) {
      const uint32_t target = target_of(*rule);
      if (target == 0) continue;
      if (!chains.contains(target)) return to_text(rule->rule) + " leads to an empty chain";
      auto needed = needed_.find({device, target});
      if (needed == needed_.end()) return to_text(rule->rule) + " leads to a chain that nobody wants";
      for (const Place& at : needed->second) {
        if (!kernel.filters().contains(at)) return to_text(rule->rule) + " leads to a chain that is not whole";
      }
      todo.push_back(target);
    }
  }
  return {};
}

}  // namespace sepal::tc::model
