// A rule is a value: where it stands (RuleId), what it says (RuleSpec), what the kernel tells of it (RuleState).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "base/net_types.hpp"
#include "tc/rule/action.hpp"
#include "tc/rule/match.hpp"

namespace sepal::tc {

// Place of a filter: clsact ingress of `device` (our blocks are private, one per device), chain, prio, protocol,
// handle. (device, chain, prio) determines the protocol: tc core refuses two protocols at one priority.
struct RuleId {
  IfIndex device;
  uint32_t chain = 0;
  uint16_t prio = 0;
  uint16_t protocol = kEthAll;  // ETH_P_*, host order; matched against the outer tag for tagged frames
  uint32_t handle = 0;          // 1 .. 2^31-1
  auto operator<=>(const RuleId&) const = default;
};

struct RuleSpec {
  Match match;
  std::vector<Action> actions;
  bool skip_hw = false;  // software only
  bool operator==(const RuleSpec&) const = default;
};

struct Rule {
  RuleId id;
  RuleSpec spec;
  bool operator==(const Rule&) const = default;
};

// The mark that says "ours", on the last action of each filter of ours and on each shared action (TCA_ACT_COOKIE). 16
// bytes:
//   "SPL" | layout version | instance, 2 bytes BE | conntrack zone of the rule's tenant, 2 bytes BE, 0 for none |
//   content hash, 8 bytes BE
// The zone stands here so that a terse dump gives every tenant its zone back after a restart.
struct Cookie {
  static constexpr uint8_t kLayout = 1;
  uint8_t layout = kLayout;
  uint16_t instance = 0;  // hash of the instance's name
  Zone zone;
  uint64_t content = 0;
  auto operator<=>(const Cookie&) const = default;

  [[nodiscard]] std::array<uint8_t, limits::kCookieBytes> bytes() const;
  static std::optional<Cookie> parse(const uint8_t* data, size_t size);  // nullopt: not ours
};

struct ActionStats {
  uint64_t bytes = 0;
  uint64_t packets = 0;
  uint64_t drops = 0;
  uint64_t overlimits = 0;  // of a policer what exceeded, of a redirect what its device did not take
  uint64_t hw_bytes = 0;
  uint64_t hw_packets = 0;
  auto operator<=>(const ActionStats&) const = default;
};

// What the kernel tells of an installed filter.
struct RuleState {
  std::optional<Cookie> cookie;
  bool in_hw = false;
  bool skip_hw = false;
  bool skip_sw = false;
  uint32_t in_hw_count = 0;         // full dumps only
  std::vector<ActionStats> stats;   // one per action, in order
  std::vector<uint32_t> indexes;    // the same: numbers of the actions' objects in the kernel
  uint32_t unknown_attributes = 0;  // attributes the decoder did not know; kept as a count
};

// Hashes are stable over restarts and releases (a change means Cookie::kLayout changes): they are the identity of our
// filters in the kernel. All are pure functions of the value. Whether an action is shared, and by which number, does
// not count: what a rule does is the same.
uint64_t content_hash(const RuleSpec& spec, uint16_t protocol);
uint64_t content_hash(const SharedAction& action);
uint32_t match_handle(const Match& match);  // 1 .. 2^31-1
uint16_t instance_hash(std::string_view instance);

// Text as `tc filter show` orders it, on one line:
//   "dev 7 chain 0x2000064 prio 1 protocol all handle 0x… eth_type ipv4 ct_state +trk+est skip_hw action goto chain
//   0x…"
// Devices are numbers: "dev 7"; who knows names substitutes them.
std::string to_text(const Match& match);
std::string to_text(const Action& action);
std::string to_text(const RuleSpec& spec);
std::string to_text(const Rule& rule);

}  // namespace sepal::tc
