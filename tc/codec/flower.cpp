// Filter messages ↔ rules: header, match (driven by flower_keys.hpp), flags, actions. Governed by linux/rtnetlink.h,
// linux/pkt_cls.h, net/sched/cls_api.c (tc_new_tfilter, tcf_fill_node) and cls_flower.c (fl_set_key, fl_dump,
// fl_terse_dump).
#include "tc/codec/flower.hpp"

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "netlink/message.hpp"
#include "tc/codec/actions.hpp"
#include "tc/codec/flower_keys.hpp"
#include "tc/codec/options.hpp"
#include "tc/codec/place.hpp"

namespace sepal::tc {
namespace {

using netlink::MessageBuilder;

constexpr uint32_t kIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);

// --- place ------------------------------------------------------------------------------------------------------

tcmsg to_tcmsg(const RuleId& id) {
  tcmsg tcm{};
  tcm.tcm_family = AF_UNSPEC;
  tcm.tcm_ifindex = static_cast<int>(id.device.value());
  tcm.tcm_handle = id.handle;
  tcm.tcm_parent = kIngress;
  tcm.tcm_info = TC_H_MAKE(static_cast<uint32_t>(id.prio) << 16U, htons(id.protocol));
  return tcm;
}

constexpr bool rows_are_in_order() {
  for (size_t i = 1; i < std::size(kFlowerKeys); ++i) {
    if (kFlowerKeys[i].key < kFlowerKeys[i - 1].key) return false;
  }
  return kFlowerKeys[0].key == Key{} && kFlowerKeys[std::size(kFlowerKeys) - 1].key == Key::hash;
}
static_assert(rows_are_in_order(), "encode_match walks keys and rows side by side");

bool is_vlan(uint32_t eth_type) { return eth_type == kEthVlan || eth_type == kEthQinq; }

// --- match, on the way in ---------------------------------------------------------------------------------------

std::array<uint8_t, 16> ones_for(Key key) {
  std::array<uint8_t, 16> ones{};
  std::fill_n(ones.begin(), key_width(key), uint8_t{0xff});
  if (key == Key::vlan_id) ones[0] = 0x0f;
  if (key == Key::vlan_prio) ones[0] = 0x07;
  return ones;
}

struct WireKey {
  std::array<uint8_t, 16> bytes{};
  size_t width = 0;
};

// Keys are big-endian inside; host order on the wire means reversed bytes here, on a little-endian machine.
WireKey in_order(const KeyRow& row, const std::array<uint8_t, 16>& bytes) {
  WireKey out{bytes, key_width(row.key)};
  if (row.order == WireOrder::host && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
    std::reverse(out.bytes.begin(), out.bytes.begin() + static_cast<ptrdiff_t>(out.width));
  }
  return out;
}

// What other keys decide how a key is read.
struct Surroundings {
  uint32_t outer = 0;     // eth_type
  uint32_t eth = 0;       // the EtherType behind the tag, or eth_type itself
  uint32_t ip_proto = 0;  // of an IP packet, else 0 (which names no protocol with keys of its own)

