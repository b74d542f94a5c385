// The list of actions: kinds, cookie, flags and statistics around each act_<kind>.cpp's options. Governed by
// net/sched/act_api.c (tcf_action_init, tcf_action_dump_1, tcf_action_dump_terse) and linux/gen_stats.h.
#include "tc/codec/actions.hpp"

#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "tc/codec/options.hpp"

namespace sepal::tc {
namespace {

using netlink::MessageBuilder;

struct KindRow {
  std::string_view kind;
  Result<DecodedKind> (*decode)(std::span<const uint8_t>);
};
constexpr KindRow kKinds[] = {
    {"gact", decode_gact},   {"mirred", decode_mirred},   {"vlan", decode_vlan}, {"tunnel_key", decode_tunnel_key},
    {"pedit", decode_pedit}, {"csum", decode_csum},       {"ct", decode_ct},     {"police", decode_police},
    {"bpf", decode_bpf},     {"skbedit", decode_skbedit},
};

struct KindName {
  std::string_view operator()(const Gact&) const { return "gact"; }
  std::string_view operator()(const Mirred&) const { return "mirred"; }
  std::string_view operator()(const VlanAction&) const { return "vlan"; }
  std::string_view operator()(const TunnelSet&) const { return "tunnel_key"; }
  std::string_view operator()(const TunnelUnset&) const { return "tunnel_key"; }
  std::string_view operator()(const Pedit&) const { return "pedit"; }
  std::string_view operator()(const Csum&) const { return "csum"; }
  std::string_view operator()(const Ct&) const { return "ct"; }
  std::string_view operator()(const Police&) const { return "police"; }
  std::string_view operator()(const SkbeditMark&) const { return "skbedit"; }
  std::string_view operator()(const Bpf&) const { return "bpf"; }
  std::string_view operator()(const UnknownAction& a) const { return a.kind; }
};

// Kinds that carry their verdict themselves have none that could be unusual.
struct OwnVerdict {
  const Verdict* operator()(const Gact& a) const { return &a.verdict; }
  const Verdict* operator()(const Ct& a) const { return &a.verdict; }
  const Verdict* operator()(const Police& a) const { return &a.exceed; }
  const Verdict* operator()(const Bpf& a) const { return &a.verdict; }
  template <typename Other>
  const Verdict* operator()(const Other&) const {
    return nullptr;
  }
};

Verdict usual_verdict(const ActionKind& kind) {
  const auto* mirred = std::get_if<Mirred>(&kind);
  return {mirred != nullptr && !mirred->mirror ? Control::stolen : Control::pipe, 0};
}

struct EncodeOptions {
  MessageBuilder& message;
  const Common common;
  const EncodeContext& context;

