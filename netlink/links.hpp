// Devices, addresses, neighbours and clsact qdiscs of this network namespace, and the one vxlan device of an instance.
// Filters are tc/codec's, conntrack is conntrack.hpp's, and which device serves which tenant is known further up.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/net_types.hpp"
#include "netlink/transport.hpp"

namespace sepal::netlink {

struct VxlanAttrs {
  uint16_t port = 0;              // UDP, host order
  bool collect_metadata = false;  // "external": one device for all VNIs, tunnel keys come from tc
  bool learning = true;
  bool zero_csum6_tx = false;
  bool zero_csum6_rx = false;
  bool operator==(const VxlanAttrs&) const = default;
};

struct Link {
  IfIndex index;
  std::string name;
  MacAddr mac;  // zero for devices whose address is not 6 bytes
  uint32_t mtu = 0;
  bool up = false;       // IFF_UP: what the administrator wants
  bool running = false;  // IFF_RUNNING: what the wire says
  std::string kind;      // "veth", "vlan", "vxlan", …; empty for a physical device
  IfIndex master;        // bridge, bond or VRF it belongs to
  IfIndex lower;         // IFLA_LINK: the device below a VLAN device (in another namespace for a veth's peer)
  std::string alias;
  std::string phys_port_name;           // "p0", "pf0vf3"
  std::vector<uint8_t> phys_switch_id;  // empty: no eSwitch port
  std::optional<Vid> vlan;              // VLAN devices (802.1Q)
  std::optional<VxlanAttrs> vxlan;      // vxlan devices
};

struct Address {
  IfIndex device;
  IpAddr address;
  uint8_t prefix_length = 0;
  bool usable = true;  // false: IPv6, still tentative or refused by duplicate address detection
};

struct Neighbour {
  MacAddr mac;
  bool usable = false;  // NUD_VALID: reachable, stale, delay, probe, permanent or noarp
};

// All devices, sorted by index. One dump. Errc::resync: repeat.
Result<std::vector<Link>> list_links(Transport& route);
// Errc::not_found: there is none of that name.
Result<Link> get_link(Transport& route, std::string_view name);
Result<Link> get_link(Transport& route, IfIndex device);
// All addresses of both families, in the kernel's order. One dump.
Result<std::vector<Address>> list_addresses(Transport& route);
// Idempotent. Errc::not_found: the device is gone.
Result<void> set_link_up(Transport& route, IfIndex device);
Result<void> set_link_down(Transport& route, IfIndex device);

// nullopt: the kernel has no entry. An entry being resolved is there, but not usable.
Result<std::optional<Neighbour>> find_neighbour(Transport& route, IfIndex device, const IpAddr& address);
// Asks the kernel to resolve `address` on `device` (NTF_USE), as a packet towards it would. Returns at once; look again
// later. Counts as a write of the transport.
Result<void> resolve_neighbour(Transport& route, IfIndex device, const IpAddr& address);

// Devices that have a clsact qdisc. One dump of all qdiscs.
Result<std::set<IfIndex>> list_clsact(Transport& route);

struct VxlanWanted {
  std::string name;      // at most 15 bytes
  std::string instance;  // the device's alias becomes "sepal:<instance>": the mark that it is ours
  uint16_t port = 4789;  // UDP, host order
  uint32_t mtu = 0;      // of the inner frames' payload; 0: leave as it is
};

enum class VxlanState : uint8_t {
  missing,
  ours,        // as wanted, up
  unfinished,  // ours, but MTU or up are still to be set, or only just made (down and without alias)
  wrong,       // ours by its alias, but with properties that cannot be changed in place
  foreign,     // the name is taken by something that is not ours
};
struct VxlanFinding {
  VxlanState state = VxlanState::missing;
  IfIndex index;       // 0 when missing
  std::string remark;  // for wrong and foreign: what is so, what was wanted, what to do; one line
};
// Judges what stands under the wanted name. Pure.
VxlanFinding check_vxlan(const std::vector<Link>& links, const VxlanWanted& wanted);

// Makes the device if it is missing, finishes it if it is half-made, leaves it alone if it is right (no write then).
//   ip link add NAME mtu M type vxlan external dstport P nolearning udp6zerocsumtx udp6zerocsumrx
//   ip link set NAME alias sepal:INSTANCE up
// Errc::conflict with the finding's remark when the name is foreign or the device is wrong.
Result<IfIndex> ensure_vxlan(Transport& route, const VxlanWanted& wanted);
// Deletes the device of that name if it is ours. False: there was none. Errc::conflict: it is not ours.
Result<bool> delete_vxlan(Transport& route, std::string_view name, std::string_view instance);

// Representors of the virtual functions of the physical function at PCI address `pci` ("0000:3b:00.0"), by VF number:
// devices named pf<P>vf<V> (phys_port_name, a controller prefix c<N> allowed) on the eSwitch (phys_switch_id) of that
// function's own netdev. `sysfs` is a parameter for tests. Errc::not_found: no such PCI function or no netdev of it
// here. Errc::unsupported: the function is not in switchdev mode.
Result<std::map<uint16_t, IfIndex>> find_representors(const std::vector<Link>& links, std::string_view pci,
                                                      const std::filesystem::path& sysfs = "/sys");

}  // namespace sepal::netlink
