// Steps through the nests of a filter message down to the cookie:
//   TCA_KIND, TCA_CHAIN, TCA_OPTIONS { TCA_FLOWER_FLAGS, TCA_FLOWER_ACT { 1 { TCA_ACT_COOKIE, TCA_ACT_STATS … } 2 … } }
// Governed by linux/pkt_cls.h and net/sched/cls_flower.c, fl_terse_dump().
#include "tc/codec/terse.hpp"

#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>

#include "netlink/message.hpp"
#include "tc/codec/place.hpp"

namespace sepal::tc {
namespace {

using netlink::Attr;
using netlink::AttrCursor;

constexpr std::string_view kMalformed = "decode filter: an attribute of a wrong size";

//   TCA_STATS_BASIC { u64 bytes, u32 packets, u32 padding }, TCA_STATS_PKT64 where 32 bits are too few
bool read_packets(std::span<const uint8_t> region, uint64_t& packets) {
  packets = 0;
  AttrCursor stats(region);
  for (Attr stat; stats.next(stat);) {
    uint32_t few = 0;
    uint64_t many = 0;
    if (stat.type == TCA_STATS_BASIC && stat.payload.size() >= sizeof(uint64_t) + sizeof few) {
      std::memcpy(&few, stat.payload.data() + sizeof(uint64_t), sizeof few);
      packets = std::max<uint64_t>(packets, few);
    } else if (stat.type == TCA_STATS_PKT64 && stat.payload.size() >= sizeof many) {
      std::memcpy(&many, stat.payload.data(), sizeof many);
      packets = many;
    }
  }
  return !stats.malformed();
}

// Like the kernel, actions count in the order of their numbers, up to the first gap; they are dumped in that order.
bool read_actions(std::span<const uint8_t> region, TerseFilter& out) {
  AttrCursor actions(region);
  Attr action;
  for (uint16_t number = 1; actions.next(action) && action.type == number; ++number) {
    out.cookie.reset();
    AttrCursor parts(action.payload);
    for (Attr part; parts.next(part);) {
      if (part.type == TCA_ACT_COOKIE) out.cookie = Cookie::parse(part.payload.data(), part.payload.size());
      if (part.type == TCA_ACT_STATS && !read_packets(part.payload, out.packets)) return false;
    }
    if (parts.malformed()) return false;
  }
  return !actions.malformed();
}

bool read_options(std::span<const uint8_t> region, TerseFilter& out) {
  AttrCursor options(region);
  for (Attr option; options.next(option);) {
    if (option.type == TCA_FLOWER_FLAGS) {
      const auto flags = option.u32();
      if (!flags) return false;
      out.skip_hw = (*flags & TCA_CLS_FLAGS_SKIP_HW) != 0;
      out.in_hw = (*flags & TCA_CLS_FLAGS_IN_HW) != 0;
    } else if (option.type == TCA_FLOWER_ACT) {
      if (!read_actions(option.payload, out)) return false;
    }
  }
  return !options.malformed();
}

}  // namespace

Result<TerseFilter> decode_terse(std::span<const uint8_t> message) {
  auto header = netlink::read_nlmsghdr(message);
  if (!header) return Unexpected(header.error());
  if (header->nlmsg_type != RTM_NEWTFILTER && header->nlmsg_type != RTM_DELTFILTER) {
    return fail(Errc::protocol, "netlink message of type " + std::to_string(header->nlmsg_type) + " is no filter");
  }
  tcmsg tcm{};
  auto region = netlink::read_fixed_header(message, tcm);
  if (!region) return Unexpected(region.error());

  TerseFilter out;
  out.id = id_from_tcmsg(tcm);
  std::span<const uint8_t> options;
  AttrCursor attrs(*region);
  for (Attr attr; attrs.next(attr);) {
    if (attr.type == TCA_KIND) out.kind = attr.string();
    if (attr.type == TCA_OPTIONS) options = attr.payload;
    if (attr.type != TCA_CHAIN) continue;
    const auto chain = attr.u32();
    if (!chain) return fail(Errc::protocol, std::string(kMalformed));
    out.id.chain = *chain;
  }
  if (attrs.malformed()) return fail(Errc::protocol, std::string(kMalformed));
  if (out.kind == kFlower && options.data() != nullptr && !read_options(options, out)) {
    return fail(Errc::protocol, std::string(kMalformed));
  }
  return out;
}

}  // namespace sepal::tc