  explicit Surroundings(const Match& match) {
    const auto exact = [&match](Key key) {
      const KeyMatch* found = match.find(key);
      return found != nullptr ? found->value_u32() : 0;
    };
    outer = eth = exact(Key::eth_type);
    if (is_vlan(outer)) eth = exact(Key::vlan_eth_type);
    if (eth == kEthIpv4 || eth == kEthIpv6) ip_proto = exact(Key::ip_proto);
  }
  [[nodiscard]] bool meets(Needs needs) const {
    constexpr uint32_t kEthRarp = 0x8035;
    switch (needs) {
      case Needs::nothing: return true;
      case Needs::vlan: return is_vlan(outer);
      case Needs::ip: return eth == kEthIpv4 || eth == kEthIpv6;
      case Needs::tcp: return ip_proto == kProtoTcp;
      case Needs::udp: return ip_proto == kProtoUdp;
      case Needs::sctp: return ip_proto == kProtoSctp;
      case Needs::icmp: return eth == kEthIpv4 && ip_proto == kProtoIcmp;
      case Needs::icmpv6: return eth == kEthIpv6 && ip_proto == kProtoIcmpv6;
      case Needs::arp: return eth == kEthArp || eth == kEthRarp;
    }
    return false;
  }
};

Unexpected refuse(const Rule& rule, std::string_view why) {
  return fail(Errc::internal, "encode filter \"" + to_text(rule) + "\": " + std::string(why));
}

Result<void> encode_match(MessageBuilder& message, const Rule& rule) {
  const Match& match = rule.spec.match;
  const Surroundings around(match);
  const auto* row = std::begin(kFlowerKeys);
  for (const KeyMatch& key : match.keys()) {
    while (row->key != key.key) ++row;  // rows and keys have one order
    while (row != std::end(kFlowerKeys) && row->key == key.key && !around.meets(row->needs)) ++row;
    if (row == std::end(kFlowerKeys) || row->key != key.key) {
      return refuse(rule, "the kernel ignores " + std::string(key_name(key.key)) +
                              " without the eth_type and ip_proto it belongs to");
    }
    const WireKey value = in_order(*row, key.value);
    if (row->mask_attr == TCA_FLOWER_UNSPEC) {
      if (key.mask != ones_for(key.key)) {
        return refuse(rule, "the kernel has no mask for " + std::string(key_name(key.key)));
      }
      message.put_bytes(row->attr, value.bytes.data(), value.width);
    } else {
      const WireKey mask = in_order(*row, key.mask);
      message.put_bytes(row->attr, value.bytes.data(), value.width);
      message.put_bytes(row->mask_attr, mask.bytes.data(), mask.width);
    }
  }
  return {};
}

// What a match must not say, whatever its keys are.
std::string_view match_fault(const Rule& rule) {
  const Match& match = rule.spec.match;
  const auto any = [&match](Key a, Key b) { return match.find(a) != nullptr || match.find(b) != nullptr; };
  if (any(Key::dst_ip4, Key::src_ip4) && any(Key::dst_ip6, Key::src_ip6)) return "addresses of both families";
  if (any(Key::enc_dst_ip4, Key::enc_src_ip4) && any(Key::enc_dst_ip6, Key::enc_src_ip6)) {
    return "outer addresses of both families";
  }
  const KeyMatch* flags = match.find(Key::ip_flags);
  if (flags != nullptr && (flags->mask_u32() & ~(kIpFlagFrag | kIpFlagFirstFrag)) != 0) {
    return "ip_flags that the kernel does not know";
  }
  const KeyMatch* eth_type = match.find(Key::eth_type);
  const uint32_t outer = eth_type != nullptr ? eth_type->value_u32() : 0;
  if ((is_vlan(outer) || is_vlan(rule.id.protocol)) && outer != rule.id.protocol) {
    return "a VLAN protocol and an eth_type that differ: a dump would not tell them apart";
  }
  return {};
}

// --- match, on the way out --------------------------------------------------------------------------------------

// Which row, and whether as its mask, an attribute is.
struct AttrMeaning {
  uint8_t row = 0;  // index into kFlowerKeys + 1; 0: none
  bool is_mask = false;
};
constexpr auto kMeanings = [] {
  std::array<AttrMeaning, TCA_FLOWER_MAX + 1> table{};
  for (size_t i = 0; i < std::size(kFlowerKeys); ++i) {
    table[kFlowerKeys[i].attr] = {static_cast<uint8_t>(i + 1), false};
    if (kFlowerKeys[i].mask_attr != TCA_FLOWER_UNSPEC) {
      table[kFlowerKeys[i].mask_attr] = {static_cast<uint8_t>(i + 1), true};
    }
  }
  return table;
}();

struct HalfKey {
  const KeyRow* value_row = nullptr;
  const KeyRow* mask_row = nullptr;
  std::array<uint8_t, 16> value{};
  std::array<uint8_t, 16> mask{};
};

struct OptionsWalk {
  std::array<HalfKey, kKeyCount> keys{};
  std::span<const uint8_t> actions;
  uint32_t flags = 0;
  RuleState* state = nullptr;

