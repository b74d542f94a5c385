// See next_hops.hpp. Which devices a NIC counts as its own wire: Linux, mlx5 en/tc_tun.c (get_route_and_out_devs),
// which takes every other device for its uplink without a word.
#include "agent/next_hops.hpp"

#include <algorithm>

#include "netlink/routes.hpp"

namespace sepal::agent {
namespace {

using netlink::Link;

const Link* find_link(const std::vector<Link>& links, IfIndex index) {
  const auto found = std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.index == index; });
  return found == links.end() ? nullptr : &*found;
}

// A bond is the NIC's when all it holds are ports of that NIC. Where no slave has an eSwitch nothing is offloaded, and
// all is well.
std::string why_not_bond(const Link& bond, const std::vector<Link>& links) {
  const Link* port = nullptr;  // a slave with an eSwitch
  for (const Link& link : links)
    if (link.master == bond.index && !link.phys_switch_id.empty()) port = &link;
  if (port == nullptr) return {};
  for (const Link& link : links) {
    if (link.master == bond.index && link.phys_switch_id != port->phys_switch_id)
      return "leaves by " + bond.name + ", whose " + link.name + " is no port of the NIC that " + port->name + " is";
  }
  return {};
}

std::string hop_text(const UnderlayWay& way) {
  const std::string where = way.hop->address == way.vtep ? "itself" : way.hop->address.to_string();
  return where + " on " + way.device;
}

}  // namespace

std::vector<IpAddr> remote_vteps(const config::Config& config) {
  std::set<IpAddr> vteps;
  for (const config::Tenant& tenant : config.tenants) {
    for (const config::Route& route : tenant.routes)
      if (const auto* via = std::get_if<config::ViaVtep>(&route.via)) vteps.insert(via->address);
  }
  return {vteps.begin(), vteps.end()};
}

std::string why_not_uplink(IfIndex device, IfIndex uplink, const std::vector<Link>& links) {
  const Link* out = find_link(links, device);
  const Link* port = find_link(links, uplink);
  if (out == nullptr || port == nullptr) return "leaves by a device that is not here";
  const std::string name = out->name;
  // One tag at most fits into an encapsulation.
  if (out->kind == "vlan" && out->vlan && device != uplink) out = find_link(links, out->lower);
  if (out != nullptr && out->kind == "bond" && (out == port || port->master == out->index))
    return why_not_bond(*out, links);
  if (out != nullptr && out == port) return {};
  return "leaves by " + name + ", which is neither the uplink " + port->name + " nor a VLAN or a bond on it";
}

Result<std::vector<UnderlayWay>> find_ways(netlink::Transport& route, const config::Config& config,
                                           const std::vector<Link>& links, std::vector<std::string>& problems) {
  const config::Underlay& underlay = config.host.underlay;
  const auto uplink =
      std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.name == underlay.device; });
  std::vector<UnderlayWay> ways;
  if (uplink == links.end()) return ways;
  for (const IpAddr& vtep : remote_vteps(config)) {
    auto found = netlink::find_route(route, {vtep, underlay.address});
    if (!found && found.error().code == Errc::resync) return Unexpected(found.error());
    if (!found) {
      problems.push_back(found.error().message());
      continue;
    }
    UnderlayWay& way = ways.emplace_back(UnderlayWay{vtep, {}, {}, found->mtu, {}});
    const Link* device = find_link(links, found->device);
    if (!found->obstacle.empty()) {
      way.keep_out = "has no way there: " + found->obstacle;
    } else if (device == nullptr) {
      way.keep_out = "leaves by a device that is not here";
    } else {
      way.hop = NextHop{found->device, found->next_hop, device->mac};
      way.device = device->name;
      way.keep_out = why_not_uplink(found->device, uplink->index, links);
    }
  }
  return ways;
}

SavedWays next_ways(const SavedWays& before, const std::vector<UnderlayWay>& now, const std::set<IpAddr>& distrusted) {
  SavedWays next;
  for (const UnderlayWay& way : now) {
    const auto saved = before.find(way.vtep);
    const bool known = saved != before.end();
    if (!way.keep_out.empty()) {
      if (known) next.insert(*saved);
    } else if (!known) {
      next.emplace(way.vtep, SavedWay{*way.hop, 0});
    } else {
      const bool same = saved->second.hop == *way.hop && !distrusted.contains(way.vtep);
      const unsigned generation = saved->second.generation + (same ? 0U : 1U);
      next.emplace(way.vtep, SavedWay{*way.hop, static_cast<uint8_t>(generation % tc::kTunnelGenerations)});
    }
  }
  return next;
}

std::map<IpAddr, tc::TunnelWay> tunnel_ways(const SavedWays& saved, const std::vector<UnderlayWay>& now) {
  std::map<IpAddr, tc::TunnelWay> ways;
  for (const UnderlayWay& way : now) {
    const auto found = saved.find(way.vtep);
    tc::TunnelWay tunnel{found == saved.end() ? uint8_t{0} : found->second.generation, way.keep_out};
    if (tunnel != tc::TunnelWay{}) ways.emplace(way.vtep, std::move(tunnel));
  }
  return ways;
}

std::vector<std::string> describe_changes(const SavedWays& before, const std::vector<UnderlayWay>& now) {
  std::vector<std::string> lines;
  for (const UnderlayWay& way : now) {
    const auto saved = before.find(way.vtep);
    if (saved == before.end() || !way.keep_out.empty() || saved->second.hop == way.hop) continue;
    lines.push_back("tunnel to " + way.vtep.to_string() + ": next hop is " + hop_text(way));
  }
  return lines;
}

std::string_view to_string(WayState state) {
  switch (state) {
    case WayState::fast: return "fast";
    case WayState::slow_path: return "slow path";
    case WayState::kept_out: return "kept out";
  }
  return "";
}

Result<WayStatus> find_status(netlink::Transport& route, const UnderlayWay& way) {
  WayStatus status;
  if (!way.hop) return status;
  auto neighbour = netlink::find_neighbour(route, way.hop->device, way.hop->address);
  if (!neighbour) return Unexpected(neighbour.error());
  if (*neighbour && (*neighbour)->usable) status.mac = (*neighbour)->mac;
  if (way.keep_out.empty()) status.state = status.mac ? WayState::fast : WayState::slow_path;
  return status;
}

}  // namespace sepal::agent
