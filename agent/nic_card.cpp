// The kernel's NIC. Looking is many small questions whose answers may be of slightly different times; the executor
// looks again whenever a step finds something else than was seen.
#include "agent/nic_card.hpp"

#include <linux/netlink.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "netlink/link_monitor.hpp"
#include "netlink/links.hpp"
#include "netlink/sriov.hpp"

namespace sepal::agent {
namespace {

using netlink::DevlinkPort;
using netlink::GenericFamily;
using netlink::PortFlavour;
using std::chrono::milliseconds;

// What comes without an event (a driver that binds in its own time) is found by looking again this often.
constexpr milliseconds kTick{500};

struct Sockets {
  std::unique_ptr<netlink::Transport> route;
  std::unique_ptr<netlink::Transport> generic;
  GenericFamily devlink;
  GenericFamily ethtool;
  netlink::LinkMonitor links;
  netlink::GenericMonitor ports;
};

Result<Sockets> open_sockets() {
  auto route = netlink::open_transport({.protocol = NETLINK_ROUTE});
  if (!route) return Unexpected(route.error());
  auto generic = netlink::open_transport({.protocol = NETLINK_GENERIC});
  if (!generic) return Unexpected(generic.error());
  auto devlink = netlink::find_family(**generic, "devlink");
  if (!devlink) return Unexpected(devlink.error());
  auto ethtool = netlink::find_family(**generic, "ethtool");
  if (!ethtool) return Unexpected(ethtool.error());
  auto links = netlink::LinkMonitor::open({});
  if (!links) return Unexpected(links.error());
  auto ports = netlink::GenericMonitor::open(*devlink, "config");
  if (!ports) return Unexpected(ports.error());
  return Sockets{std::move(*route),   std::move(*generic), std::move(*devlink),
                 std::move(*ethtool), std::move(*links),   std::move(*ports)};
}

class KernelNic : public NicCard {
 public:
  KernelNic(std::string pci, const std::filesystem::path& sysfs) : pci_(std::move(pci)), tree_(sysfs) {}

  Result<NicState> look() override;
  Result<void> perform(const NicStep& step) override;
  Result<bool> wait(Clock::time_point until) override;
  [[nodiscard]] uint64_t writes() const override {
    return tree_.writes() + (sockets_ ? sockets_->route->writes() + sockets_->generic->writes() : 0);
  }

 private:
  [[nodiscard]] netlink::Devlink devlink() { return {*sockets_->generic, sockets_->devlink}; }
  Result<void> open();
  Result<void> look_at_devlink(NicState& now);
  Result<void> look_at_ports(NicState& now, const std::vector<netlink::Link>& links);
  Result<std::optional<NicDevice>> look_at_device(const std::vector<netlink::Link>& links, IfIndex index);
  Result<IfIndex> device_of(NicPortId port) const;
  Result<std::string> function_of(uint16_t vf) const;

