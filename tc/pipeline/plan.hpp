// What the group functions share: the configuration resolved against the facts (who is here, where each route really
// leads), and the block they add rules to. Internal to tc/pipeline.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tc/pipeline/pipeline.hpp"
#include "tc/rule/build.hpp"

namespace sepal::tc {

struct TenantPlan;

// A port whose device is here.
struct LocalPort {
  const config::Port* port = nullptr;
  IfIndex device;
  std::vector<IpPrefix> sources;  // its addresses and prefixes: what it may send from and what is routed to it
  config::PortLimits limits;      // its own, its tenant's or the host's
  // What its guest may ask the agent.
  struct Services {
    bool dhcp4 = false;
    bool dhcp6 = false;
    bool router = false;
    [[nodiscard]] bool any() const { return dhcp4 || dhcp6 || router; }
  };
  Services services{};
  // Nobody knows the guest's MAC address: it is listened to, and nothing else comes from it or to it.
  [[nodiscard]] bool unknown() const { return port->mac.is_zero(); }
  [[nodiscard]] bool has(Family family) const {
    return std::any_of(sources.begin(), sources.end(),
                       [family](const IpPrefix& source) { return source.family() == family; });
  }
};

// Where packets to one prefix of a tenant go, after names and numbers are resolved.
struct Target {
  enum class Kind : uint8_t {
    local,      // to `port` of this tenant
    vtep,       // through the tunnel to `vtep` as `key`
    vlan,       // out of the uplink, tagged `vlan`, to `mac`
    open,       // (public) out of the uplink, tagged `vlan` when not 0, to `mac`
    peer,       // into the network of `peer` on this host
    blackhole,  // dropped by order
    waiting,    // dropped until its device or gateway is there
    absent,     // dropped: an address of the tenant's own subnets that nothing longer leads to
  };
  IpPrefix to;
  Kind kind = Kind::blackhole;
  bool own = false;   // leads to a port of this tenant, here or waiting
  uint32_t port = 0;  // local: index into TenantPlan::ports
  IpAddr vtep;
  Vni key;
  Vid vlan;
  MacAddr mac;
  const TenantPlan* peer = nullptr;
  config::Location where;
};

// Whether all targets stand in a block (the tenant's own ports') or only local ports (split horizon, peers).
enum class Routes : uint8_t { all, local_only };

// How a destination is treated before any state exists for it; a longest-prefix function like the routes themselves,
// reduced to the entries that matter: one whose nearest covering entry says the same is left out.
struct DestinationClass {
  enum class Kind : uint8_t { plain, open, drop } kind = Kind::drop;
  IpPrefix to;
  DropReason reason = DropReason::none;
  config::Location where;
};

struct TenantPlan {
  const config::Tenant* tenant = nullptr;
  Vni vni;
  Zone zone;
  uint32_t questions_per_second = 0;  // limits.arp_nd_per_second of what is nobody's port
  bool bounded = false;               // limits.connections: it may have so many at once
  std::vector<LocalPort> ports;
  std::vector<Target> targets;           // sorted by prefix, one for each
  std::vector<const TenantPlan*> peers;  // reached by a Target::peer, sorted by VNI, each once
  // What stands in a block, by Routes: targets_in_block() and classify(), the same in all blocks.
  std::array<std::vector<Target>, 2> block_targets;
  std::array<std::vector<DestinationClass>, 2> block_classes;
  // The tenant's subnets all of which is `plain`.
  std::array<std::vector<DestinationClass>, 2> block_usual;
  // Networks to which a UDP flow's first datagram may go past conntrack; none: everything is tracked.
  std::vector<IpPrefix> untracked;
  [[nodiscard]] bool translates() const { return !tenant->nat.empty(); }
  // A NIC restores connections of the first zones only; tenants beyond them work, in software.
  [[nodiscard]] bool in_hardware() const { return zone.value() <= limits::kOffloadZoneMax; }
};

// The whole input of the group functions.
struct Plan {
  const config::Config* config = nullptr;
  const Facts* facts = nullptr;
  std::vector<TenantPlan> tenants;  // sorted by VNI; addresses are stable (peers point into it)
  std::set<IpAddr> shared_public;   // public addresses given out in slices
  MacAddr overlay_mac;              // what stands as destination inside the tunnel
  const Parts* parts = nullptr;     // what is compiled; null: everything
  [[nodiscard]] bool wants(const TenantPlan& tenant) const {
    return parts == nullptr || parts->tenants.contains(tenant.vni);
  }
  [[nodiscard]] bool wants_common() const { return parts == nullptr || parts->common; }
};
// Targets are resolved for the tenants that plan.parts asks for, and for those that they lead into.
void make_plan(const config::Config& config, const Facts& facts, Plan& plan, RuleSet& out);

// Where a rule comes from and whether the NIC may hold it.
struct Tag {
  Group group;
  Vni vni;
  config::Location where{};
  DropReason drop = DropReason::none;
  bool skip_hw = false;
  uint8_t waits = 0;  // steps that the rule comes later than what it leads to makes it: set_depths()
};

// One device's block while its rules are made. `prio` values are the groups' own business.
class Block {
 public:
  // A port's block, all of it `owner`'s part. `software_only`: nothing of this block may be in hardware.
  Block(IfIndex device, Vni owner, const Plan& plan, RuleSet& out, bool software_only);
  // One that all tenants share: a rule is the part of the VNI it is tagged with.
  Block(BlockKind kind, IfIndex device, const Plan& plan, RuleSet& out);

