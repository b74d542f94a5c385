#include "tests/unit/guest/frames6.hpp"

#include <tins/ethernetII.h>
#include <tins/ipv6.h>
#include <tins/udp.h>
#include <tins/utils/checksum_utils.h>

#include <cstdio>
#include <cstring>

namespace sepal::guest {
namespace {

using Tins::DHCPv6;
using Tins::HWAddress;
using Tins::IPv6Address;

Frame frame_of(const Tins::PDU& payload, const Way& way) {
  Tins::IPv6 ip(IPv6Address(way.destination), IPv6Address(way.source));
  ip.hop_limit(way.hop_limit);
  Tins::EthernetII frame(HWAddress<6>("33:33:00:01:00:02"), HWAddress<6>(way.source_mac.bytes.data()));
  frame /= ip;
  frame /= payload;
  return frame.serialize();
}

}  // namespace

Guest two_networks() {
  Guest guest;
  guest.mac = kGuestMac;
  guest.gateway_mac = kGatewayMac;
  guest.hostname = "web-0";
  guest.domain = "net.example.com";
  guest.addresses = {{ip("10.0.0.10"), *IpPrefix::parse("10.0.0.0/24"), ip("10.0.0.1")},
                     {ip("2001:db8:1::a"), *IpPrefix::parse("2001:db8:1::/64"), ip("fe80::1")},
                     {ip("2001:db8:2::a"), *IpPrefix::parse("2001:db8:2::/48"), ip("2001:db8:2::1")}};
  guest.dns = {ip("10.0.0.53"), ip("2001:db8:53::1"), ip("2001:db8:53::2")};
  guest.ntp = {ip("2001:db8:123::1"), ip("10.0.0.123")};
  guest.mtu = 1450;
  guest.boot.url = "http://boot.example.com/a.efi";
  return guest;
}

IpAddr ip(const char* text) { return *IpAddr::parse(text); }

Frame hex(std::string_view text) {
  Frame bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::string hex(FrameView frame) {
  std::string text;
  for (uint8_t byte : frame) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    text += digits;
  }
  return text;
}

Frame dhcp6_frame(const DHCPv6& message, const Way& way) { return frame_of(Tins::UDP(way.port, 546) / message, way); }

Frame icmp6_frame(const Tins::ICMPv6& message, const Way& way) { return frame_of(message, way); }

void repair_checksum(Frame& frame) {
  const uint8_t protocol = frame[20];
  const size_t at = 54 + (protocol == 17 ? 6 : 2);
  const auto size = static_cast<uint16_t>(frame[18] << 8U | frame[19]);
  frame[at] = frame[at + 1] = 0;
  uint32_t sum = Tins::Utils::pseudoheader_checksum(IPv6Address(&frame[22]), IPv6Address(&frame[38]), size, protocol) +
                 Tins::Utils::sum_range(frame.data() + 54, frame.data() + 54 + size);
  while (sum > 0xffff) sum = (sum & 0xffffU) + (sum >> 16U);
  const auto checksum = static_cast<uint16_t>(~sum);  // of words as they lie in memory
  std::memcpy(&frame[at], &checksum, sizeof checksum);
}

DHCPv6 message(DHCPv6::MessageType type) {
  DHCPv6 message;
  message.msg_type(type);
  message.transaction_id(0x123456);
  message.client_id(DHCPv6::duid_type(DHCPv6::duid_ll(1, {kGuestMac.bytes.begin(), kGuestMac.bytes.end()})));
  message.option_request({23, 24, 56, 59});
  return message;
}

DHCPv6 message_to_us(DHCPv6::MessageType type) {
  DHCPv6 message = guest::message(type);
  message.server_id(DHCPv6::duid_type(DHCPv6::duid_ll(1, {kGatewayMac.bytes.begin(), kGatewayMac.bytes.end()})));
  return message;
}

void associate(DHCPv6& message, uint32_t id, const std::vector<const char*>& addresses, DHCPv6::OptionTypes kind) {
  DHCPv6 nest;
  for (const char* address : addresses) nest.ia_address({IPv6Address(address), 300, 400});
  std::vector<uint8_t> bytes = {static_cast<uint8_t>(id >> 24U), static_cast<uint8_t>(id >> 16U),
                                static_cast<uint8_t>(id >> 8U), static_cast<uint8_t>(id)};
  if (kind != DHCPv6::IA_TA) bytes.resize(12);
  const std::vector<uint8_t> inside = nest.serialize();
  bytes.insert(bytes.end(), inside.begin() + 4, inside.end());
  message.add_option(DHCPv6::option(kind, bytes.begin(), bytes.end()));
}

}  // namespace sepal::guest
