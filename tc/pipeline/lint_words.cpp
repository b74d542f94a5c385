// The words are mlx5's (drivers/net/ethernet/mellanox/mlx5/core/en_tc.c, en/tc/act/*.c, en/tc_tun*.c) and tc core's
// (include/net/flow_offload.h, net/sched/cls_api.c).
#include "tc/pipeline/lint_words.hpp"

namespace sepal::tc {
namespace {

struct About {
  std::string_view words;
  std::string_view rule;
};
constexpr About kAbout[] = {
    {"Decap with goto", "L2"},
    {"UDP tunnel decap filter must", "L4"},
    {"conform-exceed action is not", "L8"},
    {"peakrate/avrate/overhead", "L8"},
    {"Unsupported key", "L10"},
    {"ct_state +rel", "L10"},
    {"ct_state +inv", "L10"},
    {"only ct_state", "L10"},
    {"Only UDP and TCP transports", "L10"},
    {"only with ICMP and ICMPv6", "L10"},
    {"Unsupported match on control.flags", "L10"},
    {"frag first/later", "L10"},
    {"csum action is only offloaded with pedit", "L12"},
    {"offload TC csum action", "L12"},
    {"Drop with modify header", "L12"},
    {"too many pedit actions", "L12"},
    {"unsupported field", "L12"},
    {"Not implemented offload action", "L14"},
    {"Action does not support offload", "L14"},
    {"forward from a VF to itself", "L19"},
    {"on same switch HW", "L20"},
};

}  // namespace

std::string_view lint_rule_about(std::string_view words) {
  for (const About& about : kAbout)
    if (words.find(about.words) != std::string_view::npos) return about.rule;
  return {};
}

}  // namespace sepal::tc