  [[nodiscard]] BlockKind kind() const { return kind_; }
  [[nodiscard]] IfIndex device() const { return device_; }
  [[nodiscard]] const Plan& plan() const { return plan_; }
  [[nodiscard]] const Facts& facts() const { return *plan_.facts; }
  [[nodiscard]] Lane lane() const { return kind_ == BlockKind::uplink ? Lane::uplink : Lane::guest; }
  [[nodiscard]] uint32_t chain(Group group, Vni vni) const { return chain_number(lane(), group, vni); }

  void add(uint32_t chain, uint16_t prio, uint16_t protocol, Match match, std::vector<Action> actions, const Tag& tag);
  // A match that hardware may see in a chain behind the first of this block: in the vxlan block it repeats the outer
  // keys of the rule that led here, byte for byte; elsewhere it is empty.
  [[nodiscard]] Match inner(Vni vni) const;
  // How a packet enters a tenant's network: `ct zone Z nat` → group 2. Where a NIC must not look the zone up, the rule
  // of the shared chain 0 stays in hardware, so that it is not overtaken, and leads into software: → group 5.
  [[nodiscard]] std::vector<Action> enter(const TenantPlan& tenant) const;
  // Whether that rule leads into software: then group 5 takes whatever comes of this tenant.
  [[nodiscard]] bool punts(const TenantPlan& tenant) const;

 private:
  void take_demotions();
  [[nodiscard]] std::optional<Demotion> demotion(Vni vni) const;
  [[nodiscard]] bool kept_out(uint32_t chain, const std::vector<Action>& actions, const Tag& tag) const;

