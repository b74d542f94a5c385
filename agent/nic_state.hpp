// A NIC as a value: what one physical function looks like now, and what it should be. No socket here (nic_card.hpp), no
// order of changes (nic_plan.hpp). A port is the uplink or a VF number of this function, never a name: devices behind
// it come, go and change their names.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/net_types.hpp"
#include "config/model.hpp"
#include "netlink/devlink.hpp"
#include "netlink/features.hpp"

namespace sepal::agent {

inline constexpr std::string_view kSteeringParam = "flow_steering_mode";
inline constexpr std::string_view kMetadataParam = "esw_port_metadata";

struct NicDevice {  // the netdev of a port
  IfIndex index;
  std::string name;
  bool up = false;
  netlink::TcOffload offload;
  bool operator==(const NicDevice&) const = default;
};

struct NicPort {
  uint32_t devlink_port = 0;
  std::optional<NicDevice> device;      // not there yet, or in another network namespace
  std::optional<MacAddr> function_mac;  // of the VF behind a representor
  bool operator==(const NicPort&) const = default;
};

struct FunctionDevice {  // a netdev of a VF, in this network namespace
  std::string name;
  bool up = false;
  bool enslaved = false;
  bool has_address = false;
  bool operator==(const FunctionDevice&) const = default;
};

struct NicFunction {
  std::string pci;
  std::string driver;  // empty: none
  std::vector<FunctionDevice> devices;
  bool operator==(const NicFunction&) const = default;
};

struct NicState {
  std::string pci;
  std::string driver;    // empty: none
  std::string firmware;  // empty: not told
  uint16_t total = 0;    // VFs the firmware allows
  uint16_t count = 0;    // VFs there are
  bool autoprobe = true;
  netlink::Eswitch eswitch;
  std::map<std::string, netlink::ParamValue, std::less<>> params;  // of those above the ones the driver has
  std::optional<NicPort> uplink;
  std::map<uint16_t, NicFunction> functions;  // by VF number
  std::map<uint16_t, NicPort> representors;   // by VF number
  [[nodiscard]] bool switchdev() const { return eswitch.mode == netlink::EswitchMode::switchdev; }
  bool operator==(const NicState&) const = default;
};

// Who has this VF, in words for "VF 3 is …"; nullopt: nobody. `own_driver`: the NIC's.
std::optional<std::string> user_of(const NicFunction& function, std::string_view own_driver);

struct NicWanted {
  std::optional<uint16_t> count;  // nullopt: the VFs are somebody else's to make (nic.only)
  std::set<uint16_t> vfs;         // ours
  std::set<uint16_t> bound;       // of ours, those that shall have the NIC's own driver, or keep another's
  bool autoprobe = true;          // in the end
  std::map<uint16_t, MacAddr> macs;
  std::map<std::string, netlink::ParamValue, std::less<>> params;  // set while the NIC is still in legacy mode
  bool fell_back = false;  // it was all this in this boot, and left switchdev mode by itself
  bool operator==(const NicWanted&) const = default;
};

struct NicRecord;
// What the configuration asks of the NIC (its nic.pci is set). Drivers of VFs and autoprobe are left as they were
// found, which is the record's word where there is one.
NicWanted wanted_nic(const config::Config& config, const NicState& now, const NicRecord* record);

}  // namespace sepal::agent
