// What the doctor judges, as values: gather.hpp collects it, checks.hpp looks at it, tests make it up.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/next_hops.hpp"
#include "agent/nic_state.hpp"
#include "config/model.hpp"
#include "netlink/firewall.hpp"
#include "netlink/links.hpp"
#include "tc/pipeline/facts.hpp"

namespace sepal::agent::doctor {

// How the running kernel was built.
struct KernelOptions {
  std::string source;                    // the file it was read from; empty: none is readable
  std::map<std::string, char> settings;  // "NET_TC_SKB_EXT" → 'y' or 'm'; what is not set is not in it
  // Without such a file, what the running kernel itself gives away about single options.
  std::map<std::string, bool> evidence;
  // nullopt: not known.
  [[nodiscard]] std::optional<bool> has(const std::string& option) const;
};

// Somebody with a socket open.
struct Process {
  uint32_t pid = 0;  // 0: not found (in another pid namespace, or gone)
  std::string name;
  bool operator==(const Process&) const = default;
};

// A network manager that says a device is its own.
struct Managed {
  std::string device;
  std::string by;  // "NetworkManager", "systemd-networkd", "Open vSwitch"
  bool operator==(const Managed&) const = default;
};

struct Facts {
  std::string kernel;  // uname -r
  KernelOptions options;

  std::string directory;                 // of the configuration
  std::optional<config::Config> config;  // nullopt: it has faults, or there is none
  size_t faults = 0;

  std::optional<NicState> card;  // nullopt: none is configured, or it cannot be looked at
  std::string card_error;

  std::vector<netlink::Link> links;
  std::map<tc::PortKey, IfIndex> ports;    // those whose device is here
  netlink::VxlanFinding vxlan;             // our tunnel device
  std::vector<UnderlayWay> ways;           // under the tunnel
  std::map<IpAddr, WayStatus> way_status;  // of those
  std::vector<std::string> problems;       // what could not be found out, as lines

  std::map<std::string, std::string> sysctls;  // "nf_conntrack_max" → "262144": below net.netfilter
  std::optional<uint64_t> connections;         // tracked now
  std::optional<uint64_t> tracked_tunnels;     // of those, outer packets of tunnels, in zone 0

  std::vector<Process> port_owners;                             // user space sockets on the tunnels' UDP port
  std::optional<std::vector<netlink::FirewallChain>> firewall;  // nullopt: cannot be read
  bool legacy_firewall = false;                                 // rules of iptables' old kind are in force

  std::vector<Process> tc_listeners;
  std::vector<std::string> managers;  // programs that run: "NetworkManager", "ovs-vswitchd", …
  std::vector<Managed> managed;

  [[nodiscard]] bool wants_nic() const { return config && !config->host.nic.manual_representors; }
  [[nodiscard]] uint16_t tunnel_port() const { return config ? config->host.vxlan.port : uint16_t{4789}; }
  [[nodiscard]] const netlink::Link* link(IfIndex index) const;
  [[nodiscard]] const netlink::Link* link(const std::string& name) const;
};

}  // namespace sepal::agent::doctor
