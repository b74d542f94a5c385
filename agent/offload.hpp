// `sepalctl offload`: what should be in hardware and is not, and why; what share of the traffic the hardware carries.
// Counting only, over what shown.hpp gathered; how it is printed is commands_offload.cpp's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/shown.hpp"
#include "netlink/conntrack.hpp"

namespace sepal::agent {

// Packets that reached their end, and those of them that hardware brought there.
struct Share {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t hw_packets = 0;
  uint64_t hw_bytes = 0;
  void add(const tc::ActionStats& stats);
};

// Connections of one conntrack zone.
struct ConnectionCount {
  size_t total = 0;
  size_t hardware = 0;  // the NIC has them
  size_t software = 0;  // they could be there: in act_ct's flow table only, or not even there
  size_t young = 0;     // TCP that is not established, or no longer
  size_t never = 0;     // neither TCP nor UDP: ICMP above all
  void add(const netlink::Connection& connection);
};

struct OffloadBlock {
  IfIndex device;
  tc::BlockKind kind = tc::BlockKind::port;
  const tc::PortKey* port = nullptr;  // of a port's block; points into Shown's names
  size_t wanted = 0;                  // rules that should be in hardware
  size_t held = 0;                    // … and are, the slow path's included
  size_t slow = 0;
  size_t software_only = 0;
  std::optional<DeviceObstacle> obstacle;  // keeps all of it out
  Share sent;                              // by the guest, or what came in on the uplink or out of the tunnel
  Share received;                          // a port's: sent to it out of any block
  [[nodiscard]] bool in_hardware() const { return wanted > 0 && held == wanted && slow == 0; }
};

struct OffloadTenant {
  Vni vni;
  Share traffic;
  ConnectionCount connections;
};

// A rule that is not where it should be.
struct OffloadRule {
  tc::Rule rule;
  Placed placed;
  Vni vni;
  std::optional<tc::Origin> origin;
  std::string foreseen;  // the lint rule that said so before: "L15 (note)"; empty: none
  std::string judges;    // the lint rule that is about such words, and had found nothing; may be empty
};

struct OffloadReport {
  std::vector<OffloadBlock> blocks;    // ports by tenant and name, then the tunnel and the uplink
  std::vector<OffloadTenant> tenants;  // by VNI
  std::vector<OffloadRule> rules;      // wanted in hardware and not there, or in hardware and slow; by id
  size_t differing = 0;                // rules the configuration wants and the kernel lacks or has otherwise
  std::map<std::string, size_t> by_design;
  size_t wanted = 0;
  size_t held = 0;
  size_t slow = 0;
  size_t software_only = 0;
  bool any_nic = false;  // something is wanted in hardware, or would be
  [[nodiscard]] bool as_wanted() const { return rules.empty(); }
};

// `only`: of this tenant, with its ports' blocks. `connections`: by zone.
OffloadReport make_offload_report(const Shown& shown, const config::Config* config,
                                  const std::map<Zone, ConnectionCount>& connections, std::optional<Vni> only);

}  // namespace sepal::agent
