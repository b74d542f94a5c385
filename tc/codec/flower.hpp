// Rules as rtnetlink filter messages, both ways. Pure: bytes in buffers, no socket. Governed by linux/rtnetlink.h
// (struct tcmsg, TCA_*), linux/pkt_cls.h (TCA_FLOWER_*) and net/sched/cls_api.c, cls_flower.c.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::tc {

struct EncodeContext {
  // Borrowed descriptor of the loaded program of that name and tag; negative: not loaded. Needed by rules with act_bpf.
  std::function<int(const Bpf&)> program_fd;
  // The reference to a shared action's object (action_object.hpp), borrowed; empty: there is none. Needed by rules with
  // such actions.
  std::function<std::span<const uint8_t>(const Action&, bool skip_hw)> shared;
  bool verbose = false;  // ask the driver for its reasons (TCA_CLS_FLAGS_VERBOSE)
  bool skip_sw = false;  // in hardware or not at all
  bool echo = false;     // ask for the installed filter back; costs 1.6 times
};

enum class AddMode : uint8_t {
  create,   // refused with EEXIST when the handle is taken
  replace,  // takes the place of the filter with that handle, or is created
};

// Each appends one message to `out` (a reused buffer of whole messages, laid end to end) or leaves it as it was.
//
// encode_add refuses (Errc::internal) what the kernel would take and silently mean something else by, or could not give
// back: a key whose precondition is missing (flower_keys.hpp), a partial mask where the kernel knows none, both address
// families at once, a VLAN protocol other than eth_type, a last action that is shared (the cookie would land on the
// shared object), no action at all.
Result<void> encode_add(std::vector<uint8_t>& out, const Rule& rule, const Cookie& cookie, AddMode mode,
                        const EncodeContext& context);
// Delete and get name the kind: without it the kernel takes the RTNL.
Result<void> encode_delete(std::vector<uint8_t>& out, const RuleId& id);
Result<void> encode_get(std::vector<uint8_t>& out, const RuleId& id);
// All filters of a device's ingress, of one chain when given. Terse: place, flags, and each action's kind, cookie and
// statistics, but neither match nor options.
Result<void> encode_dump(std::vector<uint8_t>& out, IfIndex device, std::optional<uint32_t> chain, bool terse);

struct DecodedFilter {
  Rule rule;
  RuleState state;
  std::string kind;  // of anything but "flower" only rule.id is decoded
  // The kernel begins each (chain, prio) of a dump with a message that stands for the priority itself and has no
  // handle.
  [[nodiscard]] bool is_head() const { return rule.id.handle == 0; }
};

// Takes a whole RTM_NEWTFILTER or RTM_DELTFILTER message: a dump's, terse or full, an echo's, or a request's. What is
// malformed is Errc::protocol; what is merely unknown is counted in state.unknown_attributes. From a terse dump, match
// is empty and every action an UnknownAction of its kind.
//
// Two things the kernel tells otherwise than it was told are put back: eth_type of a filter whose protocol is a VLAN
// tag is that tag (the kernel gives the inner type or nothing), and the index of an action that is the filter's own
// (TCA_ACT_FLAGS_NO_PERCPU_STATS, which encode_add sets on those and only those) is 0.
Result<DecodedFilter> decode_filter(std::span<const uint8_t> message);

}  // namespace sepal::tc
