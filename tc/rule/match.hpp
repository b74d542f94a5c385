// What a flower filter matches: keys with value and mask, as values. Which attribute a key becomes on the wire is the
// codec's business (tc/codec/flower_keys.hpp); what a key means is linux/pkt_cls.h's (TCA_FLOWER_KEY_*).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/net_types.hpp"

namespace sepal::tc {

// Order is the order of `tc filter show` and of Match::keys(). Width in bytes behind each.
enum class Key : uint8_t {
  vlan_id,        // 2, host order is 12 bits
  vlan_prio,      // 1
  vlan_eth_type,  // 2, the protocol behind the tag
  dst_mac,        // 6
  src_mac,        // 6
  eth_type,       // 2; the filter's own eth_type attribute, apart from RuleId::protocol
  ip_proto,       // 1
  ip_tos,         // 1
  ip_ttl,         // 1, hop limit for IPv6
  dst_ip4,        // 4
  src_ip4,        // 4
  dst_ip6,        // 16
  src_ip6,        // 16
  dst_port,       // 2, of TCP, UDP or SCTP according to ip_proto
  src_port,       // 2
  tcp_flags,      // 2
  icmp_type,      // 1, ICMP or ICMPv6 according to ip_proto
  icmp_code,      // 1
  arp_op,         // 1
  arp_tip,        // 4
  arp_sip,        // 4
  ip_flags,       // 4, bits kIpFlagFrag, kIpFlagFirstFrag
  enc_key_id,     // 4, VNI in the low 24 bits
  enc_dst_ip4,    // 4
  enc_src_ip4,    // 4
  enc_dst_ip6,    // 16
  enc_src_ip6,    // 16
  enc_dst_port,   // 2
  ct_state,       // 2, bits kCt*
  ct_zone,        // 2
  ct_mark,        // 4
  hash,           // 4, skb->hash
};
inline constexpr size_t kKeyCount = static_cast<size_t>(Key::hash) + 1;

size_t key_width(Key key);           // bytes
std::string_view key_name(Key key);  // as iproute2 spells it: "dst_ip", "enc_key_id", … (show's words)

inline constexpr uint32_t kIpFlagFrag = 1;       // TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT
inline constexpr uint32_t kIpFlagFirstFrag = 2;  // TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST

inline constexpr uint16_t kCtNew = 1U << 0U;  // TCA_FLOWER_KEY_CT_FLAGS_*
inline constexpr uint16_t kCtEst = 1U << 1U;
inline constexpr uint16_t kCtRel = 1U << 2U;
inline constexpr uint16_t kCtTrk = 1U << 3U;
inline constexpr uint16_t kCtInv = 1U << 4U;
inline constexpr uint16_t kCtRpl = 1U << 5U;

inline constexpr uint16_t kEthIpv4 = 0x0800;
inline constexpr uint16_t kEthArp = 0x0806;
inline constexpr uint16_t kEthVlan = 0x8100;
inline constexpr uint16_t kEthQinq = 0x88a8;
inline constexpr uint16_t kEthIpv6 = 0x86dd;
inline constexpr uint16_t kEthAll = 0x0003;  // ETH_P_ALL: any protocol, as a filter's protocol only

inline constexpr uint8_t kProtoIcmp = 1;
inline constexpr uint8_t kProtoTcp = 6;
inline constexpr uint8_t kProtoUdp = 17;
inline constexpr uint8_t kProtoIcmpv6 = 58;
inline constexpr uint8_t kProtoSctp = 132;

// One key. Value and mask are big-endian in the first key_width(key) bytes, the rest zero; value bits outside the mask
// are zero (Match::set sees to it). On the wire some keys are host order: the codec converts.
struct KeyMatch {
  Key key{};
  std::array<uint8_t, 16> value{};
  std::array<uint8_t, 16> mask{};
  auto operator<=>(const KeyMatch&) const = default;

  [[nodiscard]] uint32_t value_u32() const;  // for keys up to 4 bytes wide, host order
  [[nodiscard]] uint32_t mask_u32() const;
};

// The whole match: at most one entry per key, sorted by key. An all-zero mask never enters, because to the kernel it
// is not "any" but "nothing" (a filter with such a key never matches).
class Match {
 public:
  // For keys up to 4 bytes: value and mask in host order. A zero mask removes the key.
  Match& set(Key key, uint32_t value, uint32_t mask = 0xffffffff);
  Match& set_bytes(Key key, const uint8_t* value, const uint8_t* mask);  // key_width(key) bytes each, big-endian
  Match& eth_type(uint16_t type) { return set(Key::eth_type, type); }
  Match& mac(Key key, const MacAddr& mac);
  // key is dst_ip4, src_ip4 or enc_*_ip4; the IPv6 twin is chosen by the prefix's family. /0 leaves the key out.
  Match& ip(Key ipv4_key, const IpPrefix& prefix);
  Match& ct_state(uint16_t set_bits, uint16_t clear_bits = 0);  // "+trk+est-rpl": mask = set | clear

  [[nodiscard]] const KeyMatch* find(Key key) const;
  [[nodiscard]] const std::vector<KeyMatch>& keys() const { return keys_; }
  [[nodiscard]] bool empty() const { return keys_.empty(); }
  auto operator<=>(const Match&) const = default;

  // True when some packet can match both. Exact on the keys: two matches are disjoint only if a key both have differs
  // in a bit both masks cover. (It does not know that IPv4 keys exclude eth_type ipv6 when eth_type is missing.)
  [[nodiscard]] bool overlaps(const Match& other) const;
  // True when every packet that matches `inner` matches this too.
  [[nodiscard]] bool covers(const Match& inner) const;
  // Same keys with same masks: what cls_flower keeps in one hash table.
  [[nodiscard]] bool same_mask(const Match& other) const;

 private:
  std::vector<KeyMatch> keys_;
};

}  // namespace sepal::tc
