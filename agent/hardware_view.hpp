// Gathers what placement.hpp must know: which devices are ports of a NIC, whether they offload, what the kernel lacks.
// Asks ethtool's netlink, and only about ports of a NIC: on veth nothing is asked.
#pragma once

#include "agent/kernel.hpp"
#include "agent/paths.hpp"
#include "agent/placement.hpp"
#include "config/model.hpp"

namespace sepal::agent {

struct ViewInput {
  const config::Config* config = nullptr;  // may be null: then the ports of NICs tell what is wanted
  IfIndex uplink;
  IfIndex vxlan;
  std::set<IfIndex> devices;  // whose rules will be judged
};

// What could not be asked counts as "no tc offload"; devices that are gone are left out.
Result<HardwareView> gather_hardware_view(Kernel& kernel, const ViewInput& input, const Paths& paths);

}  // namespace sepal::agent
