// What a configuration means: plain values with ==. No YAML here (yaml_reader.cpp), no rules across fields
// (validate.cpp), nothing about tc. Reference: docs/reference/config.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/net_types.hpp"
#include "config/groups.hpp"
#include "config/guests.hpp"
#include "config/location.hpp"

namespace sepal::config {

struct Nic {
  bool manual_representors = true;  // nic: {representors: manual}: every port names its device
  std::string pci;                  // nic: {pci: "0000:3b:00.0", vfs: 16}
  uint16_t vfs = 0;
  std::vector<uint16_t> only;  // sorted: the VFs that are ours, when others own the rest of the NIC; empty: all are
  Location where;
  [[nodiscard]] bool owns(uint16_t vf) const {
    return vf < vfs && (only.empty() || std::binary_search(only.begin(), only.end(), vf));
  }
  bool operator==(const Nic&) const = default;
};

struct Underlay {
  std::string device;       // the uplink: every tagged or public frame enters and leaves here
  IpAddr address;           // this hypervisor's VTEP address
  std::optional<Vid> vlan;  // the VTEP address is on this VLAN of the uplink (its VLAN device is the host's business)
  uint16_t mtu = 1500;      // IP MTU of the underlay
  Location where;
  bool operator==(const Underlay&) const = default;
};

struct Vxlan {
  std::string device = "sepal-vxlan";
  uint16_t port = 4789;  // UDP destination port
  Location where;
  bool operator==(const Vxlan&) const = default;
};

struct Public {
  std::optional<Vid> vlan;             // tagged on the uplink; none: untagged
  std::vector<IpAddr> gateways;        // at most one per family
  std::optional<MacAddr> gateway_mac;  // none: asked of the host's neighbour table
  bool answer_arp = true;              // answer ARP and ND for our public addresses on the uplink
  Location where;
  bool operator==(const Public&) const = default;
};

// What one port may ask of the slow path. None: what the tenant says, and none there: what the host says.
struct PortLimits {
  std::optional<uint32_t> arp_nd_per_second;           // packets per kind, before the guest services
  std::optional<uint32_t> dhcp_per_second;             // the same, of DHCP
  std::optional<uint32_t> new_connections_per_second;  // that its guest begins
  bool operator==(const PortLimits&) const = default;
};

struct HostLimits {
  uint32_t arp_nd_per_second = 200;                    // as in PortLimits
  uint32_t dhcp_per_second = 20;                       // the same
  std::optional<uint32_t> new_connections_per_second;  // none: any number
  // Rules a tenant may claim when the NIC's tables are full; none: whoever is busier has them.
  std::optional<uint32_t> hardware_rules;
  std::optional<uint32_t> connections;  // that a tenant may have at once on this hypervisor; none: any number
  bool operator==(const HostLimits&) const = default;
};

struct Host {
  Nic nic;
  Underlay underlay;
  Vxlan vxlan;
  std::optional<Public> public_net;
  MacAddr gateway_mac{{0x02, 0x73, 0x65, 0x70, 0x61, 0x6c}};  // the guests' gateway, the same on all hypervisors
  HostLimits limits;
  GuestSettings guests;
  std::string flow_log_file;  // flow_log: {file: …}; empty: the journal
  Location where;
  bool operator==(const Host&) const = default;
};

struct Subnet {
  IpPrefix prefix;
  std::optional<IpAddr> gateway;  // answered besides 169.254.1.1 and fe80::1, which always are
  Location where;
  bool operator==(const Subnet&) const = default;
};

struct Port {
  std::string name;                          // unique within the tenant
  std::optional<uint16_t> vf;                // representor of this VF …
  std::string device;                        // … or the representor's own name; exactly one of the two is given
  MacAddr mac;                               // the guest's; of an open one what it showed last, zero until then
  std::vector<IpAddr> addresses;             // inside the tenant's subnets
  std::vector<IpPrefix> prefixes;            // routed to this port as well, and allowed as its sources
  std::vector<std::string> security_groups;  // names; none: the port is open
  PortLimits limits;
  GuestSettings guests;      // what is missing: the tenant's, then the host's
  std::string hostname;      // what DHCP calls the guest; empty: the port's name
  bool dhcp_server = false;  // the guest may answer as one, to whoever asks it
  bool mac_is_open = false;  // the configuration does not say it: the guest does
  Location where;
  bool operator==(const Port&) const = default;
};

struct TenantVlan {
  Vid id;               // tagged frames on the uplink that belong to this tenant
  MacAddr gateway_mac;  // next hop for routes `via: {vlan: id}`
  Location where;
  bool operator==(const TenantVlan&) const = default;
};

// Where a route leads.
struct ViaVtep {
  IpAddr address;  // of the underlay's family
  bool operator==(const ViaVtep&) const = default;
};
struct ViaPort {
  std::string port;  // a local port of the tenant (or, with Route::vni, of that peer)
  bool operator==(const ViaPort&) const = default;
};
struct ViaVlan {
  Vid vlan;  // one of Tenant::vlans
  bool operator==(const ViaVlan&) const = default;
};
struct ViaPublic {
  bool operator==(const ViaPublic&) const = default;
};
struct ViaBlackhole {
  bool operator==(const ViaBlackhole&) const = default;
};
using Via = std::variant<ViaVtep, ViaPort, ViaVlan, ViaPublic, ViaBlackhole>;

struct Route {
  IpPrefix to;
  Via via;
  std::optional<Vni> vni;  // into this peer's network; with ViaVtep or ViaPort only
  Location where;
  bool operator==(const Route&) const = default;
};

// Source NAT for `from` on routes via public: to `address`, and when `ports` is given only to that slice of it, so that
// several tenants (on several hypervisors) share one address.
struct Nat {
  IpPrefix from;
  IpAddr address;
  std::optional<PortRange> ports;
  Location where;
  bool operator==(const Nat&) const = default;
};

struct Tenant {
  std::string name;             // unique
  Vni vni;                      // unique
  std::optional<uint16_t> mtu;  // the guests' IP MTU; none: underlay MTU less the tunnel's overhead
  std::vector<Subnet> subnets;
  std::vector<Port> ports;
  std::vector<TenantVlan> vlans;
  std::vector<Route> routes;
  std::vector<Nat> nat;
  std::optional<uint32_t> hardware_rules;  // limits.hardware_rules; none: the host's
  std::optional<uint32_t> connections;     // limits.connections; none: the host's
  PortLimits port_limits;                  // limits, the rest: of each of its ports
  std::vector<std::string> peers;  // names of tenants this one exchanges routes with; holds only when both say so
  std::vector<SecurityGroup> security_groups;  // sorted by name
  GuestSettings guests;                        // what is missing: the host's
  bool flow_log = false;                       // connections that begin, end or are denied are written down
  Location where;
  bool operator==(const Tenant&) const = default;
};

// One directory = one transaction.
struct Config {
  std::vector<std::string> files;  // as opened; Location::file indexes it
  Host host;
  std::vector<Tenant> tenants;  // sorted by VNI
  bool operator==(const Config& o) const { return host == o.host && tenants == o.tenants; }
};

}  // namespace sepal::config
