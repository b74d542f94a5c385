#include "guest/router.hpp"

#include <tins/icmpv6.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/limits.hpp"
#include "guest/domain.hpp"
#include "guest/packet6.hpp"

namespace sepal::guest {
namespace {

using Tins::ICMPv6;

constexpr uint8_t kIcmpv6 = 58;
constexpr uint8_t kHopLimit = 255;  // of every neighbour discovery message: nothing from beyond the link has it
constexpr uint8_t kGuestHopLimit = 64;
// The most there is (RFC 8319): for so long guests keep their default route when nobody advertises it any more.
constexpr uint16_t kRouterLifetimeSeconds = 65535;
// RFC 4861 section 6.2.1. Nobody makes an address from a prefix here, so the second one means little.
constexpr uint32_t kPrefixValidSeconds = 2'592'000;
constexpr uint32_t kPrefixPreferredSeconds = 604'800;
constexpr IpAddr kAllNodes{Family::ipv6, {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr IpAddr kAllRouters{Family::ipv6, {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
constexpr MacAddr kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};

// On link as a whole (L): for neighbours the gateway answers. No addresses by oneself (A): only configured ones are let
// through, and those come by DHCPv6 or are set by hand.
void add_prefixes(ICMPv6& advertisement, const Guest& guest) {
  size_t count = 0;
  for (const IpPrefix& subnet : subnets6(guest)) {
    if (subnet.length == IpAddr::bits(Family::ipv6) || subnet.address.is_link_local()) continue;
    if (++count > limits::kSubnetsAdvertisedMax) return;
    ICMPv6::prefix_info_type info;
    info.prefix = Tins::IPv6Address(subnet.address.bytes.data());
    info.prefix_len = subnet.length;
    info.L = 1;
    info.A = 0;
    info.valid_lifetime = kPrefixValidSeconds;
    info.preferred_lifetime = kPrefixPreferredSeconds;
    advertisement.prefix_info(info);
  }
}

// RFC 8106. They live as long as the router does.
void add_names(ICMPv6& advertisement, const Guest& guest) {
  ICMPv6::recursive_dns_type servers(kRouterLifetimeSeconds);
  for (const IpAddr& server : servers6(guest.dns)) servers.servers.emplace_back(server.bytes.data());
  if (!servers.servers.empty()) advertisement.recursive_dns_servers(servers);
  if (!encode_domain(guest.domain)) return;  // libtins encodes any text, and a dot at the end as a label
  const std::string domain = guest.domain.substr(0, guest.domain.find_last_not_of('.') + 1);
  advertisement.dns_search_list({kRouterLifetimeSeconds, {domain}});
}

ICMPv6 advertisement_for(const Guest& guest) {
  ICMPv6 advertisement(ICMPv6::ROUTER_ADVERT);
  advertisement.hop_limit(kGuestHopLimit);
  advertisement.managed(guest.dhcp ? 1 : 0);
  advertisement.other(guest.dhcp ? 1 : 0);
  advertisement.router_lifetime(kRouterLifetimeSeconds);
  advertisement.source_link_layer_addr(Tins::HWAddress<6>(guest.gateway_mac.bytes.data()));
  if (guest.mtu >= limits::kMtuMinIpv6) advertisement.mtu({0, guest.mtu});
  add_prefixes(advertisement, guest);
  add_names(advertisement, guest);
  return advertisement;
}

bool advertised(const Guest& guest) { return guest.router_advertisements && !addresses6(guest).empty(); }

Answer dropped(std::string what) { return {std::nullopt, std::move(what)}; }

bool may_ask(const IpAddr& source, const Guest& guest) {
  const auto own = [&](const Address& address) { return address.address == source; };
  return source.is_unspecified() || source.is_link_local() ||
         std::any_of(guest.addresses.begin(), guest.addresses.end(), own);
}

// What is wrong with it (RFC 4861 section 6.1.1); empty when nothing is. libtins refuses options of no length and those
// that reach beyond the end.
std::string fault_of(const Packet6& packet) {
  if (packet.hop_limit != kHopLimit) return "hop limit";
  if (packet.sum != 0xffff) return "checksum";
  const ICMPv6 message(packet.payload.data(), static_cast<uint32_t>(packet.payload.size()));
  if (message.code() != 0) return "code";
  if (packet.source.is_unspecified() && message.search_option(ICMPv6::SOURCE_ADDRESS) != nullptr)
    return "a link-layer address of nobody";
  return {};
}

Answer answer_frame(FrameView frame, const Guest& guest) {
  auto packet = open_packet6(frame, kIcmpv6);
  if (!packet) return dropped("malformed router solicitation: " + packet.error().message());
  if (packet->payload[0] != ICMPv6::ROUTER_SOLICIT) return dropped("not a router solicitation");
  if (packet->source_mac != guest.mac) return dropped("router solicitation from another MAC");
  if (!may_ask(packet->source, guest)) return dropped("router solicitation from another address");
  if (packet->destination != kAllRouters && packet->destination != kGateway6)
    return dropped("router solicitation to another router");
  if (std::string fault = fault_of(*packet); !fault.empty()) return dropped("malformed router solicitation: " + fault);
  const Recipient to = packet->source.is_unspecified() ? Recipient{kAllNodesMac, kAllNodes}
                                                       : Recipient{packet->source_mac, packet->source};
  return {seal_packet6(advertisement_for(guest), guest, to, kHopLimit), "router solicitation: router advertisement"};
}

}  // namespace

Answer answer_router_solicitation(FrameView question, const Guest& guest) {
  if (!guest.router_advertisements) return dropped("router solicitation: off");
  if (!advertised(guest)) return dropped("router solicitation: no IPv6 address");
  try {
    return answer_frame(question, guest);
  } catch (const std::exception& fault) {  // libtins says so what it cannot read
    return dropped(std::string("malformed router solicitation: ") + fault.what());
  }
}

std::optional<Frame> router_advertisement(const Guest& guest) {
  if (!advertised(guest)) return std::nullopt;
  return seal_packet6(advertisement_for(guest), guest, {kAllNodesMac, kAllNodes}, kHopLimit);
}

}  // namespace sepal::guest
