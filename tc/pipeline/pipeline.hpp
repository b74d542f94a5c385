// The pipeline in one picture: groups as tc chains. Who changes a group changes this header, its groupN_*.cpp and the
// row in docs/reference/pipeline.md.
//
//   chain = lane << 27 | group << 24 | vni          lane 0: from a guest or the overlay; lane 1: from the uplink itself
//
//   port block                 vxlan block                 uplink block
//   g0 ingress ──┐             g1 decap ──┐                g1 uplink ──┐  (lane 1 from here on)
//     │ │ └ct──▶ g2 NAT          └ct──▶ g2 ──▶ …             └ct──▶ g2 ──▶ …
//     │ └frag,ttl▶ g5 ─ct▶ g2        est,rel,committed ▶ g3 encap ──▶ g4 egress ──▶ representor
//     ├questions▶ g6 services        new ▶ g7 commit ─▶ g3   └──▶ tunnel, VLAN, public, drop, (peer: ct ▶ its g2)
//     └first datagrams▶ g3 (software, past conntrack)
//
// Each groupN_*.cpp is one pure function that adds that group's rules for one block and says in its header comment what
// arrives, what is matched, what is left on the packet for later groups, and what a miss does.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/net_types.hpp"
#include "config/model.hpp"
#include "tc/pipeline/facts.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::tc {

enum class Group : uint8_t {
  ingress = 0,
  decap = 1,
  nat = 2,
  encap = 3,
  egress = 4,
  punted = 5,
  services = 6,
  fresh = 7
};
enum class Lane : uint8_t { guest = 0, uplink = 1 };

struct ChainId {
  Lane lane = Lane::guest;
  Group group = Group::ingress;
  Vni vni;  // 0 in lane 1: traffic of the public side whose tenant is not chosen yet
  auto operator<=>(const ChainId&) const = default;
};
constexpr uint32_t chain_number(Lane lane, Group group, Vni vni) {
  return static_cast<uint32_t>(lane) << 27U | static_cast<uint32_t>(group) << 24U | vni.value();
}
// Chain 0 is lane 0, group 0, VNI 0: what the first rule of every block sees; the block tells g0 from g1.
constexpr ChainId parse_chain(uint32_t chain) {
  return {static_cast<Lane>(chain >> 27U & 1U), static_cast<Group>(chain >> 24U & 7U), Vni(chain & 0xffffffU)};
}
std::string to_string(const ChainId& chain);  // "g2 vni 100", lane 1: "uplink g2 vni 100"

enum class BlockKind : uint8_t { port, vxlan, uplink };

// Why a packet is dropped, by a final rule or by an action: the vocabulary of docs/reference/pipeline.md, of
// `sepalctl show` and `sepalctl drops`.
enum class DropReason : uint8_t {
  none,
  spoofed,        // g0: not the port's own MAC and address (also: tagged frames, other protocols); g6: the same in ARP
                  // and neighbour discovery (the program that answers)
  unknown_vni,    // g1 vxlan: no such tenant here
  unknown_vlan,   // g1 uplink: a tag nobody owns
  outside_slice,  // g1 uplink: a public address of ours, but a port outside every slice
  invalid,        // g2: conntrack says so
  untracked,      // g2: no verdict from conntrack
  blackhole,      // g3: the route says so
  no_route,       // g3, g7
  waiting,        // g0, g3, g7: a port without a device, a guest or a public gateway whose MAC is not known yet
  hairpin,        // g3: the destination is the port it came from
  unknown_mac,    // g4: no such port
  multicast,      // g5, g7: to a group; nothing here forwards to groups
  ttl_expired,    // g5
  bad_fragment,   // g5: what is left after reassembly
  not_answered,   // g6: a question that is not ours to answer (also by the program that answers)
  no_syn,         // g7: TCP that does not begin with SYN
  no_nat,         // g7: to the public side without an entry in `nat`
  rogue_service,  // g6, g7: what only a router or a DHCP server says, and a guest said it
  denied,         // g7: security groups do not allow it; the program that says so counts it
  unpublished,    // lane 1 g7: new from outside without a published service
  too_big,        // g0: larger than the tenant's MTU, and not to be fragmented
  // Of actions, not of final rules:
  rate_limited,          // g0, g2: more questions, or new connections, than a port may begin (police)
  conntrack,             // g0, g1, g2, g5, g7: no free port in a slice, a fragment that does not fit (act_ct)
  too_many_connections,  // g7: more than the tenant may have at once (the program that counts)
  not_sent,              // where it leaves: the device is down, or did not take it (act_mirred)
};
std::string_view to_string(DropReason reason);

