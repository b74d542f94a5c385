// Rules of routes: that each leads somewhere this host can reach, once, and into another network only by a peering.
#include <algorithm>
#include <array>
#include <set>

#include "config/prefix_map.hpp"
#include "config/review.hpp"

namespace sepal::config {
namespace {

std::string name(const Route& route) { return "route " + quoted(route.to.to_string()) + ": "; }

std::string_view family_name(Family family) { return family == Family::ipv4 ? "IPv4" : "IPv6"; }

bool names(const Tenant& tenant, const Tenant& peer) {
  return std::find(tenant.peers.begin(), tenant.peers.end(), peer.name) != tenant.peers.end();
}

// Ranges that are never forwarded; a blackhole there is allowed.
bool never_forwarded(const IpPrefix& to) {
  static const std::array kRanges = {*IpPrefix::parse("127.0.0.0/8"), *IpPrefix::parse("169.254.0.0/16"),
                                     *IpPrefix::parse("224.0.0.0/4"), *IpPrefix::parse("::1/128"),
                                     *IpPrefix::parse("fe80::/10"),   *IpPrefix::parse("ff00::/8")};
  return std::any_of(kRanges.begin(), kRanges.end(), [&](const IpPrefix& range) { return range.contains(to); });
}

// A tenant with its ports by name and by what is routed to them.
struct Site {
  const Tenant* tenant = nullptr;
  const TenantDoubts* doubts = nullptr;
  bool asked = true;  // false: only led into
  std::map<std::string, const Port*> ports;
  PrefixMap<const Port*> routed;

  Site(const Tenant& t, const TenantDoubts& d) : tenant(&t), doubts(&d) {
    for (const Port& port : t.ports) {
      ports.emplace(port.name, &port);
      for (const IpAddr& address : port.addresses) routed.insert(IpPrefix::host(address), &port);
      for (const IpPrefix& prefix : port.prefixes) routed.insert(prefix, &port);
    }
  }

  [[nodiscard]] std::string ports_hint() const {
    constexpr size_t kNamesMax = 8;
    if (ports.empty()) return quoted(tenant->name) + " has no ports on this host";
    std::string list;
    size_t count = 0;
    for (const auto& entry : ports) {
      if (++count > kNamesMax) return list + " …";
      list += (list.empty() ? "ports of " + quoted(tenant->name) + " are: " : ", ") + entry.first;
    }
    return list;
  }
};

class Routes {
 public:
  explicit Routes(Review& review) : review_(review) {
    const std::set<std::string> led_into = peers_of_fresh();
    for (size_t i = 0; i < review.config.tenants.size(); ++i) {
      const Tenant& tenant = review.config.tenants[i];
      const TenantDoubts& doubts = review.doubts.tenants[i];
      if (doubts.identity) all_known_ = false;
      if (!review.looks_into(i) && !led_into.contains(tenant.name)) continue;
      sites_.emplace_back(tenant, doubts).asked = review.looks_into(i);
    }
    for (const Site& site : sites_) by_vni_.emplace(site.tenant->vni, &site);
    if (review.doubts.documents) all_known_ = false;
  }

  void check() {
    for (const Site& site : sites_) {
      if (!site.asked) continue;
      std::map<IpPrefix, Claim> claims;
      for (const Route& route : site.tenant->routes) {
        claim(claims, route.to, {review_.places.of(route.where, "to"), {}},
              [&](const Claim& later, const Claim& earlier) {
                review_.faults.add(
                    later.where,
                    name(route) + "there is one to this network already" + review_.stands_at(earlier.where),
                    "keep one");
              });
        check_route(site, route);
      }
    }
  }

 private:
  // Names of tenants that those whose routes are asked after may lead into.
  [[nodiscard]] std::set<std::string> peers_of_fresh() const {
    std::set<std::string> names;
    for (size_t i = 0; review_.fresh != nullptr && i < review_.config.tenants.size(); ++i) {
      const auto& peers = review_.config.tenants[i].peers;
      if (review_.looks_into(i)) names.insert(peers.begin(), peers.end());
    }
    return names;
  }

  void check_route(const Site& site, const Route& route) {
    check_target(site, route);
    if (const auto* via = std::get_if<ViaVtep>(&route.via)) check_vtep(route, *via);
    if (const auto* via = std::get_if<ViaVlan>(&route.via)) check_vlan(site, route, *via);
    if (std::holds_alternative<ViaPublic>(route.via)) check_public(site, route);
    const auto* port = std::get_if<ViaPort>(&route.via);
    const Site* target = route.vni ? check_vni(site, route) : &site;
    if (port != nullptr && target != nullptr) check_port(*target, route, *port);
  }

  void check_target(const Site& site, const Route& route) {
    Location where = review_.places.of(route.where, "to");
    if (never_forwarded(route.to) && !std::holds_alternative<ViaBlackhole>(route.via)) {
      review_.faults.add(where, name(route) + "these addresses are never forwarded",
                         "remove it, or write via: blackhole");
    }
    const auto* local = site.routed.find(route.to);
    if (local == nullptr) return;
    const auto* via = std::get_if<ViaPort>(&route.via);
    if (via != nullptr && !route.vni && via->port == local->second->name) return;
    review_.faults.add(
        where,
        name(route) + "it is local, at port " + quoted(local->second->name) + review_.stands_at(local->second->where),
        "remove it; a port's own addresses and prefixes need no route");
  }

