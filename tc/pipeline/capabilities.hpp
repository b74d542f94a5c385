// What a rule needs of NIC and kernel to be in hardware, and what some NICs and kernels have: the rows and columns of
// docs/reference/offload-matrix.md. A rule's own faults are lint's (lint.hpp); what is said here is that a rule
// without fault may still not be taken.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc {

// By what the driver asks its firmware for.
struct NicProfile {
  std::string_view name;
  bool ignore_flow_level = true;  // chains and priorities of any number, conntrack
  bool software_steering = true;  // tables as large as they need to be
};
inline constexpr std::array<NicProfile, 3> kNicProfiles{{{"full"}, {"dmfs", true, false}, {"old", false, false}}};

// By what it was built with.
struct KernelKind {
  std::string_view name;
  bool tracking = true;  // NET_TC_SKB_EXT and the driver's conntrack (MLX5_TC_CT)
  bool any_tc = true;    // the driver takes tc rules at all; from 6.3 on mlx5 needs NET_TC_SKB_EXT for that
};
inline constexpr std::array<KernelKind, 3> kKernelKinds{
    {{"complete"}, {"6.1 without NET_TC_SKB_EXT", false, true}, {"≥ 6.3 without NET_TC_SKB_EXT", false, false}}};

struct HardwareVerdict {
  bool hardware = true;
  std::string_view why;  // empty in hardware
};
HardwareVerdict judge(const Rule& rule, const NicProfile& nic, const KernelKind& kernel);

// act_ct, or a match on what it found.
bool tracks_connections(const Rule& rule);

// A rule without its values: rules of one shape fare alike.
struct Shape {
  BlockKind block = BlockKind::port;
  Group group = Group::ingress;
  std::string match;    // keys, and of ct_state what it says: "src_mac eth_type src_ip", "ct_state +trk+new", "any"
  std::string actions;  // "ct goto"
  auto operator<=>(const Shape&) const = default;
};
Shape shape_of(const Rule& rule, BlockKind block);
std::string to_string(const Shape& shape);  // "port g0: src_mac eth_type src_ip → ct goto"
std::string_view to_string(BlockKind block);

}  // namespace sepal::tc
