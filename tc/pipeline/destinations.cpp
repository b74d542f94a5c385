// What a tenant's targets come to: where they lead in a block, how a destination is treated before any state exists,
// and the networks whose packets may take a shorter way.
#include <algorithm>
#include <map>

#include "policy/network.hpp"
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

// Entries sorted by prefix (address, then length); an entry's nearest cover is the longest earlier one that contains
// it, kept on a stack. `same` says that entry and cover mean the same, so that the entry may go.
template <typename Entry, typename Same, typename IsDefault>
std::vector<Entry> reduce(std::vector<Entry> entries, const Same& same, const IsDefault& is_default) {
  std::vector<Entry> kept;
  std::vector<Entry> covers;
  for (Entry& entry : entries) {
    while (!covers.empty() && !covers.back().to.contains(entry.to)) covers.pop_back();
    const bool redundant = covers.empty() ? is_default(entry) : same(covers.back(), entry);
    covers.push_back(entry);
    if (!redundant) kept.push_back(std::move(entry));
  }
  return kept;
}

}  // namespace

// The tenant's own subnets, where security groups judge (the verdict is what a first datagram goes by) and nobody
// counts connections or writes them down. Not where a route within leads to who needs a connection: a translation, a
// peer.
std::vector<IpPrefix> untracked_networks(const TenantPlan& tenant) {
  if (!policy::is_judged(*tenant.tenant) || tenant.bounded || tenant.tenant->flow_log) return {};
  std::vector<IpPrefix> networks;
  for (const config::Subnet& subnet : tenant.tenant->subnets) {
    const bool needs_connection = std::any_of(tenant.targets.begin(), tenant.targets.end(), [&](const Target& target) {
      return (target.kind == Target::Kind::open || target.kind == Target::Kind::peer) &&
             subnet.prefix.contains(target.to);
    });
    if (!needs_connection) networks.push_back(subnet.prefix);
  }
  return networks;
}

std::vector<DestinationClass> classify(const TenantPlan& tenant, Routes routes) {
  using Kind = DestinationClass::Kind;
  struct Entry : DestinationClass {
    bool neighbour = false;  // an address of a subnet
  };
  std::map<IpPrefix, Entry> classes;
  for (const config::Subnet& subnet : tenant.tenant->subnets) {
    classes[subnet.prefix] = {{Kind::plain, subnet.prefix, DropReason::none, subnet.where}, false};
  }
  for (const Target& target : tenant.targets) {
    if (target.kind == Target::Kind::absent) continue;  // its subnet
    Entry entry{{Kind::plain, target.to, DropReason::none, target.where}, false};
    if (routes == Routes::local_only && !target.own) {
      entry.kind = Kind::drop;
      entry.reason = DropReason::no_route;
    } else if (target.kind == Target::Kind::open) {
      entry.kind = Kind::open;
    } else if (target.kind == Target::Kind::blackhole || target.kind == Target::Kind::waiting) {
      entry.kind = Kind::drop;
      entry.reason = target.kind == Target::Kind::waiting ? DropReason::waiting : DropReason::blackhole;
    }
    entry.neighbour = target.to == IpPrefix::host(target.to.address) && entry.reason != DropReason::blackhole &&
                      std::any_of(tenant.tenant->subnets.begin(), tenant.tenant->subnets.end(),
                                  [&](const config::Subnet& s) { return s.prefix.contains(target.to); });
    classes[target.to] = entry;
  }
  std::vector<Entry> entries;
  for (auto& [prefix, entry] : classes) entries.push_back(entry);
  const std::vector<Entry> kept = reduce(
      std::move(entries),
      [](const Entry& cover, const Entry& entry) {
        // A neighbour that is not here is as good as its subnet: group 3 knows better (see group 7's comment). But it
        // must not begin a translation on its way into group 3's drop, nor count as what another drop covers.
        const bool left_to_group3 = entry.neighbour && entry.kind == Kind::drop && cover.kind == Kind::plain;
        return left_to_group3 || (cover.kind == entry.kind && cover.reason == entry.reason);
      },
      [](const Entry& entry) { return entry.kind == Kind::drop && entry.reason == DropReason::no_route; });
  return {kept.begin(), kept.end()};
}

std::vector<DestinationClass> usual_classes(const TenantPlan& tenant, const std::vector<DestinationClass>& classes) {
  std::vector<DestinationClass> usual;
  for (const config::Subnet& subnet : tenant.tenant->subnets) {
    // The nearest class around it, then those within it: each must say the same. They are sorted, the wider one first.
    bool plain = false;
    for (const DestinationClass& entry : classes) {
      const bool is_plain = entry.kind == DestinationClass::Kind::plain;
      if (entry.to.contains(subnet.prefix)) {
        plain = is_plain;
      } else if (subnet.prefix.contains(entry.to)) {
        plain = plain && is_plain;
      }
    }
    if (plain) usual.push_back({DestinationClass::Kind::plain, subnet.prefix, DropReason::none, subnet.where});
  }
  return usual;
}

std::vector<Target> targets_in_block(const TenantPlan& tenant, Routes routes) {
  std::vector<Target> entries = tenant.targets;
  for (Target& target : entries) {
    // Split horizon: from the wire only local ports are reached. A waiting one stays, so that its drops are named.
    if (routes == Routes::local_only && !target.own) target.kind = Target::Kind::absent;
  }
  auto absent = [](const Target& target) { return target.kind == Target::Kind::absent; };
  return reduce(
      std::move(entries), [&](const Target& cover, const Target& entry) { return absent(cover) && absent(entry); },
      absent);
}

}  // namespace sepal::tc
