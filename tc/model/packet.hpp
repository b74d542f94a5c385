// A frame as the packet-walk model sees it: headers as values, and what the kernel keeps beside them (tunnel metadata,
// the connection, the hash). Written from the kernel's flow dissector, not from tc/pipeline.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/net_types.hpp"
#include "tc/rule/match.hpp"

namespace sepal::tc::model {

// What conntrack tells connections apart by. For ICMP echoes src_port is the id and dst_port the type.
struct Tuple {
  IpAddr src;
  IpAddr dst;
  uint8_t protocol = 0;
  uint16_t src_port = 0;
  uint16_t dst_port = 0;
  auto operator<=>(const Tuple&) const = default;
};
Tuple invert(const Tuple& tuple);
bool is_echo(const Tuple& tuple);  // ICMP or ICMPv6 echo, request or reply

struct VlanTag {
  uint16_t protocol = kEthVlan;
  Vid id;
  auto operator<=>(const VlanTag&) const = default;
};

struct Tunnel {
  uint32_t key = 0;
  IpAddr src;
  IpAddr dst;
  uint16_t dst_port = 0;
  auto operator<=>(const Tunnel&) const = default;
};

// The connection a packet belongs to after act_ct; `entry` is an index into Conntrack once it is committed.
struct Tracking {
  enum class State : uint8_t { fresh, established, related, invalid } state = State::invalid;
  Zone zone;
  bool reply = false;
  std::optional<size_t> entry;
  auto operator<=>(const Tracking&) const = default;
};

inline constexpr uint16_t kArpRequest = 1;
inline constexpr uint16_t kArpReply = 2;

struct Packet {
  MacAddr dst_mac;
  MacAddr src_mac;
  std::vector<VlanTag> tags;  // outermost first
  uint16_t eth_type = kEthIpv4;
  IpAddr src;
  IpAddr dst;
  uint8_t protocol = kProtoUdp;
  uint8_t ttl = 64;
  bool fragment = false;
  uint16_t src_port = 0;
  uint16_t dst_port = 0;
  uint16_t tcp_flags = 0;
  uint8_t icmp_type = 0;
  uint8_t icmp_code = 0;
  uint16_t icmp_id = 0;
  bool unseen = false;          // the first of its flow: may be let go past conntrack, where rules ask whether
  std::optional<Tuple> quoted;  // what an ICMP error is about, as its sender saw it
  IpAddr asked;                 // target of ARP, of a neighbour solicitation or advertisement; src: ARP's sender
  uint16_t arp_operation = kArpRequest;
  MacAddr said_mac;               // what ARP's sender says
  std::optional<MacAddr> answer;  // the question was answered in place: with this MAC

  std::optional<Tunnel> received_in;  // metadata of the tunnel it came out of
  std::optional<Tunnel> leaves_in;    // metadata for the tunnel it will go into
  std::optional<Tracking> tracking;
  uint32_t hash = 0;
  uint32_t mark = 0;
  bool checksum_stale = false;  // the IPv4 header changed and nobody mended its checksum

  [[nodiscard]] bool is_ip() const { return eth_type == kEthIpv4 || eth_type == kEthIpv6; }
  [[nodiscard]] bool is_icmp() const { return protocol == (eth_type == kEthIpv4 ? kProtoIcmp : kProtoIcmpv6); }
  [[nodiscard]] bool is_question() const {  // ARP, or a neighbour solicitation
    return eth_type == kEthArp || (eth_type == kEthIpv6 && protocol == kProtoIcmpv6 && icmp_type == 135 && !fragment);
  }
  [[nodiscard]] bool is_advertisement() const {  // of a neighbour
    return eth_type == kEthIpv6 && protocol == kProtoIcmpv6 && icmp_type == 136 && !fragment;
  }
  [[nodiscard]] uint16_t outer_protocol() const { return tags.empty() ? eth_type : tags.front().protocol; }
  [[nodiscard]] Tuple tuple() const;
};

inline constexpr uint16_t kTcpFin = 0x01;
inline constexpr uint16_t kTcpSyn = 0x02;
inline constexpr uint16_t kTcpRst = 0x04;
inline constexpr uint16_t kTcpAck = 0x10;

// Which frames a filter takes. In software a match that names no VLAN key takes tagged frames by what they carry; the
// NIC takes only untagged ones, as soon as the match has any key.
enum class View : uint8_t { software, hardware };
bool matches(const Match& match, uint16_t protocol, const Packet& packet, uint16_t ct_state, uint32_t ct_mark,
             View view);

std::string to_string(const Packet& packet);

}  // namespace sepal::tc::model
