// kind: Tenant → Tenant, but for its routes (route.cpp) and its security groups (groups.cpp).
#include "base/limits.hpp"
#include "config/documents.hpp"
#include "config/fields.hpp"

namespace sepal::config {
namespace {

constexpr Bounds kVniBounds{1, limits::kVniMax};
constexpr Bounds kVidBounds{1, limits::kVidMax};
constexpr Bounds kVfBounds{0, 254};
constexpr Bounds kMtuBounds{limits::kMtuMinIpv4, limits::kMtuMax};

auto number(Bounds bounds) {
  return [bounds](NodeRef node) { return parse_number(node, bounds); };
}

// The text of a scalar under `key`, to name its owner in faults before it is judged.
std::string_view name_of(const Fields& fields, std::string_view key) {
  NodeRef node = fields.find(key);
  return node && node.kind() == NodeKind::scalar ? node.text() : std::string_view();
}

// 10.0.0.0/24, or {cidr: 10.0.0.0/24, gateway: 10.0.0.254}.
std::optional<Subnet> read_subnet(const Fields& tenant, NodeRef node) {
  Subnet subnet;
  subnet.where = node.where();
  std::optional<IpPrefix> cidr;
  if (node.kind() == NodeKind::map) {
    Fields fields(node, tables::kSubnet, tenant.faults());
    fields.set_name(name_of(fields, "cidr"));
    cidr = fields.require("cidr", "the network, such as cidr: 10.0.0.0/24", parse_prefix);
    subnet.gateway = fields.read("gateway", parse_address);
  } else {
    cidr = tenant.accept("subnets", node, parse_prefix(node));
  }
  if (!cidr) return std::nullopt;
  subnet.prefix = *cidr;
  return subnet;
}

void read_attachment(const Fields& fields, Port& port) {
  NodeRef vf = fields.find("vf");
  NodeRef device = fields.find("device");
  if (vf && device) {
    fields.fault(device.where(), "vf and device are both given",
                 "keep vf: the number of the VF, or device: the representor's name");
  } else if (fields.missing("vf") && fields.missing("device")) {
    fields.fault(fields.where(), "neither vf nor device is given",
                 "add vf: the number of the VF, or device: the representor's name");
  }
  auto number_of_vf = fields.read("vf", number(kVfBounds));
  if (number_of_vf) port.vf = static_cast<uint16_t>(*number_of_vf);
  port.device = fields.read("device", parse_device).value_or("");
}

Port read_port(NodeRef node, Faults& faults) {
  Port port;
  port.where = node.where();
  Fields fields(node, tables::kPort, faults);
  fields.set_name(name_of(fields, "name"));
  port.name = fields.require("name", "a name, such as name: web-0", parse_port_name).value_or("");
  read_attachment(fields, port);
  port.mac = fields.read("mac", parse_mac).value_or(MacAddr{});
  port.mac_is_open = fields.missing("mac");
  NodeRef addresses = fields.find("addresses");
  bool empty = addresses &&
               (addresses.kind() == NodeKind::null || (addresses.kind() == NodeKind::sequence && !addresses.child()));
  if (fields.missing("addresses") || empty) {
    fields.fault(addresses ? addresses.where() : fields.where(), "the port has no addresses",
                 "add at least one, such as addresses: [10.0.0.1]");
  }
  fields.each("addresses", [&](NodeRef item) {
    auto address = fields.accept("addresses", item, parse_address(item));
    if (address) port.addresses.push_back(*address);
  });
  fields.each("prefixes", [&](NodeRef item) {
    auto prefix = fields.accept("prefixes", item, parse_prefix(item));
    if (prefix) port.prefixes.push_back(*prefix);
  });
  if (NodeRef bounds = fields.find("limits"))
    port.limits = read_port_limits(Fields(bounds, tables::kPortLimits, fields.faults()));
  if (NodeRef guests = fields.find("guests")) port.guests = read_guests(guests, faults);
  port.hostname = fields.read("hostname", parse_domain).value_or("");
  port.dhcp_server = fields.read("dhcp_server", parse_boolean).value_or(false);
  fields.each("security_groups", [&](NodeRef item) {
    auto group = fields.accept("security_groups", item, parse_name(item));
    if (group) port.security_groups.push_back(*group);
  });
  return port;
}

std::optional<TenantVlan> read_vlan(NodeRef node, Faults& faults) {
  Fields fields(node, tables::kTenantVlan, faults);
  fields.set_name(name_of(fields, "id"));
  auto id = fields.require("id", "the VLAN's number, such as id: 40", number(kVidBounds));
  auto mac = fields.require("gateway_mac", "the MAC address of the next hop on this VLAN", parse_mac);
  if (!id || !mac) return std::nullopt;
  return TenantVlan{Vid(static_cast<uint16_t>(*id)), *mac, node.where()};
}

std::optional<Nat> read_nat(NodeRef node, Faults& faults) {
  Fields fields(node, tables::kNat, faults);
  fields.set_name(name_of(fields, "from"));
  size_t before = faults.progress();
  auto from = fields.require("from", "whose addresses are translated, such as from: 10.0.0.0/24", parse_prefix);
  auto address = fields.require("address", "the public address, such as address: 203.0.113.10", parse_address);
  auto ports = fields.read("ports", parse_port_range);
  if (faults.progress() != before || !from || !address) return std::nullopt;
  return Nat{*from, *address, ports, node.where()};
}

// Reads each item of the list under `key` into `into`; the result says whether anything was wrong.
template <typename T, typename Read>
bool read_list(const Fields& fields, std::string_view key, std::vector<T>& into, Read read) {
  size_t before = fields.faults().progress();
  fields.each(key, [&](NodeRef item) {
    std::optional<T> value = read(item);
    if (value) into.push_back(std::move(*value));
  });
  return fields.faults().progress() != before;
}

void read_lists(const Fields& fields, Tenant& tenant, TenantDoubts& doubts) {
  Faults& faults = fields.faults();
  doubts.subnets = read_list(fields, "subnets", tenant.subnets, [&](NodeRef n) { return read_subnet(fields, n); });
  doubts.ports =
      read_list(fields, "ports", tenant.ports, [&](NodeRef n) { return std::optional(read_port(n, faults)); });
  doubts.vlans = read_list(fields, "vlans", tenant.vlans, [&](NodeRef n) { return read_vlan(n, faults); });
  doubts.routes = read_list(fields, "routes", tenant.routes, [&](NodeRef n) { return read_route(n, faults); });
  doubts.nat = read_list(fields, "nat", tenant.nat, [&](NodeRef n) { return read_nat(n, faults); });
  const size_t before = faults.progress();
  if (NodeRef groups = fields.find("security_groups")) tenant.security_groups = read_groups(groups, faults);
  doubts.groups = faults.progress() != before;
  doubts.peers =
      read_list(fields, "peers", tenant.peers, [&](NodeRef n) { return fields.accept("peers", n, parse_name(n)); });
}

void read_limits(NodeRef node, Tenant& tenant, Faults& faults) {
  Fields fields(node, tables::kTenantLimits, faults);
  tenant.hardware_rules = read_hardware_rules(fields);
  tenant.connections = read_connections(fields);
  tenant.port_limits = read_port_limits(fields);
}

}  // namespace

std::optional<uint32_t> read_hardware_rules(const Fields& fields) {
  // As many entries as the NIC's largest table has; more is a slip.
  return fields.read("hardware_rules", [](NodeRef n) { return parse_number(n, {0, 1U << 24U}); });
}

std::optional<uint32_t> read_connections(const Fields& fields) {
  // As many as the largest table of conntrack that hosts are given; more is a slip.
  return fields.read("connections", [](NodeRef n) { return parse_number(n, {1, 1U << 26U}); });
}

PortLimits read_port_limits(const Fields& fields) {
  auto rate = [&](const char* key) {
    return fields.read(key, [](NodeRef n) { return parse_number(n, {1, 1'000'000}); });
  };
  return {rate("arp_nd_per_second"), rate("dhcp_per_second"), rate("new_connections_per_second")};
}

TenantReading read_tenant(NodeRef node, Faults& faults) {
  TenantReading reading;
  Tenant& tenant = reading.tenant;
  tenant.where = node.where();
  size_t before = faults.progress();
  Fields fields(node, tables::kTenant, faults);
  fields.set_name(name_of(fields, "name"));
  tenant.name = fields.require("name", "a name, such as name: blue", parse_name).value_or("");
  tenant.vni = Vni(fields.require("vni", "the network's number, such as vni: 100", number(kVniBounds)).value_or(0));
  reading.doubts.identity = faults.progress() != before;
  before = faults.progress();
  auto mtu = fields.read("mtu", number(kMtuBounds));
  if (mtu) tenant.mtu = static_cast<uint16_t>(*mtu);
  reading.doubts.mtu = faults.progress() != before;
  read_lists(fields, tenant, reading.doubts);
  if (NodeRef bounds = fields.find("limits")) read_limits(bounds, tenant, fields.faults());
  if (NodeRef guests = fields.find("guests")) tenant.guests = read_guests(guests, fields.faults());
  tenant.flow_log = fields.read("flow_log", parse_boolean).value_or(false);
  return reading;
}

}  // namespace sepal::config
