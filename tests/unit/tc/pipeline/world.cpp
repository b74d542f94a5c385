// See world.hpp. All tenants draw from the same few networks on purpose: equal addresses in different tenants are the
// rule here, not the exception.
#include "world.hpp"

#include <algorithm>
#include <set>

#include "tc/rule/rule.hpp"

namespace sepal::tc::model {
namespace {

using config::Config;
using config::Port;
using config::Route;
using config::Tenant;

class Builder {
 public:
  Builder(uint64_t seed, const Wishes& wishes)
      : dice_(seed * 0x9e3779b97f4a7c15ULL + 1),
        wishes_(wishes),
        group_dice_(seed * 31),
        limit_dice_(seed * 37),
        guest_dice_(seed * 41) {}

  World build() {
    host();
    if (limit_dice_.chance(20)) config().host.limits.new_connections_per_second = limit_dice_.between(1, 10'000);
    const uint32_t count = dice_.between(1, wishes_.tenants_max);
    std::set<uint32_t> vnis;
    while (vnis.size() < count) vnis.insert(dice_.chance(10) ? 0xffffffU - dice_.below(3) : dice_.between(1, 400));
    for (uint32_t vni : vnis) tenant(vni);
    peerings();
    for (Tenant& t : world_.config.tenants) routes(t);
    for (Tenant& t : world_.config.tenants) nat(t);
    public_routes();
    for (Tenant& t : world_.config.tenants) {
      if (group_dice_.chance(40)) groups(t);
      if (guest_dice_.chance(20)) t.guests.dhcp = guest_dice_.chance(50);
      for (Port& p : t.ports) {
        if (guest_dice_.chance(20)) p.guests.dhcp = guest_dice_.chance(50);
        if (guest_dice_.chance(20)) p.guests.router_advertisements = guest_dice_.chance(50);
        if (guest_dice_.chance(20)) p.guests.dhcp = p.guests.router_advertisements = false;
        p.dhcp_server = guest_dice_.chance(20);
        p.mac_is_open = guest_dice_.chance(20);  // and the guest has shown it
      }
      if (limit_dice_.chance(20)) t.port_limits.new_connections_per_second = limit_dice_.between(1, 10'000);
      for (Port& p : t.ports)
        if (limit_dice_.chance(20)) p.limits.new_connections_per_second = limit_dice_.between(1, 10'000);
    }
    facts();
    return std::move(world_);
  }

 private:
  Config& config() { return world_.config; }

  void host() {
    config::Host& host = config().host;
    host.underlay.device = "uplink";
    host.underlay.address = dice_.chance(70) ? ip("192.0.2.1") : ip("2001:db8:1::1");
    host.underlay.mtu = 9000;
    if (dice_.chance(30)) host.underlay.vlan = Vid(2);
    if (dice_.chance(20)) host.vxlan.port = 8472;
    if (!dice_.chance(65)) return;
    config::Public outside;
    if (dice_.chance(50)) outside.vlan = Vid(30);
    if (dice_.chance(80)) outside.gateways.push_back(ip("198.51.100.1"));
    if (outside.gateways.empty() || dice_.chance(60)) outside.gateways.push_back(ip("2001:db8:99::1"));
    if (dice_.chance(50)) outside.gateway_mac = mac("02:00:00:00:99:01");
    outside.answer_arp = dice_.chance(80);
    host.public_net = outside;
  }

  void tenant(uint32_t vni) {
    Tenant t;
    t.name = "t" + std::to_string(vni);
    t.vni = Vni(vni);
    if (dice_.chance(80)) {
      t.subnets.push_back({prefix("10.0.0.0/24"), std::nullopt, {}});
      if (dice_.chance(30)) t.subnets.back().gateway = ip("10.0.0.254");
    }
    if (t.subnets.empty() || dice_.chance(60)) t.subnets.push_back({prefix("fd00:1::/64"), std::nullopt, {}});
    if (dice_.chance(30)) t.subnets.push_back({prefix("10.0.1.0/25"), std::nullopt, {}});
    if (dice_.chance(30)) {
      t.vlans.push_back({Vid(static_cast<uint16_t>(100 + config().tenants.size())), mac("02:00:00:00:77:01"), {}});
    }
    const uint32_t ports = dice_.below(5);
    std::set<IpPrefix> taken;
    for (uint32_t i = 0; i < ports; ++i) port(t, i, taken);
    config().tenants.push_back(std::move(t));
  }

  IpAddr host_of(const config::Subnet& subnet) {
    IpAddr address = subnet.prefix.address;
    // Few addresses, so that neighbours, peers and routes meet; .64 up are for nested routes.
    const uint32_t number = dice_.chance(70) ? dice_.between(1, 12) : dice_.between(65, 80);
    address.bytes[address.size() - 1] = static_cast<uint8_t>(number);
    return address;
  }

  void port(Tenant& t, uint32_t index, std::set<IpPrefix>& taken) {
    Port p;
    p.name = "p" + std::to_string(index);
    p.device = t.name + "-" + p.name;
    p.mac = mac("02:00:00:00:00:0a");
    p.mac.bytes[5] = static_cast<uint8_t>(p.mac.bytes[5] + index);  // the same in every tenant
    for (const config::Subnet& subnet : t.subnets) {
      if (!p.addresses.empty() && !dice_.chance(60)) continue;
      const IpAddr address = host_of(subnet);
      if (taken.insert(IpPrefix::host(address)).second) p.addresses.push_back(address);
    }
    if (p.addresses.empty()) return;
    static const char* kPrefixes[] = {"172.16.0.0/16", "172.16.5.0/24", "10.0.0.64/27", "fd00:1:0:0:8000::/65",
                                      "fd00:7::/48",   "0.0.0.0/0",     "10.0.0.72/32"};
    if (dice_.chance(25)) {
      const IpPrefix extra = prefix(kPrefixes[dice_.below(7)]);
      if (taken.insert(extra).second) p.prefixes.push_back(extra);
    }
    t.ports.push_back(p);
  }

  void peerings() {
    auto& tenants = config().tenants;
    for (size_t a = 0; a < tenants.size(); ++a) {
      for (size_t b = a + 1; b < tenants.size(); ++b) {
        if (!dice_.chance(35)) continue;
        tenants[a].peers.push_back(tenants[b].name);
        tenants[b].peers.push_back(tenants[a].name);
      }
    }
  }

  static bool is_local(const Tenant& t, const IpPrefix& to) {
    return std::any_of(t.ports.begin(), t.ports.end(), [&](const Port& p) {
      return std::any_of(p.addresses.begin(), p.addresses.end(),
                         [&](const IpAddr& a) { return IpPrefix::host(a) == to; }) ||
             std::find(p.prefixes.begin(), p.prefixes.end(), to) != p.prefixes.end();
    });
  }

  static bool has_route(const Tenant& t, const IpPrefix& to) {
    return std::any_of(t.routes.begin(), t.routes.end(), [&](const Route& r) { return r.to == to; });
  }

  void add_route(Tenant& t, const IpPrefix& to, config::Via via, std::optional<Vni> vni = std::nullopt) {
    if (is_local(t, to) || has_route(t, to)) return;
    t.routes.push_back({to, std::move(via), vni, {}});
  }

  config::ViaVtep remote() {
    IpAddr address = config().host.underlay.address;
    address.bytes[address.size() - 1] = static_cast<uint8_t>(dice_.between(2, 4));
    return {address};
  }

  const Tenant* peer_of(const Tenant& t) {
    if (t.peers.empty()) return nullptr;
    const std::string& name = dice_.of(t.peers);
    for (const Tenant& other : config().tenants) {
      if (other.name == name) return &other;
    }
    return nullptr;
  }

  IpPrefix destination(const Tenant& t) {
    static const std::vector<const char*> kWide = {
        "0.0.0.0/0",   "::/0",        "10.0.0.0/8", "10.0.0.64/26", "10.0.0.64/28", "172.16.0.0/12", "172.16.5.0/25",
        "10.0.0.0/24", "fd00:1::/64", "fd00::/16",  "fd00:7::/56",  "8.8.0.0/16",   "10.0.0.72/31",  "128.0.0.0/1"};
    if (dice_.chance(45)) return IpPrefix::host(host_of(dice_.of(t.subnets)));
    return prefix(dice_.of(kWide));
  }

  void routes(Tenant& t) {
    const uint32_t count = dice_.below(8);
    for (uint32_t i = 0; i < count; ++i) {
      const IpPrefix to = destination(t);
      const uint32_t kind = dice_.below(100);
      if (kind < 40) {
        add_route(t, to, remote());
      } else if (kind < 55) {
        add_route(t, to, config::ViaBlackhole{});
      } else if (kind < 65 && !t.ports.empty()) {
        add_route(t, to, config::ViaPort{dice_.of(t.ports).name});
      } else if (kind < 75 && !t.vlans.empty()) {
        add_route(t, to, config::ViaVlan{t.vlans[0].id});
      } else if (const Tenant* peer = peer_of(t); peer != nullptr) {
        if (dice_.chance(25)) {
          add_route(t, to, remote(), peer->vni);
        } else if (!peer->ports.empty()) {
          const Port& p = dice_.of(peer->ports);
          add_route(t, IpPrefix::host(dice_.of(p.addresses)), config::ViaPort{p.name}, peer->vni);
          if (!p.prefixes.empty() && dice_.chance(50)) add_route(t, p.prefixes[0], config::ViaPort{p.name}, peer->vni);
        }
      }
    }
  }

  // Peers' first addresses get routes back, more often than not: else no connection between them would ever stand.
  void nat(Tenant& t) {
    for (const std::string& name : t.peers) {
      for (const Tenant& peer : config().tenants) {
        if (peer.name != name || peer.ports.empty() || !dice_.chance(70)) continue;
        const Port& p = dice_.of(peer.ports);
        add_route(t, IpPrefix::host(p.addresses[0]), config::ViaPort{p.name}, peer.vni);
      }
    }
    if (!config().host.public_net || !dice_.chance(70)) return;
    for (const IpAddr& gateway : config().host.public_net->gateways) {
      for (const config::Subnet& subnet : t.subnets) {
        if (subnet.prefix.family() != gateway.family || !dice_.chance(75)) continue;
        IpPrefix from = subnet.prefix;
        if (dice_.chance(20)) from = IpPrefix::make(from.address, from.length + 2U);
        config::Nat entry{from, {}, std::nullopt, {}};
        if (dice_.chance(60)) {
          entry.address = gateway.is_v4() ? ip("203.0.113.10") : ip("2001:db8:98::10");
          const uint32_t first = next_slice_;
          const uint32_t size = dice_.chance(60) ? 1024 : dice_.between(1, 3000);
          entry.ports = PortRange{static_cast<uint16_t>(first), static_cast<uint16_t>(first + size - 1)};
          next_slice_ = (first + size + 1023) / 1024 * 1024 + (dice_.chance(20) ? 1024 : 0);
        } else {
          entry.address = gateway.is_v4() ? ip("203.0.113.20") : ip("2001:db8:98::20");
          entry.address.bytes[entry.address.size() - 1] = next_whole_++;
        }
        t.nat.push_back(entry);
      }
    }
  }

  void public_routes() {
    for (Tenant& t : config().tenants) {
      for (const config::Nat& entry : std::vector<config::Nat>(t.nat)) {
        const bool v4 = entry.address.is_v4();
        add_route(t, prefix(v4 ? "0.0.0.0/0" : "::/0"), config::ViaPublic{});
        if (dice_.chance(20)) add_route(t, prefix(v4 ? "8.8.8.0/24" : "2600::/12"), config::ViaPublic{});
        if (dice_.chance(20)) add_route(t, prefix(v4 ? "8.8.8.128/25" : "2600:1::/32"), config::ViaBlackhole{});
        if (dice_.chance(15) && v4) add_route(t, prefix("10.0.0.64/28"), config::ViaPublic{});
      }
    }
  }

  config::GroupRule rule(const Tenant& t) {
    static const std::vector<uint8_t> kProtocols = {6, 17, 1, 58};
    static const std::vector<const char*> kNetworks = {"10.0.0.0/24", "10.0.0.0/29", "10.0.0.4/30",  "0.0.0.0/0",
                                                       "8.8.0.0/16",  "fd00:1::/64", "fd00:1::/125", "::/0"};
    Dice& dice = group_dice_;
    config::GroupRule made;
    made.allow = dice.chance(75);
    if (dice.chance(30)) made.priority = static_cast<uint16_t>(dice.between(1, 3));
    if (dice.chance(60)) made.protocol = dice.of(kProtocols);
    if ((made.protocol == 6 || made.protocol == 17) && dice.chance(50)) {
      const auto first = static_cast<uint16_t>(dice.between(1, 40000));
      made.ports = {{first, static_cast<uint16_t>(first + dice.below(25000))}};
    }
    if (dice.chance(50)) {
      made.remote.any = true;
    } else if (dice.chance(40)) {
      made.remote.groups = {dice.of(t.security_groups).name};
    } else {
      const IpPrefix network = prefix(dice.of(kNetworks));
      const bool fits = made.protocol != 1 && made.protocol != 58;
      if (!fits) made.protocol = network.family() == Family::ipv4 ? 1 : 58;
      made.remote.networks = {network};
    }
    return made;
  }

  void groups(Tenant& t) {
    Dice& dice = group_dice_;
    for (uint32_t i = 0; i <= dice.below(3); ++i)
      t.security_groups.push_back({"g" + std::to_string(i), dice.chance(20), {}, {}, {}, {}});
    for (config::SecurityGroup& group : t.security_groups) {
      if (dice.chance(30)) group.members = {IpPrefix::host(host_in(t))};
      for (uint32_t i = dice.below(4); i > 0; --i) group.ingress.push_back(rule(t));
      for (uint32_t i = dice.below(4); i > 0; --i) group.egress.push_back(rule(t));
    }
    for (Port& p : t.ports) {
      if (!dice.chance(60)) continue;
      p.security_groups = {dice.of(t.security_groups).name};
      const std::string& second = dice.of(t.security_groups).name;
      if (second != p.security_groups[0]) p.security_groups.push_back(second);
    }
  }

  IpAddr host_in(const Tenant& t) {
    IpAddr address = group_dice_.of(t.subnets).prefix.address;
    address.bytes[address.size() - 1] = static_cast<uint8_t>(group_dice_.between(1, 12));
    return address;
  }

  void facts() {
    world_.facts = facts_with_all_ports(config());
    Facts& facts = world_.facts;
    for (auto port = facts.ports.begin(); port != facts.ports.end();) {
      port = dice_.chance(20) ? facts.ports.erase(port) : std::next(port);
    }
    if (config().host.public_net && !config().host.public_net->gateway_mac && dice_.chance(60)) {
      facts.public_gateway4 = mac("02:00:00:00:99:04");
      facts.public_gateway6 = mac("02:00:00:00:99:06");
    }
    if (dice_.chance(30)) facts.host_vlans.insert(Vid(7));
    for (const Tenant& t : config().tenants) {
      for (const config::Route& route : t.routes) {
        const auto* via = std::get_if<config::ViaVtep>(&route.via);
        if (via == nullptr || dice_.chance(50)) continue;
        TunnelWay& way = facts.ways[via->address];
        way.generation = static_cast<uint8_t>(dice_.below(kTunnelGenerations));
        if (dice_.chance(40)) way.keep_out = "leaves by eth1";
      }
    }
    for (const Tenant& t : config().tenants) {
      const uint32_t first = wishes_.zones_beyond_the_nic && dice_.chance(50) ? 300 : 1;
      if (!wishes_.zones_beyond_the_nic && !dice_.chance(30)) continue;
      const Zone zone(static_cast<uint16_t>(first + dice_.below(50)));
      const bool taken =
          std::any_of(facts.zones.begin(), facts.zones.end(), [&](const auto& e) { return e.second == zone; });
      if (!taken) facts.zones[t.vni] = zone;
    }
  }

  Dice dice_;
  Wishes wishes_;
  Dice group_dice_;  // their own, so that worlds are what they are without groups
  Dice limit_dice_;
  Dice guest_dice_;
  World world_;
  uint32_t next_slice_ = 1024;
  uint8_t next_whole_ = 20;
};

}  // namespace

uint64_t Dice::next() {
  state_ += 0x9e3779b97f4a7c15ULL;
  uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

World random_world(uint64_t seed, const Wishes& wishes) { return Builder(seed, wishes).build(); }

Facts plain_facts(const Config& config) {
  Facts facts;
  facts.uplink = kUplink;
  facts.vxlan = kVxlan;
  facts.uplink_mac = mac("02:00:00:00:88:01");
  if (config.host.public_net && config.host.public_net->gateway_mac) {
    facts.public_gateway4 = config.host.public_net->gateway_mac;
    facts.public_gateway6 = config.host.public_net->gateway_mac;
  }
  facts.programs.answer_neighbour = {"sepal_neigh", {1, 2, 3, 4, 5, 6, 7, 8}};
  facts.programs.choose_slice = {"sepal_slice", {8, 7, 6, 5, 4, 3, 2, 1}};
  facts.programs.speak_icmp = {"sepal_icmp", {1, 3, 5, 7, 2, 4, 6, 8}};
  facts.programs.hear_question = {"sepal_question", {2, 7, 1, 8, 2, 8, 1, 8}};
  facts.programs.judge_policy = {"sepal_policy", {3, 1, 4, 1, 5, 9, 2, 6}};
  facts.programs.hold_room = {"sepal_room", {4, 6, 6, 9, 2, 0, 1, 6}};
  facts.instance = 0x1234;
  return facts;
}

Facts facts_with_all_ports(const Config& config) {
  Facts facts = plain_facts(config);
  uint32_t device = 10;
  for (const Tenant& t : config.tenants) {
    for (const Port& p : t.ports) facts.ports[{t.name, p.name}] = IfIndex(device++);
  }
  return facts;
}

Config example_config() {
  Config config;
  config.host.underlay.device = "uplink";
  config.host.underlay.address = ip("192.0.2.1");
  config.host.underlay.mtu = 9000;
  return config;
}

Tenant example_tenant(const std::string& name, uint32_t vni) {
  Tenant t;
  t.name = name;
  t.vni = Vni(vni);
  t.subnets = {{prefix("10.0.0.0/24"), std::nullopt, {}}, {prefix("fd00:1::/64"), std::nullopt, {}}};
  return t;
}

Port example_port(const std::string& name, uint8_t number) {
  Port p;
  p.name = name;
  p.device = name;
  p.mac = mac("02:00:00:00:00:00");
  p.mac.bytes[5] = number;
  IpAddr v6 = ip("fd00:1::");
  v6.bytes[15] = number;
  p.addresses = {IpAddr::v4(10, 0, 0, number), v6};
  return p;
}

IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }
IpAddr ip(const char* text) { return IpAddr::parse(text).value(); }
MacAddr mac(const char* text) { return MacAddr::parse(text).value(); }

}  // namespace sepal::tc::model
