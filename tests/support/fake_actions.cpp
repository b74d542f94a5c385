// The fake kernel's actions as objects of their own: numbers, the errors of net/sched/act_api.c, who refers to them.
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_pedit.h>
#include <linux/tc_act/tc_tunnel_key.h>

#include <cerrno>
#include <cstring>

#include "netlink/message.hpp"
#include "tests/support/fake_kernel.hpp"

namespace sepal::test {

using netlink::Answer;
using netlink::Attr;
using netlink::AttrTable;
using netlink::Bytes;
using netlink::BytesView;
using netlink::MessageBuilder;
using netlink::MessageSink;

namespace {

// Where an action's options have the struct that begins with tc_gen. Kinds that nobody shares have none here.
std::optional<uint16_t> parms_attr(const std::string& kind) {
  if (kind == "pedit") return TCA_PEDIT_PARMS_EX;
  if (kind == "csum") return TCA_CSUM_PARMS;
  if (kind == "tunnel_key") return TCA_TUNNEL_KEY_PARMS;
  return std::nullopt;
}

struct ActionRequest {
  ActionPlace place;
  StoredAction action;
  bool has_cookie = false;
};

Bytes copy(const Attr* attr) { return attr == nullptr ? Bytes() : Bytes(attr->payload.begin(), attr->payload.end()); }

// The inside of one nest of a TCA_ROOT_TAB or a TCA_FLOWER_ACT.
std::optional<ActionRequest> read_action(BytesView nest) {
  auto table = AttrTable::parse(nest, TCA_ACT_MAX);
  if (!table || table->find(TCA_ACT_KIND) == nullptr) return std::nullopt;
  ActionRequest request;
  request.place.kind = table->find(TCA_ACT_KIND)->string();
  if (const Attr* index = table->find(TCA_ACT_INDEX)) request.place.index = index->u32().value_or(0);
  request.action.options = copy(table->find(TCA_ACT_OPTIONS));
  request.action.flags = copy(table->find(TCA_ACT_FLAGS));
  request.action.cookie = copy(table->find(TCA_ACT_COOKIE));
  request.has_cookie = table->find(TCA_ACT_COOKIE) != nullptr;
  const auto type = parms_attr(request.place.kind);
  if (!type || request.action.options.empty()) return request;
  auto options = AttrTable::parse(request.action.options, 32);
  const Attr* parms = options ? options->find(*type) : nullptr;
  if (parms != nullptr && parms->payload.size() >= sizeof(uint32_t))
    std::memcpy(&request.place.index, parms->payload.data(), sizeof(uint32_t));
  return request;
}

std::vector<BytesView> nests_of(BytesView message) {
  std::vector<BytesView> nests;
  tcamsg header{};
  auto region = netlink::read_fixed_header(message, header);
  auto table = region ? AttrTable::parse(*region, TCA_ROOT_MAX) : Result<AttrTable>(fail(Errc::protocol, ""));
  if (!table || table->find(TCA_ROOT_TAB) == nullptr) return nests;
  (void)netlink::for_each_attr(table->find(TCA_ROOT_TAB)->payload, [&nests](const Attr& attr) -> Result<void> {
    nests.push_back(attr.payload);
    return {};
  });
  return nests;
}

bool says_skip_hw(const Bytes& flags) {
  nla_bitfield32 field{};
  if (flags.size() == sizeof field) std::memcpy(&field, flags.data(), sizeof field);
  return (field.value & TCA_ACT_FLAGS_SKIP_HW) != 0;
}

// tc_gen's bindcnt, and the number, as the kernel fills them in.
void put_numbers(Bytes& options, const ActionPlace& place, int32_t bound) {
  const auto type = parms_attr(place.kind);
  size_t at = 0;
  while (type && at + sizeof(nlattr) <= options.size()) {
    nlattr header{};
    std::memcpy(&header, options.data() + at, sizeof header);
    if ((header.nla_type & NLA_TYPE_MASK) == *type) {
      tc_csum parms{};  // all begin alike
      uint8_t* begin = options.data() + at + NLA_HDRLEN;
      std::memcpy(begin + offsetof(tc_csum, index), &place.index, sizeof parms.index);
      std::memcpy(begin + offsetof(tc_csum, bindcnt), &bound, sizeof parms.bindcnt);
    }
    at += NLA_ALIGN(header.nla_len);
  }
}

// The shared actions that a filter with these attributes refers to, and whether it skips hardware.
std::vector<ActionPlace> shared_in(BytesView attributes, bool& skip_hw) {
  std::vector<ActionPlace> places;
  auto table = AttrTable::parse(attributes, TCA_MAX);
  const Attr* options = table ? table->find(TCA_OPTIONS) : nullptr;
  if (options == nullptr) return places;
  (void)netlink::for_each_attr(options->payload, [&](const Attr& attr) -> Result<void> {
    if (attr.type == TCA_FLOWER_FLAGS) skip_hw = (attr.u32().value_or(0) & TCA_CLS_FLAGS_SKIP_HW) != 0;
    if (attr.type != TCA_FLOWER_ACT) return {};
    return netlink::for_each_attr(attr.payload, [&places](const Attr& nest) -> Result<void> {
      const auto action = read_action(nest.payload);
      if (action && action->place.index != 0) places.push_back(action->place);
      return {};
    });
  });
  return places;
}

}  // namespace

std::map<ActionPlace, int> FakeKernel::bound() const {
  std::map<ActionPlace, int> counts;
  for (const auto& [where, filter] : filters) {
    bool skip_hw = false;
    for (const ActionPlace& shared : shared_in(filter.attributes, skip_hw)) ++counts[shared];
  }
  return counts;
}

// tcf_action_init() for a filter: what is there is bound, what is not is made.
Answer FakeKernel::bind_actions(BytesView attributes) {
  bool skip_hw = false;
  for (const ActionPlace& place : shared_in(attributes, skip_hw)) {
    const auto found = actions.find(place);
    if (found == actions.end()) {
      ++made_by_filters;
    } else if (says_skip_hw(found->second.flags) != skip_hw) {
      return fail_errno(EINVAL, "", "Mismatch between action and filter offload flags");
    }
  }
  return {};
}

Answer FakeKernel::new_action(uint16_t flags, BytesView message) {
  for (const BytesView nest : nests_of(message)) {
    auto request = read_action(nest);
    if (!request || !parms_attr(request->place.kind)) return fail_errno(ENOENT, "", "Failed to load TC action module");
    ActionPlace place = request->place;
    if (place.index == 0) {
      place.index = 1;
      while (actions.contains(place)) ++place.index;
    }
    const auto there = actions.find(place);
    if (there != actions.end() && (flags & NLM_F_REPLACE) == 0) return fail_errno(EEXIST, "");
    if (there != actions.end() && !request->has_cookie) request->action.cookie = there->second.cookie;
    actions[place] = std::move(request->action);
  }
  return {};
}

Answer FakeKernel::delete_action(BytesView message) {
  for (const BytesView nest : nests_of(message)) {
    const auto request = read_action(nest);
    if (!request) return fail_errno(EINVAL, "");
    if (!actions.contains(request->place)) {
      return fail_errno(ENOENT, "", "TC action with specified index not found");
    }
    if (bound().contains(request->place)) return fail_errno(EPERM, "", "Failed to delete TC action");
    actions.erase(request->place);
  }
  return {};
}

// As tcf_dump_walker(): a message with a table of objects numbered from 0.
Result<void> FakeKernel::dump_actions(BytesView message, const MessageSink& sink) const {
  const auto nests = nests_of(message);
  const auto wanted = nests.empty() ? std::nullopt : read_action(nests.front());
  if (!wanted) return {};
  const auto counts = bound();
  for (const auto& [place, action] : actions) {
    if (place.kind != wanted->place.kind) continue;
    Bytes options = action.options;
    const auto count = counts.find(place);
    put_numbers(options, place, count == counts.end() ? 0 : count->second);
    Bytes bytes;
    MessageBuilder reply(bytes, RTM_GETACTION, NLM_F_MULTI, tcamsg{});
    {
      const auto table = reply.nest(TCA_ROOT_TAB);
      const auto nest = reply.nest(0);
      reply.put_string(TCA_ACT_KIND, place.kind);
      if (!action.cookie.empty()) reply.put_bytes(TCA_ACT_COOKIE, action.cookie.data(), action.cookie.size());
      if (!action.flags.empty()) reply.put_bytes(TCA_ACT_FLAGS, action.flags.data(), action.flags.size());
      reply.put_u32(TCA_ACT_IN_HW_COUNT, 0);
      reply.put_bytes(TCA_ACT_OPTIONS | NLA_F_NESTED, options.data(), options.size());
    }
    (void)reply.finish();
    if (auto shown = sink(bytes); !shown) return shown;
  }
  return {};
}

}  // namespace sepal::test
