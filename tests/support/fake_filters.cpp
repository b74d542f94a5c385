// The fake kernel's qdiscs and filters: places, the errors of net/sched/cls_api.c with their words, dumps full and
// terse.
#include <arpa/inet.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include <algorithm>
#include <cerrno>

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

struct FilterRequest {
  FilterPlace place;
  uint16_t protocol = 0;
  bool any_chain = false;  // a dump without TCA_CHAIN shows all chains; everywhere else that means chain 0
  bool terse = false;
  std::string kind;
  BytesView attributes;
};

std::optional<FilterRequest> read_filter(BytesView message) {
  tcmsg header{};
  auto attributes = netlink::read_fixed_header(message, header);
  if (!attributes) return std::nullopt;
  auto table = AttrTable::parse(*attributes, TCA_MAX);
  if (!table) return std::nullopt;
  FilterRequest request;
  request.place = {IfIndex(static_cast<uint32_t>(header.tcm_ifindex)), header.tcm_parent, 0,
                   static_cast<uint16_t>(TC_H_MAJ(header.tcm_info) >> 16U), header.tcm_handle};
  request.protocol = ntohs(static_cast<uint16_t>(TC_H_MIN(header.tcm_info)));
  const Attr* chain = table->find(TCA_CHAIN);
  request.any_chain = chain == nullptr;
  if (chain != nullptr) request.place.chain = chain->u32().value_or(0);
  if (const Attr* kind = table->find(TCA_KIND)) request.kind = kind->string();
  if (const Attr* flags = table->find(TCA_DUMP_FLAGS)) {
    const auto value = flags->payload.size() == sizeof(nla_bitfield32) ? Attr{0, flags->payload.first(4)}.u32() : 0;
    request.terse = (value.value_or(0) & TCA_DUMP_FLAGS_TERSE) != 0;
  }
  request.attributes = *attributes;
  return request;
}

void copy_attr(MessageBuilder& to, const Attr& attr) {
  to.put_bytes(attr.type, attr.payload.data(), attr.payload.size());
}

// tcf_action_dump_terse(): kind, cookie and statistics.
void put_terse_actions(MessageBuilder& message, const Attr& actions, const StoredFilter& filter) {
  auto nest = message.nest(TCA_FLOWER_ACT);
  (void)netlink::for_each_attr(actions.payload, [&](const Attr& action) -> Result<void> {
    auto one = message.nest(action.type);
    if (filter.packets != 0) {
      auto stats = message.nest(TCA_ACT_STATS);
      const gnet_stats_basic basic{uint64_t{filter.packets} * 100, filter.packets};
      message.put_bytes(TCA_STATS_BASIC, &basic, sizeof basic);
    }
    return netlink::for_each_attr(action.payload, [&message](const Attr& attr) -> Result<void> {
      if (attr.type == TCA_ACT_KIND || attr.type == TCA_ACT_COOKIE) copy_attr(message, attr);
      return {};
    });
  });
}

// fl_dump() and fl_terse_dump(), which leaves the keys out. What the NIC made of the rule stands in the flags.
void put_options(MessageBuilder& message, const Attr& options, const StoredFilter& filter, bool terse) {
  auto nest = message.nest(TCA_OPTIONS);
  bool flagged = false;
  (void)netlink::for_each_attr(options.payload, [&](const Attr& attr) -> Result<void> {
    if (attr.type == TCA_FLOWER_FLAGS) {
      flagged = true;
      message.put_u32(TCA_FLOWER_FLAGS, attr.u32().value_or(0) | filter.hardware);
    } else if (!terse) {
      copy_attr(message, attr);
    } else if (attr.type == TCA_FLOWER_ACT) {
      put_terse_actions(message, attr, filter);
    }
    return {};
  });
  if (!flagged && filter.hardware != 0) message.put_u32(TCA_FLOWER_FLAGS, filter.hardware);
}

uint32_t flower_flags(BytesView attributes) {
  uint32_t flags = 0;
  (void)netlink::for_each_attr(attributes, [&flags](const Attr& attr) -> Result<void> {
    if (attr.type != TCA_OPTIONS) return {};
    return netlink::for_each_attr(attr.payload, [&flags](const Attr& option) -> Result<void> {
      if (option.type == TCA_FLOWER_FLAGS) flags = option.u32().value_or(0);
      return {};
    });
  });
  return flags;
}

}  // namespace

