// Rules of NAT: who is translated, to what, and that no two share a public address and port.
#include <algorithm>

#include "config/prefix_map.hpp"
#include "config/review.hpp"

namespace sepal::config {
namespace {

std::string name(const Nat& nat) { return "nat " + quoted(nat.from.to_string()) + ": "; }

void check_outside(Review& review, const Nat& nat) {
  if (review.doubts.host.public_net) return;
  const auto& outside = review.config.host.public_net;
  Location where = review.places.of(nat.where, "address");
  if (!outside) {
    review.faults.add(where, name(nat) + "the host has no public side",
                      "add public: {gateway: …} to the Host document, or remove this entry");
    return;
  }
  const auto& gateways = outside->gateways;
  if (std::none_of(gateways.begin(), gateways.end(), [&](const IpAddr& g) { return g.family == nat.address.family; })) {
    review.faults.add(where,
                      name(nat) + "the public side has no " + (nat.address.is_v4() ? "IPv4" : "IPv6") + " gateway",
                      "add one to public.gateway, or remove this entry");
  }
  if (std::find(gateways.begin(), gateways.end(), nat.address) != gateways.end()) {
    review.faults.add(where, name(nat) + nat.address.to_string() + " is the public gateway's address",
                      "use a public address of your own");
  }
}

void check_address(Review& review, const Tenant& tenant, const Nat& nat) {
  Location where = review.places.of(nat.where, "address");
  if (nat.address.family != nat.from.family()) {
    review.faults.add(where, name(nat) + nat.address.to_string() + " is of the other family",
                      nat.from.family() == Family::ipv4 ? "use an IPv4 address" : "use an IPv6 address");
    return;
  }
  if (!review.doubts.host.underlay && nat.address == review.config.host.underlay.address) {
    review.faults.add(where, name(nat) + nat.address.to_string() + " is this hypervisor's own tunnel address",
                      "use a public address of your own");
  }
  for (const Subnet& subnet : tenant.subnets) {
    if (!subnet.prefix.contains(nat.address)) continue;
    review.faults.add(where,
                      name(nat) + nat.address.to_string() + " lies in the tenant's subnet " + subnet.prefix.to_string(),
                      "use a public address");
  }
}

void check_sources(Review& review, const Tenant& tenant, const TenantDoubts& doubts) {
  PrefixMap<Location> own;
  for (const Subnet& subnet : tenant.subnets) own.insert(subnet.prefix, subnet.where);
  for (const Port& port : tenant.ports) {
    for (const IpPrefix& prefix : port.prefixes) own.insert(prefix, port.where);
  }
  PrefixMap<Location> sources;
  for (const Nat& nat : tenant.nat) {
    Location where = review.places.of(nat.where, "from");
    if (!doubts.subnets && !doubts.ports && own.covering(nat.from) == nullptr) {
      review.faults.add(
          where, name(nat) + "lies outside the subnets of " + quoted(tenant.name) + " and the prefixes of its ports",
          "translate what the tenant has, or add a subnet");
    }
    auto [entry, inserted] = sources.insert(nat.from, where);
    if (!inserted) review.faults.add(where, name(nat) + "listed twice" + review.stands_at(entry->second), "keep one");
  }
  for (const auto& [prefix, where] : sources) {
    const auto* around = sources.around(prefix);
    if (around == nullptr) continue;
    review.faults.add(where,
                      "nat " + quoted(prefix.to_string()) + ": overlaps " + around->first.to_string() +
                          review.stands_at(around->second),
                      "sources of one tenant must be apart");
  }
}

struct Slice {
  PortRange ports;
  Location where;
  std::string tenant;
};

void report_overlap(Review& review, const IpAddr& address, const Slice& a, const Slice& b) {
  auto order = [](const Slice& s) { return std::tie(s.where.file, s.where.line, s.where.column); };
  const Slice& later = order(a) < order(b) ? b : a;
  const Slice& earlier = order(a) < order(b) ? a : b;
  auto text = [](const Slice& s) { return s.ports == PortRange{} ? "all ports" : "ports " + s.ports.to_string(); };
  review.faults.add(later.where,
                    "nat: " + address.to_string() + ": " + text(later) + " of " + quoted(later.tenant) + " overlap " +
                        text(earlier) + " of " + quoted(earlier.tenant) + review.stands_at(earlier.where),
                    "give each its own range of ports, or its own address");
}

// Slices of one address in order of their first port: each must begin after all before it have ended.
void check_slices(Review& review) {
  std::map<IpAddr, std::vector<Slice>> by_address;
  for (const Tenant& tenant : review.config.tenants) {
    for (const Nat& nat : tenant.nat) {
      by_address[nat.address].push_back(
          {nat.ports.value_or(PortRange{}), review.places.of(nat.where, nat.ports ? "ports" : "address"), tenant.name});
    }
  }
  for (auto& [address, slices] : by_address) {
    auto key = [](const Slice& s) { return std::tie(s.ports.first, s.where.file, s.where.line, s.where.column); };
    std::sort(slices.begin(), slices.end(), [&](const Slice& a, const Slice& b) { return key(a) < key(b); });
    size_t widest = 0;  // the one that reaches furthest so far
    for (size_t i = 1; i < slices.size(); ++i) {
      if (slices[i].ports.first <= slices[widest].ports.last)
        report_overlap(review, address, slices[i], slices[widest]);
      if (slices[i].ports.last > slices[widest].ports.last) widest = i;
    }
  }
}

}  // namespace

void validate_nat(Review& review) {
  for (size_t i = 0; i < review.config.tenants.size(); ++i) {
    const Tenant& tenant = review.config.tenants[i];
    if (!review.looks_into(i)) continue;
    for (const Nat& nat : tenant.nat) {
      check_address(review, tenant, nat);
      if (nat.address.family == nat.from.family()) check_outside(review, nat);
    }
    check_sources(review, tenant, review.doubts.tenants[i]);
  }
  check_slices(review);
}

}  // namespace sepal::config
