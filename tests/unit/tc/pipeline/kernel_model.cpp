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

void KernelModel::put(const CompiledRule& rule) {
  const Place at = place_of(rule.rule.id);
  take(at);
  filters_.emplace(at, rule);
  Chain& chain = chains_[{rule.rule.id.device, rule.rule.id.chain}];
  ++chain.filters;
  if (const uint32_t target = target_of(rule); target != 0) ++chain.jumps[target];
}

bool KernelModel::take(const Place& at) {
  auto filter = filters_.find(at);
  if (filter == filters_.end()) return false;
  auto chain = chains_.find({std::get<0>(at), std::get<1>(at)});
  if (const uint32_t target = target_of(filter->second); target != 0) {
    if (--chain->second.jumps[target] == 0) chain->second.jumps.erase(target);
  }
  if (--chain->second.filters == 0) chains_.erase(chain);
  filters_.erase(filter);
  return true;
}

const KernelModel::Chain* KernelModel::chain(IfIndex device, uint32_t number) const {
  auto found = chains_.find({device, number});
  return found == chains_.end() ? nullptr : &found->second;
}

std::vector<Observed> KernelModel::observe() const {
  std::vector<Observed> observed;
  for (const auto& [at, filter] : filters_)
    observed.push_back({filter.rule.id, filter.cookie, filter.rule.spec.skip_hw});
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
    return take(place_of(observed[step.rule].id)) ? "" : "removes what is not there";
  }
  const CompiledRule& rule = wanted[step.rule];
  auto old = filters_.find(place_of(rule.rule.id));
  if (step.kind == Step::Kind::add) {
    if (old != filters_.end()) return "adds where a filter stands already";
    const auto& id = rule.rule.id;
    auto neighbour = filters_.lower_bound(Place{id.device, id.chain, id.prio, 0});
    if (neighbour != filters_.end()) {
      const RuleId& beside = neighbour->second.rule.id;
      if (beside.device == id.device && beside.chain == id.chain && beside.prio == id.prio &&
          beside.protocol != id.protocol) {
        return "adds a second protocol at one priority";
      }
    }
  } else {
    if (old == filters_.end()) return "replaces what is not there";
    if (!old->second.rule.spec.match.same_mask(rule.rule.spec.match)) return "replaces by another mask";
    if (old->second.rule == rule.rule && old->second.cookie == rule.cookie) return "replaces by the same";
  }
  put(rule);
  return {};
}

JumpCheck::JumpCheck(const KernelModel& kernel, const std::vector<CompiledRule>& before,
                     const std::vector<CompiledRule>& after)
    : kernel_(kernel) {
  std::map<ChainKey, std::set<Place>> sides[2];
  for (const CompiledRule& rule : before) {
    sides[0][{rule.rule.id.device, rule.rule.id.chain}].insert(place_of(rule.rule.id));
  }
  for (const CompiledRule& rule : after) {
    sides[1][{rule.rule.id.device, rule.rule.id.chain}].insert(place_of(rule.rule.id));
  }
  for (const auto& [chain, places] : sides[0]) {
    auto later = sides[1].find(chain);
    missing_[chain] = 0;
    for (const Place& at : places) {
      if (later == sides[1].end() || later->second.contains(at)) needed_.insert(at);
    }
  }
  for (const auto& [chain, places] : sides[1]) {
    missing_[chain] = 0;
    if (!sides[0].contains(chain)) needed_.insert(places.begin(), places.end());
  }
  for (const Place& at : needed_) note(at);
}

void JumpCheck::note(const Place& at) {
  if (!needed_.contains(at)) return;
  size_t& missing = missing_[{std::get<0>(at), std::get<1>(at)}];
  if (kernel_.filters().contains(at)) {
    missing -= absent_.erase(at);
  } else if (absent_.insert(at).second) {
    ++missing;
  }
}

std::string JumpCheck::unsafe(const Place& changed) {
  note(changed);
  const IfIndex device = std::get<0>(changed);
  std::set<uint32_t> reached;
  std::vector<uint32_t> todo{0};
  while (!todo.empty()) {
    const uint32_t number = todo.back();
    todo.pop_back();
    const KernelModel::Chain* chain = kernel_.chain(device, number);
    if (chain == nullptr || !reached.insert(number).second) continue;
    for (const auto& [target, count] : chain->jumps) {
      auto wrong = [&, to = target](const char* what) {
        return "dev " + std::to_string(device.value()) + ": " + to_string(parse_chain(number)) + " leads to " +
               to_string(parse_chain(to)) + ", " + what;
      };
      if (kernel_.chain(device, target) == nullptr) return wrong("which is empty");
      auto missing = missing_.find({device, target});
      if (missing == missing_.end()) return wrong("which nobody wants");
      if (missing->second != 0) return wrong("which is not whole");
      todo.push_back(target);
    }
  }
  return {};
}

}  // namespace sepal::tc::model