Bytes filter_message(const FilterPlace& place, const StoredFilter& filter, bool terse) {
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(place.device.value());
  header.tcm_parent = place.parent;
  header.tcm_handle = place.handle;
  header.tcm_info = TC_H_MAKE(static_cast<uint32_t>(place.prio) << 16U, htons(filter.protocol));
  Bytes bytes;
  MessageBuilder message(bytes, RTM_NEWTFILTER, NLM_F_MULTI, header);
  message.put_string(TCA_KIND, filter.kind);
  message.put_u32(TCA_CHAIN, place.chain);
  (void)netlink::for_each_attr(filter.attributes, [&](const Attr& attr) -> Result<void> {
    if (attr.type != TCA_OPTIONS) return {};
    put_options(message, attr, filter, terse);
    return {};
  });
  (void)message.finish();
  return bytes;
}

void FakeKernel::forget_device(IfIndex device) {
  clsact.erase(device);
  std::erase_if(filters, [device](const auto& entry) { return entry.first.device == device; });
}

Answer FakeKernel::new_qdisc(uint16_t flags, BytesView message) {
  const auto request = read_filter(message);  // the same header and kind
  if (!request) return fail_errno(EINVAL, "");
  if (!links.contains(request->place.device)) return fail_errno(ENODEV, "");
  if (request->kind != "clsact") return fail_errno(EOPNOTSUPP, "", "Specified qdisc kind is unknown");
  const bool there = clsact.contains(request->place.device);
  if (there && (flags & NLM_F_EXCL) != 0) return fail_errno(EEXIST, "", "Exclusivity flag on, cannot modify");
  clsact.insert(request->place.device);
  return {};
}

Answer FakeKernel::delete_qdisc(BytesView message) {
  const auto request = read_filter(message);
  if (!request) return fail_errno(EINVAL, "");
  if (!links.contains(request->place.device)) return fail_errno(ENODEV, "");
  if (!clsact.contains(request->place.device)) {
    return fail_errno(ENOENT, "", "Cannot find specified qdisc on specified device");
  }
  forget_device(request->place.device);
  return {};
}

Answer FakeKernel::new_filter(uint16_t flags, BytesView message) {
  const auto request = read_filter(message);
  if (!request) return fail_errno(EINVAL, "");
  FilterPlace place = request->place;
  if (!links.contains(place.device)) return fail_errno(ENODEV, "");
  if (!clsact.contains(place.device)) return fail_errno(EINVAL, "", "Parent Qdisc doesn't exists");
  if (place.chain > TC_ACT_EXT_VAL_MASK) return fail_errno(EINVAL, "", "Specified chain index exceeds upper limit");
  if (request->kind.empty()) return fail_errno(EINVAL, "", "Filter kind must be specified");
  if (place.prio == 0) return fail_errno(ENOENT, "", "Invalid filter command with priority of zero");

  const FilterPlace first{place.device, place.parent, place.chain, place.prio, 0};
  const auto neighbour = filters.lower_bound(first);
  const bool shares_priority = neighbour != filters.end() && neighbour->first.device == place.device &&
                               neighbour->first.parent == place.parent && neighbour->first.chain == place.chain &&
                               neighbour->first.prio == place.prio;
  if (shares_priority && neighbour->second.kind != request->kind) {
    return fail_errno(EINVAL, "", "Specified filter kind does not match existing one");
  }
  if (shares_priority && neighbour->second.protocol != request->protocol) {
    return fail_errno(EINVAL, "", "Specified filter protocol does not match existing one");
  }
  if (place.handle == 0) {
    place.handle = 1;
    while (filters.contains(place)) ++place.handle;
  }
  const bool there = filters.contains(place);
  if (!there && (flags & NLM_F_CREATE) == 0) {
    return fail_errno(ENOENT, "", "Need both RTM_NEWTFILTER and NLM_F_CREATE to create a new filter");
  }
  if (there && (flags & NLM_F_EXCL) != 0) return fail_errno(EEXIST, "", "Filter already exists");
  StoredFilter filter{request->protocol, request->kind, Bytes(request->attributes.begin(), request->attributes.end())};
  if (request->kind == "flower") {
    if (auto offered = offer_to_nic(message, filter); !offered) return offered;
  }
  if (auto bound = bind_actions(request->attributes); !bound) return bound;
  filters[place] = std::move(filter);
  return {};
}

