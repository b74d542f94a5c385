// devlink of one PCI function: its eSwitch (devlink_eswitch.cpp), its parameters and versions (devlink_params.cpp) and
// its ports (devlink_ports.cpp). Governed by include/uapi/linux/devlink.h and Documentation/networking/devlink/. What
// the modes mean to a NIC, and in which order they may be set, is known further up.
//
// Every function: `pci` is the function's PCI address ("0000:3b:00.0"); Errc::not_found when no driver registered
// devlink for it; a refusal carries the driver's own words in Error::ext_ack.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/net_types.hpp"
#include "netlink/generic.hpp"

namespace sepal::netlink {

// Both borrowed.
struct Devlink {
  Transport& generic;
  const GenericFamily& family;  // find_family(generic, "devlink")
};

// --- eSwitch

enum class EswitchMode : uint16_t { legacy = 0, switchdev = 1 };                     // DEVLINK_ESWITCH_MODE_*
enum class InlineMode : uint8_t { none = 0, link = 1, network = 2, transport = 3 };  // DEVLINK_ESWITCH_INLINE_MODE_*

// nullopt: the driver does not tell (in this mode, perhaps), or tells a value newer than this code.
struct Eswitch {
  std::optional<EswitchMode> mode;
  std::optional<InlineMode> inline_mode;
  std::optional<bool> encap;  // encap-mode: basic or none
  bool operator==(const Eswitch&) const = default;
};
//   devlink dev eswitch show pci/PCI
// Errc::unsupported: the function has no eSwitch.
Result<Eswitch> get_eswitch(Devlink devlink, std::string_view pci);
//   devlink dev eswitch set pci/PCI mode|inline-mode|encap-mode …
// Sets what is given. Returns when the driver is done, which may take seconds.
Result<void> set_eswitch(Devlink devlink, std::string_view pci, const Eswitch& wanted);

// --- parameters and versions

using ParamValue = std::variant<bool, uint32_t, std::string>;
//   devlink dev param show pci/PCI name NAME
// The value in mode runtime. nullopt: the driver has no such parameter.
Result<std::optional<ParamValue>> get_param(Devlink devlink, std::string_view pci, std::string_view name);
//   devlink dev param set pci/PCI name NAME value … cmode runtime
Result<void> set_param(Devlink devlink, std::string_view pci, std::string_view name, const ParamValue& value);

struct DevlinkInfo {
  std::string driver;
  std::map<std::string, std::string> running;  // versions in use: "fw.version" …
};
//   devlink dev info pci/PCI
Result<DevlinkInfo> get_info(Devlink devlink, std::string_view pci);

// --- ports

enum class PortFlavour : uint8_t { physical, pci_pf, pci_vf, other };

struct DevlinkPort {
  uint32_t index = 0;  // devlink's own number of it
  PortFlavour flavour = PortFlavour::other;
  uint32_t controller = 0;  // 0: this host's own functions
  uint16_t pf = 0;          // pci_pf, pci_vf: the physical function's number on its controller
  uint16_t vf = 0;          // pci_vf
  uint32_t number = 0;      // physical: the wire's number, p<N>
  IfIndex netdev;           // 0: none in this network namespace (yet)
  std::string netdev_name;
  std::optional<MacAddr> function_mac;  // of the function behind the port; nullopt: not told
};
// All ports of that function's devlink instance, sorted by index. One dump. Errc::resync: repeat.
Result<std::vector<DevlinkPort>> list_ports(Devlink devlink, std::string_view pci);
//   devlink port function set pci/PCI/PORT hw_addr MAC
// The function takes it when its driver binds the next time.
Result<void> set_function_mac(Devlink devlink, std::string_view pci, uint32_t port, const MacAddr& mac);

}  // namespace sepal::netlink
