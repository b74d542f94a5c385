// Around the rules of a pass: whom they serve, by which ways under the tunnel, and under whose policy. The state file
// knows it between passes, so that what ends (connections of who left, of what a policy forbids, tunnels of a former
// next hop) is ended by a later process too. One order holds for all of it: what a pass is about to make untrue is
// written before its rules; what it made true is written when all of it stands.
#include <algorithm>

#include "agent/connections.hpp"
#include "agent/learnt_macs.hpp"
#include "agent/reconciler.hpp"
#include "agent/revocation.hpp"
#include "base/limits.hpp"
#include "policy/network.hpp"

namespace sepal::agent {
namespace {

SavedState served_by(const config::Config& config, const tc::RuleSet& rules, const tc::Facts& facts,
                     SavedState before) {
  SavedState state;
  state.gateways = std::move(before.gateways);
  state.ways = std::move(before.ways);
  for (const config::Tenant& tenant : config.tenants) {
    const auto zone = rules.zones.find(tenant.vni);
    if (zone == rules.zones.end()) continue;
    SavedTenant& saved = state.tenants[tenant.vni];
    saved.zone = zone->second;
    if (const auto then = before.tenants.find(tenant.vni); policy::is_judged(tenant) && then != before.tenants.end())
      saved.judged = then->second.judged;
    saved.macs = learnt_macs_of(tenant);
    for (const config::Port& port : tenant.ports) {
      const std::string seat = seat_of(port);
      for (const IpAddr& address : port.addresses) saved.served.emplace(IpPrefix::host(address), seat);
      for (const IpPrefix& prefix : port.prefixes) saved.served.emplace(prefix, seat);
    }
  }
  if (!config.host.public_net) return state;
  for (const IpAddr& gateway : config.host.public_net->gateways) {
    const auto& mac = gateway.is_v4() ? facts.public_gateway4 : facts.public_gateway6;
    if (mac) state.gateways[gateway] = *mac;
  }
  return state;
}

// Tenants whose rules still stand in the kernel but not in the state file (it was lost): their zones are told by facts.
SavedState with_kernel_zones(SavedState state, const tc::Facts& facts) {
  for (const auto& [vni, zone] : facts.zones)
    if (vni.value() <= limits::kVniMax) state.tenants[vni].zone = zone;
  return state;
}

}  // namespace

// Whether the state file says all that a pass with these rules would leave in it.
bool Reconciler::serves(const config::Config& config, const tc::RuleSet& rules, const tc::Facts& facts) const {
  for (const Vni vni : policy::judged_tenants(config)) {
    const auto tenant = saved_.tenants.find(vni);
    if (tenant == saved_.tenants.end() || tenant->second.judged == 0) return false;
  }
  return served_by(config, rules, facts, saved_) == saved_;
}

// Whatever the file says: what could not be written into it.
void Reconciler::load_saved() {
  saved_ = load_state(paths_.state);
  for (const Vni vni : unjudged_)
    if (const auto tenant = saved_.tenants.find(vni); tenant != saved_.tenants.end()) tenant->second.judged = 0;
}

bool Reconciler::save(SavedState state, PassReport& report) {
  if (state == saved_) return true;
  if (auto saved = save_state(paths_.state, state); !saved) {
    report.problems.push_back(saved.error().message());
    return false;
  }
  saved_ = std::move(state);
  unjudged_.clear();
  return true;
}

// What rules are about to stand for, ways under tunnels and guests' MAC addresses: were it written after them, a crash
// in between would leave some that stand for what nobody remembers.
void Reconciler::write_ahead(const config::Config& config, const World& world, PassReport& report) {
  report.changes = describe_changes(saved_.ways, world.ways);
  SavedState state = saved_;
  state.ways = world.saved_ways;
  for (const config::Tenant& tenant : config.tenants) {
    const auto saved = state.tenants.find(tenant.vni);
    if (saved != state.tenants.end()) saved->second.macs = learnt_macs_of(tenant);
  }
  if (save(std::move(state), report)) distrusted_.clear();
}

// Before any rule of `tenants` is written, and before `policies`, all that are wanted of them, are in force. From here
// until end_service() nobody knows by which policy their connections began; a process that is killed in between leaves
// it written so, and the next one judges them all.
void Reconciler::begin_policing(const std::vector<policy::TenantPolicy>& policies, const std::set<Vni>& tenants,
                                PassReport& report) {
  SavedState state = saved_;
  std::set<Vni> changed;
  for (auto& [vni, tenant] : state.tenants) {
    if (!tenants.contains(vni) || tenant.judged == 0) continue;
    const bool stays = std::any_of(policies.begin(), policies.end(), [&](const policy::TenantPolicy& policy) {
      return policy.vni == vni && policy.tables.space == tenant.judged;
    });
    if (stays) continue;
    tenant.judged = 0;
    changed.insert(vni);
  }
  // A file that cannot be written is no reason to go on with the former policy; this process knows without it.
  if (!save(std::move(state), report)) unjudged_.merge(changed);
  for (const Vni vni : unjudged_)
    if (const auto tenant = saved_.tenants.find(vni); tenant != saved_.tenants.end()) tenant->second.judged = 0;
}

// Connections of tenants and addresses that are no longer served end, and so do those that `policies`, which are in
// force, forbid; then the state file tells who is served now. False: not all of it was possible; the file still says
// so, and a later pass tries again.
bool Reconciler::end_service(const config::Config& config, const tc::RuleSet& rules, const tc::Facts& facts,
                             const std::vector<policy::TenantPolicy>& policies, PassReport& report) {
  SavedState after = served_by(config, rules, facts, saved_);
  auto ended = end_connections(kernel_, departed(with_kernel_zones(saved_, facts), after));
  auto forbidden = ended ? end_forbidden(kernel_, policies, saved_, after) : ended;
  if (!forbidden) {
    report.problems.push_back(forbidden.error().message());
    return false;
  }
  report.connections_ended = *ended + *forbidden;
  // While a rule that should ask a policy is missing, one that does not may stand in its place and let more begin.
  for (const Vni vni : half_written(report.outcome)) {
    const auto now = after.tenants.find(vni);
    const auto before = saved_.tenants.find(vni);
    if (now != after.tenants.end()) now->second.judged = before == saved_.tenants.end() ? 0 : before->second.judged;
  }
  return save(std::move(after), report);
}

// Tenants of whose rules that ask policies (in groups 2 and 7) some could not be written or removed.
std::set<Vni> Reconciler::half_written(const Outcome& outcome) {
  std::set<Vni> tenants;
  auto note = [&](const tc::RuleId& id) {
    const tc::ChainId chain = tc::parse_chain(id.chain);
    const bool asks = chain.group == tc::Group::nat || chain.group == tc::Group::fresh;
    if (asks && chain.vni != Vni()) tenants.insert(chain.vni);
  };
  for (const Refusal& refusal : outcome.refusals) note(refusal.id);
  for (const auto& [id, error] : outcome.not_removed) note(id);
  return tenants;
}

}  // namespace sepal::agent
