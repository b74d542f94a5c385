// What a guest may be told by the services on its link (DHCP, router advertisements), and the two ways to ask them.
// Pure values: config and the agent fill a Guest in, dhcp4.*, dhcp6.* and router.* answer from it. No sockets, no time,
// no state: an answer depends on the question and on the configuration alone, so nothing is lost when the agent
// restarts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/net_types.hpp"

namespace sepal::guest {

// One of the port's addresses and the network it is on.
struct Address {
  IpAddr address;
  IpPrefix subnet;  // on link as a whole: the gateway answers for its neighbours
  IpAddr gateway;   // of the subnet; where it has none of its own, 169.254.1.1 or fe80::1
  bool operator==(const Address&) const = default;
};

// What to boot from; empty: nothing is told.
struct Boot {
  std::optional<IpAddr> server;  // IPv4: next server and option 54's neighbour, option 66
  std::string file;              // IPv4: for a PXE client (or UEFI's HTTP boot) that is no iPXE
  std::string ipxe;              // file or URL for iPXE (user class "iPXE"), instead of `file` and of `url`
  std::string url;               // IPv6: option 59 (RFC 5970)
  bool operator==(const Boot&) const = default;
};

struct Guest {
  MacAddr mac;
  MacAddr gateway_mac;             // who answers, on the wire
  std::string hostname;            // empty: none is told
  std::string domain;              // the same
  std::vector<Address> addresses;  // of both families, as configured
  std::vector<IpAddr> gateways;    // that are at gateway_mac: those of the network's subnets, 169.254.1.1 and fe80::1
  std::vector<IpAddr> dns;         // of both families, most preferred first
  std::vector<IpAddr> ntp;         // the same
  uint16_t mtu = 1500;             // IP MTU
  uint32_t lease_seconds = 86400;  // DHCP: valid lifetime; renewed at half, rebound at seven eighths
  Boot boot;
  bool dhcp = true;                   // DHCPv4 and DHCPv6
  bool router_advertisements = true;  // IPv6
  bool operator==(const Guest&) const = default;
};

// A whole Ethernet frame, untagged, without padding or checksum at its end.
using Frame = std::vector<uint8_t>;
using FrameView = std::span<const uint8_t>;

// What came of a question: a frame for the guest, or none; and in a few words what it was and what was said, for the
// log and its counters ("DHCPREQUEST (renewing) of 10.0.0.1: DHCPACK", "malformed DHCP: …").
struct Answer {
  std::optional<Frame> frame;
  std::string what;
  bool operator==(const Answer&) const = default;
};

}  // namespace sepal::guest
