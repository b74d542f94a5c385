// A guest with two IPv6 networks, and what it asks on them.
#pragma once

#include <tins/dhcpv6.h>
#include <tins/icmpv6.h>

#include <string_view>

#include "guest/guest.hpp"

namespace sepal::guest {

inline constexpr MacAddr kGuestMac{{2, 0, 0, 0, 0, 0x0a}};
inline constexpr MacAddr kGatewayMac{{2, 0xff, 0xff, 0xff, 0xff, 1}};

Guest two_networks();

IpAddr ip(const char* text);
Frame hex(std::string_view text);
std::string hex(FrameView frame);

// Where a question comes from and goes to; each test changes one.
struct Way {
  MacAddr source_mac = kGuestMac;
  std::string source = "fe80::ff:fe00:a";
  std::string destination;
  uint8_t hop_limit = 0;
  uint16_t port = 547;
};
inline const Way kToServers{.destination = "ff02::1:2", .hop_limit = 1};
inline const Way kToRouters{.destination = "ff02::2", .hop_limit = 255};

Frame dhcp6_frame(const Tins::DHCPv6& message, const Way& way = kToServers);
Frame icmp6_frame(const Tins::ICMPv6& message, const Way& way = kToRouters);
// Puts the checksum right after a test wrote into the frame.
void repair_checksum(Frame& frame);

// A message of the guest: transaction 0x123456, its identifier, and all options requested.
Tins::DHCPv6 message(Tins::DHCPv6::MessageType type);
// The same with the server's identifier.
Tins::DHCPv6 message_to_us(Tins::DHCPv6::MessageType type);
// An IA_NA (or IA_PD, IA_TA) with these addresses in it.
void associate(Tins::DHCPv6& message, uint32_t id, const std::vector<const char*>& addresses = {},
               Tins::DHCPv6::OptionTypes kind = Tins::DHCPv6::IA_NA);

}  // namespace sepal::guest
