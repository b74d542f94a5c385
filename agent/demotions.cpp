// See demotions.hpp. This file holds what happens to a unit over time; who it is in a full NIC is hardware_budget's.
#include "agent/demotions.hpp"

#include <algorithm>
#include <tuple>

#include "agent/filters.hpp"
#include "tc/pipeline/hardware_order.hpp"

namespace sepal::agent {
namespace {

constexpr std::chrono::seconds kBusyMin{1};
constexpr std::chrono::seconds kBusyMax{60};
// Our own coming and going is known; this is for room that others leave.
constexpr std::chrono::seconds kFullMin{1800};
constexpr std::chrono::seconds kFullMax{8 * 3600};
constexpr std::chrono::seconds kUnclearMin{60};
constexpr std::chrono::seconds kUnclearMax{3600};
// How long an exchange must have been worth it, and how long who came or went stays: a table that is full for good,
// with tenants whose traffic comes and goes, is rewritten at most this often.
constexpr std::chrono::seconds kExchangePatience{30};
constexpr std::chrono::seconds kStay{60};
// Rules the NIC refuses and takes a moment later are offered again this often in one pass; then it counts as busy.
constexpr unsigned kTriesPerPass = 2;
// The words of one rule tell about its unit; more rules are named, fewer are asked about.
constexpr size_t kRefusalsKept = 256;

const tc::CompiledRule* find_rule(const tc::RuleSet& rules, const tc::RuleId& id) {
  const auto at =
      std::lower_bound(rules.rules.begin(), rules.rules.end(), id, [](const tc::CompiledRule& r, const tc::RuleId& i) {
        return std::tie(r.rule.id.device, r.rule.id.chain, r.rule.id.prio, r.rule.id.handle) <
               std::tie(i.device, i.chain, i.prio, i.handle);
      });
  return at != rules.rules.end() && at->rule.id == id ? &*at : nullptr;
}

bool is_wire(IfIndex device, const World& world) { return device == world.facts.vxlan || device == world.facts.uplink; }

// A refused rule that no worse rule in hardware meets is only slow: its packets go up and find it there. Asked of the
// rules that the tenants of a wire share, where a demotion would take everybody out.
bool is_harmless(const tc::CompiledRule& refused, const tc::RuleSet& rules) {
  return std::none_of(rules.rules.begin(), rules.rules.end(), [&](const tc::CompiledRule& other) {
    const tc::RuleId& id = other.rule.id;
    return id.device == refused.rule.id.device && id.chain == refused.rule.id.chain && id.prio > refused.rule.id.prio &&
           !other.rule.spec.skip_hw && other.rule.spec.match.overlaps(refused.rule.spec.match);
  });
}

std::string cause_in_words(const HardwareRefusal& refusal) {
  std::string text;
  switch (refusal.cause) {
    case RefusalCause::unsupported: text = "the NIC cannot"; break;
    case RefusalCause::full: text = "the NIC is full"; break;
    case RefusalCause::busy: text = "the NIC was busy"; break;
    case RefusalCause::unclear: return to_string(refusal);
  }
  const bool silent = refusal.sys_errno == 0 && refusal.words.empty();
  return silent ? text : text + ": " + to_string(refusal);
}

}  // namespace

// What hardware holds after the writes of a pass.
struct Demotions::Seen {
  std::vector<tc::Observed> observed;  // of every device of the NIC
  std::set<IfIndex> devices;           // those looked at anew
  std::map<tc::HardwareUnit, std::vector<Refused>> refused;
  size_t in_hardware = 0;
};

void Demotions::load() {
  if (loaded_) return;
  loaded_ = true;
  if (path_.empty()) return;
  state_ = saved_ = load_hardware(path_);
  for (auto& [unit, demoted] : state_.units) {
    // Interrupted on its way in: its last cause decides when it tries again.
    if (demoted.demotion == tc::Demotion::staged)
      demoted.demotion = unit.vni == Vni() ? tc::Demotion::whole : tc::Demotion::punted;
    const auto next = next_after(demoted.reason.cause, 0);
    if (next != Clock::time_point::max()) next_[unit] = next;
  }
}

Result<void> Demotions::save() {
  if (path_.empty() || state_ == saved_) return {};
  if (auto written = save_hardware(path_, state_); !written) return written;
  saved_ = state_;
  return {};
}

Clock::time_point Demotions::next_after(RefusalCause cause, unsigned attempts) const {
  const auto doubled = [&](std::chrono::seconds first, std::chrono::seconds most) {
    return now_() + std::min<std::chrono::seconds>(first * (1L << std::min(attempts, 12U)), most);
  };
  switch (cause) {
    case RefusalCause::busy: return doubled(kBusyMin, kBusyMax);
    case RefusalCause::full: return doubled(kFullMin, kFullMax);
    case RefusalCause::unclear: return doubled(kUnclearMin, kUnclearMax);
    case RefusalCause::unsupported: break;
  }
  return Clock::time_point::max();
}

void Demotions::enter(World& world, const config::Config& config) {
  load();
  if (state_.card != world.card) {
    if (!state_.units.empty())
      moves_.push_back({false, "another NIC, driver or kernel: it is offered everything again"});
    state_ = {};
    state_.card = world.card;
    next_.clear();
  }
  world.facts.demoted.clear();
  if (world.offload.empty()) return;
  forget_gone(world, config);
  for (const auto& [unit, demoted] : state_.units) world.facts.demoted[unit] = demoted.demotion;
  uses_ = uses_in(world.observed, world);
  activity_.observe(uses_, now_());
  look_for_exchange(world, config);
}

void Demotions::forget_gone(const World& world, const config::Config& config) {
  std::set<IfIndex> ports;
  for (const auto& [key, device] : world.facts.ports) ports.insert(device);
  std::erase_if(state_.units, [&](const auto& entry) {
    const tc::HardwareUnit& unit = entry.first;
    if (!world.offload.contains(unit.device)) return true;
    if (!is_wire(unit.device, world)) return !ports.contains(unit.device);
    return unit.vni != Vni() && std::none_of(config.tenants.begin(), config.tenants.end(),
                                             [&](const config::Tenant& tenant) { return tenant.vni == unit.vni; });
  });
  std::erase_if(next_, [&](const auto& entry) { return !state_.units.contains(entry.first); });
  std::erase_if(state_.refusals, [&](const auto& entry) { return !world.offload.contains(entry.first.device); });
}

void Demotions::look_for_exchange(const World& world, const config::Config& config) {
  std::vector<Claim> inside;
  std::vector<Claim> outside;
  size_t in_hardware = 0;
  const auto stays = [&](const tc::HardwareUnit& unit) {
    const auto moved = moved_.find(unit);
    return moved != moved_.end() && now_() - moved->second < kStay;
  };
  for (const auto& [unit, use] : uses_) {
    in_hardware += use.in_hardware;
    if (state_.units.contains(unit) || use.in_hardware == 0) continue;
    if ((is_wire(unit.device, world) && unit.vni == Vni()) || stays(unit)) continue;
    inside.push_back({unit, tenant_of(unit, config, world), use.in_hardware, activity_.rate(unit)});
  }
  for (const auto& [unit, demoted] : state_.units) {
    if (demoted.reason.cause != RefusalCause::full || demoted.demotion == tc::Demotion::staged || stays(unit)) continue;
    outside.push_back({unit, tenant_of(unit, config, world), demoted.rules, activity_.rate(unit)});
  }
  std::optional<Exchange> found;
  if (state_.capacity && !outside.empty()) {
    const size_t room = *state_.capacity > in_hardware ? *state_.capacity - in_hardware : 0;
    found = worth_it(inside, outside, budgets_of(config), room);
  }
  if (found != exchange_) exchange_since_ = now_();
  exchange_ = found;
}

bool Demotions::exchange_is_ripe() const { return exchange_ && now_() - exchange_since_ >= kExchangePatience; }

bool Demotions::tolerated(const tc::RuleId& id, uint64_t content) const {
  const auto known = state_.refusals.find(id);
  return known != state_.refusals.end() && known->second.content == content && known->second.harmless;
}

bool Demotions::is_due(const tc::HardwareUnit& unit) const {
  const auto next = next_.find(unit);
  return next != next_.end() && next->second <= now_();
}

bool Demotions::has_work(const World& world) const {
  if (exchange_is_ripe()) return true;
  for (const auto& [unit, demoted] : state_.units)
    if (demoted.demotion == tc::Demotion::staged || is_due(unit)) return true;
  const std::vector<size_t> missing = not_in_hardware(world);
  return std::any_of(missing.begin(), missing.end(), [&](size_t index) {
    return !tolerated(world.observed[index].id, world.observed[index].cookie.content);
  });
}

Result<bool> Demotions::reconsider(Kernel& kernel, const config::Config& config, const tc::RuleSet& rules,
                                   World& world) {
  bool changed = false;
  if (exchange_is_ripe()) {
    const HardwareRefusal reason = state_.units.at(exchange_->enters).reason;
    for (const tc::HardwareUnit& unit : exchange_->leave) {
      demote(unit, reason, false, world, config);
      world.facts.demoted[unit] = state_.units.at(unit).demotion;
    }
    stage(exchange_->enters, world);
    exchange_.reset();
    changed = true;
  }
  for (auto& [unit, demoted] : state_.units) {
    if (demoted.demotion == tc::Demotion::staged || !is_due(unit)) continue;
    const tc::CompiledRule* rule = find_rule(rules, demoted.reason.id);
    if (rule != nullptr && rule->rule.id.device != world.facts.vxlan) {
      auto refusal = would_refuse(kernel, *rule);
      if (!refusal) return Unexpected(refusal.error());
      if (*refusal) {
        demoted.reason = **refusal;
        ++demoted.attempts;
        next_[unit] = next_after(demoted.reason.cause, demoted.attempts);
        if (next_[unit] == Clock::time_point::max()) next_.erase(unit);
        continue;
      }
    }
    stage(unit, world);
    changed = true;
  }
  if (auto saved = save(); !saved) return Unexpected(saved.error());
  return changed;
}

void Demotions::stage(const tc::HardwareUnit& unit, World& world) {
  DemotedUnit& demoted = state_.units.at(unit);
  demoted.demotion = tc::Demotion::staged;
  ++demoted.attempts;
  next_.erase(unit);
  world.facts.demoted[unit] = tc::Demotion::staged;
}

void Demotions::add_tries(std::vector<tc::Step>& steps, const tc::RuleSet& rules, const World& world) const {
  std::vector<tc::Step> tries;
  for (const size_t index : not_in_hardware(world)) {
    const tc::Observed& missing = world.observed[index];
    const tc::CompiledRule* rule = find_rule(rules, missing.id);
    if (rule == nullptr || rule->rule.spec.skip_hw || rule->cookie != missing.cookie ||
        tolerated(missing.id, missing.cookie.content))
      continue;
    tries.push_back({tc::Step::Kind::replace, static_cast<uint32_t>(rule - rules.rules.data())});
  }
  const auto removals = std::find_if(steps.begin(), steps.end(),
                                     [](const tc::Step& step) { return step.kind == tc::Step::Kind::remove; });
  steps.insert(removals, tries.begin(), tries.end());
  tc::order_for_hardware(steps, rules.rules, world.observed);
}

Result<bool> Demotions::settle(Asker asker, const config::Config& config, const tc::RuleSet& rules, const World& world,
                               const std::vector<tc::Step>& steps) {
  if (world.offload.empty()) return false;
  auto seen = look_at_hardware(asker.kernel, rules, world, steps);
  if (!seen) return Unexpected(seen.error());
  if (seen->devices.empty()) return false;
  forget_refusals(*seen, rules);
  const bool admitted = admit_staged(*seen, config, world);
  auto judged = judge(asker, config, rules, world, *seen);
  if (!judged) return judged;
  if (auto saved = save(); !saved) return Unexpected(saved.error());
  return admitted || *judged;
}

// A rule refused without harm does harm as soon as a worse one comes to overlap it; only a look at all rules tells.
bool Demotions::hold_for(const World& world) const {
  return state_.card == world.card &&
         std::none_of(state_.units.begin(), state_.units.end(),
                      [](const auto& entry) { return entry.second.demotion == tc::Demotion::staged; }) &&
         std::none_of(state_.refusals.begin(), state_.refusals.end(),
                      [](const auto& entry) { return entry.second.harmless; });
}

bool Demotions::all_taken(Kernel& kernel, const tc::RuleSet& rules, const World& world,
                          const std::vector<tc::Step>& steps) const {
  if (world.offload.empty()) return true;
  const auto seen = look_at_hardware(kernel, rules, world, steps);
  return seen && seen->refused.empty();
}

// Only devices that a rule for hardware was written to, or that a unit is on its way into, are read again.
Result<Demotions::Seen> Demotions::look_at_hardware(Kernel& kernel, const tc::RuleSet& rules, const World& world,
                                                    const std::vector<tc::Step>& steps) const {
  Seen seen;
  for (const tc::Step& step : steps) {
    if (step.kind == tc::Step::Kind::remove) continue;
    const tc::Rule& rule = rules.rules[step.rule].rule;
    if (!rule.spec.skip_hw && world.offload.contains(rule.id.device)) seen.devices.insert(rule.id.device);
  }
  for (const auto& [unit, demoted] : state_.units)
    if (demoted.demotion == tc::Demotion::staged) seen.devices.insert(unit.device);
  if (seen.devices.empty()) return seen;

  for (const tc::Observed& rule : world.observed)
    if (!seen.devices.contains(rule.id.device)) seen.observed.push_back(rule);
  for (const IfIndex device : seen.devices) {
    const size_t before = seen.observed.size();
    auto read = dump_places(
        kernel.route, device, Detail::terse, [&] { seen.observed.resize(before); },
        [&](const tc::TerseFilter& filter) {
          if (filter.cookie && filter.cookie->instance == world.facts.instance)
            seen.observed.push_back({filter.id, *filter.cookie, filter.skip_hw, filter.in_hw, filter.packets});
        });
    if (!read && read.error().code == Errc::resync) return Unexpected(read.error());
    if (!read) seen.observed.resize(before);  // the device left; the next look says so
  }
  for (const tc::Observed& rule : seen.observed) {
    seen.in_hardware += rule.in_hw ? 1 : 0;
    if (rule.in_hw || rule.skip_hw || !seen.devices.contains(rule.id.device)) continue;
    const tc::CompiledRule* wanted = find_rule(rules, rule.id);
    if (wanted == nullptr || wanted->rule.spec.skip_hw || wanted->cookie != rule.cookie) continue;
    const tc::HardwareUnit unit = unit_of(wanted->rule.id, wanted->origin);
    seen.refused[unit].push_back({wanted, unit});
  }
  return seen;
}

// Refusals of rules that are not wanted any more, or that are in hardware by now.
void Demotions::forget_refusals(const Seen& seen, const tc::RuleSet& rules) {
  std::set<tc::RuleId> there;
  for (const tc::Observed& rule : seen.observed)
    if (rule.in_hw) there.insert(rule.id);
  std::erase_if(state_.refusals, [&](const auto& entry) {
    return find_rule(rules, entry.first) == nullptr || there.contains(entry.first);
  });
}

bool Demotions::admit_staged(const Seen& seen, const config::Config& config, const World& world) {
  std::vector<tc::HardwareUnit> whole;
  for (const auto& [unit, demoted] : state_.units) {
    const bool refused = std::any_of(seen.refused.begin(), seen.refused.end(), [&](const auto& entry) {
      return entry.first == unit || (unit.vni == Vni() && entry.first.device == unit.device);
    });
    if (demoted.demotion == tc::Demotion::staged && !refused) whole.push_back(unit);
  }
  for (const tc::HardwareUnit& unit : whole) {
    moves_.push_back({false, unit_name(unit, config, world) + " is back in hardware"});
    state_.units.erase(unit);
    moved_[unit] = now_();
  }
  return !whole.empty();
}

Result<std::optional<HardwareRefusal>> Demotions::ask(Asker asker, const World& world, const Refused& refused,
                                                      size_t refused_in_all) {
  auto refusal = ask_again(asker, world, *refused.rule);
  if (!refusal || *refusal || refused_in_all == 1) return refusal;
  // Taken this time: so may the others be, in the next round.
  if (++asked_[refused.unit] <= kTriesPerPass) return refusal;
  return std::optional(HardwareRefusal{refused.rule->rule.id, refused.rule->cookie.content, RefusalCause::busy, 0, {}});
}

Result<bool> Demotions::judge(Asker asker, const config::Config& config, const tc::RuleSet& rules, const World& world,
                              const Seen& seen) {
  bool changed = false;
  bool any_full = false;
  std::map<tc::HardwareUnit, HardwareRefusal> full;
  for (const auto& [unit, refused] : seen.refused) {
    const bool shared = is_wire(unit.device, world) && unit.vni == Vni();
    auto asked = ask(asker, world, refused.front(), refused.size());
    if (!asked) return Unexpected(asked.error());
    if (!*asked) {
      changed = changed || refused.size() > 1;
      continue;
    }
    const HardwareRefusal reason = **asked;
    const bool harmless = shared && std::all_of(refused.begin(), refused.end(),
                                                [&](const Refused& each) { return is_harmless(*each.rule, rules); });
    for (const Refused& each : refused) {
      if (state_.refusals.size() >= kRefusalsKept) break;
      HardwareRefusal& kept = state_.refusals[each.rule->rule.id];
      kept = reason;
      kept.id = each.rule->rule.id;
      kept.content = each.rule->cookie.content;
      kept.harmless = harmless;
      if (&each != &refused.front()) kept.words.clear();
    }
    if (harmless) {
      moves_.push_back({true, unit_name(unit, config, world) +
                                  ": a rule is in software only, which does no harm: " + cause_in_words(reason)});
      continue;
    }
    changed = true;
    any_full = any_full || reason.cause == RefusalCause::full;
    // Who only just came in did not fit after all, and nobody leaves for it.
    const auto moved = moved_.find(unit);
    const bool just_came = moved != moved_.end() && now_() - moved->second < kStay;
    if (reason.cause == RefusalCause::full && !shared && !just_came && !state_.units.contains(unit)) {
      full.emplace(unit, reason);
      continue;
    }
    const bool entrance =
        std::any_of(refused.begin(), refused.end(), [](const Refused& each) { return each.rule->rule.id.chain == 0; });
    demote(unit, reason, entrance, world, config);
  }
  if (!full.empty())
    make_room(config, world, seen, full);
  else if (any_full)
    state_.capacity = seen.in_hardware;
  return changed;
}

// Who leaves a full NIC need not be who was refused. Those who stay are offered again in the next round.
void Demotions::make_room(const config::Config& config, const World& world, const Seen& seen,
                          const std::map<tc::HardwareUnit, HardwareRefusal>& full) {
  state_.capacity = seen.in_hardware;
  std::vector<Claim> inside;
  for (const auto& [unit, use] : uses_in(seen.observed, world)) {
    if (state_.units.contains(unit) || (is_wire(unit.device, world) && unit.vni == Vni())) continue;
    if (use.rules == 0) continue;
    inside.push_back({unit, tenant_of(unit, config, world), use.rules, activity_.rate(unit)});
  }
  size_t needed = 0;
  for (const auto& [unit, reason] : full) needed += seen.refused.at(unit).size();
  size_t freed = 0;
  for (const Claim& claim : leave_first(inside, budgets_of(config), SIZE_MAX)) {
    if (freed >= needed) break;
    const auto refused = seen.refused.find(claim.unit);
    const size_t missing = refused == seen.refused.end() ? 0 : refused->second.size();
    const auto own = full.find(claim.unit);
    needed -= std::min(needed, own == full.end() ? 0 : missing);
    freed += claim.rules - std::min(claim.rules, missing);
    demote(claim.unit, own == full.end() ? full.begin()->second : own->second, false, world, config);
    state_.units.at(claim.unit).rules = claim.rules;
  }
}

void Demotions::demote(const tc::HardwareUnit& unit, const HardwareRefusal& reason, bool entrance_refused,
                       const World& world, const config::Config& config) {
  const auto known = state_.units.find(unit);
  const bool again = known != state_.units.end();
  const bool wire = is_wire(unit.device, world) && unit.vni != Vni();
  DemotedUnit& demoted = state_.units[unit];
  // A wire's tenant keeps its rules in chain 0, as punts, unless those are what the NIC has no place for.
  demoted.demotion = wire && !(again && entrance_refused) ? tc::Demotion::punted : tc::Demotion::whole;
  const bool same = again && demoted.reason.cause == reason.cause && demoted.reason.words == reason.words;
  demoted.reason = reason;
  if (!again) demoted.since = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto use = uses_.find(unit);
  if (!again && use != uses_.end()) demoted.rules = use->second.rules;
  next_.erase(unit);
  const auto next = next_after(reason.cause, demoted.attempts);
  if (next != Clock::time_point::max()) next_[unit] = next;
  moved_[unit] = now_();
  if (same) return;
  moves_.push_back({true, unit_name(unit, config, world) + (again ? " stays in software: " : " goes to software: ") +
                              cause_in_words(reason) +
                              "; rule: " + describe_place(world.device_name(reason.id.device), reason.id, "flower")});
}

std::optional<Clock::time_point> Demotions::next_try() const {
  std::optional<Clock::time_point> next;
  for (const auto& [unit, at] : next_)
    if (!next || at < *next) next = at;
  return next;
}

void Demotions::forget_back_off() {
  for (const auto& [unit, demoted] : state_.units) next_[unit] = {};
  state_.capacity.reset();
  std::erase_if(state_.refusals, [&](const auto& entry) {
    return std::none_of(state_.units.begin(), state_.units.end(),
                        [&](const auto& unit) { return unit.first.device == entry.first.device; });
  });
}

std::vector<SoftwareUnit> Demotions::list(const config::Config& config, const World& world) const {
  std::vector<SoftwareUnit> units;
  for (const auto& [unit, demoted] : state_.units) {
    SoftwareUnit& each = units.emplace_back();
    each.name = unit_name(unit, config, world);
    each.reason = cause_in_words(demoted.reason);
    each.rule = describe_place(world.device_name(demoted.reason.id.device), demoted.reason.id, "flower");
    each.refusal = demoted.reason;
    each.punted = demoted.demotion == tc::Demotion::punted;
    each.since = demoted.since;
    const auto next = next_.find(unit);
    if (next != next_.end()) each.next_try = next->second;
  }
  return units;
}

}  // namespace sepal::agent
