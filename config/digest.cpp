// Every struct of the model taken apart, member by member.
#include "config/digest.hpp"

namespace sepal::config {

void mix(Digest& digest, const Nic& value) {
  const auto& [manual, pci, vfs, only, where] = value;
  digest.all(manual, pci, vfs, only, where);
}

void mix(Digest& digest, const Underlay& value) {
  const auto& [device, address, vlan, mtu, where] = value;
  digest.all(device, address, vlan, mtu, where);
}

void mix(Digest& digest, const Vxlan& value) {
  const auto& [device, port, where] = value;
  digest.all(device, port, where);
}

void mix(Digest& digest, const Public& value) {
  const auto& [vlan, gateways, gateway_mac, answer_arp, where] = value;
  digest.all(vlan, gateways, gateway_mac, answer_arp, where);
}

void mix(Digest& digest, const HostLimits& value) {
  const auto& [arp_nd_per_second, dhcp_per_second, new_connections_per_second, hardware_rules, connections] = value;
  digest.all(arp_nd_per_second, dhcp_per_second, new_connections_per_second, hardware_rules, connections);
}

void mix(Digest& digest, const PortLimits& value) {
  const auto& [arp_nd_per_second, dhcp_per_second, new_connections_per_second] = value;
  digest.all(arp_nd_per_second, dhcp_per_second, new_connections_per_second);
}

void mix(Digest& digest, const Boot& value) {
  const auto& [server, file, ipxe, url] = value;
  digest.all(server, file, ipxe, url);
}

void mix(Digest& digest, const GuestSettings& value) {
  const auto& [dhcp, router_advertisements, dns, ntp, domain, lease_seconds, boot] = value;
  digest.all(dhcp, router_advertisements, dns, ntp, domain, lease_seconds, boot);
}

void mix(Digest& digest, const Host& value) {
  const auto& [nic, underlay, vxlan, public_net, gateway_mac, host_limits, guests, flow_log_file, where] = value;
  (void)flow_log_file;  // no rule depends on where lines are written
  digest.all(nic, underlay, vxlan, public_net, gateway_mac, host_limits, guests, where);
}

void mix(Digest& digest, const Subnet& value) {
  const auto& [prefix, gateway, where] = value;
  digest.all(prefix, gateway, where);
}

void mix(Digest& digest, const Port& value) {
  const auto& [name, vf, device, mac, addresses, prefixes, security_groups, port_limits, guests, hostname, dhcp_server,
               mac_is_open, where] = value;
  digest.all(name, vf, device, mac, addresses, prefixes, security_groups, port_limits, guests, hostname, dhcp_server,
             mac_is_open, where);
}

void mix(Digest& digest, const TenantVlan& value) {
  const auto& [id, gateway_mac, where] = value;
  digest.all(id, gateway_mac, where);
}

void mix(Digest& digest, const ViaVtep& value) {
  const auto& [address] = value;
  digest.all(address);
}

void mix(Digest& digest, const ViaPort& value) {
  const auto& [port] = value;
  digest.all(port);
}

void mix(Digest& digest, const ViaVlan& value) {
  const auto& [vlan] = value;
  digest.all(vlan);
}

void mix(Digest& digest, const Route& value) {
  const auto& [to, via, vni, where] = value;
  digest.all(to, via, vni, where);
}

void mix(Digest& digest, const Nat& value) {
  const auto& [from, address, ports, where] = value;
  digest.all(from, address, ports, where);
}

void mix(Digest& digest, const RuleRemote& value) {
  const auto& [any, networks, groups] = value;
  digest.all(any, networks, groups);
}

void mix(Digest& digest, const GroupRule& value) {
  const auto& [allow, priority, protocol, ports, icmp_type, icmp_code, remote, log, where] = value;
  digest.all(allow, priority, protocol, ports, icmp_type, icmp_code, remote, log, where);
}

void mix(Digest& digest, const SecurityGroup& value) {
  const auto& [name, audit, members, ingress, egress, where] = value;
  digest.all(name, audit, members, ingress, egress, where);
}

void mix(Digest& digest, const Tenant& value) {
  const auto& [name, vni, mtu, subnets, ports, vlans, routes, nat, hardware_rules, connections, port_limits, peers,
               security_groups, guests, flow_log, where] = value;
  digest.all(name, vni, mtu, subnets, ports, vlans, routes, nat, hardware_rules, connections, port_limits, peers,
             security_groups, guests, flow_log, where);
}

}  // namespace sepal::config