// What a rule is for: which tenant's object made it. Not part of the rule in the kernel; `show` prints it, errors name
// it. Group and VNI follow from the chain, except chain 0, where `vni` tells.
struct Origin {
  BlockKind block = BlockKind::port;
  Group group = Group::ingress;
  Vni vni;  // 0: no single tenant's (host)
  DropReason drop = DropReason::none;
  config::Location where;  // the object in YAML that made the rule; line 0: the pipeline itself
  bool operator==(const Origin&) const = default;
};

struct CompiledRule {
  Rule rule;      // complete: handle set, collision-free within (device, chain, prio)
  Cookie cookie;  // content hash over spec and protocol, the tenant's zone
  Origin origin;
  uint8_t depth =
      0;     // by which rules are added, ascending: targets first, and last what lets datagrams go past conntrack
  Vni part;  // whose part of the rule set it is (see Parts); 0: everybody's
  bool operator==(const CompiledRule&) const = default;
};

// Whether rules of several parts may stand in this rule's chain.
bool in_shared_chain(const CompiledRule& rule);

// Whether a rule looks at a packet's size only, and lets what is not too big go on to the rules behind it.
bool is_size_check(const RuleSpec& rule);
// Whether a rule takes what software would otherwise look up by many masks, to do with it what its twin does.
bool is_shortcut(const RuleSpec& rule);
// Whether a rule asks about datagrams that were let go past conntrack: the first of a flow, or what answers one. Takes
// what the program says yes to; the rest goes on to the rules behind it.
bool asks_untracked(const RuleSpec& rule);

// An entry the eBPF objects need, beside the rules: see bpf/shared.h for the maps.
struct NeighbourEntry {  // map sepal_neighbours_2
  IfIndex device;        // where the question arrives
  Vid vlan;              // 0: untagged
  IpPrefix target;       // IPv4 or IPv6
  enum class Answer : uint8_t {
    silent,  // the asker's own
    neighbour,
    gateway,
    guard,  // a guest's port: what it says of addresses that are not its own is forged
  } answer = Answer::silent;
  MacAddr mac;       // what is answered; silent, guard: the port's own
  Vni part = {};     // see Parts
  bool own = false;  // neighbour: the port's own as well, for a prefix of it is wider
  auto operator<=>(const NeighbourEntry&) const = default;
};
struct SliceEntry {        // map sepal_slices
  IpAddr address;          // public, shared
  uint16_t port = 0;       // first of an aligned power-of-two range, host order
  uint8_t port_bits = 16;  // how many leading bits of the port count
  uint32_t slice = 0;      // number the `hash` rules match, never 0
  Vni part = {};           // see Parts
  auto operator<=>(const SliceEntry&) const = default;
};

struct RuleSet {
  std::vector<CompiledRule> rules;         // sorted by (device, chain, prio, handle); ids are unique
  std::vector<NeighbourEntry> neighbours;  // sorted
  std::vector<SliceEntry> slices;          // sorted
  std::map<Vni, Zone> zones;               // of every tenant compiled
  std::vector<PortKey> waiting;            // ports whose device is not there, sorted
  size_t displaced = 0;  // rules of chains that several parts share whose handle was taken: theirs tells of others
  std::vector<std::string>
      notes;  // other things that wait or differ, one line each, sorted ("public IPv4 gateway's MAC unknown: …")
  bool operator==(const RuleSet&) const = default;
};

// Compiles everything. Pure: same config and facts, same result. `config` must be valid (config::validate).
RuleSet compile(const config::Config& config, const Facts& facts);

// A rule set falls into parts: one for each tenant (the blocks of its ports as a whole, and what is tagged with its VNI
// in the overlay's and the uplink's blocks) and one of everybody's (the rest of those two blocks, part 0). A part
// depends on the host, the facts, its own tenant and that tenant's peers; part 0 on the host, the facts and every
// tenant's `nat`.
struct Parts {
  std::set<Vni> tenants;  // of the configuration
  bool common = false;
};
// Compiles some parts: of the rules, neighbours and slices that compile() makes, those whose `part` is asked for (of
// part 0 their depths may be less, where they lead into a part that is not). Zones, waiting ports and notes are the
// whole configuration's. Only where nothing was displaced do parts compiled apart make up the whole.
RuleSet compile_parts(const config::Config& config, const Facts& facts, const Parts& parts);

// Zones for all tenants: those in facts.zones are kept, the others get the lowest free number in VNI order.
std::map<Vni, Zone> allocate_zones(const config::Config& config, const Facts& facts);

// A range of ports as aligned power-of-two blocks, each (value, mask): what hardware matches. At most 30 blocks.
struct MaskedPort {
  uint16_t value = 0;
  uint16_t mask = 0;
  auto operator<=>(const MaskedPort&) const = default;
};
std::vector<MaskedPort> split_range(PortRange range);

}  // namespace sepal::tc
