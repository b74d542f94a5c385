// What stands between the wire and the tunnel device: others on its UDP port, the host's firewall, connection tracking
// of outer packets.
#include "agent/doctor/checks.hpp"

namespace sepal::agent::doctor {
namespace {

using netlink::FirewallChain;

const std::string kPort = "vxlan-port";
const std::string kFirewall = "firewall";
const std::string kTracking = "outer-tracking";

std::string process_text(const Process& process) {
  return process.pid == 0 ? "a process that cannot be seen from here"
                          : process.name + " (pid " + std::to_string(process.pid) + ")";
}

std::string chain_text(const FirewallChain& chain) {
  return "nftables chain " + chain.family + " " + chain.table + " " + chain.name;
}

}  // namespace

void check_port(const Facts& facts, Findings& out) {
  const std::string port = std::to_string(facts.tunnel_port());
  const bool ours_up = facts.vxlan.state == netlink::VxlanState::ours;
  bool any = false;
  bool tunnel_up = ours_up;
  for (const netlink::Link& link : facts.links) {
    if (!link.vxlan || link.vxlan->port != facts.tunnel_port() || link.index == facts.vxlan.index) continue;
    tunnel_up = tunnel_up || link.up;
    // Without a configuration nobody says what ours is called, but it says so itself.
    if (!facts.config && link.alias.starts_with("sepal:")) continue;
    any = true;
    // The kernel gives a port to devices of one kind only: ours takes every VNI, others one each.
    const bool theirs_up = link.up && !ours_up;
    say(out, kPort, theirs_up ? State::fail : State::warn,
        "UDP port " + port + " is vxlan device " + link.name + "'s, too (docker and flannel make such): " +
            (theirs_up ? "ours cannot come up" : "it cannot come up while ours is"),
        "give one of them another port: vxlan: {port: …} on every hypervisor, or the other's setting");
  }
  for (const Process& owner : facts.port_owners) {
    if (owner.pid == 0 && tunnel_up) continue;  // the kernel's own socket of that device
    any = true;
    say(out, kPort, State::fail,
        "UDP port " + port + " is held by " + process_text(owner) + ": our tunnel cannot come up",
        "stop it, or give the tunnels another port on every hypervisor (vxlan: {port: …})");
  }
  if (facts.vxlan.state == netlink::VxlanState::foreign || facts.vxlan.state == netlink::VxlanState::wrong) {
    any = true;
    say(out, kPort, State::fail, facts.vxlan.remark, "remove that device, or name another in vxlan.device");
  }
  if (!any) say(out, kPort, State::ok, "UDP port " + port + " is nobody else's");
}

void check_firewall(const Facts& facts, Findings& out) {
  const std::string port = std::to_string(facts.tunnel_port());
  const size_t before = out.size();
  if (facts.legacy_firewall)
    say(out, kFirewall, State::unknown, "rules of legacy iptables are in force, which are not read here",
        "see that iptables -S INPUT accepts udp dport " + port);
  if (!facts.firewall) {
    say(out, kFirewall, State::unknown, "nftables cannot be read", "see that udp dport " + port + " is accepted");
    return;
  }
  for (const FirewallChain& chain : *facts.firewall) {
    if (chain.hook != FirewallChain::Hook::input && chain.hook != FirewallChain::Hook::prerouting) continue;
    if (chain.drops_port)
      say(out, kFirewall, State::warn, chain_text(chain) + " has a rule that drops udp dport " + port,
          "see whether it means tunnels: nft list table " + chain.family + " " + chain.table);
    if (chain.policy_drop && !chain.accepts_port && chain.decides_by_set)
      say(out, kFirewall, State::unknown,
          chain_text(chain) + " drops by policy; a set decides what it accepts, which is not read here",
          "see that it has udp dport " + port + ": nft list table " + chain.family + " " + chain.table);
    else if (chain.policy_drop && !chain.accepts_port)
      say(out, kFirewall, State::warn,
          chain_text(chain) + " drops by policy, and none of its table's rules accepts udp dport " + port +
              ": tunnelled packets in software may end there",
          "nft insert rule " + chain.family + " " + chain.table + " " + chain.name + " udp dport " + port + " accept");
  }
  if (out.size() == before) say(out, kFirewall, State::ok, "nothing that nftables says stands in the tunnels' way");
}

void check_tracking(const Facts& facts, Findings& out) {
  const std::string port = std::to_string(facts.tunnel_port());
  if (!facts.tracked_tunnels) return;
  if (*facts.tracked_tunnels == 0) {
    say(out, kTracking, State::ok, "outer packets of tunnels are not tracked");
    return;
  }
  say(out, kTracking, State::warn,
      std::to_string(*facts.tracked_tunnels) +
          " outer connections of tunnels are tracked in zone 0: every tunnelled packet in " + "software pays for it",
      "nft 'add table inet sepal-notrack; add chain inet sepal-notrack in { type filter hook prerouting priority raw; "
      "}; "
      "add chain inet sepal-notrack out { type filter hook output priority raw; }; "
      "add rule inet sepal-notrack in udp dport " +
          port + " notrack; add rule inet sepal-notrack out udp dport " + port + " notrack'");
}

}  // namespace sepal::agent::doctor
