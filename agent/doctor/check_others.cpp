// Other programs on this host that slow rules down, or take devices away; and the configuration itself.
#include <algorithm>

#include "agent/doctor/checks.hpp"

namespace sepal::agent::doctor {
namespace {

const std::string kListeners = "tc-listeners";
const std::string kManagers = "managers";

std::string names(const std::vector<Process>& processes) {
  std::string text;
  for (const Process& process : processes) {
    if (!text.empty()) text += ", ";
    text += process.pid == 0 ? "a process that cannot be seen from here"
                             : process.name + " (pid " + std::to_string(process.pid) + ")";
  }
  return text;
}

std::string cure_for(const Managed& managed) {
  if (managed.by == "NetworkManager")
    return "nmcli device set " + managed.device + " managed no, and unmanaged-devices in its configuration to keep it";
  if (managed.by == "systemd-networkd")
    return "a .network file with Name=" + managed.device + " in [Match] and Unmanaged=yes in [Link]";
  return "ovs-vsctl del-port " + managed.device;
}

bool runs(const Facts& facts, const char* name) {
  return std::find(facts.managers.begin(), facts.managers.end(), name) != facts.managers.end();
}

}  // namespace

void check_config(const Facts& facts, Findings& out) {
  if (facts.config)
    say(out, "config", State::ok, facts.directory + " is valid");
  else
    say(out, "config", State::fail,
        facts.directory + " has " + std::to_string(facts.faults) + " faults, or is not there",
        "sepalctl validate " + facts.directory);
  for (const std::string& problem : facts.problems) say(out, "gathering", State::unknown, problem, "");
}

void check_listeners(const Facts& facts, Findings& out) {
  if (facts.tc_listeners.empty()) {
    say(out, kListeners, State::ok, "nobody listens to tc events");
    return;
  }
  say(out, kListeners, State::warn,
      "tc events are listened to by " + names(facts.tc_listeners) +
          ": the kernel composes a message for every rule written, which takes up to five times as long",
      "end them while many rules are written (`tc monitor` and `ip monitor all` are such)");
}

void check_managers(const Facts& facts, Findings& out) {
  const size_t before = out.size();
  for (const Managed& managed : facts.managed) {
    const bool taken = managed.by == "Open vSwitch";
    say(out, kManagers, taken ? State::fail : State::warn,
        managed.device + " is managed by " + managed.by +
            (taken ? ": packets go to its bridge" : ": it may set it down, rename it or give it addresses"),
        cure_for(managed));
  }
  if (runs(facts, "ovs-vswitchd") && facts.wants_nic())
    say(out, kManagers, State::warn,
        "ovs-vswitchd runs: with hw-offload it shares the NIC's tables, and it may remove qdiscs it does not know",
        "keep the NIC's ports out of its bridges, or stop it: systemctl disable --now openvswitch-switch");
  if (out.size() == before) say(out, kManagers, State::ok, "nobody else manages the ports' devices");
}

Findings examine(const Facts& facts) {
  Findings out;
  for (const auto check : {check_config, check_kernel, check_card, check_offload, check_conntrack, check_mtu,
                           check_ways, check_port, check_firewall, check_tracking, check_listeners, check_managers})
    check(facts, out);
  return out;
}

const netlink::Link* Facts::link(IfIndex index) const {
  const auto found = std::find_if(links.begin(), links.end(), [&](const auto& link) { return link.index == index; });
  return found == links.end() ? nullptr : &*found;
}

const netlink::Link* Facts::link(const std::string& name) const {
  const auto found = std::find_if(links.begin(), links.end(), [&](const auto& link) { return link.name == name; });
  return found == links.end() ? nullptr : &*found;
}

}  // namespace sepal::agent::doctor