  Result<void> operator()(const netlink::Attr& attr) {
    const auto wrong_size = [&attr] {
      return fail(Errc::protocol, "flower attribute " + std::to_string(attr.type) + " of " +
                                      std::to_string(attr.payload.size()) + " bytes");
    };
    if (attr.type == TCA_FLOWER_ACT) {
      actions = attr.payload;
    } else if (attr.type == TCA_FLOWER_FLAGS) {
      const auto value = attr.u32();
      if (!value) return wrong_size();
      flags = *value;
    } else if (attr.type == TCA_FLOWER_IN_HW_COUNT) {
      const auto value = attr.u32();
      if (!value) return wrong_size();
      state->in_hw_count = *value;
    } else if (attr.type > TCA_FLOWER_MAX || kMeanings[attr.type].row == 0) {
      ++state->unknown_attributes;
    } else {
      const auto [row_number, is_mask] = kMeanings[attr.type];
      const KeyRow& row = kFlowerKeys[row_number - 1];
      if (attr.payload.size() != key_width(row.key)) return wrong_size();
      std::array<uint8_t, 16> bytes{};
      std::copy(attr.payload.begin(), attr.payload.end(), bytes.begin());
      bytes = in_order(row, bytes).bytes;
      HalfKey& half = keys[static_cast<size_t>(row.key)];
      (is_mask ? half.mask_row : half.value_row) = &row;
      (is_mask ? half.mask : half.value) = bytes;
    }
    return {};
  }
};

// A key is what its value says; a mask alone says nothing, a value alone means all bits (fl_set_key_val). What stands
// where the kernel does not look at it (a TCP port of a UDP filter) is left out and counted.
void assemble(const OptionsWalk& walk, uint16_t protocol, Match& match, RuleState& state) {
  const auto take = [&](Key key) {
    const HalfKey& half = walk.keys[static_cast<size_t>(key)];
    if (half.value_row == nullptr && half.mask_row == nullptr) return;
    if (half.value_row == nullptr || !Surroundings(match).meets(half.value_row->needs)) {
      ++state.unknown_attributes;
      return;
    }
    const bool has_mask = half.mask_row == half.value_row;
    match.set_bytes(key, half.value.data(), (has_mask ? half.mask : ones_for(key)).data());
  };
  // In a VLAN filter the attribute eth_type holds the tag's protocol in a request, but in a dump the inner type or,
  // when that was not matched, nothing. The filter's own protocol always holds the tag's.
  if (is_vlan(protocol)) {
    match.eth_type(protocol);
  } else {
    take(Key::eth_type);
  }
  // These two decide about others.
  take(Key::vlan_eth_type);
  take(Key::ip_proto);
  for (size_t i = 0; i < kKeyCount; ++i) {
    const Key key = static_cast<Key>(i);
    if (key != Key::eth_type && key != Key::vlan_eth_type && key != Key::ip_proto) take(key);
  }
}

Result<void> decode_options(std::span<const uint8_t> region, DecodedFilter& out) {
  OptionsWalk walk;
  walk.state = &out.state;
  auto walked = netlink::for_each_attr(region, std::ref(walk));
  if (!walked) return walked;
  assemble(walk, out.rule.id.protocol, out.rule.spec.match, out.state);
  out.state.skip_hw = out.rule.spec.skip_hw = (walk.flags & TCA_CLS_FLAGS_SKIP_HW) != 0;
  out.state.skip_sw = (walk.flags & TCA_CLS_FLAGS_SKIP_SW) != 0;
  out.state.in_hw = (walk.flags & TCA_CLS_FLAGS_IN_HW) != 0;
  if (walk.actions.data() == nullptr) return {};
  return decode_actions(walk.actions, out.rule.spec.actions, out.state);
}

Result<void> encode_place(std::vector<uint8_t>& out, uint16_t type, const RuleId& id) {
  MessageBuilder message(out, type, NLM_F_REQUEST, to_tcmsg(id));
  message.put_string(TCA_KIND, kFlower);
  message.put_u32(TCA_CHAIN, id.chain);
  return message.finish();
}

}  // namespace

