// The way a tunnelled packet takes out of this host: sizes, and next hops.
#include <algorithm>

#include "agent/doctor/checks.hpp"
#include "config/tunnel.hpp"

namespace sepal::agent::doctor {
namespace {

const std::string kMtu = "mtu";
const std::string kWays = "next-hops";

unsigned tunnel_mtu(const config::Host& host) { return host.underlay.mtu - config::tunnel_overhead(host.underlay); }

void check_carrier(const netlink::Link& link, const config::Underlay& underlay, Findings& out) {
  if (link.mtu >= underlay.mtu) return;
  say(out, kMtu, State::fail,
      link.name + " has MTU " + std::to_string(link.mtu) + ", underlay.mtu says " + std::to_string(underlay.mtu) +
          ": tunnelled packets of full size are dropped",
      "ip link set " + link.name + " mtu " + std::to_string(underlay.mtu) +
          " (and the network behind it), or underlay.mtu: " + std::to_string(link.mtu));
}

// Where the tenant's MTU is named. Else its guests may have any that the tunnel carries, as their devices say.
void check_guests(const Facts& facts, Findings& out) {
  for (const config::Tenant& tenant : facts.config->tenants) {
    if (!tenant.mtu) continue;
    const unsigned guest_mtu = *tenant.mtu;
    for (const config::Port& port : tenant.ports) {
      const auto index = facts.ports.find({tenant.name, port.name});
      const netlink::Link* link = index == facts.ports.end() ? nullptr : facts.link(index->second);
      if (link == nullptr || link->mtu >= guest_mtu) continue;
      say(out, kMtu, State::fail,
          "tenant " + tenant.name + ", port " + port.name + ": " + link->name + " has MTU " +
              std::to_string(link->mtu) + ", its guest may send " + std::to_string(guest_mtu),
          "ip link set " + link->name + " mtu " + std::to_string(guest_mtu) + ", or mtu: " + std::to_string(link->mtu) +
              " for the tenant and its guests");
    }
  }
}

// "192.0.2.7, 192.0.2.8 and 3 more"
std::string name_some(const std::vector<IpAddr>& vteps) {
  constexpr size_t kNamedMax = 3;
  std::string text;
  for (size_t i = 0; i < std::min(vteps.size(), kNamedMax); ++i) text += (i == 0 ? "" : ", ") + vteps[i].to_string();
  return vteps.size() > kNamedMax ? text + " and " + std::to_string(vteps.size() - kNamedMax) + " more" : text;
}

}  // namespace

void check_mtu(const Facts& facts, Findings& out) {
  if (!facts.config) return;
  const size_t before = out.size();
  const config::Host& host = facts.config->host;
  std::vector<IfIndex> carriers;
  if (const netlink::Link* uplink = facts.link(host.underlay.device)) carriers.push_back(uplink->index);
  for (const UnderlayWay& way : facts.ways)
    if (way.hop && way.keep_out.empty()) carriers.push_back(way.hop->device);
  std::sort(carriers.begin(), carriers.end());
  carriers.erase(std::unique(carriers.begin(), carriers.end()), carriers.end());
  for (const IfIndex index : carriers)
    if (const netlink::Link* link = facts.link(index)) check_carrier(*link, host.underlay, out);
  for (const UnderlayWay& way : facts.ways) {
    if (way.mtu == 0 || way.mtu >= host.underlay.mtu) continue;
    say(out, kMtu, State::warn,
        "the route to VTEP " + way.vtep.to_string() + " has MTU " + std::to_string(way.mtu) + ", underlay.mtu says " +
            std::to_string(host.underlay.mtu),
        "correct the route's mtu, or set underlay.mtu: " + std::to_string(way.mtu));
    break;  // one stands for all: they share a path, or a cure
  }
  const netlink::Link* tunnel =
      facts.vxlan.state == netlink::VxlanState::missing ? nullptr : facts.link(facts.vxlan.index);
  if (tunnel != nullptr && tunnel->mtu != tunnel_mtu(host))
    say(out, kMtu, State::warn,
        tunnel->name + " has MTU " + std::to_string(tunnel->mtu) + " instead of " + std::to_string(tunnel_mtu(host)),
        "sepald sets it at its next look; sepalctl apply does it now");
  check_guests(facts, out);
  if (out.size() == before)
    say(out, kMtu, State::ok,
        "guests may send " + std::to_string(tunnel_mtu(host)) + " bytes through the tunnel, the underlay carries " +
            std::to_string(host.underlay.mtu));
}

void check_ways(const Facts& facts, Findings& out) {
  if (!facts.config || facts.ways.empty()) return;
  std::map<std::string, std::vector<IpAddr>> kept_out;
  std::vector<IpAddr> slow;
  for (const UnderlayWay& way : facts.ways) {
    if (!way.keep_out.empty()) {
      kept_out[way.keep_out].push_back(way.vtep);
      continue;
    }
    const auto status = facts.way_status.find(way.vtep);
    if (status != facts.way_status.end() && status->second.state == WayState::slow_path) slow.push_back(way.vtep);
  }
  for (const auto& [reason, vteps] : kept_out) {
    const bool no_way = reason.starts_with("has no way");
    say(out, kWays, no_way ? State::fail : State::warn, "VTEP " + name_some(vteps) + ": " + reason,
        no_way ? "give this host a route there" : "route it over the uplink, or leave these tunnels to software");
  }
  if (!slow.empty())
    say(out, kWays, State::warn,
        "VTEP " + name_some(slow) +
            ": the next hop has no MAC address yet; a NIC holds the rules, and the kernel sends the packets",
        "ping the VTEP; if it does not answer, look at the network between");
  if (kept_out.empty() && slow.empty())
    say(out, kWays, State::ok,
        std::to_string(facts.ways.size()) + (facts.ways.size() == 1 ? " VTEP is" : " VTEPs are") +
            " reached over the uplink, with known next hops");
}

}  // namespace sepal::agent::doctor
