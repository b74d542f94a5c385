// One pass after another: look, compile, compare, write, remember.
#include "agent/reconciler.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <tuple>

#include "agent/changes.hpp"
#include "agent/clsact.hpp"
#include "agent/names.hpp"
#include "agent/words.hpp"
#include "base/digest.hpp"
#include "base/limits.hpp"
#include "policy/network.hpp"

namespace sepal::agent {
namespace {

constexpr std::chrono::seconds kBackOffMin{1};
constexpr std::chrono::seconds kBackOffMax{60};
// How often a pass begins anew because devices left or the connection broke while it wrote.
constexpr unsigned kRoundsMax = 3;
// How often it goes on because something moved in or out of hardware: in takes two, out one for each cause met.
constexpr unsigned kMovesMax = 32;

std::string made_vxlan_text(const netlink::VxlanFinding& found, const std::string& name) {
  const std::string text = "vxlan device " + name;
  if (found.state == netlink::VxlanState::wrong) return text + " anew: " + found.remark;
  return found.state == netlink::VxlanState::unfinished ? text + " (was unfinished)" : text;
}

// The order of a RuleSet.
bool place_less(const tc::RuleId& a, const tc::RuleId& b) {
  return std::tie(a.device, a.chain, a.prio, a.handle) < std::tie(b.device, b.chain, b.prio, b.handle);
}

std::map<Vni, Zone> zones_in_use(const tc::RuleSet& rules, const World& world) {
  std::map<Vni, Zone> zones = world.facts.zones;
  for (const auto& [vni, zone] : rules.zones) zones[vni] = zone;
  return zones;
}

// What a pass makes of the input: with it, the same program compiles to the same rules.
uint64_t input_digest(uint64_t config_digest, const tc::Facts& facts, const std::map<Vni, Zone>& zones) {
  Digest digest;
  digest.all(config_digest, tc::digest_without_zones(facts), zones);
  return digest.value();
}

}  // namespace

uint64_t digest_of_rule(const tc::RuleId& id, const tc::Cookie& cookie) {
  Digest digest;
  digest.all(id.device, id.chain, uint64_t{id.prio} << 16U | id.protocol, id.handle, cookie.content, cookie.zone);
  return digest.value();
}

std::set<IfIndex> devices_of(const tc::RuleSet& rules) {
  std::set<IfIndex> devices;
  for (const auto& rule : rules.rules) devices.insert(rule.rule.id.device);
  return devices;
}

PassReport report_on(const World& world, const tc::RuleSet& rules, size_t count) {
  PassReport report;
  report.rules = count;
  report.foreign = world.foreign.size();
  report.gateway_unknown = world.gateway_unknown;
  report.waiting = rules.waiting;
  report.notes = rules.notes;
  report.tenants_without_offload =
      static_cast<size_t>(std::count_if(rules.zones.begin(), rules.zones.end(), [](const auto& zone) {
        return zone.second.value() > limits::kOffloadZoneMax;
      }));
  return report;
}

Reconciler::Reconciler(Kernel kernel, Paths paths)
    : kernel_(kernel),
      paths_(std::move(paths)),
      shared_(tc::instance_hash(paths_.instance)),
      now_(Clock::now),
      demotions_(paths_.hardware) {}

Result<PassReport> Reconciler::apply(const config::Config& config, const Progress& progress) {
  return pass(config, progress, false);
}

Result<PassReport> Reconciler::look_again(const config::Config& config, const Progress& progress) {
  return pass(config, progress, true);
}

Result<bool> Reconciler::devices_changed(const config::Config& config) {
  if (!left_) return true;
  const auto update = devices_.update(kernel_.route);
  const bool filters_gone = ledger_ && ledger_->stands_on(update.gone);
  if (!update.known || filters_gone) ledger_.reset();
  if (filters_gone) return true;
  auto world =
      look(kernel_, {&config, paths_.instance, &saved_, false, false, update.known ? &devices_.links() : nullptr});
  if (!world) return Unexpected(world.error());
  world->facts.demoted = left_->facts.demoted;
  const Left now = left_by(*world, {});
  return !distrusted_.empty() || !(left_->facts == now.facts && left_->offload == now.offload);
}

void Reconciler::distrust_ways(const std::set<IpAddr>& vteps) { distrusted_.insert(vteps.begin(), vteps.end()); }

std::optional<Clock::time_point> Reconciler::next_retry() const {
  std::optional<Clock::time_point> next = demotions_.next_try();
  for (const auto& [key, trouble] : troubles_)
    if (!trouble.refusal.held && (!next || trouble.next_try < *next)) next = trouble.next_try;
  return next;
}

void Reconciler::forget_back_off() {
  for (auto& [key, trouble] : troubles_) trouble.next_try = {};
  demotions_.forget_back_off();
}

const Refusal* Reconciler::remembered(const tc::CompiledRule& rule) const {
  const auto found = troubles_.find({rule.rule.id, rule.cookie.content});
  if (found == troubles_.end() || found->second.refusal.held || found->second.next_try <= now_()) return nullptr;
  return &found->second.refusal;
}

void Reconciler::forget() {
  left_.reset();
  ledger_.reset();
  unlearnable_ = false;
  forget_last_pass(paths_.last);
}

void Reconciler::note_devices(const World& world) {
  ports_ = world.facts.ports;
  wire_ = {world.facts.uplink, world.facts.uplink_mac};
}

Result<PassReport> Reconciler::pass(const config::Config& config, const Progress& progress, bool may_be_quiet,
                                    PassReport total) {
  const bool first = std::exchange(fresh_, false) && !may_be_quiet;
  unsigned moves = 0;
  demotions_.begin_pass();
  for (unsigned round = 1;; ++round) {
    auto world = prepare_world(config, total.made);
    if (!world && world.error().code == Errc::resync && round < kRoundsMax) continue;
    if (!world) return Unexpected(world.error());
    note_devices(*world);
    demotions_.enter(*world, config);
    if (auto looked = shared_.look(kernel_.route); !looked) {
      if (looked.error().code == Errc::resync && round < kRoundsMax) continue;
      return Unexpected(looked.error());
    }
    foreign_ = world->foreign.size();
    const Left now = left_by(*world, world->observed);
    const auto retry = next_retry();
    if (may_be_quiet && total.made.empty() && (!retry || *retry > now_()) && left_ == now && shared_.intact() &&
        !demotions_.has_work(*world)) {
      // Of rules that went with the pass before: the kernel was still counting them then.
      if (shared_.any_unused())
        if (auto dropped = shared_.drop_unused(kernel_.route); !dropped) return Unexpected(dropped.error());
      total.quiet = true;
      total.gateway_unknown = world->gateway_unknown;
      devices_.keep_list(std::move(world->links));
      learn(config, *world);
      return total;
    }
    if (first && total.made.empty() && shared_.intact() && !demotions_.has_work(*world)) {
      if (auto believed = believe_last_pass(config, *world, now)) return std::move(*believed);
    }
    // Same devices, other filters: somebody else's hand.
    const bool others = left_ && left_->facts == now.facts && !(left_ == now && shared_.intact());
    forget();
    devices_.keep_list(std::move(world->links));
    auto report = change(config, progress, std::move(*world));
    if (!report && report.error().code == Errc::resync && round < kRoundsMax) continue;
    if (!report) return report;
    report->others_changed = others || total.others_changed;
    report->made.insert(report->made.begin(), total.made.begin(), total.made.end());
    report->outcome.added += total.outcome.added;
    report->outcome.replaced += total.outcome.replaced;
    report->outcome.removed += total.outcome.removed;
    report->connections_ended += total.connections_ended;
    report->changes.insert(report->changes.begin(), total.changes.begin(), total.changes.end());
    report->moves.insert(report->moves.begin(), total.moves.begin(), total.moves.end());
    const bool moving = report->unsettled && ++moves <= kMovesMax;
    if (moving) --round;  // these have a bound of their own
    if ((!report->outcome.devices_left && !moving) || report->outcome.stopped || round == kRoundsMax) return report;
    total = std::move(*report);
  }
}

Result<World> Reconciler::prepare_world(const config::Config& config, std::vector<std::string>& made) {
  using netlink::VxlanState;
  load_saved();
  LookInput input{&config, paths_.instance, &saved_, true};
  input.distrusted = &distrusted_;
  devices_.begin_list();
  auto world = look(kernel_, input);
  if (!world) return world;
  const netlink::VxlanWanted wanted = vxlan_wanted(config.host, paths_.instance);
  const netlink::VxlanFinding found = world->vxlan;
  const std::string text = "vxlan device " + wanted.name;
  if (found.state == VxlanState::foreign) return fail(Errc::conflict, text + ": " + found.remark);
  // Ours under its name of yesterday, or with properties no device can change: only a new one helps, and two cannot
  // share a UDP port. Its rules follow in this pass.
  bool changed = false;
  for (const OwnDevice& old : world->own_vxlans) {
    if (old.name == wanted.name && found.state != VxlanState::wrong) continue;
    if (auto deleted = netlink::delete_vxlan(kernel_.route, old.name, wanted.instance); !deleted)
      return Unexpected(while_doing(deleted.error(), "vxlan device " + old.name));
    changed = true;
  }
  if (found.state != VxlanState::ours) {
    if (auto ensured = netlink::ensure_vxlan(kernel_.route, wanted); !ensured)
      return Unexpected(while_doing(ensured.error(), text));
    made.push_back(made_vxlan_text(found, wanted.name));
    changed = true;
  }
  if (!changed) return world;
  devices_.begin_list();
  return look(kernel_, input);
}

// What a complete pass of this very program left, and nobody touched since, is what it would compile to again. The maps
// of the slow path are not read: that pass filled them before it said it was complete.
std::optional<PassReport> Reconciler::believe_last_pass(const config::Config& config, const World& world,
                                                        const Left& now) {
  const auto last = load_last_pass(paths_.last);
  if (!last || last->program.empty() || last->program != program_id() || last->left != now.digest ||
      last->rules != now.count || !world.problems.empty())
    return std::nullopt;
  const tc::RuleSet outline = tc::compile_parts(config, world.facts, {});
  if (last->input != input_digest(config_digest(config), world.facts, outline.zones)) return std::nullopt;
  if (!serves(config, outline, world.facts) || !kernel_.slow_path.pin()) return std::nullopt;
  left_ = now;
  PassReport report = report_on(world, outline, now.count);
  report.software = demotions_.list(config, world);
  return report;
}

Result<PassReport> Reconciler::change(const config::Config& config, const Progress& progress, World world) {
  tc::RuleSet rules = tc::compile(config, world.facts);
  auto reconsidered = demotions_.reconsider(kernel_, config, rules, world);
  if (!reconsidered) return Unexpected(reconsidered.error());
  if (*reconsidered) rules = tc::compile(config, world.facts);
  std::vector<tc::Step> steps = tc::diff(rules.rules, world.observed);
  demotions_.add_tries(steps, rules, world);
  PassReport report = report_on(world, rules, rules.rules.size());

  ExecutionInput input{rules.rules, world, steps, shared_};
  auto unusable = attach_devices(devices_of(rules), world, report);
  if (!unusable) return Unexpected(unusable.error());
  input.unusable = std::move(*unusable);
  input.remembered = [this](const tc::CompiledRule& rule) { return remembered(rule); };
  input.progress = progress;
  report.problems = world.problems;
  write_ahead(config, world, report);
  std::vector<policy::TenantPolicy> policies = policy::compile(config);
  std::set<Vni> tenants;
  for (const config::Tenant& tenant : config.tenants) tenants.insert(tenant.vni);
  begin_policing(policies, tenants, report);
  Enforced enforced;
  if (world.has_slow_path) {
    if (auto pinned = kernel_.slow_path.pin(); !pinned) report.problems.push_back(pinned.error().message());
    if (auto put = kernel_.slow_path.put_entries(rules.neighbours, rules.slices); !put)
      report.problems.push_back(put.error().message());
    // Before the rules that ask them: a tenant is judged from its first rule on.
    enforced = kernel_.slow_path.enforce(policies, progress, report.problems);
    if (enforced.stopped) {
      report.outcome.stopped = true;
      return report;
    }
  }

  auto outcome = execute(kernel_, input);
  if (!outcome) return Unexpected(outcome.error());
  outcome->devices_left = outcome->devices_left || report.outcome.devices_left;
  report.outcome = std::move(*outcome);
  if (report.outcome.writes() > 0) {
    const Names names(&config, world.facts.ports, world.devices);
    for (const Change& change : summarize(names, rules.rules, world.observed, steps))
      report.changes.push_back(to_line(names, change));
  }
  for (const std::string& line : report.outcome.repaired) report.changes.push_back(line);
  remember(rules, world, config, report);
  if (report.outcome.stopped) return report;
  auto unsettled = demotions_.settle({kernel_, shared_}, config, rules, world, steps);
  if (!unsettled) return Unexpected(unsettled.error());
  report.unsettled = *unsettled;
  report.moves = demotions_.take_moves();
  report.software = demotions_.list(config, world);

  if (world.has_slow_path && !drop_unwanted(config, rules, report)) forget();
  const std::set<IfIndex> wanted = devices_of(rules);
  std::set<IfIndex> unwanted;
  std::set_difference(world.clsact.begin(), world.clsact.end(), wanted.begin(), wanted.end(),
                      std::inserter(unwanted, unwanted.end()));
  release_devices(unwanted, world, report);
  // A pass that changed nothing writes nothing; looks clear away what is left.
  const Outcome& done = report.outcome;
  if (done.removed + done.replaced + done.refusals.size() > 0 || (done.added > 0 && shared_.any_unused())) {
    if (auto dropped = shared_.drop_unused(kernel_.route); !dropped)
      report.problems.push_back(dropped.error().message());
  }
  std::erase_if(policies, [&](const policy::TenantPolicy& policy) { return !enforced.judged.contains(policy.vni); });
  if (!end_service(config, rules, world.facts, policies, report)) forget();
  record(ledger_ ? ledger_->config_digest() : config_digest(config), rules, report);
  return report;
}

// What the slow path holds for rules that are gone. Not while some are not: they may still lead to it.
bool Reconciler::drop_unwanted(const config::Config& config, const tc::RuleSet& rules, PassReport& report) {
  const size_t problems = report.problems.size();
  if (report.outcome.not_removed.empty()) {
    if (auto dropped = kernel_.slow_path.drop_stale(rules.neighbours, rules.slices); !dropped)
      report.problems.push_back(dropped.error().message());
  }
  std::set<Vni> judged = policy::judged_tenants(config);
  judged.merge(half_written(report.outcome));
  if (auto dropped = kernel_.slow_path.drop_policies(judged); !dropped)
    report.problems.push_back(dropped.error().message());
  return report.problems.size() == problems;
}

// Returns the devices that got none, and why: no rule can stand there.
Result<std::map<IfIndex, Error>> Reconciler::attach_devices(const std::set<IfIndex>& devices, const World& world,
                                                            PassReport& report) {
  std::map<IfIndex, Error> unusable;
  for (IfIndex device : devices) {
    if (world.clsact.contains(device)) continue;
    const std::string text = "clsact on " + world.device_name(device);
    auto attached = attach_clsact(kernel_, device, world.facts.instance);
    if (attached && *attached) {
      report.made.push_back(text);
    } else if (attached) {
      unusable.emplace(device, Error{Errc::conflict, 0, text + ": an ingress qdisc of others stands in its place", {}});
    } else if (attached.error().code == Errc::resync) {
      return Unexpected(while_doing(attached.error(), text));  // the connection is lost, not the device
    } else {
      if (attached.error().sys_errno == ENODEV) report.outcome.devices_left = true;
      unusable.emplace(device, while_doing(attached.error(), text));
    }
  }
  return unusable;
}

void Reconciler::release_devices(const std::set<IfIndex>& devices, const World& world, PassReport& report) {
  for (IfIndex device : devices) {
    if (auto detached = detach_clsact(kernel_, device, world.facts.instance);
        !detached && detached.error().sys_errno != ENODEV)
      report.problems.push_back(while_doing(detached.error(), "clsact on " + world.device_name(device)).message());
  }
}

// Keeps what is refused now with its back-off, forgets what is not wanted or accepted, and digests what should stand.
void Reconciler::remember(const tc::RuleSet& rules, const World& world, const config::Config& config,
                          const PassReport& report) {
  Troubles troubles;
  std::optional<Names> names;
  if (!report.outcome.refusals.empty()) names.emplace(&config, world.facts.ports, world.devices);
  std::set<std::pair<tc::RuleId, uint64_t>> refused;
  for (const Refusal& refusal : report.outcome.refusals) {
    const auto key = std::make_pair(refusal.id, refusal.content);
    refused.insert(key);
    const auto known = troubles_.find(key);
    Trouble trouble = known == troubles_.end() ? Trouble{} : known->second;
    if (refusal.tried) {
      const unsigned doublings = std::min(trouble.attempts, 6U);
      ++trouble.attempts;
      trouble.next_try = now_() + std::min(kBackOffMin * (1U << doublings), kBackOffMax);
    }
    trouble.refusal = refusal;
    if (known == troubles_.end()) {
      trouble.purpose = names->purpose(refusal.origin);
      const auto rule =
          std::lower_bound(rules.rules.begin(), rules.rules.end(), refusal.id,
                           [](const tc::CompiledRule& r, const tc::RuleId& id) { return place_less(r.rule.id, id); });
      if (rule != rules.rules.end() && rule->rule.id == refusal.id) trouble.text = rule_text(rule->rule, *names);
    }
    troubles.emplace(key, std::move(trouble));
  }
  troubles_ = std::move(troubles);
  const Outcome& outcome = report.outcome;
  if (outcome.stopped || outcome.devices_left || outcome.kept > 0 || !outcome.not_removed.empty() ||
      report.problems != world.problems)
    return;
  std::vector<tc::Observed> expected;
  expected.reserve(rules.rules.size());
  std::map<tc::RuleId, tc::Cookie> before;
  if (!refused.empty())
    for (const tc::Observed& rule : world.observed) before.emplace(rule.id, rule.cookie);
  for (const tc::CompiledRule& rule : rules.rules) {
    tc::Observed stands{rule.rule.id, rule.cookie};
    if (refused.contains({rule.rule.id, rule.cookie.content})) {
      const auto old = before.find(rule.rule.id);  // a refused replacement leaves the old rule
      if (old == before.end()) continue;
      stands.cookie = old->second;
    }
    expected.push_back(stands);
  }
  left_ = left_by(world, expected);
  if (refused.empty() && devices_.known()) ledger_ = Ledger::of(config, rules, zones_in_use(rules, world));
}

// A quiet look has seen what is remembered. Where that is only a digest (after a restart that compiled nothing, or when
// somebody's change was undone) it is compiled once, at a time when nobody waits for it.
void Reconciler::learn(const config::Config& config, const World& world) {
  if (ledger_) {
    ledger_->set_zones(world.facts.zones);
    return;
  }
  if (unlearnable_ || !troubles_.empty() || !devices_.known()) return;
  const tc::RuleSet rules = tc::compile(config, world.facts);
  uint64_t digest = 0;
  for (const tc::CompiledRule& rule : rules.rules) digest += digest_of_rule(rule.rule.id, rule.cookie);
  if (digest == left_->digest && rules.rules.size() == left_->count)
    ledger_ = Ledger::of(config, rules, zones_in_use(rules, world));
  unlearnable_ = !ledger_;
}

// For a restart; see believe_last_pass().
void Reconciler::record(uint64_t config_digest, const tc::RuleSet& rules, const PassReport& report) const {
  if (!left_ || !troubles_.empty() || !report.problems.empty() || report.unsettled) return;
  const LastPass last{program_id(), input_digest(config_digest, left_->facts, rules.zones), left_->digest,
                      left_->count};
  if (last.program.empty()) return;
  (void)save_last_pass(paths_.last, last);  // an aid: without it the next start compiles
}

Reconciler::Left Reconciler::left_by(const World& world, const std::vector<tc::Observed>& observed) {
  Left left;
  left.facts = world.facts;
  left.offload = world.offload;
  left.facts.zones.clear();
  left.count = observed.size();
  for (const tc::Observed& rule : observed) left.digest += digest_of_rule(rule.id, rule.cookie);
  return left;
}

Result<Difference> find_difference(Kernel& kernel, const config::Config& config, const Paths& paths) {
  const SavedState saved = load_state(paths.state);
  auto world = look(kernel, {&config, paths.instance, &saved});
  if (!world) return Unexpected(world.error());
  Difference difference{std::move(*world), {}, {}, {}};
  World& found = difference.world;
  using netlink::VxlanState;
  if (found.vxlan.state == VxlanState::foreign)
    return fail(Errc::conflict, "vxlan device " + config.host.vxlan.device + ": " + found.vxlan.remark);
  if (found.vxlan.state != VxlanState::ours)
    difference.to_make.push_back(made_vxlan_text(found.vxlan, config.host.vxlan.device));
  SharedActions shared(found.facts.instance);
  if (auto looked = shared.look(kernel.route); !looked) return Unexpected(looked.error());
  for (const std::string& line : shared.changed()) difference.to_make.push_back(line + " anew: others changed it");
  Demotions(paths.hardware).enter(found, config);
  difference.wanted = tc::compile(config, found.facts);
  difference.steps = tc::diff(difference.wanted.rules, found.observed);
  for (IfIndex device : devices_of(difference.wanted)) {
    if (found.clsact.contains(device)) continue;
    difference.to_make.push_back("clsact on " + found.device_name(device));
  }
  return difference;
}

}  // namespace sepal::agent
