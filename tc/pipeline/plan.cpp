// Resolves the configuration against the facts: ports to devices, routes to targets, zones. What targets come to is in
// destinations.cpp.
#include "tc/pipeline/plan.hpp"

#include <algorithm>
#include <variant>

#include "bpf/policy_layout.h"
#include "tc/pipeline/sharing.hpp"

namespace sepal::tc {
namespace {

std::vector<IpPrefix> sources_of(const config::Port& port) {
  std::vector<IpPrefix> sources;
  for (const IpAddr& address : port.addresses) sources.push_back(IpPrefix::host(address));
  for (const IpPrefix& prefix : port.prefixes) sources.push_back(prefix);
  return sources;
}

config::PortLimits limits_of(const config::Host& host, const config::Tenant& tenant, const config::Port& port) {
  auto first_of = [](const std::optional<uint32_t>& own, const std::optional<uint32_t>& wider,
                     const std::optional<uint32_t>& widest) {
    return own ? own : wider ? wider : widest;
  };
  return {first_of(port.limits.arp_nd_per_second, tenant.port_limits.arp_nd_per_second, host.limits.arp_nd_per_second),
          first_of(port.limits.dhcp_per_second, tenant.port_limits.dhcp_per_second, host.limits.dhcp_per_second),
          first_of(port.limits.new_connections_per_second, tenant.port_limits.new_connections_per_second,
                   host.limits.new_connections_per_second)};
}

LocalPort::Services services_of(const config::Host& host, const config::Tenant& tenant, const config::Port& port) {
  const config::PortServices services = config::port_services(host, tenant, port);
  auto has = [&port](Family family) {
    return std::any_of(port.addresses.begin(), port.addresses.end(),
                       [family](const IpAddr& address) { return address.family == family; });
  };
  return {services.dhcp && has(Family::ipv4), services.dhcp && has(Family::ipv6),
          services.router_advertisements && has(Family::ipv6)};
}

std::optional<uint32_t> port_index(const TenantPlan& tenant, const std::string& name) {
  for (uint32_t i = 0; i < tenant.ports.size(); ++i) {
    if (tenant.ports[i].port->name == name) return i;
  }
  return std::nullopt;
}

// Whose guest can be sent something.
std::optional<uint32_t> reachable_port(const TenantPlan& tenant, const std::string& name) {
  const auto index = port_index(tenant, name);
  return index && !tenant.ports[*index].unknown() ? index : std::nullopt;
}

// Turns a route's `via` into a target; std::visit's overloads in one place.
class Resolver {
 public:
  Resolver(Plan& plan, const TenantPlan& tenant, const config::Route& route)
      : plan_(plan), tenant_(tenant), route_(route) {}

  Target operator()(const config::ViaVtep& via) const {
    Target target = make(Target::Kind::vtep);
    target.vtep = via.address;
    target.key = route_.vni.value_or(tenant_.vni);
    return target;
  }
  Target operator()(const config::ViaPort& via) const {
    if (route_.vni && *route_.vni != tenant_.vni) {
      Target target = make(Target::Kind::waiting);
      for (const TenantPlan& peer : plan_.tenants) {
        if (peer.vni != *route_.vni || !reachable_port(peer, via.port)) continue;
        target.kind = Target::Kind::peer;
        target.peer = &peer;
      }
      return target;
    }
    auto index = reachable_port(tenant_, via.port);
    Target target = make(index ? Target::Kind::local : Target::Kind::waiting);
    target.own = true;
    target.port = index.value_or(0);
    return target;
  }
  Target operator()(const config::ViaVlan& via) const {
    Target target = make(Target::Kind::vlan);
    target.vlan = via.vlan;
    for (const config::TenantVlan& vlan : tenant_.tenant->vlans) {
      if (vlan.id == via.vlan) target.mac = vlan.gateway_mac;
    }
    return target;
  }
  Target operator()(const config::ViaPublic&) const {
    const Facts& facts = *plan_.facts;
    const auto& mac = route_.to.family() == Family::ipv4 ? facts.public_gateway4 : facts.public_gateway6;
    Target target = make(mac ? Target::Kind::open : Target::Kind::waiting);
    if (mac) target.mac = *mac;
    const auto& public_net = plan_.config->host.public_net;
    if (public_net && public_net->vlan) target.vlan = *public_net->vlan;
    return target;
  }
  Target operator()(const config::ViaBlackhole&) const { return make(Target::Kind::blackhole); }

 private:
  [[nodiscard]] Target make(Target::Kind kind) const {
    Target target;
    target.to = route_.to;
    target.kind = kind;
    target.where = route_.where;
    return target;
  }

