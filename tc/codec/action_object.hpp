// Actions as objects of their own, which filters refer to by kind and number: RTM_NEWACTION, RTM_DELACTION,
// RTM_GETACTION. Pure. Governed by linux/rtnetlink.h (struct tcamsg, TCA_ROOT_*), linux/pkt_cls.h (TCA_ACT_*) and
// net/sched/act_api.c.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "tc/codec/flower.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::tc {

// Kinds that this project shares; a dump shows one kind.
inline constexpr std::string_view kSharedKinds[] = {"pedit", "csum", "tunnel_key"};
std::string_view kind_of(const SharedAction& action);

struct ActionObject {
  SharedAction action;
  uint32_t index = 0;
  std::optional<Cookie> cookie;
  uint32_t bound = 0;               // filters that refer to it
  uint32_t unknown_attributes = 0;  // the object says more than `action` can hold
};

// Each appends one message to `out`, or leaves it as it was.
//
// An object keeps its counters per CPU: all CPUs that forward count in it. AddMode::create is refused by the kernel
// with EEXIST when the number is taken; AddMode::replace changes the object under the filters that refer to it, at once
// for all.
Result<void> encode_action_add(std::vector<uint8_t>& out, const ActionObject& object, AddMode mode);
// Refused with EPERM while a filter refers to it.
Result<void> encode_action_delete(std::vector<uint8_t>& out, std::string_view kind, uint32_t index);
Result<void> encode_action_dump(std::vector<uint8_t>& out, std::string_view kind);

// What stands in a filter's list for a shared action: the inside of its nest. The kernel reads no more of it than kind
// and number when the object is there; everything else is said as well, so that an object that vanished just now is
// made anew by the filter, and not another one. It bears no cookie, for that would replace the object's.
Result<std::vector<uint8_t>> encode_reference(const SharedAction& action, uint32_t index);

// The objects in one message of a dump (or of a request).
Result<void> decode_actions_message(std::span<const uint8_t> message,
                                    const std::function<void(const ActionObject&)>& sink);

}  // namespace sepal::tc
