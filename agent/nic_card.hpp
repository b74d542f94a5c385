// A NIC as something to look at and to change, one physical function: the seam between the executor and the kernel.
// The real one is made of devlink, rtnetlink, ethtool's netlink and sysfs; tests have a model.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>

#include "agent/nic_step.hpp"
#include "netlink/channel.hpp"

namespace sepal::agent {

using netlink::Clock;

class NicCard {
 public:
  virtual ~NicCard() = default;
  // Errc::not_found: no such PCI function. Errc::conflict: it is a virtual one. Errc::unsupported: no devlink.
  virtual Result<NicState> look() = 0;
  // One write. Ports and functions are found by the last look. Errc::transient: busy, the same again may succeed.
  // Errc::not_found: what it is about has gone since.
  virtual Result<void> perform(const NicStep& step) = 0;
  // Until something may have changed; false: nothing did until `until`.
  virtual Result<bool> wait(Clock::time_point until) = 0;
  // Writes so far, refused ones too.
  [[nodiscard]] virtual uint64_t writes() const = 0;
};

// The NIC at PCI address `pci`. `sysfs` is a parameter for tests.
std::unique_ptr<NicCard> open_nic(const std::string& pci, const std::filesystem::path& sysfs = "/sys");

}  // namespace sepal::agent
