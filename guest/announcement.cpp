// See announcement.hpp. Guests take an announcement for what they have in their caches already, and forget it
// otherwise.
#include "guest/announcement.hpp"

#include <tins/arp.h>
#include <tins/ethernetII.h>
#include <tins/icmpv6.h>
#include <tins/ipv6.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <iterator>
#include <utility>

#include "base/limits.hpp"
#include "guest/packet6.hpp"

namespace sepal::guest {
namespace {

constexpr size_t kArpFrameBytes = 42;

// A request and no reply: what RFC 5227 section 3 found more stacks to listen to.
Frame arp_announcement(const IpAddr& of, const MacAddr& at) {
  uint32_t address = 0;
  std::memcpy(&address, of.bytes.data(), sizeof address);
  const Tins::IPv4Address ip(address);  // takes it in network byte order
  const Tins::HWAddress<6> mac(at.bytes.data());
  Frame frame = Tins::ARP::make_arp_request(ip, ip, mac).serialize();
  frame.resize(kArpFrameBytes);  // what libtins puts behind it is padding, which drivers add
  return frame;
}

// Whatever else is remembered of it is wrong (O); nobody asked (S is 0).
Frame neighbour_advertisement(const IpAddr& of, const MacAddr& at) {
  const Tins::IPv6Address address(of.bytes.data());
  const Tins::HWAddress<6> mac(at.bytes.data());
  Tins::ICMPv6 advertisement(Tins::ICMPv6::NEIGHBOUR_ADVERT);
  advertisement.override(1);
  advertisement.target_addr(address);
  advertisement.target_link_layer_addr(mac);
  Tins::IPv6 ip(Tins::IPv6Address(kAllNodes.bytes.data()), address);
  ip.hop_limit(kOnLinkHopLimit);
  Tins::EthernetII frame(Tins::HWAddress<6>(kAllNodesMac.bytes.data()), mac);
  frame /= ip;
  frame /= advertisement;
  return frame.serialize();
}

void put_tag(Frame& frame, Vid vlan) {
  constexpr std::ptrdiff_t kEthernetType = 12;
  const uint8_t tag[] = {0x81, 0x00, static_cast<uint8_t>(vlan.value() >> 8U), static_cast<uint8_t>(vlan.value())};
  frame.insert(frame.begin() + kEthernetType, std::begin(tag), std::end(tag));
}

// A router (R), and whatever else is remembered of it is wrong (O); nobody asked (S is 0).
Frame router_neighbour_advertisement(const IpAddr& gateway, const Guest& guest) {
  Tins::ICMPv6 advertisement(Tins::ICMPv6::NEIGHBOUR_ADVERT);
  advertisement.router(1);
  advertisement.override(1);
  advertisement.target_addr(Tins::IPv6Address(gateway.bytes.data()));
  advertisement.target_link_layer_addr(Tins::HWAddress<6>(guest.gateway_mac.bytes.data()));
  return seal_packet6(advertisement, guest, {kAllNodesMac, kAllNodes}, kOnLinkHopLimit);
}

// nullopt: libtins would not write it, and the guest asks, as it did before.
std::optional<Frame> announcement_of(const IpAddr& gateway, const Guest& guest) {
  try {
    return gateway.is_v4() ? arp_announcement(gateway, guest.gateway_mac)
                           : router_neighbour_advertisement(gateway, guest);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::vector<IpAddr> announced_gateways(const Guest& guest) {
  std::vector<IpAddr> gateways;
  const auto add = [&](const IpAddr& gateway) {
    const bool known = std::find(gateways.begin(), gateways.end(), gateway) != gateways.end();
    const bool of_use = std::any_of(guest.addresses.begin(), guest.addresses.end(),
                                    [&](const Address& own) { return own.address.family == gateway.family; });
    if (!known && of_use && gateways.size() < limits::kGatewaysAnnouncedMax) gateways.push_back(gateway);
  };
  for (const Address& own : guest.addresses) add(own.gateway);
  for (const IpAddr& gateway : guest.gateways) add(gateway);
  return gateways;
}

}  // namespace

std::vector<Frame> gateway_announcements(const Guest& guest) {
  std::vector<Frame> frames;
  for (const IpAddr& gateway : announced_gateways(guest))
    if (auto frame = announcement_of(gateway, guest)) frames.push_back(std::move(*frame));
  return frames;
}

std::optional<Frame> address_announcement(const IpAddr& address, const MacAddr& mac, Vid vlan) {
  try {
    Frame frame = address.is_v4() ? arp_announcement(address, mac) : neighbour_advertisement(address, mac);
    if (vlan != Vid()) put_tag(frame, vlan);
    return frame;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace sepal::guest
