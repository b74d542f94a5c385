// Whether a device hands tc rules to its hardware: the feature bit hw-tc-offload, over ethtool's netlink. Governed by
// include/uapi/linux/ethtool_netlink.h and Documentation/networking/ethtool-netlink.rst.
#pragma once

#include "base/net_types.hpp"
#include "netlink/generic.hpp"

namespace sepal::netlink {

struct TcOffload {
  bool possible = false;  // the driver knows the feature for this device
  bool on = false;
  bool operator==(const TcOffload&) const = default;
};
//   ethtool -k DEVICE | grep hw-tc-offload
// `ethtool`: find_family(generic, "ethtool"). Errc::not_found: the device is gone.
Result<TcOffload> get_tc_offload(Transport& generic, const GenericFamily& ethtool, IfIndex device);
//   ethtool -K DEVICE hw-tc-offload on|off
// A driver may acknowledge and still keep the bit as it was: look again.
Result<void> set_tc_offload(Transport& generic, const GenericFamily& ethtool, IfIndex device, bool on);

}  // namespace sepal::netlink
