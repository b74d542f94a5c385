#include "guest/packet6.hpp"

#include <tins/endianness.h>
#include <tins/ethernetII.h>
#include <tins/ipv6.h>
#include <tins/utils/checksum_utils.h>

#include <algorithm>
#include <utility>

#include "base/limits.hpp"

namespace sepal::guest {
namespace {

constexpr size_t kEthernetBytes = 14;
constexpr size_t kIpv6Bytes = 40;
constexpr size_t kHeadersBytes = kEthernetBytes + kIpv6Bytes;
constexpr size_t kPayloadBytesMin = 8;  // UDP's header; ICMPv6's with a router solicitation's reserved word
constexpr uint8_t kUdp = 17;

IpAddr ip_of(const Tins::IPv6Address& address) {
  IpAddr ip{Family::ipv6, {}};
  address.copy(ip.bytes.begin());
  return ip;
}

uint16_t folded(uint32_t sum) {
  while ((sum >> 16U) != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<uint16_t>(sum);
}

// libtins leaves a UDP checksum that comes out as zero, which on IPv6 means "none" and is refused (RFC 8200
// section 8.1).
void mend_udp_checksum(Frame& frame) {
  constexpr size_t kNextHeader = kEthernetBytes + 6;
  constexpr size_t kChecksum = kHeadersBytes + 6;
  if (frame[kNextHeader] == kUdp && frame[kChecksum] == 0 && frame[kChecksum + 1] == 0)
    frame[kChecksum] = frame[kChecksum + 1] = 0xff;
}

}  // namespace

Result<Packet6> open_packet6(FrameView frame, uint8_t next_header) {
  const auto malformed = [](std::string what) { return fail(Errc::protocol, std::move(what)); };
  if (frame.size() > limits::kQuestionBytesMax) return malformed("longer than an Ethernet frame");
  if (frame.size() < kHeadersBytes + kPayloadBytesMin) return malformed("shorter than its headers");
  const Tins::EthernetII ethernet(frame.data(), kEthernetBytes);
  if (ethernet.payload_type() != 0x86dd) return malformed("not IPv6");
  const Tins::IPv6 ip(frame.data() + kEthernetBytes, kIpv6Bytes);
  if (ip.version() != 6) return malformed("not IPv6");
  if (ip.next_header() != next_header) return malformed("behind an extension header, or another protocol");
  const size_t size = ip.payload_length();
  if (size < kPayloadBytesMin) return malformed("shorter than its headers");
  if (size > frame.size() - kHeadersBytes) return malformed("shorter than it says");

  Packet6 packet;
  ethernet.src_addr().copy(packet.source_mac.bytes.begin());
  packet.source = ip_of(ip.src_addr());
  packet.destination = ip_of(ip.dst_addr());
  packet.hop_limit = ip.hop_limit();
  packet.payload = frame.subspan(kHeadersBytes, size);  // what is behind is the padding of a short frame
  // libtins adds words as they lie in memory.
  const uint16_t pseudo = folded(
      Tins::Utils::pseudoheader_checksum(ip.src_addr(), ip.dst_addr(), static_cast<uint16_t>(size), next_header));
  const uint8_t* begin = packet.payload.data();
  packet.pseudo_sum = Tins::Endian::be_to_host(pseudo);
  packet.sum = folded(uint32_t{pseudo} + Tins::Utils::sum_range(begin, begin + size));
  return packet;
}

Frame seal_packet6(const Tins::PDU& payload, const Guest& guest, const Recipient& to, uint8_t hop_limit) {
  Tins::IPv6 ip(Tins::IPv6Address(to.address.bytes.data()), Tins::IPv6Address(kGateway6.bytes.data()));
  ip.hop_limit(hop_limit);
  Tins::EthernetII frame(Tins::HWAddress<6>(to.mac.bytes.data()), Tins::HWAddress<6>(guest.gateway_mac.bytes.data()));
  frame /= ip;
  frame /= payload;
  Frame bytes = frame.serialize();
  mend_udp_checksum(bytes);
  return bytes;
}

std::vector<IpAddr> addresses6(const Guest& guest) {
  std::vector<IpAddr> found;
  for (const Address& own : guest.addresses) {
    if (!own.address.is_v4() && found.size() < limits::kAddressesToldMax) found.push_back(own.address);
  }
  return found;
}

std::vector<IpPrefix> subnets6(const Guest& guest) {
  std::vector<IpPrefix> found;
  for (const Address& own : guest.addresses) {
    if (own.subnet.family() == Family::ipv6 && std::find(found.begin(), found.end(), own.subnet) == found.end())
      found.push_back(own.subnet);
  }
  return found;
}

std::vector<IpAddr> servers6(const std::vector<IpAddr>& servers) {
  std::vector<IpAddr> found;
  for (const IpAddr& server : servers) {
    if (!server.is_v4() && found.size() < limits::kServersToldMax) found.push_back(server);
  }
  return found;
}

}  // namespace sepal::guest
