// What a NIC was before sepal first changed it, kept over crashes so that `sepalctl nic reset` can put it back. A file
// per physical function, /var/lib/sepal/nic-<PCI>.json, written before the first change. A reboot undoes everything a
// NIC was told, so a record of an earlier boot is none.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "agent/nic_state.hpp"

namespace sepal::agent {

inline constexpr std::string_view kStateDirectory = "/var/lib/sepal";

struct NicRecord {
  std::string pci;
  std::string boot;               // the kernel's boot_id
  std::optional<uint16_t> count;  // nullopt: not ours to change
  bool autoprobe = true;
  netlink::Eswitch eswitch;
  std::map<std::string, netlink::ParamValue, std::less<>> params;
  std::optional<bool> uplink_up;
  std::optional<bool> uplink_offload;
  std::map<uint16_t, std::string> drivers;  // of our VFs that there were; "": none
  std::map<uint16_t, MacAddr> macs;         // of our VFs, where the NIC told
  bool ready = false;                       // bring-up was once complete
  bool fell_back = false;                   // it is being brought back, and its VFs stay in their users' hands
  bool operator==(const NicRecord&) const = default;
};

// What is to be remembered of `now` before the first step; what `before` remembers already stays.
NicRecord remember(const NicState& now, const NicWanted& wanted, const std::string& boot, const NicRecord* before);

std::string record_path(const std::string& directory, const std::string& pci);
// nullopt: there is none, or one of another boot. Errc::protocol: the file is damaged.
Result<std::optional<NicRecord>> load_record(const std::string& path, const std::string& boot);
// Atomic, and on disk when it returns: a new file is renamed over the old one. Makes the directory (0755).
Result<void> save_record(const std::string& path, const NicRecord& record);
Result<void> remove_record(const std::string& path);  // absent is success

// /proc/sys/kernel/random/boot_id
std::string boot_id();

}  // namespace sepal::agent
