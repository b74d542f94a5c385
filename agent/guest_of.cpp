// See guest_of.hpp.
#include "agent/guest_of.hpp"

namespace sepal::agent {
namespace {

// That are there in every network, by family.
const IpAddr& fixed_gateway(Family family) {
  static const IpAddr kGateways[] = {IpAddr::v4(169, 254, 1, 1), *IpAddr::parse("fe80::1")};
  return kGateways[static_cast<size_t>(family)];
}

// The longest of the tenant's subnets that holds it; valid configurations have one.
guest::Address address_of(const config::Tenant& tenant, const IpAddr& address) {
  const config::Subnet* on = nullptr;
  for (const config::Subnet& subnet : tenant.subnets)
    if (subnet.prefix.contains(address) && (on == nullptr || subnet.prefix.length > on->prefix.length)) on = &subnet;
  const IpAddr fixed = fixed_gateway(address.family);
  if (on == nullptr) return {address, IpPrefix::host(address), fixed};
  return {address, on->prefix, on->gateway.value_or(fixed)};
}

}  // namespace

guest::Guest guest_of(const config::Host& host, const config::Tenant& tenant, const config::Port& port) {
  const config::PortServices services = config::port_services(host, tenant, port);
  guest::Guest guest;
  guest.mac = port.mac;
  guest.gateway_mac = host.gateway_mac;
  guest.hostname = port.hostname.empty() ? port.name : port.hostname;
  guest.domain = services.domain;
  for (const IpAddr& address : port.addresses) guest.addresses.push_back(address_of(tenant, address));
  guest.gateways = {fixed_gateway(Family::ipv4), fixed_gateway(Family::ipv6)};
  for (const config::Subnet& subnet : tenant.subnets)
    if (subnet.gateway) guest.gateways.push_back(*subnet.gateway);
  guest.dns = services.dns;
  guest.ntp = services.ntp;
  guest.mtu = config::guest_mtu(host, tenant);
  guest.lease_seconds = services.lease_seconds;
  guest.boot = {services.boot.server, services.boot.file, services.boot.ipxe, services.boot.url};
  guest.dhcp = services.dhcp;
  guest.router_advertisements = services.router_advertisements;
  return guest;
}

}  // namespace sepal::agent
