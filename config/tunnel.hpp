// What the tunnel takes of the underlay's packets.
#pragma once

#include "base/limits.hpp"
#include "config/model.hpp"

namespace sepal::config {

// Bytes around each packet of a guest; by the family of the underlay, which is that of this host's VTEP.
inline unsigned tunnel_overhead(const Underlay& underlay) {
  return underlay.address.is_v4() ? limits::kVxlanOverheadIpv4 : limits::kVxlanOverheadIpv6;
}

}  // namespace sepal::config
