// Stable identities: content_hash, match_handle, instance_hash. Each value is written out as tagged big-endian bytes
// and hashed with XXH64. Numbers below are part of what stands in kernels out there: append, never renumber; anything
// else is a new Cookie::kLayout.
#include <endian.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstring>
#include <span>
#include <string_view>

#include "tc/rule/hashes.hpp"
#include "tc/rule/xxh64.hpp"

namespace sepal::tc {
namespace {

class Canonical {
 public:
  template <std::integral Int>
  void put(Int value) {
    const Int bytes = big_endian(value);
    std::memcpy(room(sizeof bytes), &bytes, sizeof bytes);
  }
  void put(bool value) { put<uint8_t>(value ? 1 : 0); }
  void put(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    put_bytes(text.data(), text.size());
  }
  void put(const IpAddr& address) {
    put<uint8_t>(address.is_v4() ? 4 : 6);
    put_some(address.bytes, address.size());
  }
  template <typename Value>
  void put(const std::optional<Value>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  void put(const PortRange& range) {
    put(range.first);
    put(range.last);
  }
  void put(const Verdict& verdict);
  void put(const KeyMatch& key);
  void put(const ActionKind& kind);
  void put(const Action& action);
  void put(const Match& match) {
    put(static_cast<uint8_t>(match.keys().size()));
    for (const KeyMatch& key : match.keys()) put(key);
  }
  // What is written and not hashed yet; all of it, as long as nothing has been flushed.
  [[nodiscard]] std::span<const uint8_t> gathered() const { return {gathered_, used_}; }
  [[nodiscard]] bool flushed() const { return flushed_; }
  [[nodiscard]] uint64_t digest() {
    flush();
    return hash_.digest();
  }

 private:
  template <typename Int>
  static Int big_endian(Int value) {
    if constexpr (sizeof value == 2) return static_cast<Int>(htobe16(static_cast<uint16_t>(value)));
    if constexpr (sizeof value == 4) return static_cast<Int>(htobe32(static_cast<uint32_t>(value)));
    if constexpr (sizeof value == 8) return static_cast<Int>(htobe64(static_cast<uint64_t>(value)));
    return value;
  }
  // The first `size` bytes of an array: copied whole where there is room, which is a matter of two moves.
  void put_some(const std::array<uint8_t, 16>& bytes, size_t size) {
    if (sizeof gathered_ - used_ < bytes.size()) return put_bytes(bytes.data(), size);
    std::memcpy(gathered_ + used_, bytes.data(), bytes.size());
    used_ += size;
  }
  // Values are a few bytes each: they are gathered here, and hashed a rule at a time.
  uint8_t* room(size_t size) {
    if (size > sizeof gathered_ - used_) flush();
    used_ += size;
    return gathered_ + used_ - size;
  }
  void put_bytes(const void* data, size_t size) {
    const auto* from = static_cast<const uint8_t*>(data);
    for (size_t done = 0; done < size;) {
      const size_t take = std::min(size - done, sizeof gathered_);
      std::memcpy(room(take), from + done, take);
      done += take;
    }
  }
  void flush() {
    hash_.update(gathered_, used_);
    used_ = 0;
    flushed_ = true;
  }

  Xxh64 hash_;
  uint8_t gathered_[512];
  size_t used_ = 0;
  bool flushed_ = false;
};

uint8_t number(Key key) {
  switch (key) {
    case Key::vlan_id: return 1;
    case Key::vlan_prio: return 2;
    case Key::vlan_eth_type: return 3;
    case Key::dst_mac: return 4;
    case Key::src_mac: return 5;
    case Key::eth_type: return 6;
    case Key::ip_proto: return 7;
    case Key::ip_tos: return 8;
    case Key::ip_ttl: return 9;
    case Key::dst_ip4: return 10;
    case Key::src_ip4: return 11;
    case Key::dst_ip6: return 12;
    case Key::src_ip6: return 13;
    case Key::dst_port: return 14;
    case Key::src_port: return 15;
    case Key::tcp_flags: return 16;
    case Key::icmp_type: return 17;
    case Key::icmp_code: return 18;
    case Key::arp_op: return 19;
    case Key::arp_tip: return 20;
    case Key::arp_sip: return 21;
    case Key::ip_flags: return 22;
    case Key::enc_key_id: return 23;
    case Key::enc_dst_ip4: return 24;
    case Key::enc_src_ip4: return 25;
    case Key::enc_dst_ip6: return 26;
    case Key::enc_src_ip6: return 27;
    case Key::enc_dst_port: return 28;
    case Key::ct_state: return 29;
    case Key::ct_zone: return 30;
    case Key::ct_mark: return 31;
    case Key::hash: return 32;
  }
  return 0;
}

uint8_t number(Control control) {
  switch (control) {
    case Control::pipe: return 1;
    case Control::pass: return 2;
    case Control::drop: return 3;
    case Control::goto_chain: return 4;
    case Control::reclassify: return 5;
    case Control::stolen: return 6;
    case Control::redirect: return 7;
    case Control::other: return 8;
    case Control::next_rule: return 9;
  }
  return 0;
}

uint8_t number(VlanAction::Kind kind) {
  switch (kind) {
    case VlanAction::Kind::pop: return 1;
    case VlanAction::Kind::push: return 2;
    case VlanAction::Kind::modify: return 3;
  }
  return 0;
}

uint8_t number(PeditKey::Header header) {
  switch (header) {
    case PeditKey::Header::network: return 1;
    case PeditKey::Header::eth: return 2;
    case PeditKey::Header::ip4: return 3;
    case PeditKey::Header::ip6: return 4;
    case PeditKey::Header::tcp: return 5;
    case PeditKey::Header::udp: return 6;
  }
  return 0;
}

uint8_t number(Ct::Direction direction) {
  switch (direction) {
    case Ct::Direction::none: return 0;
    case Ct::Direction::src: return 1;
    case Ct::Direction::dst: return 2;
  }
  return 0;
}

// Writes an action's number and its members in the order of its struct.
struct PutAction {
  Canonical& out;