Result<void> encode_add(std::vector<uint8_t>& out, const Rule& rule, const Cookie& cookie, AddMode mode,
                        const EncodeContext& context) {
  const RuleSpec& spec = rule.spec;
  if (const auto fault = match_fault(rule); !fault.empty()) return refuse(rule, fault);
  if (spec.actions.empty() || spec.actions.size() > limits::kActionsMax) return refuse(rule, "needs 1 to 32 actions");
  if (spec.actions.back().shared || spec.actions.back().index != 0)
    return refuse(rule, "the last action is shared and cannot hold the cookie");
  for (const Action& action : spec.actions) {
    if (action.shared) continue;  // looked into when its object was made
    if (const auto fault = action_fault(action); !fault.empty()) return refuse(rule, fault);
  }

  uint16_t flags = NLM_F_REQUEST | NLM_F_CREATE;
  if (mode == AddMode::create) flags |= NLM_F_EXCL;
  if (context.echo) flags |= NLM_F_ECHO;
  MessageBuilder message(out, RTM_NEWTFILTER, flags, to_tcmsg(rule.id));
  message.put_string(TCA_KIND, kFlower);
  message.put_u32(TCA_CHAIN, rule.id.chain);
  {
    const auto options = message.nest(TCA_OPTIONS);
    if (auto encoded = encode_match(message, rule); !encoded) return encoded;
    uint32_t filter_flags = 0;
    if (spec.skip_hw) filter_flags |= TCA_CLS_FLAGS_SKIP_HW;
    if (context.skip_sw) filter_flags |= TCA_CLS_FLAGS_SKIP_SW;
    if (context.verbose) filter_flags |= TCA_CLS_FLAGS_VERBOSE;
    if (filter_flags != 0) message.put_u32(TCA_FLOWER_FLAGS, filter_flags);
    if (auto encoded = encode_actions(message, spec, cookie, context); !encoded) return encoded;
  }
  return message.finish();
}

Result<void> encode_delete(std::vector<uint8_t>& out, const RuleId& id) {
  return encode_place(out, RTM_DELTFILTER, id);
}

Result<void> encode_get(std::vector<uint8_t>& out, const RuleId& id) { return encode_place(out, RTM_GETTFILTER, id); }

Result<void> encode_dump(std::vector<uint8_t>& out, IfIndex device, std::optional<uint32_t> chain, bool terse) {
  tcmsg tcm{};
  tcm.tcm_ifindex = static_cast<int>(device.value());
  tcm.tcm_parent = kIngress;
  MessageBuilder message(out, RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, tcm);
  if (chain) message.put_u32(TCA_CHAIN, *chain);
  if (terse) {
    const nla_bitfield32 flags{TCA_DUMP_FLAGS_TERSE, TCA_DUMP_FLAGS_TERSE};
    message.put_bytes(TCA_DUMP_FLAGS, &flags, sizeof flags);
  }
  return message.finish();
}

Result<DecodedFilter> decode_filter(std::span<const uint8_t> message) {
  auto header = netlink::read_nlmsghdr(message);
  if (!header) return Unexpected(header.error());
  if (header->nlmsg_type != RTM_NEWTFILTER && header->nlmsg_type != RTM_DELTFILTER) {
    return fail(Errc::protocol, "netlink message of type " + std::to_string(header->nlmsg_type) + " is no filter");
  }
  tcmsg tcm{};
  auto region = netlink::read_fixed_header(message, tcm);
  if (!region) return Unexpected(region.error());
  auto attrs = Options<TCA_MAX>::parse(*region);
  if (!attrs) return Unexpected(while_doing(attrs.error(), "decode filter"));

  DecodedFilter out;
  out.rule.id = id_from_tcmsg(tcm);
  out.rule.id.chain = attrs->u32(TCA_CHAIN, 0);
  if (attrs->malformed()) return fail(Errc::protocol, "decode filter: chain of a wrong size");
  out.kind = attrs->string(TCA_KIND);
  out.state.unknown_attributes = attrs->unknown();
  if (out.kind != kFlower || !attrs->has(TCA_OPTIONS)) return out;
  if (auto decoded = decode_options(attrs->bytes(TCA_OPTIONS), out); !decoded) {
    return Unexpected(while_doing(decoded.error(), "decode filter"));
  }
  return out;
}

}  // namespace sepal::tc
