// The ways under the tunnel: for each remote VTEP the device and the next hop its packets leave by, whether a NIC can
// send them there, and which generation of the encapsulation its rules carry. A NIC looks all this up once, when the
// first rule of an encapsulation comes, and does not follow it; the agent does.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/model.hpp"
#include "netlink/links.hpp"
#include "tc/pipeline/facts.hpp"

namespace sepal::agent {

// What a NIC builds its outer header from, besides the tunnel key.
struct NextHop {
  IfIndex device;
  IpAddr address;   // the gateway, or the VTEP itself when it is on the link
  MacAddr own_mac;  // the device's, which becomes the source
  bool operator==(const NextHop&) const = default;
};

// As it is now.
struct UnderlayWay {
  IpAddr vtep;
  std::optional<NextHop> hop;  // none: there is no way, `keep_out` says why
  std::string device;          // its name
  uint32_t mtu = 0;            // of the route, when it has one of its own
  std::string keep_out;        // why a NIC cannot send this way; empty: it can
  bool operator==(const UnderlayWay&) const = default;
};

// As rules of the kernel have it: what the NIC looked up when they were installed.
struct SavedWay {
  NextHop hop;
  uint8_t generation = 0;
  bool operator==(const SavedWay&) const = default;
};
using SavedWays = std::map<IpAddr, SavedWay>;

// The VTEPs that routes of the configuration lead to: sorted, each once.
std::vector<IpAddr> remote_vteps(const config::Config& config);

// One route lookup each. A lookup that fails says nothing: that VTEP is left out, and `problems` gets a line.
// Errc::resync: the connection broke.
Result<std::vector<UnderlayWay>> find_ways(netlink::Transport& route, const config::Config& config,
                                           const std::vector<netlink::Link>& links, std::vector<std::string>& problems);

// Why packets that leave by `device` are not the NIC's whose uplink is `uplink`; empty: they are. Pure.
std::string why_not_uplink(IfIndex device, IfIndex uplink, const std::vector<netlink::Link>& links);

// What the rules to be installed now look up: the next generation wherever the next hop is another one than `before`,
// or is in `distrusted` (it changed and came back while rules were written). What is kept out of hardware keeps what it
// had. Pure.
SavedWays next_ways(const SavedWays& before, const std::vector<UnderlayWay>& now, const std::set<IpAddr>& distrusted);

// The same for compile.
std::map<IpAddr, tc::TunnelWay> tunnel_ways(const SavedWays& saved, const std::vector<UnderlayWay>& now);

// One line for each VTEP that a NIC reaches by another next hop than before: "tunnel to 192.0.2.9: next hop is
// 192.0.2.254 on uplink". Pure.
std::vector<std::string> describe_changes(const SavedWays& before, const std::vector<UnderlayWay>& now);

// Whether the NIC sends packets of this way by itself now. A rule whose next hop has no MAC address yet is in hardware,
// and yet its packets are the kernel's: the driver waits for the neighbour, and follows it from then on.
enum class WayState : uint8_t {
  fast,
  slow_path,  // in hardware by name: the neighbour is not resolved
  kept_out,   // in software: see UnderlayWay::keep_out
};
std::string_view to_string(WayState state);
struct WayStatus {
  WayState state = WayState::kept_out;
  std::optional<MacAddr> mac;  // of the next hop
};
// Asks the neighbour table.
Result<WayStatus> find_status(netlink::Transport& route, const UnderlayWay& way);

}  // namespace sepal::agent
