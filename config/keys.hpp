// Every key of the configuration, per map, in one place: what the reader knows, what it suggests for a misspelt one,
// and what it refuses because it is designed but not built. docs/reference/config.md is checked against these tables.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace sepal::config {

struct Key {
  std::string_view name;
  std::string_view missing = {};  // not empty: refused, because "this version would not …"
};

struct KeyTable {
  std::string_view owner;  // how faults call such a map: "port", "route" …
  std::string_view path;   // its place in a document: "Tenant.ports[]"
  std::span<const Key> keys;
};

namespace keys {

inline constexpr std::array kHost = {Key{"apiVersion"}, Key{"kind"},    Key{"nic"},         Key{"underlay"},
                                     Key{"vxlan"},      Key{"public"},  Key{"gateway_mac"}, Key{"limits"},
                                     Key{"guests"},     Key{"flow_log"}};
inline constexpr std::array kNic = {Key{"representors"}, Key{"pci"}, Key{"vfs"}, Key{"only"}};
inline constexpr std::array kUnderlay = {Key{"device"}, Key{"address"}, Key{"vlan"}, Key{"mtu"}};
inline constexpr std::array kVxlan = {Key{"device"}, Key{"port"}};
inline constexpr std::array kPublic = {Key{"vlan"}, Key{"gateway"}, Key{"gateway_mac"}, Key{"answer_arp"}};
inline constexpr std::array kLimits = {Key{"arp_nd_per_second"}, Key{"dhcp_per_second"},
                                       Key{"new_connections_per_second"}, Key{"hardware_rules"}, Key{"connections"}};
inline constexpr std::array kGuests = {Key{"dhcp"},   Key{"router_advertisements"}, Key{"dns"}, Key{"ntp"},
                                       Key{"domain"}, Key{"lease_seconds"},         Key{"boot"}};
inline constexpr std::array kBoot = {Key{"server"}, Key{"file"}, Key{"ipxe"}, Key{"url"}};
inline constexpr std::array kFlowLog = {Key{"file"}};
inline constexpr std::array kTenant = {Key{"apiVersion"},
                                       Key{"kind"},
                                       Key{"name"},
                                       Key{"vni"},
                                       Key{"mtu"},
                                       Key{"subnets"},
                                       Key{"ports"},
                                       Key{"vlans"},
                                       Key{"routes"},
                                       Key{"nat"},
                                       Key{"peers"},
                                       Key{"security_groups"},
                                       Key{"guests"},
                                       Key{"services", "publish them"},
                                       Key{"load_balancers", "balance anything"},
                                       Key{"virtual_ips", "answer for them"},
                                       Key{"limits"},
                                       Key{"flow_log"}};
inline constexpr std::array kTenantLimits = kLimits;
inline constexpr std::array kPortLimits = {Key{"arp_nd_per_second"}, Key{"dhcp_per_second"},
                                           Key{"new_connections_per_second"}};
inline constexpr std::array kSubnet = {Key{"cidr"}, Key{"gateway"}};
inline constexpr std::array kPort = {Key{"name"},
                                     Key{"vf"},
                                     Key{"device"},
                                     Key{"mac"},
                                     Key{"addresses"},
                                     Key{"prefixes"},
                                     Key{"security_groups"},
                                     Key{"guests"},
                                     Key{"hostname"},
                                     Key{"dhcp_server"},
                                     Key{"virtual_ips", "answer for them"},
                                     Key{"limits"}};
inline constexpr std::array kTenantVlan = {Key{"id"}, Key{"gateway_mac"}};
inline constexpr std::array kRoute = {Key{"to"}, Key{"via"}, Key{"vni"}};
inline constexpr std::array kVia = {Key{"vlan"}, Key{"port"}};
inline constexpr std::array kNat = {Key{"from"}, Key{"address"}, Key{"ports"}};
inline constexpr std::array kGroup = {Key{"mode"}, Key{"members"}, Key{"ingress"}, Key{"egress"}};
inline constexpr std::array kIngressRule = {Key{"from"}, Key{"protocol"}, Key{"ports"},    Key{"type"},
                                            Key{"code"}, Key{"action"},   Key{"priority"}, Key{"log"}};
inline constexpr std::array kEgressRule = {Key{"to"},   Key{"protocol"}, Key{"ports"},    Key{"type"},
                                           Key{"code"}, Key{"action"},   Key{"priority"}, Key{"log"}};
inline constexpr std::array kRemote = {Key{"group"}};

}  // namespace keys

namespace tables {

inline constexpr KeyTable kHost{"host", "Host", keys::kHost};
inline constexpr KeyTable kNic{"nic", "Host.nic", keys::kNic};
inline constexpr KeyTable kUnderlay{"underlay", "Host.underlay", keys::kUnderlay};
inline constexpr KeyTable kVxlan{"vxlan", "Host.vxlan", keys::kVxlan};
inline constexpr KeyTable kPublic{"public", "Host.public", keys::kPublic};
inline constexpr KeyTable kLimits{"limits", "Host.limits", keys::kLimits};
// The same maps stand in a tenant and in a port.
inline constexpr KeyTable kGuests{"guests", "Host.guests", keys::kGuests};
inline constexpr KeyTable kBoot{"boot", "Host.guests.boot", keys::kBoot};
inline constexpr KeyTable kFlowLog{"flow_log", "Host.flow_log", keys::kFlowLog};
inline constexpr KeyTable kTenant{"tenant", "Tenant", keys::kTenant};
inline constexpr KeyTable kTenantLimits{"limits", "Tenant.limits", keys::kTenantLimits};
inline constexpr KeyTable kPortLimits{"limits", "Tenant.ports[].limits", keys::kPortLimits};
inline constexpr KeyTable kSubnet{"subnet", "Tenant.subnets[]", keys::kSubnet};
inline constexpr KeyTable kPort{"port", "Tenant.ports[]", keys::kPort};
inline constexpr KeyTable kTenantVlan{"vlan", "Tenant.vlans[]", keys::kTenantVlan};
inline constexpr KeyTable kRoute{"route", "Tenant.routes[]", keys::kRoute};
inline constexpr KeyTable kVia{"via", "Tenant.routes[].via", keys::kVia};
inline constexpr KeyTable kNat{"nat", "Tenant.nat[]", keys::kNat};
inline constexpr KeyTable kGroup{"security group", "Tenant.security_groups{}", keys::kGroup};
inline constexpr KeyTable kIngressRule{"ingress rule", "Tenant.security_groups{}.ingress[]", keys::kIngressRule};
inline constexpr KeyTable kEgressRule{"egress rule", "Tenant.security_groups{}.egress[]", keys::kEgressRule};
inline constexpr KeyTable kRemote{"remote", "Tenant.security_groups{}.ingress[].from", keys::kRemote};

inline constexpr std::array<const KeyTable*, 22> kAll = {
    &kHost,   &kNic,          &kUnderlay,    &kVxlan,      &kPublic, &kLimits,     &kGuests, &kBoot,
    &kTenant, &kTenantLimits, &kPortLimits,  &kSubnet,     &kPort,   &kTenantVlan, &kRoute,  &kVia,
    &kNat,    &kGroup,        &kIngressRule, &kEgressRule, &kRemote, &kFlowLog};

}  // namespace tables
}  // namespace sepal::config