  void operator()(const Gact& a) const {
    out.put<uint8_t>(1);
    out.put(a.verdict);
  }
  void operator()(const Mirred& a) const {
    out.put<uint8_t>(2);
    out.put(a.device.value());
    out.put(a.mirror);
    out.put(a.ingress);
  }
  void operator()(const VlanAction& a) const {
    out.put<uint8_t>(3);
    out.put(number(a.kind));
    out.put(a.id.value());
    out.put(a.protocol);
    out.put(a.priority);
  }
  void operator()(const TunnelSet& a) const {
    out.put<uint8_t>(4);
    out.put(a.source);
    out.put(a.destination);
    out.put(a.key_id);
    out.put(a.dst_port);
    out.put(a.tos);
    out.put(a.ttl);
    out.put(a.checksum);
  }
  void operator()(const TunnelUnset&) const { out.put<uint8_t>(5); }
  void operator()(const Pedit& a) const {
    out.put<uint8_t>(6);
    out.put(static_cast<uint8_t>(a.keys.size()));
    for (const PeditKey& key : a.keys) {
      out.put(number(key.header));
      out.put(key.command == PeditKey::Command::add);
      out.put(key.offset);
      out.put(key.value);
      out.put(key.mask);
    }
  }
  void operator()(const Csum& a) const {
    out.put<uint8_t>(7);
    out.put(a.flags);
  }
  void operator()(const Ct& a) const {
    out.put<uint8_t>(8);
    out.put(a.zone.value());
    out.put(a.commit);
    out.put(a.force);
    out.put(a.clear);
    out.put(a.nat);
    out.put(number(a.direction));
    out.put(a.nat_first);
    out.put(a.nat_last);
    out.put(a.nat_ports);
    out.put(a.mark);
    out.put(a.mark_mask);
    out.put(a.verdict);
  }
  void operator()(const Police& a) const {
    out.put<uint8_t>(a.mtu == 0 ? 9 : 13);  // 9 as ever: sizes came later
    out.put(a.rate_bytes_per_second);
    out.put(a.burst_bytes);
    out.put(a.rate_packets_per_second);
    out.put(a.burst_packets);
    out.put(a.exceed);
    out.put(a.conform);
    if (a.mtu != 0) out.put(a.mtu);
  }
  void operator()(const SkbeditMark& a) const {
    out.put<uint8_t>(10);
    out.put(a.mark);
    out.put(a.mask);
  }
  void operator()(const Bpf& a) const {
    out.put<uint8_t>(11);
    out.put(std::string_view(a.name));
    for (const uint8_t byte : a.tag) out.put(byte);
    out.put(a.verdict);
  }
  void operator()(const UnknownAction& a) const {
    out.put<uint8_t>(12);
    out.put(std::string_view(a.kind));
  }
};

void Canonical::put(const Verdict& verdict) {
  put(number(verdict.control));
  put(verdict.chain);
}

void Canonical::put(const KeyMatch& key) {
  put(number(key.key));
  const size_t width = key_width(key.key);
  put_some(key.value, width);
  put_some(key.mask, width);
}

void Canonical::put(const ActionKind& kind) { std::visit(PutAction{*this}, kind); }

void Canonical::put(const Action& action) {
  put(action.kind);
  put<uint32_t>(0);  // where layout 1 has the number of a shared action
  put(action.unusual_verdict);
}

uint32_t handle_of(uint64_t digest) {
  const auto handle = static_cast<uint32_t>(digest ^ digest >> 32U) & 0x7fffffffU;
  return handle != 0 ? handle : 1;
}

}  // namespace

uint64_t content_hash(const RuleSpec& spec, uint16_t protocol) { return rule_hashes(spec, protocol).content; }

uint64_t content_hash(const SharedAction& action) {
  Canonical out;
  out.put(action.skip_hw);
  out.put(action.kind);
  return out.digest();
}

uint32_t match_handle(const Match& match) {
  Canonical out;
  out.put(match);
  return handle_of(out.digest());
}

RuleHashes rule_hashes(const RuleSpec& spec, uint16_t protocol) {
  RuleHashes hashes;
  Canonical out;
  out.put(protocol);
  out.put(spec.skip_hw);
  const size_t begin = out.gathered().size();
  out.put(spec.match);
  // The match's bytes, unless there were too many to be gathered.
  const auto match = out.gathered();
  if (match.size() > begin && !out.flushed()) {
    Xxh64 hash;
    hash.update(match.data() + begin, match.size() - begin);
    hashes.handle = handle_of(hash.digest());
  } else {
    hashes.handle = match_handle(spec.match);
  }
  out.put(static_cast<uint8_t>(spec.actions.size()));
  for (const Action& action : spec.actions) out.put(action);
  hashes.content = out.digest();
  return hashes;
}

uint16_t instance_hash(std::string_view instance) {
  Xxh64 hash;
  hash.update(instance.data(), instance.size());
  const uint64_t digest = hash.digest();
  return static_cast<uint16_t>(digest ^ digest >> 16U ^ digest >> 32U ^ digest >> 48U);
}

}  // namespace sepal::tc