// fl_hw_replace_filter(): a refusal is none of the filter's, unless it is to be in hardware only.
Answer FakeKernel::offer_to_nic(BytesView message, StoredFilter& filter) {
  const auto request = read_filter(message);
  const uint32_t flags = flower_flags(filter.attributes);
  if (!request || (flags & TCA_CLS_FLAGS_SKIP_HW) != 0) return {};
  const bool only_hardware = (flags & TCA_CLS_FLAGS_SKIP_SW) != 0;
  const netlink::Link& link = links.at(request->place.device);
  const bool tunnel = link.vxlan && std::any_of(links.begin(), links.end(),
                                                [](const auto& entry) { return !entry.second.phys_switch_id.empty(); });
  // A tunnel device is none of the NIC's own: skip_sw is never possible there.
  if (link.phys_switch_id.empty() && (!tunnel || only_hardware)) {
    return only_hardware ? Answer(fail_errno(EOPNOTSUPP, "")) : Answer{};
  }
  const auto refusal = refuse_in_hardware ? refuse_in_hardware(message) : std::nullopt;
  filter.hardware = refusal ? TCA_CLS_FLAGS_NOT_IN_HW : TCA_CLS_FLAGS_IN_HW;
  if (!refusal) return {};
  words_ = refusal->ext_ack;
  return only_hardware ? Answer(fail_errno(refusal->error, "", refusal->ext_ack)) : Answer{};
}

Answer FakeKernel::delete_filter(BytesView message) {
  const auto request = read_filter(message);
  if (!request) return fail_errno(EINVAL, "");
  const FilterPlace& place = request->place;
  if (!links.contains(place.device)) return fail_errno(ENODEV, "");
  if (!clsact.contains(place.device)) return fail_errno(EINVAL, "", "Parent Qdisc doesn't exists");
  auto in_chain = [&place](const FilterPlace& other) {
    return other.device == place.device && other.parent == place.parent && other.chain == place.chain;
  };
  if (place.prio == 0) {  // a whole chain; that there is none is no error
    std::erase_if(filters, [&](const auto& entry) { return in_chain(entry.first); });
    return {};
  }
  if (place.handle == 0) {
    const auto gone = std::erase_if(
        filters, [&](const auto& entry) { return in_chain(entry.first) && entry.first.prio == place.prio; });
    if (gone == 0) return fail_errno(ENOENT, "", "Filter with specified priority/protocol not found");
    return {};
  }
  if (filters.erase(place) == 0) return fail_errno(ENOENT, "", "Specified filter handle not found");
  return {};
}

Result<void> FakeKernel::dump_filters(BytesView message, const MessageSink& sink) const {
  const auto request = read_filter(message);
  if (!request) return fail_errno(EINVAL, "dump");
  const FilterPlace& wanted = request->place;
  for (const auto& [place, filter] : filters) {
    if (place.device != wanted.device || (wanted.parent != 0 && place.parent != wanted.parent)) continue;
    if (!request->any_chain && place.chain != wanted.chain) continue;
    if (wanted.prio != 0 && place.prio != wanted.prio) continue;
    if (auto shown = sink(filter_message(place, filter, request->terse)); !shown) return shown;
  }
  return {};
}

Result<void> FakeKernel::get_filter(BytesView message, const MessageSink& sink) const {
  const auto request = read_filter(message);
  if (!request) return fail_errno(EINVAL, "");
  if (!links.contains(request->place.device)) return fail_errno(ENODEV, "");
  const auto found = filters.find(request->place);
  if (found == filters.end()) return fail_errno(ENOENT, "", "Specified filter handle not found");
  return sink(filter_message(found->first, found->second, false));
}

}  // namespace sepal::test
