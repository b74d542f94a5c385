// One route of a tenant: where to, and via what. A scalar `via` is an address, `public`, `blackhole`, or a port's name;
// {port: NAME} and {vlan: N} say what they are.
#include "base/limits.hpp"
#include "config/documents.hpp"
#include "config/fields.hpp"

namespace sepal::config {
namespace {

const std::string kViaHint =
    "write a tunnel endpoint's address, a port's name, public, blackhole, {vlan: N} or {port: NAME}";

Parsed<Via> parse_scalar_via(NodeRef node) {
  if (node.text() == "public") return ViaPublic{};
  if (node.text() == "blackhole") return ViaBlackhole{};
  // Text of address characters only was meant as an address; a colon never stands in a name.
  bool address_like = node.text().find(':') != std::string_view::npos ||
                      node.text().find_first_not_of("0123456789./") == std::string_view::npos;
  if (IpAddr::parse(node.text()) || (address_like && node.text().find_first_of(".:/") != std::string_view::npos)) {
    return parse_address(node).map([](const IpAddr& address) { return Via(ViaVtep{address}); });
  }
  auto name = parse_port_name(node);
  if (!name) return tl::unexpected<Issue>({quoted(node.text()) + " is neither an address nor a name", kViaHint});
  return ViaPort{*name};
}

std::optional<Via> read_map_via(NodeRef node, Faults& faults) {
  Fields fields(node, tables::kVia, faults);
  NodeRef vlan = fields.find("vlan");
  NodeRef port = fields.find("port");
  if ((vlan && port) || (!vlan && !port)) {
    fields.fault(node.where(), vlan ? "vlan and port are both given" : "neither vlan nor port is given", kViaHint);
    return std::nullopt;
  }
  if (port) {
    auto name = fields.read("port", parse_port_name);
    return name ? std::optional<Via>(ViaPort{*name}) : std::nullopt;
  }
  auto vid = fields.read("vlan", [](NodeRef n) { return parse_number(n, {1, limits::kVidMax}); });
  return vid ? std::optional<Via>(ViaVlan{Vid(static_cast<uint16_t>(*vid))}) : std::nullopt;
}

std::optional<Via> read_via(const Fields& fields) {
  NodeRef node = fields.find("via");
  if (node && node.kind() == NodeKind::map) return read_map_via(node, fields.faults());
  return fields.require("via", "via: a tunnel endpoint's address, a port's name, public or blackhole",
                        [](NodeRef n) -> Parsed<Via> {
                          if (n.kind() == NodeKind::scalar) return parse_scalar_via(n);
                          if (n.kind() == NodeKind::refused) return tl::unexpected<Issue>({"", ""});
                          return tl::unexpected<Issue>({"expected a next hop, found " + describe(n.kind()), kViaHint});
                        });
}

}  // namespace

std::optional<Route> read_route(NodeRef node, Faults& faults) {
  size_t before = faults.progress();
  Fields fields(node, tables::kRoute, faults);
  NodeRef target = fields.find("to");
  if (target && target.kind() == NodeKind::scalar) fields.set_name(target.text());
  auto to = fields.require("to", "to: the network, such as to: 10.0.0.2/32", parse_prefix);
  auto via = read_via(fields);
  auto vni = fields.read("vni", [](NodeRef n) { return parse_number(n, {1, limits::kVniMax}); });
  if (faults.progress() != before || !to || !via) return std::nullopt;
  Route route{.to = *to, .via = *via, .vni = {}, .where = node.where()};
  if (vni) route.vni = Vni(*vni);
  return route;
}

}  // namespace sepal::config
