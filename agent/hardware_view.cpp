// The kernel's side of placement.hpp.
#include "agent/hardware_view.hpp"

#include <linux/netlink.h>

#include <memory>

#include "agent/next_hops.hpp"
#include "netlink/generic.hpp"
#include "netlink/links.hpp"

namespace sepal::agent {
namespace {

// ethtool's netlink, opened when first needed.
class Features {
 public:
  netlink::TcOffload of(IfIndex device) {
    if (!open()) return {};
    const auto offload = netlink::get_tc_offload(*generic_, *ethtool_, device);
    return offload ? *offload : netlink::TcOffload{};
  }

 private:
  bool open() {
    if (tried_) return ethtool_.has_value();
    tried_ = true;
    auto generic = netlink::open_transport({.protocol = NETLINK_GENERIC});
    if (!generic) return false;
    generic_ = std::move(*generic);
    if (auto family = netlink::find_family(*generic_, "ethtool")) ethtool_ = std::move(*family);
    return ethtool_.has_value();
  }

  bool tried_ = false;
  std::unique_ptr<netlink::Transport> generic_;
  std::optional<netlink::GenericFamily> ethtool_;
};

// Read once, when first asked for: it is a large file.
std::function<KernelParts()> parts_when_asked() {
  auto parts = std::make_shared<std::optional<KernelParts>>();
  return [parts] {
    if (!*parts) *parts = running_kernel_parts();
    return **parts;
  };
}

}  // namespace

Result<HardwareView> gather_hardware_view(Kernel& kernel, const ViewInput& input, const Paths& /*paths*/) {
  auto links = netlink::list_links(kernel.route);
  for (int again = 0; !links && links.error().code == Errc::resync && again < 3; ++again)
    links = netlink::list_links(kernel.route);
  if (!links) return Unexpected(while_doing(links.error(), "list devices"));
  HardwareView view;
  view.nic_named = input.config != nullptr && !input.config->host.nic.manual_representors;
  view.uplink = input.uplink;
  view.vxlan = input.vxlan;
  view.kernel = parts_when_asked();
  Features features;
  for (const netlink::Link& link : *links) {
    if (!input.devices.contains(link.index) && link.index != input.uplink) continue;
    DeviceView device{link.name, !link.phys_switch_id.empty(), {}};
    if (device.switch_port) device.offload = features.of(link.index);
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
