// clsact, the qdisc our filters hang on: one per device, private. Created exclusively, so that the answer tells whether
// it is ours to remove. Governed by linux/rtnetlink.h, net/sched/sch_api.c and sch_ingress.c.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/net_types.hpp"
#include "base/result.hpp"

namespace sepal::tc {

Result<void> encode_clsact_add(std::vector<uint8_t>& out, IfIndex device);     // EEXIST: it was there before
Result<void> encode_clsact_delete(std::vector<uint8_t>& out, IfIndex device);  // takes all its filters with it
Result<void> encode_clsact_get(std::vector<uint8_t>& out, IfIndex device);     // ENOENT: neither clsact nor ingress
Result<void> encode_qdisc_dump(std::vector<uint8_t>& out);  // of all devices: the kernel filters nothing

struct DecodedQdisc {
  IfIndex device;
  uint32_t handle = 0;
  uint32_t parent = 0;
  std::string kind;
  bool operator==(const DecodedQdisc&) const = default;
  [[nodiscard]] bool is_clsact() const { return kind == "clsact"; }
};
Result<DecodedQdisc> decode_qdisc(std::span<const uint8_t> message);  // RTM_NEWQDISC or RTM_DELQDISC

}  // namespace sepal::tc