  void check_vtep(const Route& route, const ViaVtep& via) {
    if (review_.doubts.host.underlay) return;
    const IpAddr& own = review_.config.host.underlay.address;
    Location where = review_.places.of(route.where, "via");
    if (via.address.family != own.family) {
      review_.faults.add(where,
                         name(route) + "next hop " + via.address.to_string() + " is " +
                             std::string(family_name(via.address.family)) + ", but the underlay is " +
                             std::string(family_name(own.family)),
                         "write the other hypervisor's " + std::string(family_name(own.family)) + " tunnel address");
    } else if (via.address == own) {
      review_.faults.add(where, name(route) + "next hop " + via.address.to_string() + " is this hypervisor itself",
                         "remove it, or name the local port");
    }
  }

  void check_vlan(const Site& site, const Route& route, const ViaVlan& via) {
    const auto& vlans = site.tenant->vlans;
    bool known = std::any_of(vlans.begin(), vlans.end(), [&](const TenantVlan& v) { return v.id == via.vlan; });
    if (known || site.doubts->vlans) return;
    review_.faults.add(
        via_place(route, "vlan"),
        name(route) + "VLAN " + std::to_string(via.vlan.value()) + " is none of " + quoted(site.tenant->name),
        "add vlans: [{id: " + std::to_string(via.vlan.value()) + ", gateway_mac: …}]");
  }

  void check_public(const Site& site, const Route& route) {
    Location where = review_.places.of(route.where, "via");
    const auto& outside = review_.config.host.public_net;
    Family family = route.to.family();
    std::string family_text(family_name(family));
    if (!review_.doubts.host.public_net) {
      if (!outside) {
        review_.faults.add(where, name(route) + "the host has no public side",
                           "add public: {gateway: …} to the Host document");
      } else if (std::none_of(outside->gateways.begin(), outside->gateways.end(),
                              [&](const IpAddr& g) { return g.family == family; })) {
        review_.faults.add(where, name(route) + "the public side has no " + family_text + " gateway",
                           "add one to public.gateway");
      }
    }
    const auto& nat = site.tenant->nat;
    if (site.doubts->nat ||
        std::any_of(nat.begin(), nat.end(), [&](const Nat& n) { return n.from.family() == family; }))
      return;
    review_.faults.add(where,
                       name(route) + quoted(site.tenant->name) + " translates no " + family_text +
                           " address, so all of it would be dropped",
                       "add nat: [{from: SUBNET, address: PUBLIC ADDRESS}]");
  }

  // The peer that `route.vni` leads into; nothing when the way there is wrong or unknown.
  const Site* check_vni(const Site& site, const Route& route) {
    Location where = review_.places.of(route.where, "vni");
    std::string number = std::to_string(route.vni->value());
    if (!std::holds_alternative<ViaVtep>(route.via) && !std::holds_alternative<ViaPort>(route.via)) {
      review_.faults.add(where, name(route) + "vni goes with a tunnel endpoint or a port only", "remove it");
      return nullptr;
    }
    if (*route.vni == site.tenant->vni) {
      review_.faults.add(where, name(route) + "vni " + number + " is the tenant's own", "leave vni out");
      return nullptr;
    }
    auto peer = by_vni_.find(*route.vni);
    if (peer == by_vni_.end()) {
      if (!all_known_) return nullptr;
      review_.faults.add(where, name(route) + "vni " + number + " is no tenant of this host",
                         "declare a tenant with vni: " + number + " and let it and " + quoted(site.tenant->name) +
                             " name each other in peers");
      return nullptr;
    }
    check_peering(site, *peer->second, route, where);
    return peer->second;
  }

  // A peering that only one side declares is a fault of its own (validate_tenants.cpp) and not repeated here.
  void check_peering(const Site& site, const Site& peer, const Route& route, Location where) {
    if (site.doubts->peers || peer.doubts->peers) return;
    if (names(*site.tenant, *peer.tenant) || names(*peer.tenant, *site.tenant)) return;
    review_.faults.add(where,
                       name(route) + quoted(site.tenant->name) + " and " + quoted(peer.tenant->name) +
                           review_.stands_at(peer.tenant->where) + " are not peers",
                       "add " + peer.tenant->name + " to the peers of " + quoted(site.tenant->name) + " and " +
                           site.tenant->name + " to those of " + quoted(peer.tenant->name));
  }

  void check_port(const Site& target, const Route& route, const ViaPort& via) {
    auto port = target.ports.find(via.port);
    Location where = via_place(route, "port");
    if (port == target.ports.end()) {
      if (target.doubts->ports) return;
      review_.faults.add(where, name(route) + "unknown port " + quoted(via.port), target.ports_hint());
      return;
    }
    if (!route.vni || target.doubts->ports) return;
    if (has(*port->second, route.to)) return;
    review_.faults.add(review_.places.of(route.where, "to"),
                       name(route) + "it is not of port " + quoted(via.port) + " of " + quoted(target.tenant->name) +
                           review_.stands_at(port->second->where),
                       "lead into a peer only what that port has: one of its addresses, or a part of its prefixes");
  }

  static bool has(const Port& port, const IpPrefix& to) {
    auto in_prefix = [&](const IpPrefix& p) { return p.contains(to); };
    auto is_address = [&](const IpAddr& a) { return IpPrefix::host(a) == to; };
    return std::any_of(port.prefixes.begin(), port.prefixes.end(), in_prefix) ||
           std::any_of(port.addresses.begin(), port.addresses.end(), is_address);
  }

  // The value inside via: {key: value}, or the scalar itself.
  Location via_place(const Route& route, std::string_view key) {
    return review_.places.of(review_.places.of(route.where, "via"), key);
  }

  Review& review_;
  std::vector<Site> sites_;
  std::map<Vni, const Site*> by_vni_;
  bool all_known_ = true;
};

}  // namespace

void validate_routes(Review& review) { Routes(review).check(); }

}  // namespace sepal::config