  Result<void> operator()(const Gact& a) const { return encode_gact(message, a, common), Result<void>(); }
  Result<void> operator()(const Mirred& a) const { return encode_mirred(message, a, common), Result<void>(); }
  Result<void> operator()(const VlanAction& a) const { return encode_vlan(message, a, common), Result<void>(); }
  Result<void> operator()(const TunnelSet& a) const { return encode_tunnel_set(message, a, common), Result<void>(); }
  Result<void> operator()(const TunnelUnset&) const { return encode_tunnel_unset(message, common), Result<void>(); }
  Result<void> operator()(const Pedit& a) const { return encode_pedit(message, a, common), Result<void>(); }
  Result<void> operator()(const Csum& a) const { return encode_csum(message, a, common), Result<void>(); }
  Result<void> operator()(const Ct& a) const { return encode_ct(message, a, common), Result<void>(); }
  Result<void> operator()(const Police& a) const { return encode_police(message, a, common), Result<void>(); }
  Result<void> operator()(const SkbeditMark& a) const { return encode_skbedit(message, a, common), Result<void>(); }
  Result<void> operator()(const Bpf& a) const {
    const int fd = context.program_fd ? context.program_fd(a) : -1;
    if (fd < 0) return fail(Errc::not_found, "encode filter: eBPF program \"" + a.name + "\" is not loaded");
    return encode_bpf(message, a, fd, common), Result<void>();
  }
  Result<void> operator()(const UnknownAction& a) const {
    return fail(Errc::internal, "encode filter: action " + a.kind + " is not modelled");
  }
};

// Statistics: BASIC counts software and hardware together, BASIC_HW hardware alone. PKT64 follows the one it corrects,
// when packets do not fit 32 bits, so here the order of attributes does carry meaning.
Result<ActionStats> decode_stats(std::span<const uint8_t> region) {
  ActionStats stats;
  struct Sink {
    ActionStats& stats;
    uint64_t* packets;
  } sink{stats, &stats.packets};
  auto parsed = netlink::for_each_attr(region, [&sink](const netlink::Attr& attr) -> Result<void> {
    if (attr.type == TCA_STATS_BASIC || attr.type == TCA_STATS_BASIC_HW) {
      gnet_stats_basic basic{};
      if (attr.payload.size() < sizeof basic) return fail(Errc::protocol, "statistics of an action are cut short");
      std::memcpy(&basic, attr.payload.data(), sizeof basic);
      const bool hw = attr.type == TCA_STATS_BASIC_HW;
      sink.packets = hw ? &sink.stats.hw_packets : &sink.stats.packets;
      (hw ? sink.stats.hw_bytes : sink.stats.bytes) = basic.bytes;
      *sink.packets = basic.packets;
    } else if (attr.type == TCA_STATS_PKT64) {
      const auto packets = attr.u64();
      if (!packets) return fail(Errc::protocol, "statistics of an action are cut short");
      *sink.packets = *packets;
    } else if (attr.type == TCA_STATS_QUEUE) {
      gnet_stats_queue queue{};
      if (attr.payload.size() < sizeof queue) return fail(Errc::protocol, "statistics of an action are cut short");
      std::memcpy(&queue, attr.payload.data(), sizeof queue);
      sink.stats.drops = queue.drops;
      sink.stats.overlimits = queue.overlimits;
    }
    return {};
  });
  if (!parsed) return Unexpected(parsed.error());
  return stats;
}

}  // namespace

Result<DecodedAction> decode_action(std::span<const uint8_t> region) {
  auto attrs = Options<TCA_ACT_MAX>::parse(region);
  if (!attrs) return Unexpected(attrs.error());
  if (!attrs->has(TCA_ACT_KIND)) return fail(Errc::protocol, "action without a kind");
  DecodedAction out;
  out.unknown_attributes = attrs->unknown();
  if (!attrs->only({TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_ACT_INDEX, TCA_ACT_STATS, TCA_ACT_PAD, TCA_ACT_COOKIE,
                    TCA_ACT_FLAGS, TCA_ACT_USED_HW_STATS, TCA_ACT_IN_HW_COUNT})) {
    ++out.unknown_attributes;
  }

  const std::string kind = attrs->string(TCA_ACT_KIND);
  out.action.kind = UnknownAction{kind};
  if (attrs->has(TCA_ACT_OPTIONS)) {  // a terse dump has none
    for (const KindRow& row : kKinds) {
      if (row.kind != kind) continue;
      auto decoded = row.decode(attrs->bytes(TCA_ACT_OPTIONS));
      if (!decoded) return Unexpected(while_doing(decoded.error(), "action " + kind));
      out.action.kind = std::move(decoded->kind);
      out.common = decoded->common;
      out.action.index = decoded->common.index;
      out.unknown_attributes += decoded->unknown_attributes;
      const Verdict verdict = verdict_from_wire(decoded->common.action);
      if (std::visit(OwnVerdict{}, out.action.kind) == nullptr &&
          !std::holds_alternative<UnknownAction>(out.action.kind) && verdict != usual_verdict(out.action.kind)) {
        out.action.unusual_verdict = verdict;
      }
      break;
    }
  }
  // The mark of an action that belongs to its filter alone; the number the kernel gave it means nothing then.
  const auto flags = attrs->has(TCA_ACT_FLAGS) ? attrs->parms<nla_bitfield32>(TCA_ACT_FLAGS) : nla_bitfield32{};
  if ((flags.value & TCA_ACT_FLAGS_NO_PERCPU_STATS) != 0) out.action.index = 0;
  out.skip_hw = (flags.value & TCA_ACT_FLAGS_SKIP_HW) != 0;
  if (attrs->has(TCA_ACT_STATS)) {
    auto stats = decode_stats(attrs->bytes(TCA_ACT_STATS));
    if (!stats) return Unexpected(while_doing(stats.error(), "action " + kind));
    out.stats = *stats;
  }
  if (attrs->has(TCA_ACT_COOKIE)) {
    const auto cookie = attrs->bytes(TCA_ACT_COOKIE);
    out.cookie = Cookie::parse(cookie.data(), cookie.size());
  }
  if (attrs->malformed()) return malformed_options(kind);
  return out;
}

std::string_view kind_name(const ActionKind& kind) { return std::visit(KindName{}, kind); }

int32_t verdict_to_wire(const Verdict& verdict) {
  switch (verdict.control) {
    case Control::pipe: return TC_ACT_PIPE;
    case Control::pass: return TC_ACT_OK;
    case Control::drop: return TC_ACT_SHOT;
    case Control::goto_chain: return TC_ACT_GOTO_CHAIN | static_cast<int32_t>(verdict.chain & TC_ACT_EXT_VAL_MASK);
    case Control::reclassify: return TC_ACT_RECLASSIFY;
    case Control::stolen: return TC_ACT_STOLEN;
    case Control::redirect: return TC_ACT_REDIRECT;
    case Control::next_rule: return TC_ACT_UNSPEC;
    case Control::other: return static_cast<int32_t>(verdict.chain);
  }
  return TC_ACT_UNSPEC;
}

Verdict verdict_from_wire(int32_t action) {
  switch (action) {
    case TC_ACT_PIPE: return {Control::pipe, 0};
    case TC_ACT_OK: return {Control::pass, 0};
    case TC_ACT_SHOT: return {Control::drop, 0};
    case TC_ACT_RECLASSIFY: return {Control::reclassify, 0};
    case TC_ACT_STOLEN: return {Control::stolen, 0};
    case TC_ACT_REDIRECT: return {Control::redirect, 0};
    case TC_ACT_UNSPEC: return {Control::next_rule, 0};
    default: break;
  }
  if (TC_ACT_EXT_CMP(action, TC_ACT_GOTO_CHAIN)) {
    return {Control::goto_chain, static_cast<uint32_t>(action & TC_ACT_EXT_VAL_MASK)};
  }
  return {Control::other, static_cast<uint32_t>(action)};
}

DecodedKind not_modelled(std::string_view kind, const Common& common, uint32_t unknown_attributes) {
  return {UnknownAction{std::string(kind)}, common, unknown_attributes + 1};
}

Unexpected malformed_options(std::string_view kind) {
  return fail(Errc::protocol, "options of action " + std::string(kind) + " have a wrong size");
}

std::string_view action_fault(const Action& action) {
  const auto bad_chain = [](const Verdict& v) {
    return v.control == Control::goto_chain && v.chain > limits::kChainMax;
  };
  const Verdict* own = std::visit(OwnVerdict{}, action.kind);
  if (own != nullptr && action.unusual_verdict) return "two verdicts on one action";
  if (own != nullptr && bad_chain(*own)) return "a chain number above 28 bits";
  if (action.unusual_verdict && bad_chain(*action.unusual_verdict)) return "a chain number above 28 bits";
  if (const auto* mirred = std::get_if<Mirred>(&action.kind); mirred != nullptr && mirred->device == IfIndex()) {
    return "redirect to no device";
  }
  if (const auto* vlan = std::get_if<VlanAction>(&action.kind); vlan != nullptr) {
    const bool pop = vlan->kind == VlanAction::Kind::pop;
    if (pop && *vlan != VlanAction{}) return "vlan pop with more than its kind";
    if (!pop && vlan->protocol != kEthVlan && vlan->protocol != kEthQinq) return "vlan push of no VLAN protocol";
    if (!pop && vlan->id.value() > limits::kVidMax) return "vlan push of no VLAN id";
  }
  if (const auto* tunnel = std::get_if<TunnelSet>(&action.kind); tunnel != nullptr) {
    if (tunnel->source.family != tunnel->destination.family) return "tunnel_key set with ends of two families";
  }
  if (const auto* pedit = std::get_if<Pedit>(&action.kind); pedit != nullptr) {
    if (pedit->keys.empty() || pedit->keys.size() > UINT8_MAX) return "pedit with no keys or more than 255";
    for (const PeditKey& key : pedit->keys) {
      if (key.offset % 4 != 0) return "pedit of bytes across words";
      if ((key.value & ~key.mask) != 0) return "pedit with value bits outside its mask";
    }
  }
  if (const auto* ct = std::get_if<Ct>(&action.kind); ct != nullptr) {
    Ct plain;
    plain.clear = true;
    plain.verdict = ct->verdict;
    if (ct->clear && *ct != plain) return "ct clear with more than its verdict";
    if (ct->direction != Ct::Direction::none && !ct->nat) return "ct with a direction but without nat";
    const bool range = ct->nat_first || ct->nat_last || ct->nat_ports;
    if (range && ct->direction == Ct::Direction::none) return "ct nat to a range without src or dst";
    if (ct->nat_first.has_value() != ct->nat_last.has_value()) return "ct nat with half a range of addresses";
    if (ct->nat_first && ct->nat_first->family != ct->nat_last->family) return "ct nat with ends of two families";
    if (ct->mark_mask == 0 && ct->mark != 0) return "ct with a mark but without its mask";
  }
  if (const auto* police = std::get_if<Police>(&action.kind); police != nullptr) {
    const bool by_bytes = police->rate_bytes_per_second != 0;
    const bool by_packets = police->rate_packets_per_second != 0;
    if (by_bytes + by_packets + (police->mtu != 0) != 1) {
      return "police by neither a rate nor a size, or by several";
    }
    if ((police->rate_bytes_per_second == 0 && police->burst_bytes != 0) ||
        (police->rate_packets_per_second == 0 && police->burst_packets != 0)) {
      return "police with the burst of another rate";
    }
    if (police->rate_packets_per_second != 0 && police->burst_packets == 0) return "police of packets without a burst";
    if (police->conform.control == Control::goto_chain) return "police with goto when it conforms";
  }
  if (const auto* bpf = std::get_if<Bpf>(&action.kind); bpf != nullptr && bpf->name.empty()) {
    return "bpf without a name";
  }
  if (std::holds_alternative<UnknownAction>(action.kind)) return "an action that is not modelled";
  return {};
}

Result<void> encode_kind(MessageBuilder& message, const Action& action, uint32_t index, const EncodeContext& context) {
  message.put_string(TCA_ACT_KIND, kind_name(action.kind));
  const Verdict* own = std::visit(OwnVerdict{}, action.kind);
  const Verdict verdict = own != nullptr ? *own : action.unusual_verdict.value_or(usual_verdict(action.kind));
  const auto options = message.nest(TCA_ACT_OPTIONS);
  return std::visit(EncodeOptions{message, {index, verdict_to_wire(verdict)}, context}, action.kind);
}

Result<void> encode_actions(MessageBuilder& message, const RuleSpec& spec, const Cookie& cookie,
                            const EncodeContext& context) {
  const auto list = message.nest(TCA_FLOWER_ACT);
  const std::vector<Action>& actions = spec.actions;
  for (size_t i = 0; i < actions.size(); ++i) {
    const Action& action = actions[i];
    const auto number = static_cast<uint16_t>(i + 1);
    if (action.shared) {
      auto reference = context.shared ? context.shared(action, spec.skip_hw) : std::span<const uint8_t>();
      if (reference.empty())
        return fail(Errc::not_found, "encode filter: the shared action \"" + to_text(action) + "\" is not there");
      message.put_bytes(number | NLA_F_NESTED, reference.data(), reference.size());
      continue;
    }
    const auto nest = message.nest(number);
    if (auto encoded = encode_kind(message, action, action.index, context); !encoded) return encoded;
    if (action.index == 0) {
      // Own actions: one counter under a lock instead of 62 bytes per CPU. Kinds that keep per-CPU counters all the
      // same (police, skbedit, bpf) still store the flag and give it back.
      const nla_bitfield32 flags{TCA_ACT_FLAGS_NO_PERCPU_STATS, TCA_ACT_FLAGS_NO_PERCPU_STATS};
      message.put_bytes(TCA_ACT_FLAGS, &flags, sizeof flags);
    }
    if (i + 1 == actions.size()) {
      const auto bytes = cookie.bytes();
      message.put_bytes(TCA_ACT_COOKIE, bytes.data(), bytes.size());
    }
  }
  return {};
}

Result<void> decode_actions(std::span<const uint8_t> region, std::vector<Action>& actions, RuleState& state) {
  auto list = Options<TCA_ACT_MAX_PRIO>::parse(region);
  if (!list) return Unexpected(list.error());
  state.unknown_attributes += list->unknown();
  // Like the kernel: in the order of their numbers, up to the first gap.
  uint16_t count = 0;
  while (count < TCA_ACT_MAX_PRIO && list->has(static_cast<uint16_t>(count + 1))) ++count;
  for (uint16_t i = static_cast<uint16_t>(count + 1); i <= TCA_ACT_MAX_PRIO; ++i) {
    state.unknown_attributes += list->has(i) ? 1U : 0U;
  }
  actions.reserve(count);
  state.stats.reserve(count);
  state.indexes.reserve(count);
  for (uint16_t i = 1; i <= count; ++i) {
    auto decoded = decode_action(list->bytes(i));
    if (!decoded) return Unexpected(decoded.error());
    actions.push_back(std::move(decoded->action));
    state.stats.push_back(decoded->stats);
    state.indexes.push_back(decoded->common.index);
    state.unknown_attributes += decoded->unknown_attributes;
    state.cookie = decoded->cookie;  // ours stands on the last action
  }
  return {};
}

}  // namespace sepal::tc
