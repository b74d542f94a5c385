// The kernel's side of placement.hpp.
#include "agent/hardware_view.hpp"

#include <memory>

#include "agent/hardware.hpp"
#include "agent/next_hops.hpp"
#include "netlink/links.hpp"

namespace sepal::agent {
namespace {

// Read once, when first asked for: it is a large file.
std::function<KernelParts()> parts_when_asked() {
  auto parts = std::make_shared<std::optional<KernelParts>>();
  return [parts] {
    if (!*parts) *parts = running_kernel_parts();
    return **parts;
  };
}

// By place: the rule that was refused and the one that stands there now, kept out with its block, differ in that only.
std::function<std::optional<DriverRefusal>(const tc::RuleId&, uint64_t)> refusals_on_file(const Paths& paths) {
  auto state = std::make_shared<HardwareState>(load_hardware(paths.hardware));
  return [state](const tc::RuleId& id, uint64_t) -> std::optional<DriverRefusal> {
    const auto found = state->refusals.find(id);
    if (found == state->refusals.end()) return std::nullopt;
    return DriverRefusal{found->second.sys_errno, found->second.words};
  };
}

}  // namespace

Result<HardwareView> gather_hardware_view(Kernel& kernel, const ViewInput& input, const Paths& paths) {
  auto links = netlink::list_links(kernel.route);
  for (int again = 0; !links && links.error().code == Errc::resync && again < 3; ++again)
    links = netlink::list_links(kernel.route);
  if (!links) return Unexpected(while_doing(links.error(), "list devices"));
  HardwareView view;
  view.nic_named = input.config != nullptr && !input.config->host.nic.manual_representors;
  view.uplink = input.uplink;
  view.vxlan = input.vxlan;
  view.kernel = parts_when_asked();
  view.refusal = refusals_on_file(paths);
  for (const netlink::Link& link : *links) {
    if (!input.devices.contains(link.index) && link.index != input.uplink) continue;
    DeviceView device{link.name, !link.phys_switch_id.empty(), {}};
    if (device.switch_port) device.offload = kernel.offload_of(link.index);
    // Without a configuration nobody says which device is the uplink; any port of the NIC speaks for the tunnel then.
    if (device.switch_port && view.uplink == IfIndex()) view.uplink = link.index;
    view.devices.emplace(link.index, std::move(device));
  }
  if (input.config == nullptr) return view;
  std::vector<std::string> untold;  // a lookup that failed says nothing about a rule
  const auto ways = find_ways(kernel.route, *input.config, *links, untold);
  if (!ways) return Unexpected(ways.error());
  for (const UnderlayWay& way : *ways) {
    if (!way.keep_out.empty()) view.kept_out.emplace(way.vtep, way.keep_out);
    if (!way.keep_out.empty() || !view.nic_named) continue;
    const auto status = find_status(kernel.route, way);
    if (status && status->state == WayState::slow_path)
      view.unresolved.emplace(
          way.vtep, "the next hop " + way.hop->address.to_string() + " on " + way.device + " has no MAC address yet");
  }
  return view;
}

}  // namespace sepal::agent
