// kind: Host → Host.
#include <set>

#include "base/limits.hpp"
#include "config/documents.hpp"
#include "config/fields.hpp"

namespace sepal::config {
namespace {

constexpr Bounds kVidBounds{1, limits::kVidMax};
constexpr Bounds kVfsBounds{1, 255};  // functions on one PCI bus
constexpr Bounds kPortBounds{1, 0xffff};
constexpr Bounds kMtuBounds{limits::kMtuMinIpv4, limits::kMtuMax};

auto number(Bounds bounds) {
  return [bounds](NodeRef node) { return parse_number(node, bounds); };
}

// [0-7, 12]; each VF once, sorted.
std::vector<uint16_t> read_only(const Fields& fields) {
  std::set<uint16_t> vfs;
  fields.each("only", [&](NodeRef item) {
    auto range = fields.accept("only", item, parse_vf_range(item));
    if (!range) return;
    for (unsigned vf = range->first; vf <= range->last; ++vf) vfs.insert(static_cast<uint16_t>(vf));
  });
  NodeRef list = fields.find("only");
  if (list && list.kind() != NodeKind::scalar && !list.child()) {
    fields.fault(list.where(), "only: the list is empty",
                 "name VFs, such as only: [0-7], or leave it out when all are ours");
  }
  return {vfs.begin(), vfs.end()};
}

Nic read_nic(NodeRef node, Faults& faults) {
  Nic nic;
  nic.where = node.where();
  Fields fields(node, tables::kNic, faults);
  if (!fields.is_map()) return nic;
  NodeRef manual = fields.find("representors");
  NodeRef pci = fields.find("pci");
  NodeRef vfs = fields.find("vfs");
  NodeRef only = fields.find("only");
  if (manual && (manual.kind() != NodeKind::scalar || manual.text() != "manual")) {
    fields.fault(manual.where(), "representors has one value only", "write representors: manual, or pci and vfs");
  }
  if (manual && (pci || vfs || only)) {
    fields.fault(manual.where(), "representors: manual and a PCI device exclude each other",
                 "keep {representors: manual} where ports name devices, or {pci: …, vfs: …} where they name VFs");
    return nic;
  }
  if (manual) return nic;
  nic.manual_representors = false;
  nic.pci = fields.require("pci", "pci: \"0000:3b:00.0\", or write {representors: manual}", parse_pci).value_or("");
  nic.vfs = static_cast<uint16_t>(
      fields.require("vfs", "the number of VFs, such as vfs: 16", number(kVfsBounds)).value_or(0));
  nic.only = read_only(fields);
  return nic;
}

std::optional<Vid> read_vid(const Fields& fields, std::string_view key) {
  auto vid = fields.read(key, number(kVidBounds));
  if (!vid) return std::nullopt;
  return Vid(static_cast<uint16_t>(*vid));
}

Underlay read_underlay(NodeRef node, Faults& faults) {
  Underlay underlay;
  underlay.where = node.where();
  Fields fields(node, tables::kUnderlay, faults);
  underlay.device = fields.require("device", "the uplink, such as device: uplink", parse_device).value_or("");
  underlay.address =
      fields.require("address", "this hypervisor's tunnel address, such as address: 192.0.2.1", parse_address)
          .value_or(IpAddr{});
  underlay.vlan = read_vid(fields, "vlan");
  underlay.mtu = static_cast<uint16_t>(fields.read("mtu", number(kMtuBounds)).value_or(underlay.mtu));
  return underlay;
}

Vxlan read_vxlan(NodeRef node, Faults& faults) {
  Vxlan vxlan;
  vxlan.where = node.where();
  Fields fields(node, tables::kVxlan, faults);
  vxlan.device = fields.read("device", parse_device).value_or(vxlan.device);
  vxlan.port = static_cast<uint16_t>(fields.read("port", number(kPortBounds)).value_or(vxlan.port));
  return vxlan;
}

// One address, or a list of them.
std::vector<IpAddr> read_gateways(const Fields& fields) {
  std::vector<IpAddr> gateways;
  auto take = [&](NodeRef node) {
    auto gateway = fields.accept("gateway", node, parse_address(node));
    if (gateway) gateways.push_back(*gateway);
  };
  NodeRef node = fields.find("gateway");
  if (node && node.kind() == NodeKind::sequence) {
    if (!node.child()) fields.fault(node.where(), "gateway: the list is empty", "name at least one gateway");
    fields.each("gateway", take);
  } else if (node) {
    take(node);
  } else if (fields.missing("gateway")) {
    fields.fault(fields.where(), "gateway is missing",
                 "add the next hop to the outside, such as gateway: 198.51.100.1");
  }
  return gateways;
}

Public read_public(NodeRef node, Faults& faults) {
  Public outside;
  outside.where = node.where();
  Fields fields(node, tables::kPublic, faults);
  outside.vlan = read_vid(fields, "vlan");
  outside.gateways = read_gateways(fields);
  outside.gateway_mac = fields.read("gateway_mac", parse_mac);
  outside.answer_arp = fields.read("answer_arp", parse_boolean).value_or(outside.answer_arp);
  return outside;
}

HostLimits read_limits(NodeRef node, Faults& faults) {
  HostLimits host_limits;
  Fields fields(node, tables::kLimits, faults);
  const PortLimits of_ports = read_port_limits(fields);
  host_limits.arp_nd_per_second = of_ports.arp_nd_per_second.value_or(host_limits.arp_nd_per_second);
  host_limits.dhcp_per_second = of_ports.dhcp_per_second.value_or(host_limits.dhcp_per_second);
  host_limits.new_connections_per_second = of_ports.new_connections_per_second;
  host_limits.hardware_rules = read_hardware_rules(fields);
  host_limits.connections = read_connections(fields);
  return host_limits;
}

std::string read_flow_log(NodeRef node, Faults& faults) {
  Fields fields(node, tables::kFlowLog, faults);
  return fields.read("file", parse_file).value_or("");
}

}  // namespace

HostReading read_host(NodeRef node, Faults& faults) {
  HostReading reading;
  Fields fields(node, tables::kHost, faults);
  Host& host = reading.host;
  host.where = node.where();
  // Runs `read` on the value of `key`; the result says whether anything was wrong in it.
  auto section = [&](std::string_view key, auto read) {
    size_t before = faults.progress();
    if (NodeRef value = fields.find(key)) read(value);
    return faults.progress() != before;
  };
  reading.doubts.nic = section("nic", [&](NodeRef n) { host.nic = read_nic(n, faults); });
  reading.doubts.underlay = section("underlay", [&](NodeRef n) { host.underlay = read_underlay(n, faults); });
  reading.doubts.vxlan = section("vxlan", [&](NodeRef n) { host.vxlan = read_vxlan(n, faults); });
  reading.doubts.public_net = section("public", [&](NodeRef n) { host.public_net = read_public(n, faults); });
  section("limits", [&](NodeRef n) { host.limits = read_limits(n, faults); });
  section("guests", [&](NodeRef n) { host.guests = read_guests(n, faults); });
  section("flow_log", [&](NodeRef n) { host.flow_log_file = read_flow_log(n, faults); });
  host.gateway_mac = fields.read("gateway_mac", parse_mac).value_or(host.gateway_mac);
  if (fields.missing("underlay")) {
    fields.fault(host.where, "underlay is missing", "add underlay: {device: uplink, address: 192.0.2.1}");
  }
  if (!fields.find("underlay")) reading.doubts.underlay = true;
  return reading;
}

}  // namespace sepal::config