  std::string pci_;
  netlink::PciTree tree_;
  std::optional<Sockets> sockets_;
  NicState last_;
};

Result<void> KernelNic::open() {
  if (sockets_) return {};
  auto sockets = open_sockets();
  if (!sockets) return Unexpected(sockets.error());
  sockets_.emplace(std::move(*sockets));
  return {};
}

std::vector<FunctionDevice> devices_of(const std::vector<std::string>& names, const std::vector<netlink::Link>& links,
                                       const std::vector<netlink::Address>& addresses) {
  std::vector<FunctionDevice> devices;
  for (const std::string& name : names) {
    const auto link = std::find_if(links.begin(), links.end(), [&](const auto& l) { return l.name == name; });
    if (link == links.end()) continue;  // left between the two questions
    const bool has_address = std::any_of(addresses.begin(), addresses.end(), [&](const netlink::Address& a) {
      return a.device == link->index && !a.address.is_link_local();
    });
    devices.push_back({name, link->up, link->master != IfIndex(), has_address});
  }
  return devices;
}

Result<NicState> KernelNic::look() {
  auto sriov = tree_.read(pci_);
  if (!sriov) return Unexpected(sriov.error());
  if (auto opened = open(); !opened) return Unexpected(opened.error());
  auto links = netlink::list_links(*sockets_->route);
  if (!links) return Unexpected(links.error());
  auto addresses = netlink::list_addresses(*sockets_->route);
  if (!addresses) return Unexpected(addresses.error());
  NicState now;
  now.pci = pci_;
  now.driver = sriov->driver;
  now.total = sriov->total;
  now.count = sriov->count;
  now.autoprobe = sriov->autoprobe;
  for (const auto& [vf, function] : sriov->functions) {
    now.functions.emplace(vf,
                          NicFunction{function.pci, function.driver, devices_of(function.netdevs, *links, *addresses)});
  }
  if (!now.driver.empty()) {
    if (auto looked = look_at_devlink(now); !looked) return Unexpected(looked.error());
    if (auto looked = look_at_ports(now, *links); !looked) return Unexpected(looked.error());
  }
  last_ = now;
  return now;
}

Result<void> KernelNic::look_at_devlink(NicState& now) {
  auto eswitch = netlink::get_eswitch(devlink(), pci_);
  if (!eswitch && eswitch.error().code == Errc::not_found) {
    return fail(Errc::unsupported, "NIC " + pci_ + ": its driver " + now.driver + " has no devlink");
  }
  if (!eswitch && eswitch.error().code != Errc::unsupported) return Unexpected(eswitch.error());
  if (eswitch) now.eswitch = *eswitch;
  for (const std::string_view name : {kSteeringParam, kMetadataParam}) {
    auto value = netlink::get_param(devlink(), pci_, name);
    if (!value) return Unexpected(value.error());
    if (*value) now.params.emplace(name, **value);
  }
  // For people only: a driver without it is as good.
  if (auto info = netlink::get_info(devlink(), pci_)) {
    for (const char* name : {"fw.version", "fw"}) {
      const auto found = info->running.find(name);
      if (now.firmware.empty() && found != info->running.end()) now.firmware = found->second;
    }
  }
  return {};
}

Result<std::optional<NicDevice>> KernelNic::look_at_device(const std::vector<netlink::Link>& links, IfIndex index) {
  const auto link = std::find_if(links.begin(), links.end(), [&](const auto& l) { return l.index == index; });
  if (index == IfIndex() || link == links.end()) return std::nullopt;
  auto offload = netlink::get_tc_offload(*sockets_->generic, sockets_->ethtool, index);
  if (!offload && offload.error().code == Errc::not_found) return std::nullopt;  // left just now
  if (!offload) return Unexpected(offload.error());
  return NicDevice{index, link->name, link->up, *offload};
}

Result<void> KernelNic::look_at_ports(NicState& now, const std::vector<netlink::Link>& links) {
  auto ports = netlink::list_ports(devlink(), pci_);
  if (!ports) return Unexpected(ports.error());
  for (const DevlinkPort& port : *ports) {
    // Functions of another host behind the same card (a controller of their own) are not this host's VFs.
    const bool representor = port.flavour == PortFlavour::pci_vf && port.controller == 0;
    if (!representor && port.flavour != PortFlavour::physical) continue;
    auto device = look_at_device(links, port.netdev);
    if (!device) return Unexpected(device.error());
    NicPort seen{port.index, std::move(*device), port.function_mac};
    if (representor)
      now.representors.emplace(port.vf, std::move(seen));
    else if (!now.uplink)
      now.uplink = std::move(seen);
  }
  return {};
}

Result<IfIndex> KernelNic::device_of(NicPortId port) const {
  const NicPort* found = nullptr;
  if (!port && last_.uplink) found = &*last_.uplink;
  if (port && last_.representors.contains(*port)) found = &last_.representors.at(*port);
  if (found == nullptr || !found->device) return fail(Errc::not_found, port_text(port) + " is not there");
  return found->device->index;
}

Result<std::string> KernelNic::function_of(uint16_t vf) const {
  const auto found = last_.functions.find(vf);
  if (found == last_.functions.end()) return fail(Errc::not_found, "VF " + std::to_string(vf) + " is not there");
  return found->second.pci;
}

Result<void> KernelNic::perform(const NicStep& step) {
  struct Visitor {
    KernelNic& nic;
    Result<void> operator()(const SetParam& s) { return netlink::set_param(nic.devlink(), nic.pci_, s.name, s.value); }
    Result<void> operator()(const SetAutoprobe& s) { return nic.tree_.set_autoprobe(nic.pci_, s.on); }
    Result<void> operator()(const SetVfCount& s) { return nic.tree_.set_count(nic.pci_, s.count); }
    Result<void> operator()(const UnbindVf& s) {
      auto pci = nic.function_of(s.vf);
      return pci ? nic.tree_.unbind(*pci, s.driver) : Unexpected(pci.error());
    }
    Result<void> operator()(const BindVf& s) {
      auto pci = nic.function_of(s.vf);
      return pci ? nic.tree_.probe(*pci) : Unexpected(pci.error());
    }
    Result<void> operator()(const SetMode& s) {
      return netlink::set_eswitch(nic.devlink(), nic.pci_, {.mode = s.mode});
    }
    Result<void> operator()(const SetInline& s) {
      return netlink::set_eswitch(nic.devlink(), nic.pci_, {.inline_mode = s.mode});
    }
    Result<void> operator()(const SetEncap& s) {
      return netlink::set_eswitch(nic.devlink(), nic.pci_, {.encap = s.on});
    }
    Result<void> operator()(const SetVfMac& s) {
      const auto found = nic.last_.representors.find(s.vf);
      if (found == nic.last_.representors.end()) return fail(Errc::not_found, port_text(s.vf) + " is not there");
      return netlink::set_function_mac(nic.devlink(), nic.pci_, found->second.devlink_port, s.mac);
    }
    Result<void> operator()(const SetTcOffload& s) {
      auto device = nic.device_of(s.port);
      if (!device) return Unexpected(device.error());
      return netlink::set_tc_offload(*nic.sockets_->generic, nic.sockets_->ethtool, *device, s.on);
    }
    Result<void> operator()(const SetPortUp& s) {
      auto device = nic.device_of(s.port);
      if (!device) return Unexpected(device.error());
      return s.up ? netlink::set_link_up(*nic.sockets_->route, *device)
                  : netlink::set_link_down(*nic.sockets_->route, *device);
    }
  };
  if (auto opened = open(); !opened) return opened;
  return std::visit(Visitor{*this}, step);
}

Result<bool> KernelNic::wait(Clock::time_point until) {
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
  if (left.count() <= 0) return false;
  if (auto opened = open(); !opened) return Unexpected(opened.error());
  pollfd ready[] = {{sockets_->links.fd(), POLLIN, 0}, {sockets_->ports.fd(), POLLIN, 0}};
  if (::poll(ready, 2, static_cast<int>(std::min(left, kTick).count())) < 0 && errno != EINTR) {
    return fail_errno(errno, "wait for the NIC");
  }
  if (auto drained = sockets_->links.drain(); !drained) return Unexpected(drained.error());
  if (auto drained = sockets_->ports.drain(); !drained) return Unexpected(drained.error());
  return true;
}

}  // namespace

std::unique_ptr<NicCard> open_nic(const std::string& pci, const std::filesystem::path& sysfs) {
  return std::make_unique<KernelNic>(pci, sysfs);
}

}  // namespace sepal::agent
