// What compile must know of the running kernel, as values: who exists, under which number. The agent gathers it; tests
// make it up.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/net_types.hpp"

namespace sepal::tc {

// (tenant name, port name)
struct PortKey {
  std::string tenant;
  std::string port;
  auto operator<=>(const PortKey&) const = default;
};

// What leaves hardware, and comes back into it, as one: the block of a port, or what one tenant has in the block of the
// vxlan device or of the uplink. VNI 0: the whole block.
struct HardwareUnit {
  IfIndex device;
  Vni vni;
  auto operator<=>(const HardwareUnit&) const = default;
};
// How far out of hardware a unit is.
enum class Demotion : uint8_t {
  staged,  // its chains may be there, but in hardware nothing leads into them: the last stop on the way back in
  punted,  // a tenant's part of a wire: chain 0 leads its packets into software, all else is skip_hw (else: as whole)
  whole,   // nothing of it
};

struct BpfProgram {
  std::string name;  // as loaded: "sepal_neigh", "sepal_slice"
  std::array<uint8_t, 8> tag{};
  auto operator<=>(const BpfProgram&) const = default;
};

// The programs that rules run, as they are loaded; without a tag they are only named.
struct BpfPrograms {
  BpfProgram answer_neighbour{"sepal_neigh", {}};  // group 6: ARP and neighbour solicitations
  BpfProgram choose_slice{"sepal_slice", {}};      // lane 1 group 5: ICMP id → slice number in skb->hash
  BpfProgram judge_policy{"sepal_policy", {}};     // group 7: security groups
  BpfProgram speak_icmp{"sepal_icmp", {}};         // group 0: too big; groups 5 and 6: expired TTLs, the gateway's echo
  BpfProgram hear_question{"sepal_question", {}};  // group 6: DHCP and router solicitations, for the agent
  BpfProgram hold_room{"sepal_room", {}};          // group 7: how many connections a tenant may have
  auto operator<=>(const BpfPrograms&) const = default;
};

// The way under the tunnel to one remote VTEP, as far as rules depend on it.
struct TunnelWay {
  // A NIC looks the next hop up once per encapsulation and keeps it while any rule uses it. So when the next hop
  // changes, all rules that encapsulate to this VTEP get the next generation of the same encapsulation: another tunnel
  // key to the NIC, the same packet to everybody else.
  uint8_t generation = 0;
  std::string keep_out;  // why a NIC cannot send this way, "leaves by eth1 …"; empty: it can
  bool operator==(const TunnelWay&) const = default;
};
// How many generations follow each other before the first one comes again.
inline constexpr uint8_t kTunnelGenerations = 8;

struct Facts {
  IfIndex uplink;  // 0: missing (the agent refuses before compile)
  IfIndex vxlan;
  MacAddr uplink_mac;                      // what we call ourselves towards a wire
  std::map<PortKey, IfIndex> ports;        // a port that is missing here is `waiting`: nothing is compiled for it
  std::optional<MacAddr> public_gateway4;  // config's gateway_mac or the neighbour table's answer; none: public routes
  std::optional<MacAddr> public_gateway6;  // of that family wait
  std::set<Vid> host_vlans;                // VLANs with a VLAN device of the host on the uplink: their frames pass
  std::map<IpAddr, TunnelWay> ways;        // by remote VTEP; one that is missing is generation 0, and good
  std::map<Vni, Zone> zones;               // zones already in use, read back from our rules' cookies
  BpfPrograms programs;
  std::map<HardwareUnit, Demotion> demoted;  // what the NIC could not take as a whole: none of it may overtake software
  uint16_t instance = 0;                     // instance_hash(instance name)
  bool operator==(const Facts&) const = default;
};

// Over everything but the zones, which compile's answer tells (RuleSet::zones).
uint64_t digest_without_zones(const Facts& facts);

// nullptr: nothing is known that a rule would depend on.
inline const TunnelWay* tunnel_way(const Facts& facts, const IpAddr& vtep) {
  const auto found = facts.ways.find(vtep);
  return found == facts.ways.end() ? nullptr : &found->second;
}

}  // namespace sepal::tc
