// Rules between tenants, and between a tenant and the host: names, VNIs, MTU, VLANs on the uplink, peerings.
#include <algorithm>
#include <set>

#include "base/limits.hpp"
#include "config/review.hpp"
#include "config/tunnel.hpp"

namespace sepal::config {
namespace {

void check_identities(Review& review) {
  std::map<std::string, Claim> names;
  std::map<uint32_t, Claim> vnis;
  for (const Tenant& tenant : review.config.tenants) {
    Claim name{review.places.of(tenant.where, "name"), {}};
    Claim vni{review.places.of(tenant.where, "vni"), "tenant " + quoted(tenant.name)};
    if (!tenant.name.empty()) {
      claim(names, tenant.name, name, [&](const Claim& later, const Claim& earlier) {
        review.faults.add(later.where,
                          "tenant " + quoted(tenant.name) + " is declared twice" + review.stands_at(earlier.where),
                          "rename one, or merge it into the other");
      });
    }
    if (tenant.vni.value() == 0) continue;  // noted by the reader
    claim(vnis, tenant.vni.value(), vni, [&](const Claim& later, const Claim& earlier) {
      review.faults.add(later.where,
                        later.owner + ": vni " + std::to_string(tenant.vni.value()) + " is taken by " + earlier.owner +
                            review.stands_at(earlier.where),
                        "give each tenant a vni of its own");
    });
  }
}

void check_mtu(Review& review, const Tenant& tenant) {
  const Underlay& underlay = review.config.host.underlay;
  bool ipv6 = std::any_of(tenant.subnets.begin(), tenant.subnets.end(),
                          [](const Subnet& s) { return s.prefix.family() == Family::ipv6; });
  unsigned least = ipv6 ? limits::kMtuMinIpv6 : limits::kMtuMinIpv4;
  unsigned overhead = tunnel_overhead(underlay);
  unsigned room = underlay.mtu > overhead ? underlay.mtu - overhead : 0;
  unsigned wanted = tenant.mtu ? *tenant.mtu : std::max(room, 1U);
  Location where = review.places.of(tenant.where, "mtu");
  std::string owner = "tenant " + quoted(tenant.name) + ": ";
  if (wanted > room) {
    review.faults.add(where,
                      owner + "mtu " + std::to_string(wanted) + " does not fit the underlay's " +
                          std::to_string(underlay.mtu) + " less " + std::to_string(overhead) + " bytes of tunnel",
                      (room >= least ? "write at most " + std::to_string(room) + ", or " : "") +
                          "raise the underlay's mtu to " + std::to_string(std::max(wanted, least) + overhead));
  } else if (wanted < least && tenant.mtu) {
    review.faults.add(where, owner + "mtu " + std::to_string(wanted) + " is too small for IPv6 subnets",
                      "write at least " + std::to_string(least));
  } else if (wanted < least) {
    review.faults.add(where,
                      owner + "the underlay's mtu " + std::to_string(underlay.mtu) + " leaves " + std::to_string(room) +
                          " bytes to guests, who need " + std::to_string(least),
                      "raise the underlay's mtu to " + std::to_string(least + overhead));
  }
}

void check_vlans(Review& review) {
  const Host& host = review.config.host;
  std::map<Vid, Claim> claims;
  for (const Tenant& tenant : review.config.tenants) {
    for (const TenantVlan& vlan : tenant.vlans) {
      Location where = review.places.of(vlan.where, "id");
      std::string what = "vlan '" + std::to_string(vlan.id.value()) + "': ";
      std::string hint = "choose a VLAN that nothing else uses on the uplink";
      if (!review.doubts.host.underlay && host.underlay.vlan == vlan.id) {
        review.faults.add(where, what + "the underlay uses this VLAN" + review.stands_at(host.underlay.where), hint);
      }
      if (host.public_net && host.public_net->vlan == vlan.id) {
        review.faults.add(where, what + "the public side uses this VLAN" + review.stands_at(host.public_net->where),
                          hint);
      }
      claim(claims, vlan.id, {where, "tenant " + quoted(tenant.name)}, [&](const Claim& later, const Claim& earlier) {
        review.faults.add(later.where, what + "already a VLAN of " + earlier.owner + review.stands_at(earlier.where),
                          hint);
      });
    }
  }
}

// Tenants by name, with the names each lists as peers.
struct Peering {
  const Tenant* tenant = nullptr;
  bool doubtful = false;
  std::set<std::string> peers;
};
using Peerings = std::map<std::string, Peering>;

Peerings collect_peerings(const Review& review) {
  Peerings peerings;
  for (size_t i = 0; i < review.config.tenants.size(); ++i) {
    const Tenant& tenant = review.config.tenants[i];
    Peering& entry = peerings[tenant.name];
    entry.tenant = &tenant;
    entry.doubtful = entry.doubtful || review.doubts.tenants[i].peers;
    entry.peers.insert(tenant.peers.begin(), tenant.peers.end());
  }
  return peerings;
}

bool names_in_doubt(const Review& review) {
  const auto& tenants = review.doubts.tenants;
  return review.doubts.documents ||
         std::any_of(tenants.begin(), tenants.end(), [](const TenantDoubts& d) { return d.identity; });
}

void check_peer(Review& review, const Tenant& tenant, const std::string& peer, Location where,
                const Peerings& peerings) {
  std::string owner = "tenant " + quoted(tenant.name) + ": ";
  if (peer == tenant.name) {
    review.faults.add(where, owner + "names itself as a peer", "remove it");
    return;
  }
  auto other = peerings.find(peer);
  if (other == peerings.end()) {
    if (names_in_doubt(review)) return;
    review.faults.add(where, owner + "peer " + quoted(peer) + " is no tenant of this host",
                      "declare a tenant of that name, or remove it");
  } else if (!other->second.doubtful && !other->second.peers.contains(tenant.name)) {
    review.faults.add(where,
                      owner + "names " + quoted(peer) + " as a peer, which does not name it back" +
                          review.stands_at(other->second.tenant->where),
                      "add " + tenant.name + " to the peers of " + quoted(peer) + ", or remove it here");
  }
}

void check_peers(Review& review) {
  Peerings peerings = collect_peerings(review);
  for (size_t t = 0; t < review.config.tenants.size(); ++t) {
    const Tenant& tenant = review.config.tenants[t];
    std::set<std::string> seen;
    for (size_t i = 0; i < tenant.peers.size(); ++i) {
      Location where = review.places.of(tenant.where, "peers", i);
      if (review.doubts.tenants[t].peers) where = review.places.of(tenant.where, "peers");
      if (seen.insert(tenant.peers[i]).second) {
        check_peer(review, tenant, tenant.peers[i], where, peerings);
      } else {
        review.faults.add(where,
                          "tenant " + quoted(tenant.name) + ": peer " + quoted(tenant.peers[i]) + " is listed twice",
                          "keep one");
      }
    }
  }
}

}  // namespace

void validate_tenants(Review& review) {
  check_identities(review);
  for (size_t i = 0; i < review.config.tenants.size(); ++i) {
    const TenantDoubts& doubts = review.doubts.tenants[i];
    if (!review.looks_into(i)) continue;
    if (!review.doubts.host.underlay && !doubts.mtu && !doubts.subnets) check_mtu(review, review.config.tenants[i]);
  }
  check_vlans(review);
  check_peers(review);
}

}  // namespace sepal::config
