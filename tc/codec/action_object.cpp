// tcamsg | TCA_ROOT_TAB { 1 { TCA_ACT_KIND, TCA_ACT_OPTIONS, … } 2 { … } … }
#include "tc/codec/action_object.hpp"

#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "netlink/message.hpp"
#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {
namespace {

using netlink::MessageBuilder;

Result<void> check(const SharedAction& action) {
  if (const auto fault = action_fault({action.kind}); !fault.empty())
    return fail(Errc::internal, "encode action \"" + to_text(Action{action.kind}) + "\": " + std::string(fault));
  return {};
}

}  // namespace

std::string_view kind_of(const SharedAction& action) { return kind_name(action.kind); }

// tc actions add|replace action KIND … index N cookie … [skip_hw]
Result<void> encode_action_add(std::vector<uint8_t>& out, const ActionObject& object, AddMode mode) {
  if (auto checked = check(object.action); !checked) return checked;
  if (object.index == 0) return fail(Errc::internal, "encode action: a shared action without a number");
  uint16_t flags = NLM_F_REQUEST | NLM_F_CREATE;
  flags |= mode == AddMode::create ? NLM_F_EXCL : NLM_F_REPLACE;
  MessageBuilder message(out, RTM_NEWACTION, flags, tcamsg{});
  {
    const auto table = message.nest(TCA_ROOT_TAB);
    const auto nest = message.nest(1);
    if (auto encoded = encode_kind(message, {object.action.kind}, object.index, {}); !encoded) return encoded;
    if (object.action.skip_hw) {
      const nla_bitfield32 skip_hw{TCA_ACT_FLAGS_SKIP_HW, TCA_ACT_FLAGS_SKIP_HW};
      message.put_bytes(TCA_ACT_FLAGS, &skip_hw, sizeof skip_hw);
    }
    if (object.cookie) {
      const auto bytes = object.cookie->bytes();
      message.put_bytes(TCA_ACT_COOKIE, bytes.data(), bytes.size());
    }
  }
  return message.finish();
}

// tc actions delete action KIND index N
Result<void> encode_action_delete(std::vector<uint8_t>& out, std::string_view kind, uint32_t index) {
  MessageBuilder message(out, RTM_DELACTION, NLM_F_REQUEST, tcamsg{});
  {
    const auto table = message.nest(TCA_ROOT_TAB);
    const auto nest = message.nest(1);
    message.put_string(TCA_ACT_KIND, kind);
    message.put_u32(TCA_ACT_INDEX, index);
  }
  return message.finish();
}

// tc actions list action KIND
Result<void> encode_action_dump(std::vector<uint8_t>& out, std::string_view kind) {
  MessageBuilder message(out, RTM_GETACTION, NLM_F_REQUEST | NLM_F_DUMP, tcamsg{});
  {
    const auto table = message.nest(TCA_ROOT_TAB);
    const auto nest = message.nest(1);
    message.put_string(TCA_ACT_KIND, kind);
  }
  // Without it a message of the dump holds 32 objects, however short.
  const nla_bitfield32 large{TCA_ACT_FLAG_LARGE_DUMP_ON, TCA_ACT_FLAG_LARGE_DUMP_ON};
  message.put_bytes(TCA_ROOT_FLAGS, &large, sizeof large);
  return message.finish();
}

Result<std::vector<uint8_t>> encode_reference(const SharedAction& action, uint32_t index) {
  if (auto checked = check(action); !checked) return Unexpected(checked.error());
  // Only a message can be built; the attributes behind its header are what is wanted.
  std::vector<uint8_t> bytes;
  MessageBuilder message(bytes, RTM_NEWACTION, 0, tcamsg{});
  if (auto encoded = encode_kind(message, {action.kind}, index, {}); !encoded) return Unexpected(encoded.error());
  if (auto finished = message.finish(); !finished) return Unexpected(finished.error());
  bytes.erase(bytes.begin(), bytes.begin() + NLMSG_LENGTH(sizeof(tcamsg)));
  return bytes;
}

Result<void> decode_actions_message(std::span<const uint8_t> message,
                                    const std::function<void(const ActionObject&)>& sink) {
  tcamsg header{};
  auto region = netlink::read_fixed_header(message, header);
  if (!region) return Unexpected(region.error());
  auto attrs = Options<TCA_ROOT_MAX>::parse(*region);
  if (!attrs) return Unexpected(while_doing(attrs.error(), "decode actions"));
  // A dump numbers its objects from 0; nothing is told by that.
  return netlink::for_each_attr(attrs->bytes(TCA_ROOT_TAB), [&sink](const netlink::Attr& attr) -> Result<void> {
    auto decoded = decode_action(attr.payload);
    if (!decoded) return Unexpected(while_doing(decoded.error(), "decode actions"));
    ActionObject object;
    object.action = {std::move(decoded->action.kind), decoded->skip_hw};
    object.index = decoded->common.index;
    object.cookie = decoded->cookie;
    object.bound = static_cast<uint32_t>(std::max(decoded->common.bound, 0));
    object.unknown_attributes = decoded->unknown_attributes + (decoded->action.unusual_verdict ? 1U : 0U);
    sink(object);
    return {};
  });
}

}  // namespace sepal::tc
