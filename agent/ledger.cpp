// Which tenants a change concerns, and what stands of them.
#include "agent/ledger.hpp"

#include <algorithm>
#include <tuple>

#include "config/digest.hpp"

namespace sepal::agent {
namespace {

// What part 0 depends on of the tenants: which public addresses there are, and which are shared.
uint64_t common_digest(const config::Config& config) {
  Digest digest;
  for (const config::Tenant& tenant : config.tenants) mix(digest, tenant.nat);
  return digest.value();
}

// In all but ports and zones.
bool same_for_everybody(const tc::Facts& a, const tc::Facts& b) {
  auto common = [](const tc::Facts& facts) {
    const auto& [uplink, vxlan, uplink_mac, ports, gateway4, gateway6, host_vlans, ways, zones, programs, demoted,
                 instance] = facts;
    (void)ports;
    (void)zones;
    return std::tie(uplink, vxlan, uplink_mac, gateway4, gateway6, host_vlans, ways, programs, demoted, instance);
  };
  return common(a) == common(b);
}

// Tenants, by name, of whose ports some device came, left or became another.
std::set<std::string> tenants_with_other_devices(const tc::Facts& before, const tc::Facts& now) {
  std::set<std::string> changed;
  auto old = before.ports.begin();
  for (auto at = now.ports.begin(); at != now.ports.end() || old != before.ports.end();) {
    if (old == before.ports.end() || (at != now.ports.end() && at->first < old->first)) {
      changed.insert((at++)->first.tenant);
    } else if (at == now.ports.end() || old->first < at->first) {
      changed.insert((old++)->first.tenant);
    } else {
      if (at->second != old->second) changed.insert(at->first.tenant);
      ++at;
      ++old;
    }
  }
  return changed;
}

auto key(const tc::NeighbourEntry& entry) { return std::tie(entry.device, entry.vlan, entry.target); }
auto key(const tc::SliceEntry& entry) { return std::tie(entry.address, entry.port, entry.port_bits); }

// `made` is sorted by key.
template <typename Entry>
void add_stale(const std::vector<Entry>& old, const std::vector<Entry>& made, std::vector<Entry>& stale) {
  for (const Entry& entry : old) {
    const auto at = std::lower_bound(made.begin(), made.end(), entry,
                                     [](const Entry& a, const Entry& b) { return key(a) < key(b); });
    if (at == made.end() || key(*at) != key(entry)) stale.push_back(entry);
  }
}

}  // namespace

uint64_t config_digest(const config::Config& config) {
  Digest digest;
  digest.add(digest_of(config.host));
  for (const config::Tenant& tenant : config.tenants) digest.add(digest_of(tenant));
  return digest.value();
}

uint64_t Ledger::config_digest() const {
  Digest digest;
  digest.add(host_);
  for (const auto& [vni, part] : parts_)
    if (vni != Vni()) digest.add(part.digest);
  return digest.value();
}

std::optional<Ledger> Ledger::of(const config::Config& config, const tc::RuleSet& rules,
                                 const std::map<Vni, Zone>& zones) {
  if (rules.displaced > 0) return std::nullopt;
  Ledger ledger;
  ledger.host_ = digest_of(config.host);
  ledger.zones_ = zones;
  for (const config::Tenant& tenant : config.tenants) ledger.parts_[tenant.vni].digest = digest_of(tenant);
  ledger.parts_[Vni()].digest = common_digest(config);
  ledger.enter(rules);
  return ledger;
}

// Counted first, so that no vector keeps more than it holds.
void Ledger::enter(const tc::RuleSet& rules) {
  std::map<Vni, size_t> sizes;
  for (const tc::CompiledRule& rule : rules.rules) ++sizes[rule.part];
  for (const auto& [vni, size] : sizes) parts_[vni].rules.reserve(size);
  for (const tc::CompiledRule& rule : rules.rules) {
    Part& part = parts_[rule.part];
    part.rules.push_back({rule.rule.id, rule.cookie, rule.rule.spec.skip_hw});
    if (part.devices.empty() || part.devices.back() != rule.rule.id.device) part.devices.push_back(rule.rule.id.device);
    if (tc::in_shared_chain(rule)) shared_.emplace(rule.rule.id, rule.part);
  }
  for (const tc::NeighbourEntry& entry : rules.neighbours) parts_[entry.part].neighbours.push_back(entry);
  for (const tc::SliceEntry& entry : rules.slices) parts_[entry.part].slices.push_back(entry);
}

std::set<IfIndex> Ledger::devices() const {
  std::set<IfIndex> devices;
  for (const auto& [vni, part] : parts_) devices.insert(part.devices.begin(), part.devices.end());
  return devices;
}

std::optional<Due> Ledger::due(const config::Config& config, const tc::Facts& before, const tc::Facts& now) const {
  if (digest_of(config.host) != host_ || !same_for_everybody(before, now)) return std::nullopt;
  Due due;
  const std::set<std::string> moved = tenants_with_other_devices(before, now);
  std::set<std::string> changed;
  std::set<Vni> wanted;
  for (const config::Tenant& tenant : config.tenants) {
    wanted.insert(wanted.end(), tenant.vni);
    const auto known = parts_.find(tenant.vni);
    if (known != parts_.end() && known->second.digest == digest_of(tenant) && !moved.contains(tenant.name)) continue;
    due.compile.tenants.insert(tenant.vni);
    changed.insert(tenant.name);
  }
  // Who leads into a tenant has some of that tenant's tables in its own blocks.
  for (const config::Tenant& tenant : config.tenants)
    if (std::any_of(tenant.peers.begin(), tenant.peers.end(), [&](const auto& peer) { return changed.contains(peer); }))
      due.compile.tenants.insert(tenant.vni);
  for (const auto& [vni, part] : parts_)
    if (vni != Vni() && !wanted.contains(vni)) due.gone.insert(vni);
  due.compile.common = parts_.at(Vni()).digest != common_digest(config);
  return due;
}

std::vector<tc::Observed> Ledger::rules_of(const Due& due) const {
  std::vector<tc::Observed> rules;
  for (const auto& [vni, part] : parts_)
    if (due.concerns(vni)) rules.insert(rules.end(), part.rules.begin(), part.rules.end());
  std::sort(rules.begin(), rules.end());
  return rules;
}

std::vector<tc::NeighbourEntry> Ledger::stale_neighbours(const Due& due, const tc::RuleSet& made) const {
  std::vector<tc::NeighbourEntry> stale;
  for (const auto& [vni, part] : parts_)
    if (due.concerns(vni)) add_stale(part.neighbours, made.neighbours, stale);
  return stale;
}

std::vector<tc::SliceEntry> Ledger::stale_slices(const Due& due, const tc::RuleSet& made) const {
  std::vector<tc::SliceEntry> stale;
  for (const auto& [vni, part] : parts_)
    if (due.concerns(vni)) add_stale(part.slices, made.slices, stale);
  return stale;
}

bool Ledger::clashes(const Due& due, const tc::RuleSet& made) const {
  return std::any_of(made.rules.begin(), made.rules.end(), [&](const tc::CompiledRule& rule) {
    if (!tc::in_shared_chain(rule)) return false;
    const auto taken = shared_.find(rule.rule.id);
    return taken != shared_.end() && !due.concerns(taken->second);
  });
}

bool Ledger::others_share_chain(const Due& due, const tc::RuleId& id) const {
  for (auto at = shared_.lower_bound({id.device, id.chain, 0, 0, 0});
       at != shared_.end() && at->first.device == id.device && at->first.chain == id.chain; ++at)
    if (!due.concerns(at->second)) return true;
  return false;
}

bool Ledger::stands_on(const std::set<IfIndex>& devices) const {
  if (devices.empty()) return false;
  const std::set<IfIndex> ours = this->devices();
  return std::any_of(devices.begin(), devices.end(), [&](IfIndex device) { return ours.contains(device); });
}

void Ledger::settle(const Due& due, const config::Config& config, const tc::RuleSet& made) {
  std::erase_if(shared_, [&due](const auto& entry) { return due.concerns(entry.second); });
  for (const Vni vni : due.gone) {
    parts_.erase(vni);
    zones_.erase(vni);
  }
  auto empty = [this](Vni vni, uint64_t digest) {
    parts_[vni] = {};
    parts_[vni].digest = digest;
  };
  for (const config::Tenant& tenant : config.tenants)
    if (due.compile.tenants.contains(tenant.vni)) empty(tenant.vni, digest_of(tenant));
  if (due.compile.common) empty(Vni(), common_digest(config));
  enter(made);
  for (const auto& [vni, zone] : made.zones) zones_[vni] = zone;
}

}  // namespace sepal::agent