  BlockKind kind_;
  IfIndex device_;
  Vni owner_;  // of a port's block
  const Plan& plan_;
  RuleSet& out_;
  bool software_only_ = false;  // the whole block
  bool staged_ = false;         // chain 0 of the block
  bool tenant_is_out_ = false;  // in a wire's block: nothing of some tenant is in hardware, not even a punt
  std::map<Vni, Demotion> out_of_hardware_;  // a wire's block, by tenant
};

// The groups, each in its own file. In the blocks that all share, each adds what plan().wants().
void group0_ingress(Block& block, const TenantPlan& tenant, const LocalPort& port);
void group1_decap(Block& block, const std::vector<const TenantPlan*>& tenants);
void group1_uplink(Block& block, const std::vector<const TenantPlan*>& tenants);
// `from`: the port a port block belongs to, in its own tenant's chain; null for peers and in the other blocks.
void group2_nat(Block& block, const TenantPlan& tenant, const LocalPort* from);
void group3_encap(Block& block, const TenantPlan& tenant, Routes routes);
void group4_egress(Block& block, const TenantPlan& tenant);
// `from`: the port a port block belongs to, whose anti-spoofing is repeated; null in the other blocks.
void group5_punted(Block& block, const TenantPlan& tenant, const LocalPort* from);
void group5_public(Block& block);
void group6_port(Block& block, const TenantPlan& tenant, const LocalPort& port);
void group6_uplink(Block& block, const TenantPlan* tenant);  // null: the public side
// `port`: whose block this is, in its own tenant's chain; null for peers and in the other blocks.
void group7_fresh(Block& block, const TenantPlan& tenant, Routes routes, const LocalPort* port = nullptr);
// What group 7 does with most of what begins, in group 2's chain. Not of peers, and not in the uplink's block.
void group7_usual(Block& block, const TenantPlan& tenant, Routes routes, const LocalPort* port = nullptr);

// Tag::waits at priority 1 of group 2, where what is established by its state alone is asked for first.
inline constexpr uint8_t kWaitsSyn = 1;       // then what begins
inline constexpr uint8_t kWaitsHardware = 2;  // and last what hardware has

// The last rule of every chain stands here; nothing else does.
inline constexpr uint16_t kPrioLast = 1000;

// Where guests of this tenant find their gateway: 169.254.1.1 and fe80::1, and those of its subnets.
std::vector<IpAddr> gateways_of(const config::Tenant& tenant);

// Longest prefix first: /32 and /128 stand at `base`, each bit less one `stride` further.
uint16_t prefix_prio(const IpPrefix& prefix, uint16_t base, uint16_t stride = 1);

// What a tenant's targets come to, in destinations.cpp. Of subnets in the order of the configuration, of targets sorted
// by prefix.
std::vector<IpPrefix> untracked_networks(const TenantPlan& tenant);
std::vector<DestinationClass> classify(const TenantPlan& tenant, Routes routes);
std::vector<DestinationClass> usual_classes(const TenantPlan& tenant, const std::vector<DestinationClass>& classes);
// The targets that hold in a block, less those that change nothing. With local routes only: local ports, and drops
// where another route is nested in one.
std::vector<Target> targets_in_block(const TenantPlan& tenant, Routes routes);

// eth_type + the fragment bit or an expiring TTL: what must leave the fast path before conntrack and routing.
Match fragments(Family family);
Match expiring_ttl(Family family);
Match multicast(Family family);  // eth_type + a destination that is a group
const IpPrefix& multicast_network(Family family);
Match ip_protocol(Family family, uint8_t protocol);  // eth_type + ip_proto
// For what may be about a datagram that was let go past conntrack: `then` if it is, else the next rule.
std::vector<Action> about_untracked(const Block& block, const TenantPlan& tenant, std::vector<Action> then);
uint16_t eth_of(Family family);
inline constexpr Family kFamilies[] = {Family::ipv4, Family::ipv6};
inline uint8_t icmp_of(Family family) { return family == Family::ipv4 ? kProtoIcmp : kProtoIcmpv6; }
inline constexpr uint8_t kNdSolicitation = 135;
inline constexpr uint8_t kNdAdvertisement = 136;
inline uint8_t echo_of(Family family) { return family == Family::ipv4 ? 8 : 128; }
inline constexpr uint8_t kRouterAdvertisement = 134;
// UDP ports of DHCP, by family.
inline constexpr uint16_t kDhcpServerPort[] = {67, 547};
inline constexpr uint16_t kDhcpClientPort[] = {68, 546};

// What of the public side belongs to a `nat` entry: its address, and for a slice TCP and UDP to each block of its
// ports.
std::vector<Match> public_slice_matches(const config::Nat& nat);
// A number for a slice of a shared public address that stays the same over reloads; never 0.
uint32_t slice_number(const config::Nat& nat);

inline constexpr uint32_t kMarkCommitted = 1;   // ct_mark bit 0
inline constexpr uint32_t kMarkTranslated = 2;  // ct_mark bit 1
inline constexpr uint32_t kMarkFromPeer =
    4;  // ct_mark bit 2: begun by a guest of a peer, whose address means nothing here
inline constexpr uint32_t kMarkAnswered =
    8;  // ct_mark bit 3: conntrack saw an answer first, so it stands the wrong way

}  // namespace sepal::tc
