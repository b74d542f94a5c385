// Ports: which of them is the wire, which stand for virtual functions, which netdevs they are; and the MAC of the
// function behind one.
#include <algorithm>

#include "netlink/devlink_handle.hpp"

namespace sepal::netlink {
namespace {

std::string text_of(const AttrTable& table, uint16_t type) {
  const Attr* attr = table.find(type);
  return attr == nullptr ? std::string{} : std::string(attr->string());
}

uint32_t number_of(const AttrTable& table, uint16_t type) {
  const Attr* attr = table.find(type);
  return attr == nullptr ? 0 : attr->u32().value_or(0);
}

uint16_t short_of(const AttrTable& table, uint16_t type) {
  const Attr* attr = table.find(type);
  return attr == nullptr ? uint16_t{0} : attr->u16().value_or(0);
}

PortFlavour flavour_of(const AttrTable& table) {
  const Attr* flavour = table.find(DEVLINK_ATTR_PORT_FLAVOUR);
  if (flavour == nullptr) return PortFlavour::other;
  switch (flavour->u16().value_or(UINT16_MAX)) {
    case DEVLINK_PORT_FLAVOUR_PHYSICAL: return PortFlavour::physical;
    case DEVLINK_PORT_FLAVOUR_PCI_PF: return PortFlavour::pci_pf;
    case DEVLINK_PORT_FLAVOUR_PCI_VF: return PortFlavour::pci_vf;
    default: return PortFlavour::other;
  }
}

// DEVLINK_ATTR_PORT_FUNCTION { DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR … }
Result<std::optional<MacAddr>> function_mac_of(const AttrTable& table) {
  std::optional<MacAddr> mac;
  const Attr* nest = table.find(DEVLINK_ATTR_PORT_FUNCTION);
  if (nest == nullptr) return mac;
  auto function = AttrTable::parse(nest->payload, DEVLINK_PORT_FUNCTION_ATTR_MAX);
  if (!function) return Unexpected(function.error());
  const Attr* address = function->find(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR);
  if (address != nullptr && address->payload.size() == MacAddr{}.bytes.size()) {
    std::copy(address->payload.begin(), address->payload.end(), mac.emplace().bytes.begin());
  }
  return mac;
}

Result<DevlinkPort> read_port(const AttrTable& table) {
  auto mac = function_mac_of(table);
  if (!mac) return Unexpected(mac.error());
  return DevlinkPort{.index = number_of(table, DEVLINK_ATTR_PORT_INDEX),
                     .flavour = flavour_of(table),
                     .controller = number_of(table, DEVLINK_ATTR_PORT_CONTROLLER_NUMBER),
                     .pf = short_of(table, DEVLINK_ATTR_PORT_PCI_PF_NUMBER),
                     .vf = short_of(table, DEVLINK_ATTR_PORT_PCI_VF_NUMBER),
                     .number = number_of(table, DEVLINK_ATTR_PORT_NUMBER),
                     .netdev = IfIndex(number_of(table, DEVLINK_ATTR_PORT_NETDEV_IFINDEX)),
                     .netdev_name = text_of(table, DEVLINK_ATTR_PORT_NETDEV_NAME),
                     .function_mac = *mac};
}

}  // namespace

// Kernels before 6.6 do not take a device in a dump of ports: all are asked for, and the others left out here.
Result<std::vector<DevlinkPort>> list_ports(Devlink devlink, std::string_view pci) {
  GenericRequest request(devlink.family, DEVLINK_CMD_PORT_GET);
  std::vector<DevlinkPort> ports;
  auto listed = dump(
      devlink.generic, devlink.family, request, DEVLINK_ATTR_MAX, [&ports] { ports.clear(); },
      [&](const GenericMessage& reply) -> Result<void> {
        if (text_of(reply.attributes, DEVLINK_ATTR_BUS_NAME) != "pci") return {};
        if (text_of(reply.attributes, DEVLINK_ATTR_DEV_NAME) != pci) return {};
        auto port = read_port(reply.attributes);
        if (!port) return Unexpected(port.error());
        ports.push_back(std::move(*port));
        return {};
      });
  if (!listed) return devlink_failure(listed.error(), pci, "list ports");
  std::sort(ports.begin(), ports.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  return ports;
}

Result<void> set_function_mac(Devlink devlink, std::string_view pci, uint32_t port, const MacAddr& mac) {
  GenericRequest request(devlink.family, DEVLINK_CMD_PORT_SET);
  put_handle(request, pci);
  request.attributes().put_u32(DEVLINK_ATTR_PORT_INDEX, port);
  {
    auto function = request.attributes().nest(DEVLINK_ATTR_PORT_FUNCTION);
    request.attributes().put_bytes(DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR, mac.bytes.data(), mac.bytes.size());
  }
  auto told = tell(devlink.generic, request);
  if (!told)
    return devlink_failure(told.error(), pci, "set the MAC of the function behind port " + std::to_string(port));
  return {};
}

}  // namespace sepal::netlink
