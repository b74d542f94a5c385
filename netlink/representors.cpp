// Which netdev stands for which virtual function: a pure function of the list of devices and of sysfs' answer to "which
// netdevs has this PCI function". Names after Documentation/networking/representors.rst: p<P> is the uplink,
// pf<P>vf<V> the representor of a VF, both perhaps behind a controller's prefix c<N>.
#include <charconv>
#include <system_error>

#include "netlink/links.hpp"

namespace sepal::netlink {
namespace {

// Takes `prefix` and a decimal number off the front of `text`.
std::optional<uint16_t> take_number(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return std::nullopt;
  const std::string_view digits = text.substr(prefix.size());
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(prefix.size() + static_cast<size_t>(end - digits.data()));
  return number;
}

// "p0" → 0
std::optional<uint16_t> uplink_number(std::string_view port_name) {
  const auto number = take_number(port_name, "p");
  return port_name.empty() ? number : std::nullopt;
}

struct VirtualFunction {
  uint16_t pf = 0;
  uint16_t vf = 0;
};

// "pf0vf3", "c1pf0vf3"
std::optional<VirtualFunction> virtual_function(std::string_view port_name) {
  (void)take_number(port_name, "c");
  const auto pf = take_number(port_name, "pf");
  const auto vf = take_number(port_name, "vf");
  if (!pf || !vf || !port_name.empty()) return std::nullopt;
  return VirtualFunction{*pf, *vf};
}

}  // namespace

Result<std::map<uint16_t, IfIndex>> find_representors(const std::vector<Link>& links, std::string_view pci,
                                                      const std::filesystem::path& sysfs) {
  const std::string function = "PCI function " + std::string(pci);
  const std::filesystem::path directory = sysfs / "bus/pci/devices" / pci;
  std::error_code error;
  if (pci.find('/') != std::string_view::npos || !std::filesystem::exists(directory, error)) {
    return fail(Errc::not_found, function + " does not exist");
  }
  // In switchdev mode the VFs' representors may stand beside the function's own netdev in this directory.
  std::set<std::string> names;
  for (std::filesystem::directory_iterator entry(directory / "net", error), end; !error && entry != end;
       entry.increment(error)) {
    names.insert(entry->path().filename().string());
  }
  const Link* uplink = nullptr;
  bool any = false;
  for (const Link& link : links) {
    if (!names.contains(link.name)) continue;
    any = true;
    if (link.phys_switch_id.empty() || virtual_function(link.phys_port_name)) continue;
    if (uplink == nullptr || uplink_number(link.phys_port_name)) uplink = &link;
  }
  if (!any) return fail(Errc::not_found, function + " has no network device in this namespace");
  if (uplink == nullptr) {
    return fail(Errc::unsupported, function + " is not in switchdev mode (`devlink dev eswitch set pci/" +
                                       std::string(pci) + " mode switchdev`)");
  }
  const auto pf = uplink_number(uplink->phys_port_name);
  std::map<uint16_t, IfIndex> found;
  for (const Link& link : links) {
    if (link.phys_switch_id != uplink->phys_switch_id) continue;
    // Two ports of one NIC may share an eSwitch: then the function's number decides.
    const auto represented = virtual_function(link.phys_port_name);
    if (represented && (!pf || represented->pf == *pf)) found.emplace(represented->vf, link.index);
  }
  return found;
}

}  // namespace sepal::netlink
