// Actions of a filter: one struct per kind, in a variant. Values only; the codec knows the bytes (linux/tc_act/*.h).
// All numbers are host order, addresses network order inside IpAddr.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "base/net_types.hpp"

namespace sepal::tc {

// What happens to the packet after an action, TC_ACT_*.
enum class Control : uint8_t {
  pipe,        // next action
  pass,        // TC_ACT_OK: done, up the stack
  drop,        // TC_ACT_SHOT
  goto_chain,  // TC_ACT_GOTO_CHAIN | chain
  reclassify,  // never ours; iproute2's default for some actions, kept to show foreign filters truthfully
  stolen,
  redirect,
  next_rule,  // TC_ACT_UNSPEC, "continue": as if this rule had not matched
  other,      // anything else a foreign filter may hold
};

struct Verdict {
  Control control = Control::pipe;
  uint32_t chain = 0;  // with goto_chain; with other: the kernel's number, as it is
  auto operator<=>(const Verdict&) const = default;
};

// act_gact: drop, pass, goto chain N, and a plain counter (pipe).
struct Gact {
  Verdict verdict;
  auto operator<=>(const Gact&) const = default;
};

// act_mirred, egress side (`mirred egress redirect dev X`; ingress true: `mirred ingress …`).
struct Mirred {
  IfIndex device;
  bool mirror = false;  // false: redirect (stolen); true: mirror (pipe)
  bool ingress = false;
  auto operator<=>(const Mirred&) const = default;
};

// act_vlan: push, pop, modify. Pop has nothing but its kind.
struct VlanAction {
  enum class Kind : uint8_t { pop, push, modify } kind = Kind::pop;
  Vid id;
  uint16_t protocol = 0;  // with push and modify: 0x8100 or 0x88a8
  uint8_t priority = 0;   // with push and modify
  auto operator<=>(const VlanAction&) const = default;
};

// act_tunnel_key set / unset.
struct TunnelSet {
  IpAddr source;
  IpAddr destination;  // same family as source
  uint32_t key_id = 0;
  uint16_t dst_port = 0;
  uint8_t tos = 0;
  uint8_t ttl = 0;
  bool checksum = false;  // outer UDP checksum; false is `nocsum`
  auto operator<=>(const TunnelSet&) const = default;
};
struct TunnelUnset {
  auto operator<=>(const TunnelUnset&) const = default;
};

// act_pedit in extended mode: one 32-bit word each. Written bits are those set in `mask` (the kernel's own mask is the
// complement: bits to keep).
struct PeditKey {
  enum class Header : uint8_t { network, eth, ip4, ip6, tcp, udp } header = Header::eth;  // TCA_PEDIT_KEY_EX_HDR_TYPE_*
  enum class Command : uint8_t { set, add } command = Command::set;
  uint32_t offset = 0;  // bytes from the start of that header, a multiple of 4
  uint32_t value = 0;   // as the packet's bytes read big-endian; bits outside mask are zero
  uint32_t mask = 0;    // bits to write, big-endian like value
  auto operator<=>(const PeditKey&) const = default;
};
struct Pedit {
  std::vector<PeditKey> keys;
  auto operator<=>(const Pedit&) const = default;
};

// act_csum: which checksums to recompute, TCA_CSUM_UPDATE_FLAG_*.
struct Csum {
  uint32_t flags = 0;
  auto operator<=>(const Csum&) const = default;
};
inline constexpr uint32_t kCsumIpv4Header = 1;
inline constexpr uint32_t kCsumIcmp = 2;
inline constexpr uint32_t kCsumTcp = 8;
inline constexpr uint32_t kCsumUdp = 16;

// act_ct: lookup, commit, NAT. Equal ends of a range are one address or port.
struct Ct {
  Zone zone;
  bool commit = false;
  bool force = false;
  bool clear = false;
  bool nat = false;  // `nat` alone: apply the translation the connection already has
  enum class Direction : uint8_t { none, src, dst } direction = Direction::none;  // with nat and commit
  std::optional<IpAddr> nat_first;
  std::optional<IpAddr> nat_last;
  std::optional<PortRange> nat_ports;
  uint32_t mark = 0;
  uint32_t mark_mask = 0;  // 0: mark is left alone
  Verdict verdict;         // control of the action itself; pipe in all of ours
  auto operator<=>(const Ct&) const = default;
};

// act_police by bytes or by packets; exactly one rate is non-zero. The kernel keeps bursts as time, in steps of 64 ns,
// so above 15 million bytes or packets per second a burst comes back rounded up (tc/codec/act_police.hpp).
struct Police {
  uint64_t rate_bytes_per_second = 0;
  uint32_t burst_bytes = 0;
  uint64_t rate_packets_per_second = 0;
  uint64_t burst_packets = 0;
  Verdict exceed{Control::drop, 0};
  Verdict conform{Control::pipe, 0};
  uint32_t mtu = 0;  // bytes of a frame with its Ethernet header, of a segment where many travel as one; larger ones
                     // exceed; 0: none does. Not beside a rate
  auto operator<=>(const Police&) const = default;
};

// act_skbedit mark.
struct SkbeditMark {
  uint32_t mark = 0;
  uint32_t mask = 0xffffffff;
  auto operator<=>(const SkbeditMark&) const = default;
};

// act_bpf. The kernel names a program by file descriptor on the way in and by name, tag and id on the way out; a rule
// holds what is stable: name (BPF_OBJ_NAME_LEN - 1 = 15 bytes at most) and tag (BPF_TAG_SIZE, hash of its code).
struct Bpf {
  std::string name;
  std::array<uint8_t, 8> tag{};
  Verdict verdict;  // what TC_ACT_UNSPEC from the program means
  auto operator<=>(const Bpf&) const = default;
};

// What these structs cannot hold, in a foreign filter: a kind this code does not know, or a known kind with an option
// that is not modelled here. Kept by name, never written.
struct UnknownAction {
  std::string kind;
  auto operator<=>(const UnknownAction&) const = default;
};

using ActionKind = std::variant<Gact, Mirred, VlanAction, TunnelSet, TunnelUnset, Pedit, Csum, Ct, Police, SkbeditMark,
                                Bpf, UnknownAction>;

// An action of a rule, its own or a shared one: an immutable object that the kernel numbers and that any number of
// filters refer to. By which number, and whether at all, says nothing about what happens to a packet: comparisons (and
// content_hash) see content alone.
struct Action {
  ActionKind kind;
  // The object's number where it is known (a decoded filter's, a foreign one's); 0: this filter's own.
  uint32_t index = 0;
  // What follows the action, only where a foreign filter says something else than the kind's usual (stolen for
  // redirect, pipe for all others) and the kind has no verdict of its own. Never set in ours.
  std::optional<Verdict> unusual_verdict;
  bool shared = false;  // to be written as a reference to the shared object of this content, whatever its number

  friend auto operator<=>(const Action& a, const Action& b) {
    return std::tie(a.kind, a.unusual_verdict) <=> std::tie(b.kind, b.unusual_verdict);
  }
  friend bool operator==(const Action& a, const Action& b) {
    return a.kind == b.kind && a.unusual_verdict == b.unusual_verdict;
  }
};

// What a shared object is: equal ones are one object. The kernel binds a filter only to an object that is as the filter
// in or out of hardware (act_api.c, tcf_action_init), so that is part of it.
struct SharedAction {
  ActionKind kind;
  bool skip_hw = false;
  auto operator<=>(const SharedAction&) const = default;
};

}  // namespace sepal::tc
