// Rules within one tenant's network: subnets and their gateways; ports' names, MACs, addresses, prefixes.
#include <algorithm>

#include "base/limits.hpp"
#include "config/prefix_map.hpp"
#include "config/review.hpp"

namespace sepal::config {
namespace {

struct SpecialRange {
  IpPrefix prefix;
  std::string_view name;
};

// Ranges that no guest's network can be in; checked by overlap.
const std::array<SpecialRange, 7>& special_ranges() {
  static const std::array<SpecialRange, 7> kRanges = {{{*IpPrefix::parse("0.0.0.0/8"), "unspecified"},
                                                       {*IpPrefix::parse("127.0.0.0/8"), "loopback"},
                                                       {*IpPrefix::parse("169.254.0.0/16"), "link-local"},
                                                       {*IpPrefix::parse("224.0.0.0/4"), "multicast"},
                                                       {*IpPrefix::parse("::1/128"), "loopback"},
                                                       {*IpPrefix::parse("fe80::/10"), "link-local"},
                                                       {*IpPrefix::parse("ff00::/8"), "multicast"}}};
  return kRanges;
}

const SpecialRange* special(const IpPrefix& prefix) {
  for (const SpecialRange& range : special_ranges()) {
    if (range.prefix.overlaps(prefix)) return &range;
  }
  return nullptr;
}

// The last address of a prefix: its host bits set.
IpAddr last_address(const IpPrefix& prefix) {
  IpAddr last = prefix.address;
  IpAddr mask = prefix.mask();
  for (size_t i = 0; i < last.size(); ++i) last.bytes[i] = static_cast<uint8_t>(last.bytes[i] | ~mask.bytes[i]);
  return last;
}

// Why `address` cannot be a host's in `subnet`; empty when it can. A /31 and a /32 have neither (RFC 3021).
std::string_view reserved_in(const IpPrefix& subnet, const IpAddr& address) {
  if (subnet.family() != Family::ipv4 || subnet.length > 30) return {};
  if (address == subnet.address) return "the network address";
  if (address == last_address(subnet)) return "the broadcast address";
  return {};
}

// One tenant under review, with what its lists have claimed so far.
class Network {
 public:
  Network(Review& review, const Tenant& tenant, const TenantDoubts& doubts)
      : review_(review), tenant_(tenant), doubts_(doubts) {}

  void check() {
    for (const Subnet& subnet : tenant_.subnets) add_subnet(subnet);
    for (const Subnet& subnet : tenant_.subnets) check_subnet(subnet);
    for (const Port& port : tenant_.ports) check_identity(port);
    for (const Port& port : tenant_.ports) check_addresses(port);
    for (const Port& port : tenant_.ports) check_prefixes(port);
  }

 private:
  void add_subnet(const Subnet& subnet) {
    auto [entry, inserted] = subnets_.insert(subnet.prefix, &subnet);
    if (!inserted) {
      review_.faults.add(review_.places.of(subnet.where, "cidr"),
                         name(subnet) + "listed twice" + review_.stands_at(entry->second->where), "keep one");
    }
    if (subnet.gateway) gateways_.emplace(IpPrefix::host(*subnet.gateway), subnet.where);
  }

  void check_subnet(const Subnet& subnet) {
    Location where = review_.places.of(subnet.where, "cidr");
    const auto* around = subnets_.around(subnet.prefix);
    bool repeated = subnets_.find(subnet.prefix)->second != &subnet;  // said already
    if (around != nullptr && !repeated) {
      review_.faults.add(
          where, name(subnet) + "overlaps " + around->first.to_string() + review_.stands_at(around->second->where),
          "subnets of one tenant must be apart");
    }
    if (const SpecialRange* range = special(subnet.prefix)) {
      review_.faults.add(
          where, name(subnet) + "overlaps the " + std::string(range->name) + " range " + range->prefix.to_string(),
          "use addresses that hosts can have");
    }
    if (subnet.gateway) check_gateway(subnet);
  }

  void check_gateway(const Subnet& subnet) {
    Location where = review_.places.of(subnet.where, "gateway");
    std::string text = name(subnet) + "gateway " + subnet.gateway->to_string();
    std::string_view reserved = reserved_in(subnet.prefix, *subnet.gateway);
    if (!subnet.prefix.contains(*subnet.gateway)) {
      review_.faults.add(where, text + " is outside the subnet", "use an address of " + subnet.prefix.to_string());
    } else if (!reserved.empty()) {
      review_.faults.add(where, text + " is " + std::string(reserved), "use another address of the subnet");
    }
  }

