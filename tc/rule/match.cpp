// Keys and matches as values: widths, names, masks, and the questions the pipeline and lint ask of a match. What a key
// means to the kernel is linux/pkt_cls.h (TCA_FLOWER_KEY_*) and net/sched/cls_flower.c.
#include "tc/rule/match.hpp"

#include <algorithm>

namespace sepal::tc {
namespace {

struct KeyInfo {
  Key key;
  uint8_t width;
  std::string_view name;
};

constexpr KeyInfo kKeys[] = {
    {Key::vlan_id, 2, "vlan_id"},
    {Key::vlan_prio, 1, "vlan_prio"},
    {Key::vlan_eth_type, 2, "vlan_ethtype"},
    {Key::dst_mac, 6, "dst_mac"},
    {Key::src_mac, 6, "src_mac"},
    {Key::eth_type, 2, "eth_type"},
    {Key::ip_proto, 1, "ip_proto"},
    {Key::ip_tos, 1, "ip_tos"},
    {Key::ip_ttl, 1, "ip_ttl"},
    {Key::dst_ip4, 4, "dst_ip"},
    {Key::src_ip4, 4, "src_ip"},
    {Key::dst_ip6, 16, "dst_ip"},
    {Key::src_ip6, 16, "src_ip"},
    {Key::dst_port, 2, "dst_port"},
    {Key::src_port, 2, "src_port"},
    {Key::tcp_flags, 2, "tcp_flags"},
    {Key::icmp_type, 1, "icmp_type"},
    {Key::icmp_code, 1, "icmp_code"},
    {Key::arp_op, 1, "arp_op"},
    {Key::arp_tip, 4, "arp_tip"},
    {Key::arp_sip, 4, "arp_sip"},
    {Key::ip_flags, 4, "ip_flags"},
    {Key::enc_key_id, 4, "enc_key_id"},
    {Key::enc_dst_ip4, 4, "enc_dst_ip"},
    {Key::enc_src_ip4, 4, "enc_src_ip"},
    {Key::enc_dst_ip6, 16, "enc_dst_ip"},
    {Key::enc_src_ip6, 16, "enc_src_ip"},
    {Key::enc_dst_port, 2, "enc_dst_port"},
    {Key::ct_state, 2, "ct_state"},
    {Key::ct_zone, 2, "ct_zone"},
    {Key::ct_mark, 4, "ct_mark"},
    {Key::hash, 4, "hash"},
};
static_assert(std::size(kKeys) == kKeyCount);

const KeyInfo& info(Key key) { return kKeys[static_cast<size_t>(key)]; }

uint32_t read_u32(const std::array<uint8_t, 16>& bytes, size_t width) {
  uint32_t number = 0;
  for (size_t i = 0; i < width && i < 4; ++i) number = number << 8U | bytes[i];
  return number;
}

// The IPv6 twin of each IPv4 key.
Key ipv6_twin(Key key) {
  switch (key) {
    case Key::dst_ip4: return Key::dst_ip6;
    case Key::src_ip4: return Key::src_ip6;
    case Key::enc_dst_ip4: return Key::enc_dst_ip6;
    case Key::enc_src_ip4: return Key::enc_src_ip6;
    default: return key;
  }
}

}  // namespace

size_t key_width(Key key) { return info(key).width; }
std::string_view key_name(Key key) { return info(key).name; }

uint32_t KeyMatch::value_u32() const { return read_u32(value, key_width(key)); }
uint32_t KeyMatch::mask_u32() const { return read_u32(mask, key_width(key)); }

Match& Match::set(Key key, uint32_t value, uint32_t mask) {
  std::array<uint8_t, 4> v{};
  std::array<uint8_t, 4> m{};
  size_t width = key_width(key);
  for (size_t i = 0; i < width && i < 4; ++i) {
    unsigned shift = static_cast<unsigned>(width - 1 - i) * 8;
    v[i] = static_cast<uint8_t>(value >> shift);
    m[i] = static_cast<uint8_t>(mask >> shift);
  }
  // These are 12 and 3 bits wide on the wire, so their full masks are, too.
  if (key == Key::vlan_id) m[0] &= 0x0f;
  if (key == Key::vlan_prio) m[0] &= 0x07;
  return set_bytes(key, v.data(), m.data());
}

Match& Match::set_bytes(Key key, const uint8_t* value, const uint8_t* mask) {
  KeyMatch entry{key, {}, {}};
  bool any = false;
  for (size_t i = 0; i < key_width(key); ++i) {
    entry.mask[i] = mask[i];
    entry.value[i] = value[i] & mask[i];
    any = any || mask[i] != 0;
  }
  auto at = std::lower_bound(keys_.begin(), keys_.end(), key, [](const KeyMatch& k, Key id) { return k.key < id; });
  bool present = at != keys_.end() && at->key == key;
  if (!any) {
    if (present) keys_.erase(at);
  } else if (present) {
    *at = entry;
  } else {
    if (keys_.empty()) {
      keys_.reserve(4);  // what most matches come to; at is still the end
      at = keys_.end();
    }
    keys_.insert(at, entry);
  }
  return *this;
}

Match& Match::mac(Key key, const MacAddr& mac) {
  static constexpr uint8_t kAll[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  return set_bytes(key, mac.bytes.data(), kAll);
}

Match& Match::ip(Key ipv4_key, const IpPrefix& prefix) {
  Key key = prefix.family() == Family::ipv4 ? ipv4_key : ipv6_twin(ipv4_key);
  return set_bytes(key, prefix.address.bytes.data(), prefix.mask().bytes.data());
}

Match& Match::ct_state(uint16_t set_bits, uint16_t clear_bits) {
  return set(Key::ct_state, set_bits, static_cast<uint32_t>(set_bits | clear_bits));
}

const KeyMatch* Match::find(Key key) const {
  auto at = std::lower_bound(keys_.begin(), keys_.end(), key, [](const KeyMatch& k, Key id) { return k.key < id; });
  return at != keys_.end() && at->key == key ? &*at : nullptr;
}

bool Match::overlaps(const Match& other) const {
  return std::all_of(keys_.begin(), keys_.end(), [&other](const KeyMatch& mine) {
    const KeyMatch* theirs = other.find(mine.key);
    if (theirs == nullptr) return true;
    for (size_t i = 0; i < key_width(mine.key); ++i) {
      if (((mine.value[i] ^ theirs->value[i]) & mine.mask[i] & theirs->mask[i]) != 0) return false;
    }
    return true;
  });
}

bool Match::covers(const Match& inner) const {
  return std::all_of(keys_.begin(), keys_.end(), [&inner](const KeyMatch& mine) {
    const KeyMatch* theirs = inner.find(mine.key);
    if (theirs == nullptr) return false;
    for (size_t i = 0; i < key_width(mine.key); ++i) {
      if ((mine.mask[i] & ~theirs->mask[i]) != 0) return false;
      if (((mine.value[i] ^ theirs->value[i]) & mine.mask[i]) != 0) return false;
    }
    return true;
  });
}

bool Match::same_mask(const Match& other) const {
  return std::equal(keys_.begin(), keys_.end(), other.keys_.begin(), other.keys_.end(),
                    [](const KeyMatch& a, const KeyMatch& b) { return a.key == b.key && a.mask == b.mask; });
}

}  // namespace sepal::tc
