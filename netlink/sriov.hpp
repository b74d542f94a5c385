// SR-IOV of one PCI function through sysfs, which has no netlink: the number of virtual functions, who drives them,
// which netdevs they have. Governed by Documentation/ABI/testing/sysfs-bus-pci and drivers/pci/iov.c.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sepal::netlink {

struct VirtualFunction {
  std::string pci;                   // "0000:3b:00.2"
  std::string driver;                // empty: none is bound
  std::vector<std::string> netdevs;  // in this network namespace, sorted
  bool operator==(const VirtualFunction&) const = default;
};

struct Sriov {
  std::string driver;                // of the physical function; empty: none is bound
  std::vector<std::string> netdevs;  // with this function as parent, in this network namespace: representors too
  uint16_t total = 0;                // sriov_totalvfs: as many as its firmware allows; 0: no SR-IOV
  uint16_t count = 0;                // sriov_numvfs
  bool autoprobe = true;             // sriov_drivers_autoprobe: new VFs get a driver at once, and may get one at all
  std::map<uint16_t, VirtualFunction> functions;  // by VF number
  bool operator==(const Sriov&) const = default;
};

class PciTree {
 public:
  // `sysfs` is a parameter for tests.
  explicit PciTree(std::filesystem::path sysfs = "/sys") : sysfs_(std::move(sysfs)) {}

  // Errc::not_found: there is no such PCI function. Errc::conflict: it is itself a virtual one; its physical function
  // is named.
  [[nodiscard]] Result<Sriov> read(std::string_view pci) const;

  // Each is one write(2) to one file; an error carries its errno and the file. None checks what is so already.
  Result<void> set_count(std::string_view pci, uint16_t count);  // EBUSY from one number to another: go through 0
  Result<void> set_autoprobe(std::string_view pci, bool on);
  // Has the kernel look for a driver, respecting driver_override. With autoprobe off a VF gets none (ENODEV).
  Result<void> probe(std::string_view pci);
  Result<void> unbind(std::string_view pci, std::string_view driver);
  [[nodiscard]] uint64_t writes() const { return writes_; }  // since the start

 private:
  [[nodiscard]] std::filesystem::path function(std::string_view pci) const { return sysfs_ / "bus/pci/devices" / pci; }
  Result<void> write(const std::filesystem::path& file, std::string_view text);
  std::filesystem::path sysfs_;
  uint64_t writes_ = 0;
};

}  // namespace sepal::netlink
