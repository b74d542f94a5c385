// A pass from memory: what a change concerns is told from the ledger, compiled, compared with what the last pass left
// there, and written. No filter is read, but for those of devices whose new rules the NIC should have taken. Whatever
// turns out otherwise than remembered (a place taken, a rule gone, a refusal, by the NIC too, a device that left) ends
// in a look at everything, within the same pass.
#include <algorithm>
#include <iterator>

#include "agent/changes.hpp"
#include "agent/names.hpp"
#include "agent/reconciler.hpp"
#include "policy/network.hpp"
#include "tc/pipeline/hardware_order.hpp"

namespace sepal::agent {
namespace {

// The host, and the tenants that rules of these parts speak of: their own and their peers. For names.
config::Config excerpt(const config::Config& config, const Due& due) {
  std::set<std::string> wanted;
  for (const config::Tenant& tenant : config.tenants) {
    if (!due.compile.tenants.contains(tenant.vni)) continue;
    wanted.insert(tenant.name);
    wanted.insert(tenant.peers.begin(), tenant.peers.end());
  }
  config::Config part;
  part.host = config.host;
  for (const config::Tenant& tenant : config.tenants)
    if (wanted.contains(tenant.name)) part.tenants.push_back(tenant);
  return part;
}

std::map<tc::PortKey, IfIndex> ports_of(const config::Config& part, const tc::Facts& facts) {
  std::map<tc::PortKey, IfIndex> ports;
  for (const config::Tenant& tenant : part.tenants)
    for (auto at = facts.ports.lower_bound({tenant.name, {}});
         at != facts.ports.end() && at->first.tenant == tenant.name; ++at)
      ports.insert(*at);
  return ports;
}

// Devices that lose the last of their rules; the overlay's and the uplink's never do.
std::set<IfIndex> emptied(const World& world, const tc::RuleSet& made) {
  const std::set<IfIndex> wanted = devices_of(made);
  std::set<IfIndex> devices;
  for (const tc::Observed& rule : world.observed)
    if (!wanted.contains(rule.id.device) && rule.id.device != world.facts.vxlan && rule.id.device != world.facts.uplink)
      devices.insert(rule.id.device);
  return devices;
}

std::vector<policy::TenantPolicy> policies_of(const config::Config& config, const Due& due) {
  std::vector<policy::TenantPolicy> policies;
  for (const config::Tenant& tenant : config.tenants)
    if (due.compile.tenants.contains(tenant.vni) && policy::is_judged(tenant))
      policies.push_back(policy::compile(policy::network_of(tenant)));
  return policies;
}

bool went_as_expected(const Outcome& outcome) {
  return !outcome.surprised && !outcome.devices_left && outcome.refusals.empty() && outcome.not_removed.empty() &&
         outcome.kept == 0;
}

}  // namespace

Result<PassReport> Reconciler::follow(const config::Config& config, const Progress& progress) {
  Followed followed = follow_from_memory(config, progress);
  if (followed.whole) return std::move(followed.report);
  return pass(config, progress, false, std::move(followed.report));
}

Reconciler::Followed Reconciler::follow_from_memory(const config::Config& config, const Progress& progress) {
  Followed followed;
  if (!ledger_ || !left_ || !distrusted_.empty()) return followed;
  auto world = world_from_memory(config);
  if (!world) return followed;
  note_devices(*world);
  const auto due = ledger_->due(config, left_->facts, world->facts);
  if (!due) return followed;
  if (due->nothing()) {
    followed.report.quiet = followed.whole = true;
    followed.report.gateway_unknown = world->gateway_unknown;
    return followed;
  }
  followed.whole = follow_due(config, progress, std::move(*world), *due, followed.report);
  return followed;
}

// What a look would tell, filters apart. nullopt: something about the devices needs one.
std::optional<World> Reconciler::world_from_memory(const config::Config& config) {
  const auto update = devices_.update(kernel_.route);
  if (!update.known || ledger_->stands_on(update.gone)) {
    ledger_.reset();
    return std::nullopt;
  }
  auto world = look(kernel_, {&config, paths_.instance, &saved_, true, false, &devices_.links()});
  if (!world || !world->problems.empty() || !world->has_slow_path || world->vxlan.state != netlink::VxlanState::ours ||
      world->own_vxlans.size() != 1)
    return std::nullopt;
  if (world->offload != left_->offload || !demotions_.hold_for(*world)) return std::nullopt;
  world->facts.demoted = left_->facts.demoted;
  world->facts.zones = ledger_->zones();
  world->clsact = ledger_->devices();
  return std::move(*world);
}

// False: a look must end what was begun, and `report` holds what was.
bool Reconciler::follow_due(const config::Config& config, const Progress& progress, World world, const Due& due,
                            PassReport& report) {
  const tc::RuleSet made = tc::compile_parts(config, world.facts, due.compile);
  if (made.displaced > 0 || ledger_->clashes(due, made)) return false;
  world.observed = ledger_->rules_of(due);
  std::vector<tc::Step> steps = tc::diff(made.rules, world.observed);
  tc::order_for_hardware(steps, made.rules, world.observed);
  const size_t foreign = foreign_;
  Ledger ledger = std::move(*ledger_);
  Left left = std::move(*left_);
  forget();  // what is remembered holds again when all of this went well
  report = report_on(world, made, left.count - world.observed.size() + made.rules.size());
  report.foreign = foreign;
  write_ahead(config, world, report);
  const std::vector<policy::TenantPolicy> policies = policies_of(config, due);
  const std::set<Vni> still_judged = policy::judged_tenants(config);
  const bool groups_left = std::any_of(saved_.tenants.begin(), saved_.tenants.end(), [&](const auto& tenant) {
    return tenant.second.judged != 0 && !still_judged.contains(tenant.first);
  });
  begin_policing(policies, due.compile.tenants, report);
  const Enforced enforced = kernel_.slow_path.enforce(policies, progress, report.problems);
  if (enforced.stopped) {
    report.outcome.stopped = true;
    return true;
  }
  const bool done = enforced.judged.size() == policies.size() && report.problems.empty() &&
                    write_due(progress, world, due, ledger, made, steps, report);
  if (report.outcome.writes() > 0) {
    const config::Config part = excerpt(config, due);
    const Names names(&part, ports_of(part, world.facts), world.devices);
    for (const Change& change :
         summarize(names, made.rules, world.observed, steps, {}, {world.facts.vxlan, world.facts.uplink}))
      report.changes.push_back(to_line(names, change));
  }
  if (!done) return report.outcome.stopped;

  if (auto dropped = kernel_.slow_path.drop_some(ledger.stale_neighbours(due, made), ledger.stale_slices(due, made));
      !dropped)
    return false;
  if (groups_left && !kernel_.slow_path.drop_policies(still_judged)) return false;
  release_devices(emptied(world, made), world, report);
  if (!end_service(config, made, world.facts, policies, report)) return false;
  report.software = demotions_.list(config, world);
  for (const tc::Observed& rule : world.observed) left.digest -= digest_of_rule(rule.id, rule.cookie);
  for (const tc::CompiledRule& rule : made.rules) left.digest += digest_of_rule(rule.rule.id, rule.cookie);
  left.count = report.rules;
  left.facts = std::move(world.facts);
  left.facts.zones.clear();
  ledger.settle(due, config, made);
  left_ = std::move(left);
  ledger_ = std::move(ledger);
  record(ledger_->config_digest(), made, report);
  return true;
}

// False: not all went as it should, or it was stopped.
bool Reconciler::write_due(const Progress& progress, const World& world, const Due& due, const Ledger& ledger,
                           const tc::RuleSet& made, const std::vector<tc::Step>& steps, PassReport& report) {
  const auto unusable = attach_devices(devices_of(made), world, report);
  if (!unusable || !unusable->empty()) return false;
  if (!kernel_.slow_path.put_some(made.neighbours, made.slices)) return false;
  ExecutionInput input{made.rules, world, steps, shared_};
  input.progress = progress;
  input.from_memory = true;
  input.goes_on = [&](const tc::RuleId& id) { return ledger.others_share_chain(due, id); };
  auto outcome = execute(kernel_, input);
  if (!outcome) return false;
  report.outcome = std::move(*outcome);
  return !report.outcome.stopped && went_as_expected(report.outcome) &&
         demotions_.all_taken(kernel_, made, world, steps);
}

}  // namespace sepal::agent
