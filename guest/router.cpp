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
constexpr uint8_t kGuestHopLimit = 64;
constexpr IpAddr kAllRouters{Family::ipv6, {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};

// How long what is told holds, in seconds; 0: no longer.
struct Lifetimes {
  uint16_t router = 0;
  uint32_t prefix_valid = 0;
  uint32_t prefix_preferred = 0;
  uint32_t names = 0;
};
// The router's is the most there is (RFC 8319): for so long guests keep their default route when nobody advertises it
// any more, and names live as long. Those of prefixes are RFC 4861's (section 6.2.1); nobody makes an address from one
// here, so the second means little.
constexpr Lifetimes kHolds{65535, 2'592'000, 604'800, 65535};

// On link as a whole (L): for neighbours the gateway answers. No addresses by oneself (A): only configured ones are let
// through, and those come by DHCPv6 or are set by hand.
void add_prefixes(ICMPv6& advertisement, const Guest& guest, const Lifetimes& lifetimes) {
  size_t count = 0;
  for (const IpPrefix& subnet : subnets6(guest)) {
    if (subnet.length == IpAddr::bits(Family::ipv6) || subnet.address.is_link_local()) continue;
    if (++count > limits::kSubnetsAdvertisedMax) return;
    ICMPv6::prefix_info_type info;
    info.prefix = Tins::IPv6Address(subnet.address.bytes.data());
    info.prefix_len = subnet.length;
    info.L = 1;
    info.A = 0;
    info.valid_lifetime = lifetimes.prefix_valid;
    info.preferred_lifetime = lifetimes.prefix_preferred;
    advertisement.prefix_info(info);
  }
}

// RFC 8106.
void add_names(ICMPv6& advertisement, const Guest& guest, uint32_t lifetime) {
  ICMPv6::recursive_dns_type servers(lifetime);
  for (const IpAddr& server : servers6(guest.dns)) servers.servers.emplace_back(server.bytes.data());
  if (!servers.servers.empty()) advertisement.recursive_dns_servers(servers);
  if (!encode_domain(guest.domain)) return;  // libtins encodes any text, and a dot at the end as a label
  const std::string domain = guest.domain.substr(0, guest.domain.find_last_not_of('.') + 1);
  advertisement.dns_search_list({lifetime, {domain}});
}

ICMPv6 advertisement_for(const Guest& guest, const Lifetimes& lifetimes = kHolds) {
  ICMPv6 advertisement(ICMPv6::ROUTER_ADVERT);
  advertisement.hop_limit(kGuestHopLimit);
  advertisement.managed(guest.dhcp ? 1 : 0);
  advertisement.other(guest.dhcp ? 1 : 0);
  advertisement.router_lifetime(lifetimes.router);
  advertisement.source_link_layer_addr(Tins::HWAddress<6>(guest.gateway_mac.bytes.data()));
  if (guest.mtu >= limits::kMtuMinIpv6) advertisement.mtu({0, guest.mtu});
  add_prefixes(advertisement, guest, lifetimes);
  add_names(advertisement, guest, lifetimes.names);
  return advertisement;
}

bool advertised(const Guest& guest) { return guest.router_advertisements && !addresses6(guest).empty(); }

template <typename Value>
bool contains(const std::vector<Value>& values, const Value& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// What `before` has and `now` does not, as a guest of its own. A network that is still the guest's is on link as
// before, advertised or not.
Guest difference(const Guest& before, const Guest& now) {
  const bool stays = advertised(now);
  Guest gone = stays ? now : before;
  const std::vector<IpPrefix> subnets = subnets6(now);
  gone.addresses = before.addresses;
  std::erase_if(gone.addresses,
                [&](const Address& own) { return own.address.is_v4() || contains(subnets, own.subnet); });
  const std::vector<IpAddr> servers = stays ? servers6(now.dns) : std::vector<IpAddr>();
  gone.dns = servers6(before.dns);
  std::erase_if(gone.dns, [&](const IpAddr& server) { return contains(servers, server); });
  gone.domain = stays && now.domain == before.domain ? std::string() : before.domain;
  return gone;
}

Frame to_all_nodes(const ICMPv6& advertisement, const Guest& guest) {
  return seal_packet6(advertisement, guest, {kAllNodesMac, kAllNodes}, kOnLinkHopLimit);
}

Answer dropped(std::string what) { return {std::nullopt, std::move(what)}; }

bool may_ask(const IpAddr& source, const Guest& guest) {
  const auto own = [&](const Address& address) { return address.address == source; };
  return source.is_unspecified() || source.is_link_local() ||
         std::any_of(guest.addresses.begin(), guest.addresses.end(), own);
}

// What is wrong with it (RFC 4861 section 6.1.1); empty when nothing is. libtins refuses options of no length and those
// that reach beyond the end.
std::string fault_of(const Packet6& packet) {
  if (packet.hop_limit != kOnLinkHopLimit) return "hop limit";
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
  return {seal_packet6(advertisement_for(guest), guest, to, kOnLinkHopLimit),
          "router solicitation: router advertisement"};
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
  try {
    return to_all_nodes(advertisement_for(guest), guest);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::optional<Frame> router_withdrawal(const Guest& before, const Guest& now) {
  if (!advertised(before)) return std::nullopt;
  const Guest gone = difference(before, now);
  Lifetimes lifetimes;
  if (advertised(now)) {
    if (gone.addresses.empty() && gone.dns.empty() && gone.domain.empty()) return std::nullopt;
    lifetimes.router = kHolds.router;
  }
  try {
    return to_all_nodes(advertisement_for(gone, lifetimes), gone);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace sepal::guest
