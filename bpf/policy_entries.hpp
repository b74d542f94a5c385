// Entries of a tenant's maps of security groups, as policy/ makes them and the loader moves them into the kernel.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

#include "base/net_types.hpp"
#include "bpf/policy_layout.h"

namespace sepal::bpf {

struct PrefixEntry {
  sepal_prefix_key key{};
  sepal_prefix_value value{};
};

struct ChoiceEntry {
  sepal_choice_key key{};
  sepal_choice_value value{};
};

// New connections that one rule decided, over all policies it was in.
struct RuleCount {
  Vni vni;
  uint32_t rule = 0;  // id
  uint64_t allowed = 0;
  uint64_t denied = 0;
  uint64_t audited = 0;  // passed, though the rule (of an audited group) denies
  auto operator<=>(const RuleCount&) const = default;
};

// An address as these maps and events hold one: 16 bytes, of IPv4 the first four; network byte order.
inline IpAddr address_of(const uint8_t* bytes, bool is_ipv6) {
  IpAddr address;
  address.family = is_ipv6 ? Family::ipv6 : Family::ipv4;
  std::copy_n(bytes, address.size(), address.bytes.begin());
  return address;
}

}  // namespace sepal::bpf
