// See frame.hpp. Headers as in linux/if_ether.h, linux/ip.h, linux/ipv6.h, linux/icmp.h and RFC 8200.
#include "tc/model/frame.hpp"

#include <algorithm>

namespace sepal::tc::model {
namespace {

constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kDestination = 60;

// Reads from the front; once it has run dry every read gives zero and `short_` stays true.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(bytes) {}

  uint32_t number(size_t width) {
    uint32_t value = 0;
    for (uint8_t byte : take(width)) value = value << 8U | byte;
    return value;
  }
  uint8_t u8() { return static_cast<uint8_t>(number(1)); }
  uint16_t u16() { return static_cast<uint16_t>(number(2)); }
  MacAddr mac() {
    MacAddr mac;
    const auto bytes = take(6);
    std::copy(bytes.begin(), bytes.end(), mac.bytes.begin());
    return mac;
  }
  IpAddr address(Family family) {
    IpAddr address{family, {}};
    const auto bytes = take(address.size());
    std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
    return address;
  }
  void skip(size_t count) { take(count); }
  [[nodiscard]] bool ran_dry() const { return short_; }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::span<const uint8_t> take(size_t count) {
    if (rest_.size() < count) {
      short_ = true;
      rest_ = {};
      return {};
    }
    const auto front = rest_.first(count);
    rest_ = rest_.subspan(count);
    return front;
  }

  std::span<const uint8_t> rest_;
  bool short_ = false;
};

struct IpHeader {
  IpAddr src;
  IpAddr dst;
  uint8_t protocol = 0;
  uint8_t ttl = 0;
  bool fragment = false;
};

IpHeader read_ipv4(Reader& in) {
  IpHeader ip;
  const uint8_t version_length = in.u8();
  in.skip(5);
  ip.fragment = (in.u16() & 0x3fffU) != 0;  // more fragments, or an offset
  ip.ttl = in.u8();
  ip.protocol = in.u8();
  in.skip(2);
  ip.src = in.address(Family::ipv4);
  ip.dst = in.address(Family::ipv4);
  const size_t words = version_length & 0x0fU;
  if (words > 5) in.skip((words - 5) * 4);
  return ip;
}

IpHeader read_ipv6(Reader& in) {
  IpHeader ip;
  in.skip(6);
  ip.protocol = in.u8();
  ip.ttl = in.u8();
  ip.src = in.address(Family::ipv6);
  ip.dst = in.address(Family::ipv6);
  while (!in.ran_dry() && !ip.fragment) {
    if (ip.protocol == kFragment) {
      ip.protocol = in.u8();
      in.skip(7);
      ip.fragment = true;
    } else if (ip.protocol == kHopByHop || ip.protocol == kRouting || ip.protocol == kDestination) {
      ip.protocol = in.u8();
      in.skip(6 + size_t{8} * in.u8());
    } else {
      break;
    }
  }
  return ip;
}

bool is_error(Family family, uint8_t type) {
  return family == Family::ipv4 ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12 : type < 128;
}

// The packet an ICMP error is about: as much of it as ports and echo ids need.
Tuple read_quoted(Reader& in, Family family) {
  const IpHeader ip = family == Family::ipv4 ? read_ipv4(in) : read_ipv6(in);
  Tuple tuple{ip.src, ip.dst, ip.protocol, 0, 0};
  if (ip.protocol == kProtoTcp || ip.protocol == kProtoUdp) {
    tuple.src_port = in.u16();
    tuple.dst_port = in.u16();
  } else if (ip.protocol == (family == Family::ipv4 ? kProtoIcmp : kProtoIcmpv6)) {
    tuple.dst_port = in.u8();
    in.skip(3);
    tuple.src_port = in.u16();
  }
  return tuple;
}

void read_icmp(Reader& in, Family family, Packet& packet) {
  packet.icmp_type = in.u8();
  packet.icmp_code = in.u8();
  in.skip(2);
  if (family == Family::ipv6 && (packet.icmp_type == 135 || packet.icmp_type == 136)) {
    in.skip(4);
    packet.asked = in.address(family);
  } else if (is_error(family, packet.icmp_type)) {
    in.skip(4);
    packet.quoted = read_quoted(in, family);
  } else {
    packet.icmp_id = in.u16();
  }
}

void read_transport(Reader& in, Family family, Packet& packet) {
  if (packet.is_icmp()) {
    read_icmp(in, family, packet);
  } else if (packet.protocol == kProtoTcp || packet.protocol == kProtoUdp) {
    packet.src_port = in.u16();
    packet.dst_port = in.u16();
    if (packet.protocol != kProtoTcp) return;
    in.skip(8);
    packet.tcp_flags = in.u16() & 0x0fffU;
  }
}

}  // namespace

Result<Packet> parse_frame(std::span<const uint8_t> frame) {
  Reader in(frame);
  Packet packet;
  packet.dst_mac = in.mac();
  packet.src_mac = in.mac();
  packet.eth_type = in.u16();
  while (packet.eth_type == kEthVlan || packet.eth_type == kEthQinq) {
    packet.tags.push_back({packet.eth_type, Vid(in.u16() & 0x0fffU)});
    packet.eth_type = in.u16();
  }
  packet.protocol = 0;
  if (packet.eth_type == kEthArp) {
    in.skip(6);
    packet.arp_operation = in.u16();
    packet.said_mac = in.mac();
    packet.src = in.address(Family::ipv4);
    in.skip(6);
    packet.asked = in.address(Family::ipv4);
  } else if (packet.is_ip()) {
    const Family family = packet.eth_type == kEthIpv4 ? Family::ipv4 : Family::ipv6;
    const IpHeader ip = family == Family::ipv4 ? read_ipv4(in) : read_ipv6(in);
    packet.src = ip.src;
    packet.dst = ip.dst;
    packet.protocol = ip.protocol;
    packet.ttl = ip.ttl;
    packet.fragment = ip.fragment;
    if (!packet.fragment) read_transport(in, family, packet);
  }
  if (in.ran_dry())
    return fail(Errc::protocol, "the frame ends within a header, after " + std::to_string(frame.size()) + " bytes");
  return packet;
}

}  // namespace sepal::tc::model