  void check_identity(const Port& port) {
    if (!port.name.empty()) {
      claim(names_, port.name, {review_.places.of(port.where, "name"), {}},
            [&](const Claim& later, const Claim& earlier) {
              review_.faults.add(later.where, name(port) + "the name is taken" + review_.stands_at(earlier.where),
                                 "name each port of a tenant differently");
            });
    }
    if (port.mac_is_open) return;
    if (port.mac.is_zero() && doubts_.ports) return;  // noted by the reader
    Location where = review_.places.of(port.where, "mac");
    if (port.mac == review_.config.host.gateway_mac) {
      review_.faults.add(where, name(port) + port.mac.to_string() + " is the guests' gateway's MAC address",
                         "give the guest another");
    }
    claim(macs_, port.mac, {where, name(port)}, [&](const Claim& later, const Claim& earlier) {
      review_.faults.add(
          later.where,
          later.owner + "MAC address " + port.mac.to_string() + " is taken" + review_.stands_at(earlier.where),
          "a MAC address stands for one port of a tenant");
    });
  }

  void check_addresses(const Port& port) {
    for (size_t i = 0; i < port.addresses.size(); ++i) {
      const IpAddr& address = port.addresses[i];
      Location where =
          doubts_.ports ? review_.places.of(port.where, "addresses") : review_.places.of(port.where, "addresses", i);
      check_place(port, address, where);
      claim(routed_, IpPrefix::host(address), {where, name(port)}, [&](const Claim& later, const Claim& earlier) {
        review_.faults.add(later.where,
                           later.owner + address.to_string() + " is taken" + review_.stands_at(earlier.where),
                           "an address stands for one port of a tenant");
      });
    }
  }

  void check_place(const Port& port, const IpAddr& address, Location where) {
    if (gateways_.contains(IpPrefix::host(address))) {
      review_.faults.add(where, name(port) + address.to_string() + " is the subnet's gateway",
                         "give the guest another address");
      return;
    }
    const auto* subnet = subnets_.covering(IpPrefix::host(address));
    if (subnet == nullptr) {
      if (!doubts_.subnets) outside(port, address, where);
      return;
    }
    std::string_view reserved = reserved_in(subnet->first, address);
    if (reserved.empty()) return;
    review_.faults.add(
        where, name(port) + address.to_string() + " is " + std::string(reserved) + " of " + subnet->first.to_string(),
        "give the guest another address");
  }

  void outside(const Port& port, const IpAddr& address, Location where) {
    auto same_family = std::find_if(tenant_.subnets.begin(), tenant_.subnets.end(),
                                    [&](const Subnet& s) { return s.prefix.family() == address.family; });
    std::string hint = same_family == tenant_.subnets.end()
                           ? "add its network to subnets"
                           : "use an address of " + same_family->prefix.to_string() + " or add a subnet";
    review_.faults.add(where, name(port) + address.to_string() + " is outside the subnets of " + quoted(tenant_.name),
                       hint);
  }

  void check_prefixes(const Port& port) {
    for (size_t i = 0; i < port.prefixes.size(); ++i) {
      const IpPrefix& prefix = port.prefixes[i];
      Location where =
          doubts_.ports ? review_.places.of(port.where, "prefixes") : review_.places.of(port.where, "prefixes", i);
      if (gateways_.contains(prefix)) {
        review_.faults.add(where, name(port) + prefix.to_string() + " is a subnet's gateway", "remove it");
        continue;
      }
      const SpecialRange* range = special(prefix);
      if (range != nullptr && range->prefix.contains(prefix)) {
        review_.faults.add(where,
                           name(port) + prefix.to_string() + " lies in the " + std::string(range->name) + " range",
                           "use addresses that hosts can have");
      }
      claim(routed_, prefix, {where, name(port)}, [&](const Claim& later, const Claim& earlier) {
        review_.faults.add(later.where,
                           later.owner + prefix.to_string() + " is taken" + review_.stands_at(earlier.where),
                           "a network is routed to one port only, and an address needs no prefix");
      });
    }
  }

  static std::string name(const Subnet& subnet) { return "subnet " + quoted(subnet.prefix.to_string()) + ": "; }
  static std::string name(const Port& port) {
    return port.name.empty() ? std::string("port: ") : "port " + quoted(port.name) + ": ";
  }

  Review& review_;
  const Tenant& tenant_;
  const TenantDoubts& doubts_;
  PrefixMap<const Subnet*> subnets_;
  std::map<IpPrefix, Location> gateways_;
  std::map<std::string, Claim> names_;
  std::map<MacAddr, Claim> macs_;
  std::map<IpPrefix, Claim> routed_;  // addresses (as host prefixes) and prefixes of all ports
};

}  // namespace

void validate_networks(Review& review) {
  for (size_t i = 0; i < review.config.tenants.size(); ++i) {
    if (review.looks_into(i)) Network(review, review.config.tenants[i], review.doubts.tenants[i]).check();
  }
}

}  // namespace sepal::config
