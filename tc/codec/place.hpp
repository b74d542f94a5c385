// The header of a filter message on the way out, for the two readers of such messages. Internal to tc/codec.
#pragma once

#include <arpa/inet.h>
#include <linux/rtnetlink.h>

#include <string_view>

#include "tc/rule/rule.hpp"

namespace sepal::tc {

inline constexpr std::string_view kFlower = "flower";

// Without the chain, which is an attribute.
inline RuleId id_from_tcmsg(const tcmsg& tcm) {
  RuleId id;
  id.device = IfIndex(static_cast<uint32_t>(tcm.tcm_ifindex));
  id.handle = tcm.tcm_handle;
  id.prio = static_cast<uint16_t>(tcm.tcm_info >> 16U);
  id.protocol = ntohs(static_cast<uint16_t>(tcm.tcm_info & 0xffffU));
  return id;
}

}  // namespace sepal::tc
