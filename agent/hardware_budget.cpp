// See hardware_budget.hpp.
#include "agent/hardware_budget.hpp"

#include <algorithm>
#include <cmath>

namespace sepal::agent {
namespace {

constexpr double kSmoothingSeconds = 30;
constexpr double kBusierBy = 2;
// Below this nobody is worth the writes of an exchange.
constexpr double kPacketsPerSecondMin = 1;

std::map<Vni, size_t> rules_by_tenant(const std::vector<Claim>& claims) {
  std::map<Vni, size_t> rules;
  for (const Claim& claim : claims) rules[claim.tenant] += claim.rules;
  return rules;
}

// A replacement stands beside what it replaces for a moment, and so does the next change of anybody else.
size_t room_for(const Claim& claim) { return claim.rules + claim.rules / 8 + 2; }

bool beyond(const std::map<Vni, size_t>& rules, const Budgets& budgets, Vni tenant) {
  const auto budget = budgets.find(tenant);
  const auto used = rules.find(tenant);
  return budget != budgets.end() && used != rules.end() && used->second > budget->second;
}

}  // namespace

UnitUses uses_in(const std::vector<tc::Observed>& observed, const World& world) {
  UnitUses uses;
  for (const tc::Observed& rule : observed) {
    const RuleIdPlace place = place_of(rule.id, world);
    if (!world.offload.contains(rule.id.device)) continue;
    UnitUse& use = uses[place.unit];
    use.rules += rule.skip_hw ? 0 : 1;
    use.in_hardware += rule.in_hw ? 1 : 0;
    if (place.entrance) use.packets += rule.packets;
  }
  return uses;
}

void Activity::observe(const UnitUses& uses, std::chrono::steady_clock::time_point now) {
  const double seconds = last_ ? std::chrono::duration<double>(now - *last_).count() : 0;
  std::map<tc::HardwareUnit, Past> next;
  for (const auto& [unit, use] : uses) {
    const auto known = past_.find(unit);
    Past past = known == past_.end() ? Past{use.packets, 0} : known->second;
    if (known != past_.end() && seconds > 0) {
      // A rule that was replaced counts from nothing again.
      const uint64_t came = use.packets >= past.packets ? use.packets - past.packets : use.packets;
      const double keep = std::exp(-seconds / kSmoothingSeconds);
      past.rate = keep * past.rate + (1 - keep) * static_cast<double>(came) / seconds;
    }
    past.packets = use.packets;
    next.emplace(unit, past);
  }
  past_ = std::move(next);
  if (!last_ || now > *last_) last_ = now;
}

double Activity::rate(const tc::HardwareUnit& unit) const {
  const auto found = past_.find(unit);
  return found == past_.end() ? 0 : found->second.rate;
}

Budgets budgets_of(const config::Config& config) {
  Budgets budgets;
  for (const config::Tenant& tenant : config.tenants) {
    const auto& budget = tenant.hardware_rules ? tenant.hardware_rules : config.host.limits.hardware_rules;
    if (budget) budgets[tenant.vni] = *budget;
  }
  return budgets;
}

Vni tenant_of(const tc::HardwareUnit& unit, const config::Config& config, const World& world) {
  if (unit.vni != Vni()) return unit.vni;
  for (const auto& [key, device] : world.facts.ports) {
    if (device != unit.device) continue;
    for (const config::Tenant& tenant : config.tenants)
      if (tenant.name == key.tenant) return tenant.vni;
  }
  return {};
}

std::vector<Claim> leave_first(std::vector<Claim> inside, const Budgets& budgets, size_t rules) {
  std::vector<Claim> leaving;
  std::map<Vni, size_t> used = rules_by_tenant(inside);
  std::sort(inside.begin(), inside.end(),
            [](const Claim& a, const Claim& b) { return a.rate != b.rate ? a.rate < b.rate : b.unit < a.unit; });
  for (size_t freed = 0; freed < rules && !inside.empty();) {
    auto next = std::find_if(inside.begin(), inside.end(),
                             [&](const Claim& claim) { return beyond(used, budgets, claim.tenant); });
    if (next == inside.end()) next = inside.begin();
    freed += next->rules;
    used[next->tenant] -= next->rules;
    leaving.push_back(*next);
    inside.erase(next);
  }
  return leaving;
}

std::optional<Exchange> worth_it(const std::vector<Claim>& inside, std::vector<Claim> outside, const Budgets& budgets,
                                 size_t room) {
  const std::map<Vni, size_t> used = rules_by_tenant(inside);
  const auto within = [&](const Claim& claim) {
    const auto budget = budgets.find(claim.tenant);
    const auto mine = used.find(claim.tenant);
    const size_t now = mine == used.end() ? 0 : mine->second;
    return budget == budgets.end() || now + claim.rules <= budget->second;
  };
  std::sort(outside.begin(), outside.end(), [&](const Claim& a, const Claim& b) {
    if (within(a) != within(b)) return within(a);
    return a.rate != b.rate ? a.rate > b.rate : a.unit < b.unit;
  });
  for (const Claim& claim : outside) {
    if (room_for(claim) <= room) return Exchange{claim.unit, {}};
  }
  for (const Claim& claim : outside) {
    if (claim.rate < kPacketsPerSecondMin) continue;
    const size_t wanted = room_for(claim);
    const std::vector<Claim> leaving = leave_first(inside, budgets, wanted - room);
    size_t freed = room;
    double rate = 0;
    bool others_beyond = true;  // nobody leaves who is within its budget
    bool own = false;
    for (const Claim& gone : leaving) {
      freed += gone.rules;
      rate += gone.rate;
      own = own || gone.tenant == claim.tenant;
      others_beyond = others_beyond && (gone.tenant == claim.tenant || beyond(used, budgets, gone.tenant));
    }
    if (freed < wanted) continue;
    const bool much_busier = claim.rate > kBusierBy * rate;
    const bool by_right = within(claim) && others_beyond && !own;
    if (!by_right && !(much_busier && (within(claim) || others_beyond))) continue;
    Exchange exchange{claim.unit, {}};
    for (const Claim& gone : leaving) exchange.leave.push_back(gone.unit);
    return exchange;
  }
  return std::nullopt;
}

}  // namespace sepal::agent
