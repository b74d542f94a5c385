// Where a rule runs, and why there: one classification and one vocabulary for `offload`, `show` and `explain`
// (docs/reference/cli.md lists the words). Pure: what it must know of devices, kernel and refusals is a value, gathered
// by hardware_view.cpp.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "agent/kernel_parts.hpp"
#include "netlink/features.hpp"
#include "tc/pipeline/pipeline.hpp"
#include "tc/pipeline/software.hpp"

namespace sepal::agent {

enum class Placement : uint8_t {
  hardware,
  slow_path,      // the NIC holds it, and hands every packet of it up: the next hop under the tunnel is not resolved
  software,       // offered to the NIC, or to a device that is no NIC's
  software_only,  // never offered, by design
  missing,        // the kernel has no such rule
  other,          // the kernel has another rule in its place
};
std::string_view to_string(Placement placement);

enum class Cause : uint8_t {
  none,
  by_design,    // the pipeline's own decision: tc/pipeline/software.hpp
  demoted,      // kept in software with its block, because a rule beside it was refused
  no_nic,       // hardware is not asked for: no nic.pci, and the device is no port of a NIC
  no_port,      // of a NIC, but not in switchdev mode
  no_offload,   // the driver has no tc offload for this device
  offload_off,  // hw-tc-offload is off
  refused,      // the driver said so
  kernel,       // the kernel lacks what such rules need
  neighbour,    // slow_path
  untold,       // nobody noted why
  absent,       // missing, other
};
std::string_view to_string(Cause cause);

// What the driver said when it did not take a rule.
struct DriverRefusal {
  int error = 0;      // errno; 0: the kernel did not tell
  std::string words;  // may be empty
};

struct DeviceView {
  std::string name;
  bool switch_port = false;  // it has a switch id: a representor or the uplink of a NIC in switchdev mode
  netlink::TcOffload offload;
};

struct HardwareView {
  bool nic_named = false;  // the configuration says nic.pci: every rule that may be in hardware is wanted there
  IfIndex uplink;
  IfIndex vxlan;  // its rules are the uplink's NIC's to hold
  std::map<IfIndex, DeviceView> devices;
  tc::KeptOutVteps kept_out;                  // far ends of tunnels that the NIC must not send to, and why
  std::map<IpAddr, std::string> unresolved;   // far ends of tunnels that the NIC cannot send to now, and why
  std::map<tc::RuleId, std::string> demoted;  // rules kept out with their unit (hardware.hpp), and why
  std::function<KernelParts()> kernel;        // asked only when nothing else explains a rule
  // What is remembered of this very rule, by place and content.
  std::function<std::optional<DriverRefusal>(const tc::RuleId&, uint64_t content)> refusal;

  // The device whose NIC holds the rules of `device`.
  [[nodiscard]] IfIndex holder(IfIndex device) const { return device == vxlan ? uplink : device; }
  [[nodiscard]] const DeviceView* holder_view(IfIndex device) const;
  // Whether rules of this device belong in hardware at all.
  [[nodiscard]] bool wants(IfIndex device) const;
};

struct Placed {
  Placement placement = Placement::software;
  Cause cause = Cause::none;
  std::string why;        // empty in hardware
  bool wanted = false;    // in hardware
  uint32_t expected = 0;  // in how many NICs' tables it should be, and in how many it is
  uint32_t held = 0;
  std::optional<DriverRefusal> refusal;
  [[nodiscard]] bool as_wanted() const { return !wanted || placement == Placement::hardware; }
};

// `state`: what a full dump told of the rule; null: it is not there.
Placed place(const tc::Rule& rule, const tc::RuleState* state, const HardwareView& view);

// What keeps every rule of a device out of hardware; nullopt: nothing does.
struct DeviceObstacle {
  Cause cause = Cause::none;
  std::string why;
};
std::optional<DeviceObstacle> device_obstacle(IfIndex device, const HardwareView& view);

// The remote end a rule encapsulates to.
std::optional<IpAddr> tunnel_to(const tc::Rule& rule);

}  // namespace sepal::agent