  Plan& plan_;
  const TenantPlan& tenant_;
  const config::Route& route_;
};

void add_ports(const config::Host& host, const config::Tenant& tenant, const Facts& facts, TenantPlan& plan,
               RuleSet& out) {
  for (const config::Port& port : tenant.ports) {
    const PortKey key{tenant.name, port.name};
    auto found = facts.ports.find(key);
    if (found == facts.ports.end()) {
      out.waiting.push_back(key);
    } else {
      plan.ports.push_back(
          {&port, found->second, sources_of(port), limits_of(host, tenant, port), services_of(host, tenant, port)});
    }
  }
}

void add_targets(Plan& plan, TenantPlan& tenant) {
  std::map<IpPrefix, Target> targets;
  // A port's own addresses: here, or waiting (then they must not leak out of a wider route).
  for (const config::Port& port : tenant.tenant->ports) {
    auto index = reachable_port(tenant, port.name);
    for (const IpPrefix& source : sources_of(port)) {
      Target target;
      target.to = source;
      target.kind = index ? Target::Kind::local : Target::Kind::waiting;
      target.own = true;
      target.port = index.value_or(0);
      target.where = port.where;
      targets[source] = target;
    }
  }
  for (const config::Route& route : tenant.tenant->routes) {
    Target target = std::visit(Resolver(plan, tenant, route), route.via);
    if (target.peer != nullptr) tenant.peers.push_back(target.peer);
    targets[route.to] = target;
  }
  // A subnet is on the tenant's own link: what is not there must not follow a wider route to somewhere else.
  for (const config::Subnet& subnet : tenant.tenant->subnets) {
    Target target;
    target.to = subnet.prefix;
    target.kind = Target::Kind::absent;
    target.where = subnet.where;
    targets.emplace(subnet.prefix, target);
  }
  for (auto& [prefix, target] : targets) tenant.targets.push_back(target);
  auto by_vni = [](const TenantPlan* a, const TenantPlan* b) { return a->vni < b->vni; };
  std::sort(tenant.peers.begin(), tenant.peers.end(), by_vni);
  tenant.peers.erase(std::unique(tenant.peers.begin(), tenant.peers.end()), tenant.peers.end());
}

void note_beyond_nic(const TenantPlan& tenant, RuleSet& out) {
  if (tenant.in_hardware()) return;
  out.notes.push_back("tenant " + tenant.tenant->name + ": conntrack zone " + std::to_string(tenant.zone.value()) +
                      " is beyond the " + std::to_string(limits::kOffloadZoneMax) +
                      " a NIC can restore; its packets stay in software");
}

void note_missing_gateway(const config::Config& config, const Facts& facts, RuleSet& out) {
  if (!config.host.public_net) return;
  for (const IpAddr& gateway : config.host.public_net->gateways) {
    if (gateway.is_v4() ? facts.public_gateway4.has_value() : facts.public_gateway6.has_value()) continue;
    out.notes.push_back("public gateway " + gateway.to_string() +
                        ": MAC address not known yet; routes via public wait (give public.gateway_mac to not depend "
                        "on the neighbour table)");
  }
}

constexpr size_t kNamedMax = 3;  // of one kind of note

void note_unknown(const Plan& plan, RuleSet& out) {
  size_t count = 0;
  for (const TenantPlan& tenant : plan.tenants) {
    for (const LocalPort& port : tenant.ports) {
      if (!port.unknown() || ++count > kNamedMax) continue;
      out.notes.push_back("tenant " + tenant.tenant->name + ", port " + port.port->name +
                          ": its guest's MAC address is not known yet; it shows it with its first ARP, neighbour "
                          "discovery or DHCP (or give the port its mac)");
    }
  }
  if (count > kNamedMax)
    out.notes.push_back("MAC addresses: those of " + std::to_string(count - kNamedMax) +
                        " more guests are not known yet");
}

void note_kept_out(const Facts& facts, RuleSet& out) {
  std::map<std::string, std::vector<IpAddr>> by_reason;
  for (const auto& [vtep, way] : facts.ways)
    if (!way.keep_out.empty()) by_reason[way.keep_out].push_back(vtep);
  for (const auto& [reason, vteps] : by_reason) {
    for (size_t i = 0; i < std::min(vteps.size(), kNamedMax); ++i) {
      out.notes.push_back("VTEP " + vteps[i].to_string() + " " + reason +
                          "; routes via it, and wider ones around them, stay in software");
    }
    if (vteps.size() > kNamedMax) {
      out.notes.push_back("VTEP: " + std::to_string(vteps.size() - kNamedMax) + " more " + reason);
    }
  }
}

void resolve(Plan& plan, TenantPlan& tenant) {
  add_targets(plan, tenant);
  tenant.untracked = untracked_networks(tenant);
  for (Routes routes : {Routes::all, Routes::local_only}) {
    tenant.block_targets[static_cast<size_t>(routes)] = targets_in_block(tenant, routes);
    const size_t index = static_cast<size_t>(routes);
    tenant.block_classes[index] = classify(tenant, routes);
    tenant.block_usual[index] = usual_classes(tenant, tenant.block_classes[index]);
  }
}

}  // namespace

void make_plan(const config::Config& config, const Facts& facts, Plan& plan, RuleSet& out) {
  plan.config = &config;
  plan.facts = &facts;
  plan.overlay_mac = config.host.gateway_mac;
  plan.overlay_mac.bytes[5] ^= 1U;  // some hardware distrusts frames whose source is their destination
  out.zones = allocate_zones(config, facts);
  plan.tenants.reserve(config.tenants.size());
  for (const config::Tenant& tenant : config.tenants) {
    TenantPlan& added = plan.tenants.emplace_back();
    added.tenant = &tenant;
    added.vni = tenant.vni;
    added.zone = out.zones.at(tenant.vni);
    added.questions_per_second = tenant.port_limits.arp_nd_per_second.value_or(config.host.limits.arp_nd_per_second);
    added.bounded = tenant.connections || config.host.limits.connections;
    add_ports(config.host, tenant, facts, added, out);
    note_beyond_nic(added, out);
    for (const config::Nat& nat : tenant.nat) {
      if (nat.ports) plan.shared_public.insert(nat.address);
    }
  }
  std::set<const TenantPlan*> led_into;
  for (TenantPlan& tenant : plan.tenants) {
    if (!plan.wants(tenant)) continue;
    resolve(plan, tenant);
    led_into.insert(tenant.peers.begin(), tenant.peers.end());
  }
  for (TenantPlan& tenant : plan.tenants)
    if (!plan.wants(tenant) && led_into.contains(&tenant)) resolve(plan, tenant);
  note_missing_gateway(config, facts, out);
  note_unknown(plan, out);
  note_kept_out(facts, out);
}

Block::Block(IfIndex device, Vni owner, const Plan& plan, RuleSet& out, bool software_only)
    : kind_(BlockKind::port), device_(device), owner_(owner), plan_(plan), out_(out), software_only_(software_only) {
  take_demotions();
}

Block::Block(BlockKind kind, IfIndex device, const Plan& plan, RuleSet& out)
    : kind_(kind), device_(device), plan_(plan), out_(out) {
  take_demotions();
}

void Block::take_demotions() {
  const auto& demoted = plan_.facts->demoted;
  for (auto at = demoted.lower_bound({device_, Vni()}); at != demoted.end() && at->first.device == device_; ++at) {
    const auto& [unit, demotion] = *at;
    if (unit.vni != Vni()) {
      if (kind_ == BlockKind::port) continue;
      out_of_hardware_.emplace(unit.vni, demotion);
      tenant_is_out_ = tenant_is_out_ || demotion == Demotion::whole;
    } else if (demotion == Demotion::staged) {
      staged_ = true;
    } else {
      software_only_ = true;
    }
  }
}

std::optional<Demotion> Block::demotion(Vni vni) const {
  const auto found = out_of_hardware_.find(vni);
  return found == out_of_hardware_.end() ? std::nullopt : std::optional(found->second);
}

// The unit that leaves hardware is a port's whole block; in the others it is a VNI, behind the shared chain 0. There
// its own rules stay in hardware and lead into software, so that no worse rule takes its packets; where even they have
// no place, the worse rules that all tenants share (they drop, or pass to the host) are kept out with them.
bool Block::kept_out(uint32_t chain, const std::vector<Action>& actions, const Tag& tag) const {
  if (software_only_) return true;
  const bool first = chain == 0;
  if (first && staged_) return true;
  if (kind_ == BlockKind::port) return false;
  if (tag.vni == Vni()) {
    const auto* verdict = std::get_if<Gact>(&actions.back().kind);
    const bool leads_on = verdict != nullptr && verdict->verdict.control == Control::goto_chain;
    return first && tenant_is_out_ && !leads_on;
  }
  const auto out = demotion(tag.vni);
  if (!out) return false;
  return *out == Demotion::whole || (*out == Demotion::punted && !first);
}

void Block::add(uint32_t chain, uint16_t prio, uint16_t protocol, Match match, std::vector<Action> actions,
                const Tag& tag) {
  CompiledRule& added = out_.rules.emplace_back();
  added.rule.id = {device_, chain, prio, protocol, 0};
  added.origin = {kind_, tag.group, tag.vni, tag.drop, tag.where};
  added.depth = tag.waits;
  added.part = kind_ == BlockKind::port ? owner_ : tag.vni;
  if (auto zone = out_.zones.find(tag.vni); zone != out_.zones.end()) added.cookie.zone = zone->second;
  added.cookie.instance = facts().instance;
  const bool beyond_nic = chain != 0 && added.cookie.zone.value() > limits::kOffloadZoneMax;
  const bool skip_hw = tag.skip_hw || beyond_nic || kept_out(chain, actions, tag);
  added.rule.spec = {std::move(match), std::move(actions), skip_hw};
  mark_shared_actions(added.rule.spec);
}

std::vector<Action> Block::enter(const TenantPlan& tenant) const {
  if (punts(tenant)) return {goto_chain(chain(Group::punted, tenant.vni))};
  return {ct_lookup(tenant.zone), goto_chain(chain(Group::nat, tenant.vni))};
}

bool Block::punts(const TenantPlan& tenant) const {
  if (kind_ == BlockKind::port) return false;
  const auto out = demotion(tenant.vni);
  return !tenant.in_hardware() || out == Demotion::staged || out == Demotion::punted;
}

Match Block::inner(Vni vni) const {
  Match match;
  if (kind_ != BlockKind::vxlan) return match;
  const config::Host& host = plan_.config->host;
  if (vni != Vni()) match.set(Key::enc_key_id, vni.value());
  match.ip(Key::enc_dst_ip4, IpPrefix::host(host.underlay.address)).set(Key::enc_dst_port, host.vxlan.port);
  return match;
}

uint16_t prefix_prio(const IpPrefix& prefix, uint16_t base, uint16_t stride) {
  return static_cast<uint16_t>(base + stride * (prefix.address.bits() - prefix.length));
}

uint16_t eth_of(Family family) { return family == Family::ipv4 ? kEthIpv4 : kEthIpv6; }

std::vector<IpAddr> gateways_of(const config::Tenant& tenant) {
  std::vector<IpAddr> gateways{IpAddr::v4(169, 254, 1, 1), *IpAddr::parse("fe80::1")};
  for (const config::Subnet& subnet : tenant.subnets)
    if (subnet.gateway) gateways.push_back(*subnet.gateway);
  std::sort(gateways.begin(), gateways.end());
  gateways.erase(std::unique(gateways.begin(), gateways.end()), gateways.end());
  return gateways;
}

std::vector<Action> about_untracked(const Block& block, const TenantPlan& tenant, std::vector<Action> then) {
  const BpfProgram& judge = block.facts().programs.judge_policy;
  std::vector<Action> actions{set_mark(tenant.vni.value() | SEPAL_MARK_ANSWERS),
                              bpf(judge.name, judge.tag, Control::next_rule), set_mark(0)};
  for (Action& action : then) actions.push_back(std::move(action));
  return actions;
}

Match fragments(Family family) { return Match().eth_type(eth_of(family)).set(Key::ip_flags, kIpFlagFrag, kIpFlagFrag); }

Match expiring_ttl(Family family) { return Match().eth_type(eth_of(family)).set(Key::ip_ttl, 0, 0xfe); }

const IpPrefix& multicast_network(Family family) {
  static const IpPrefix kNetworks[] = {*IpPrefix::parse("224.0.0.0/4"), *IpPrefix::parse("ff00::/8")};
  return kNetworks[static_cast<size_t>(family)];
}

Match multicast(Family family) { return Match().eth_type(eth_of(family)).ip(Key::dst_ip4, multicast_network(family)); }

Match ip_protocol(Family family, uint8_t protocol) {
  return Match().eth_type(eth_of(family)).set(Key::ip_proto, protocol);
}

std::vector<Match> public_slice_matches(const config::Nat& nat) {
  const Family family = nat.address.family;
  const IpPrefix address = IpPrefix::host(nat.address);
  if (!nat.ports) return {Match().eth_type(eth_of(family)).ip(Key::dst_ip4, address)};
  std::vector<Match> matches;
  for (uint8_t protocol : {kProtoTcp, kProtoUdp}) {
    for (const MaskedPort& block : split_range(*nat.ports)) {
      matches.push_back(
          ip_protocol(family, protocol).ip(Key::dst_ip4, address).set(Key::dst_port, block.value, block.mask));
    }
  }
  return matches;
}

uint32_t slice_number(const config::Nat& nat) {
  // FNV-1a over what makes the slice: the number only has to differ between the slices of one hypervisor and to stay
  // the same when another slice comes or goes.
  uint32_t hash = 2166136261U;
  auto mix = [&hash](uint8_t byte) { hash = (hash ^ byte) * 16777619U; };
  for (uint8_t byte : nat.address.bytes) mix(byte);
  for (uint16_t port : {nat.ports->first, nat.ports->last}) {
    mix(static_cast<uint8_t>(port >> 8U));
    mix(static_cast<uint8_t>(port));
  }
  return hash == 0 ? 1 : hash;
}

}  // namespace sepal::tc
