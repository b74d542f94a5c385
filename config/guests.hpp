// What guests are told by the services on their link (DHCP, router advertisements): `guests` of the host, a tenant, a
// port. What one leaves out is the wider one's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/net_types.hpp"
#include "config/location.hpp"

namespace sepal::config {

struct Host;
struct Port;
struct Tenant;

// Network boot, as a whole: one that is given replaces the wider one's.
struct Boot {
  std::optional<IpAddr> server;  // IPv4
  std::string file;              // for PXE
  std::string ipxe;              // for iPXE: a file or a URL
  std::string url;               // for DHCPv6
  bool operator==(const Boot&) const = default;
};

struct GuestSettings {
  std::optional<bool> dhcp;
  std::optional<bool> router_advertisements;
  std::optional<std::vector<IpAddr>> dns;  // of both families
  std::optional<std::vector<IpAddr>> ntp;
  std::optional<std::string> domain;
  std::optional<uint32_t> lease_seconds;
  std::optional<Boot> boot;
  bool operator==(const GuestSettings&) const = default;
};

// What holds for a port, after its own, its tenant's and the host's settings.
struct PortServices {
  bool dhcp = true;
  bool router_advertisements = true;
  std::vector<IpAddr> dns;
  std::vector<IpAddr> ntp;
  std::string domain;
  uint32_t lease_seconds = 86400;
  Boot boot;
  bool operator==(const PortServices&) const = default;
};
PortServices port_services(const Host& host, const Tenant& tenant, const Port& port);
// The IP MTU of a tenant's network, in bytes: the tenant's own, or what the tunnel leaves of the underlay's.
uint16_t guest_mtu(const Host& host, const Tenant& tenant);

}  // namespace sepal::config
