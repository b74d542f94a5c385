// See speaker.hpp.
#include "guest/speaker.hpp"

#include <tins/arp.h>
#include <tins/icmpv6.h>

#include <algorithm>
#include <array>
#include <bit>
#include <exception>

#include "guest/dhcp4_question.hpp"
#include "guest/packet6.hpp"

namespace sepal::guest {
namespace {

using Tins::ICMPv6;

constexpr size_t kEthernetBytes = 14;
constexpr size_t kArpBytes = 28;
constexpr size_t kNextHeader = kEthernetBytes + 6;
constexpr size_t kIcmpType = kEthernetBytes + 40;
constexpr uint8_t kIcmpv6 = 58;
constexpr uint8_t kUdp = 17;

uint16_t protocol_of(FrameView frame) { return static_cast<uint16_t>(frame[12] << 8U | frame[13]); }

MacAddr mac_at(FrameView frame, size_t at) {
  MacAddr mac;
  std::copy_n(frame.begin() + static_cast<ptrdiff_t>(at), mac.bytes.size(), mac.bytes.begin());
  return mac;
}

MacAddr mac_of(const Tins::HWAddress<6>& address) {
  MacAddr mac;
  address.copy(mac.bytes.begin());
  return mac;
}

bool is_station(const MacAddr& mac) { return !mac.is_zero() && (mac.bytes[0] & 1U) == 0; }

bool is_own(const IpAddr& address, const Guest& guest) {
  return std::any_of(guest.addresses.begin(), guest.addresses.end(),
                     [&](const Address& own) { return own.address == address; });
}

IpAddr ip_of(const Tins::IPv4Address& address) {
  const std::array<uint8_t, 4> bytes = std::bit_cast<std::array<uint8_t, 4>>(static_cast<uint32_t>(address));
  return IpAddr::v4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

// A guest that makes sure first that nobody has its address (RFC 5227) says of itself only what it asks for.
bool shows_in_arp(FrameView frame, const MacAddr& mac, const Guest& guest) {
  if (frame.size() < kEthernetBytes + kArpBytes) return false;
  const Tins::ARP arp(frame.data() + kEthernetBytes, kArpBytes);
  constexpr uint16_t kEthernet = 1;
  if (arp.hw_addr_format() != kEthernet || arp.prot_addr_format() != 0x0800 || arp.hw_addr_length() != 6 ||
      arp.prot_addr_length() != 4)
    return false;
  const IpAddr sender = ip_of(arp.sender_ip_addr());
  return mac_of(arp.sender_hw_addr()) == mac &&
         is_own(sender.is_unspecified() ? ip_of(arp.target_ip_addr()) : sender, guest);
}

bool shows_in_solicitation(FrameView frame, const MacAddr& mac, const Guest& guest) {
  const auto packet = open_packet6(frame, kIcmpv6);
  if (!packet || packet->hop_limit != kOnLinkHopLimit || packet->sum != 0xffff) return false;
  const uint8_t type = packet->payload[0];
  if (type != ICMPv6::NEIGHBOUR_SOLICIT && type != ICMPv6::ROUTER_SOLICIT) return false;
  const ICMPv6 message(packet->payload.data(), static_cast<uint32_t>(packet->payload.size()));
  const auto* link = message.search_option(ICMPv6::SOURCE_ADDRESS);
  if (link != nullptr && !std::equal(mac.bytes.begin(), mac.bytes.end(), link->data_ptr(),
                                     link->data_ptr() + std::min<size_t>(link->data_size(), mac.bytes.size())))
    return false;
  const bool local = packet->source.is_unspecified() || packet->source.is_link_local();
  return packet->source != kGateway6 && (local || is_own(packet->source, guest));
}

bool shows(FrameView frame, const MacAddr& mac, const Guest& guest) {
  switch (protocol_of(frame)) {
    case 0x0806: return shows_in_arp(frame, mac, guest);
    case 0x0800: {
      const auto question = read_dhcp4(frame);
      return question && !question->relayed && question->mac == mac;
    }
    case 0x86dd: {
      if (frame.size() <= kNextHeader) return false;
      if (frame[kNextHeader] == kIcmpv6) return shows_in_solicitation(frame, mac, guest);
      const auto packet = open_packet6(frame, kUdp);
      return packet && packet->source.is_link_local() && packet->source != kGateway6;
    }
    default: return false;
  }
}

}  // namespace

std::optional<MacAddr> speaker(FrameView frame, const Guest& guest) {
  if (frame.size() < kEthernetBytes) return std::nullopt;
  const MacAddr mac = mac_at(frame, 6);
  if (!is_station(mac) || mac == guest.gateway_mac) return std::nullopt;
  try {
    return shows(frame, mac, guest) ? std::optional(mac) : std::nullopt;
  } catch (const std::exception&) {  // libtins, of what does not fit
    return std::nullopt;
  }
}

bool is_about_neighbours(FrameView frame) {
  if (frame.size() < kEthernetBytes) return false;
  if (protocol_of(frame) == 0x0806) return true;
  return protocol_of(frame) == 0x86dd && frame.size() > kIcmpType && frame[kNextHeader] == kIcmpv6 &&
         frame[kIcmpType] == ICMPv6::NEIGHBOUR_SOLICIT;
}

}  // namespace sepal::guest
