// The actions of a filter, TCA_FLOWER_ACT: a list of nests numbered from 1, each with TCA_ACT_KIND and TCA_ACT_OPTIONS.
// One act_<kind>.cpp per kind fills and reads the options. Governed by linux/pkt_cls.h (TCA_ACT_*), linux/tc_act/*.h
// and net/sched/act_api.c. Internal to tc/codec.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "netlink/message.hpp"
#include "tc/codec/flower.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::tc {

// --- what all kinds share ---

int32_t verdict_to_wire(const Verdict& verdict);
Verdict verdict_from_wire(int32_t action);

// The members every struct of options begins with (tc_gen): the object's index and what follows the action.
struct Common {
  uint32_t index = 0;
  int32_t action = 0;
  int32_t bound = 0;  // filters that refer to it; in replies only
};
template <typename Parms>
Parms with(const Common& common) {
  Parms parms{};
  parms.index = common.index;
  parms.action = common.action;
  return parms;
}

template <typename Parms>
Common common_of(const Parms& parms) {
  return {parms.index, parms.action, parms.bindcnt};
}

struct DecodedKind {
  ActionKind kind;
  Common common;
  uint32_t unknown_attributes = 0;
};
// A known kind with an option that its struct does not model.
DecodedKind not_modelled(std::string_view kind, const Common& common, uint32_t unknown_attributes);
Unexpected malformed_options(std::string_view kind);

// --- each kind: writes, or reads, the inside of TCA_ACT_OPTIONS ---

void encode_gact(netlink::MessageBuilder& message, const Gact& gact, const Common& common);
void encode_mirred(netlink::MessageBuilder& message, const Mirred& mirred, const Common& common);
void encode_vlan(netlink::MessageBuilder& message, const VlanAction& vlan, const Common& common);
void encode_tunnel_set(netlink::MessageBuilder& message, const TunnelSet& tunnel, const Common& common);
void encode_tunnel_unset(netlink::MessageBuilder& message, const Common& common);
void encode_pedit(netlink::MessageBuilder& message, const Pedit& pedit, const Common& common);
void encode_csum(netlink::MessageBuilder& message, const Csum& csum, const Common& common);
void encode_ct(netlink::MessageBuilder& message, const Ct& ct, const Common& common);
void encode_police(netlink::MessageBuilder& message, const Police& police, const Common& common);
void encode_skbedit(netlink::MessageBuilder& message, const SkbeditMark& skbedit, const Common& common);
void encode_bpf(netlink::MessageBuilder& message, const Bpf& bpf, int program_fd, const Common& common);

Result<DecodedKind> decode_gact(std::span<const uint8_t> options);
Result<DecodedKind> decode_mirred(std::span<const uint8_t> options);
Result<DecodedKind> decode_vlan(std::span<const uint8_t> options);
Result<DecodedKind> decode_tunnel_key(std::span<const uint8_t> options);
Result<DecodedKind> decode_pedit(std::span<const uint8_t> options);
Result<DecodedKind> decode_csum(std::span<const uint8_t> options);
Result<DecodedKind> decode_ct(std::span<const uint8_t> options);
Result<DecodedKind> decode_police(std::span<const uint8_t> options);
Result<DecodedKind> decode_skbedit(std::span<const uint8_t> options);
Result<DecodedKind> decode_bpf(std::span<const uint8_t> options);

// Why an action cannot be written; empty when it can.
std::string_view action_fault(const Action& action);

// --- one action ---

std::string_view kind_name(const ActionKind& kind);

// Writes TCA_ACT_KIND and TCA_ACT_OPTIONS.
Result<void> encode_kind(netlink::MessageBuilder& message, const Action& action, uint32_t index,
                         const EncodeContext& context);

// The inside of an action's nest.
struct DecodedAction {
  Action action;
  ActionStats stats;
  std::optional<Cookie> cookie;
  Common common;
  bool skip_hw = false;
  uint32_t unknown_attributes = 0;
};
Result<DecodedAction> decode_action(std::span<const uint8_t> region);

// --- the list ---

// Writes the whole TCA_FLOWER_ACT with the cookie on the last action. Own actions have passed action_fault().
Result<void> encode_actions(netlink::MessageBuilder& message, const RuleSpec& spec, const Cookie& cookie,
                            const EncodeContext& context);
// Reads the inside of TCA_FLOWER_ACT.
Result<void> decode_actions(std::span<const uint8_t> region, std::vector<Action>& actions, RuleState& state);

}  // namespace sepal::tc
