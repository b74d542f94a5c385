// Gathers a World: links, clsacts, one dump of filters per clsact, neighbours of the public gateways.
#include "agent/world.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <unordered_map>

#include "agent/filters.hpp"
#include "base/limits.hpp"
#include "config/tunnel.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {
namespace {

using netlink::Link;

// Zones in facts that belong to no tenant of ours (another instance's) stand under numbers no VNI can have.
Vni nobody(Zone zone) { return Vni(limits::kVniMax + 1 + zone.value()); }

// A card that was reloaded has a new uplink; a new kernel may take what the old one refused.
std::string switch_name(const Link& uplink) {
  utsname kernel{};
  (void)::uname(&kernel);
  std::string name;
  for (const uint8_t byte : uplink.phys_switch_id) {
    constexpr char kDigits[] = "0123456789abcdef";
    name += kDigits[byte >> 4U];
    name += kDigits[byte & 0xfU];
  }
  return name + "/" + std::to_string(uplink.index.value()) + "/" + kernel.release;
}

class Look {
 public:
  Look(Kernel& kernel, const LookInput& input) : kernel_(kernel), in_(input) {
    world_.facts.instance = tc::instance_hash(input.instance);
  }

  Result<World> run() {
    if (auto done = read_links(); !done) return Unexpected(done.error());
    if (in_.filters) {
      if (auto done = read_qdiscs(); !done) return Unexpected(done.error());
      if (auto done = read_filters(); !done) return Unexpected(done.error());
      read_zones();
    }
    if (in_.config != nullptr) {
      if (auto done = gather_facts(); !done) return Unexpected(done.error());
    }
    return std::move(world_);
  }

 private:
  Result<void> gather_facts() {
    if (auto done = find_underlay(); !done) return done;
    find_ports();
    if (auto done = find_gateways(); !done) return done;
    if (auto done = find_tunnels(); !done) return done;
    if (auto programs = kernel_.slow_path.programs()) {
      world_.facts.programs = *programs;
    } else {
      // The rules that need them will be refused, all others not.
      world_.has_slow_path = false;
      world_.problems.push_back(programs.error().message());
    }
    return {};
  }

  Result<void> read_links() {
    if (in_.links == nullptr) {
      if (auto listed = list_links(); !listed) return listed;
    }
    for (const Link& link : links()) {
      world_.devices.emplace_hint(world_.devices.end(), link.index, link.name);
      if (link.vxlan && link.alias == "sepal:" + in_.instance) world_.own_vxlans.push_back({link.index, link.name});
    }
    return {};
  }

  [[nodiscard]] const std::vector<Link>& links() const { return in_.links != nullptr ? *in_.links : world_.links; }

  Result<void> list_links() {
    auto links = netlink::list_links(kernel_.route);
    for (int again = 0; !links && links.error().code == Errc::resync && again < 3; ++again)
      links = netlink::list_links(kernel_.route);
    if (!links) return Unexpected(while_doing(links.error(), "list devices"));
    world_.links = std::move(*links);
    return {};
  }

  Result<void> read_qdiscs() {
    auto clsact = netlink::list_clsact(kernel_.route);
    for (int again = 0; !clsact && clsact.error().code == Errc::resync && again < 3; ++again)
      clsact = netlink::list_clsact(kernel_.route);
    if (!clsact) return Unexpected(while_doing(clsact.error(), "list qdiscs"));
    world_.clsact = std::move(*clsact);
    return {};
  }

  // Every device with a clsact is read, whether the configuration names it or not: rules of ours may stand on devices
  // that were ours yesterday.
  Result<void> read_filters() {
    for (IfIndex device : world_.clsact) {
      auto read = read_device(device, Detail::terse);
      // A kind that knows no terse dump breaks it for the whole device (cls_bpf): then it is read in full.
      if (!read && read.error().code != Errc::resync && read.error().code != Errc::not_found)
        read = read_device(device, Detail::full);
      if (!read && read.error().code == Errc::not_found) continue;  // the device left just now
      if (!read) return Unexpected(while_doing(read.error(), "read filters of " + world_.device_name(device)));
    }
    std::sort(world_.observed.begin(), world_.observed.end());
    std::sort(world_.foreign.begin(), world_.foreign.end());
    return {};
  }

  // A dump that fails leaves nothing behind.
  Result<void> read_device(IfIndex device, Detail detail) {
    const size_t observed = world_.observed.size();
    const size_t foreign = world_.foreign.size();
    const auto forget = [&] {
      world_.observed.resize(observed);
      world_.foreign.resize(foreign);
    };
    auto read = dump_places(kernel_.route, device, detail, forget, [this](const tc::TerseFilter& f) { take(f); });
    if (!read) forget();
    return read;
  }

  void take(const tc::TerseFilter& filter) {
    if (filter.cookie && filter.cookie->instance == world_.facts.instance)
      world_.observed.push_back({filter.id, *filter.cookie, filter.skip_hw, filter.in_hw, filter.packets});
    else
      world_.foreign.push_back({filter.id, std::string(filter.kind), filter.cookie});
  }

  // Zones come back from the cookies of per-tenant chains; group 2 is asked first, for it stands in every block of a
  // tenant and its zone can be no one else's. A zone that two tenants claim is believed to be the first one's: the
  // other gets a new one, because to share a zone is to mix tenants.
  void read_zones() {
    std::map<Zone, Vni> owners;
    auto claim = [&](Vni vni, Zone zone) {
      if (vni == Vni() || zone == Zone() || world_.facts.zones.contains(vni)) return;
      if (owners.emplace(zone, vni).second) world_.facts.zones.emplace(vni, zone);
    };
    for (const bool nat_only : {true, false}) {
      for (const tc::Observed& rule : world_.observed) {
        const tc::ChainId chain = tc::parse_chain(rule.id.chain);
        if (chain.group < tc::Group::nat || (nat_only && chain.group != tc::Group::nat)) continue;
        claim(chain.vni, rule.cookie.zone);
      }
    }
    if (in_.saved != nullptr)
      for (const auto& [vni, tenant] : in_.saved->tenants) claim(vni, tenant.zone);
    for (const ForeignFilter& filter : world_.foreign)
      if (filter.cookie) claim(nobody(filter.cookie->zone), filter.cookie->zone);
  }

  const Link* find_link(const std::string& name) {
    if (by_name_.empty())
      for (const Link& link : links()) by_name_.emplace(link.name, &link);
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  [[nodiscard]] const Link* find_link(IfIndex index) const {
    const auto found = std::lower_bound(links().begin(), links().end(), index,
                                        [](const Link& link, IfIndex wanted) { return link.index < wanted; });
    return found == links().end() || found->index != index ? nullptr : &*found;
  }

  Result<void> find_underlay() {
    const config::Host& host = in_.config->host;
    const Link* uplink = find_link(host.underlay.device);
    if (uplink == nullptr)
      return fail(Errc::not_found, "underlay device '" + host.underlay.device +
                                       "' is not there: create it, or name another in underlay.device");
    world_.facts.uplink = uplink->index;
    world_.facts.uplink_mac = uplink->mac;
    for (const Link& link : links())
      if (link.kind == "vlan" && link.lower == uplink->index && link.vlan) world_.facts.host_vlans.insert(*link.vlan);
    world_.vxlan = netlink::check_vxlan(links(), vxlan_wanted(host, in_.instance));
    const bool there =
        world_.vxlan.state == netlink::VxlanState::ours || world_.vxlan.state == netlink::VxlanState::unfinished;
    world_.facts.vxlan = there ? world_.vxlan.index : kVxlanToCome;
    if (!there) world_.devices.emplace(kVxlanToCome, host.vxlan.device);
    if (!uplink->phys_switch_id.empty()) {
      world_.card = switch_name(*uplink);
      switch_id_ = uplink->phys_switch_id;
      if (offer(*uplink)) world_.offload.insert(world_.facts.vxlan);
    }
    return {};
  }

  // Whether the NIC of the uplink may hold rules of this port of its eSwitch.
  bool offer(const Link& port) {
    if (switch_id_.empty() || port.phys_switch_id != switch_id_ || !kernel_.offload_of(port.index).on) return false;
    world_.offload.insert(port.index);
    return true;
  }

  void find_ports() {
    const config::Nic& nic = in_.config->host.nic;
    std::map<uint16_t, IfIndex> representors;
    if (!nic.manual_representors) {
      // Without them ports wait, as they do for any device that is not there.
      if (auto found = netlink::find_representors(links(), nic.pci))
        representors = std::move(*found);
      else
        world_.problems.push_back(while_doing(found.error(), "nic " + nic.pci).message());
    }
    for (const config::Tenant& tenant : in_.config->tenants) {
      for (const config::Port& port : tenant.ports) {
        const Link* link = nullptr;
        if (port.vf) {
          const auto found = representors.find(*port.vf);
          if (found != representors.end()) link = find_link(found->second);
        } else {
          link = find_link(port.device);
        }
        if (link == nullptr) continue;
        world_.facts.ports.emplace(tc::PortKey{tenant.name, port.name}, link->index);
        offer(*link);
      }
    }
  }

  // The configured MAC, else the neighbour table's, else the one last learnt: an entry that timed out moves no route.
  Result<void> find_gateways() {
    if (!in_.config->host.public_net) return {};
    const config::Public& net = *in_.config->host.public_net;
    if (net.gateway_mac) {
      world_.facts.public_gateway4 = net.gateway_mac;
      world_.facts.public_gateway6 = net.gateway_mac;
      return {};
    }
    IfIndex device = world_.facts.uplink;
    if (net.vlan) {
      const auto vlan = std::find_if(links().begin(), links().end(), [&](const Link& link) {
        return link.kind == "vlan" && link.lower == world_.facts.uplink && link.vlan == net.vlan;
      });
      device = vlan == links().end() ? IfIndex() : vlan->index;
    }
    for (const IpAddr& gateway : net.gateways) {
      auto& mac = gateway.is_v4() ? world_.facts.public_gateway4 : world_.facts.public_gateway6;
      if (auto found = ask_neighbour(device, gateway, mac); !found) return found;
      if (!mac && in_.saved != nullptr) {
        const auto saved = in_.saved->gateways.find(gateway);
        if (saved != in_.saved->gateways.end()) mac = saved->second;
      }
      if (!mac) world_.gateway_unknown = true;
    }
    return {};
  }

  Result<void> ask_neighbour(IfIndex device, const IpAddr& gateway, std::optional<MacAddr>& mac) {
    if (device == IfIndex()) return {};
    auto neighbour = netlink::find_neighbour(kernel_.route, device, gateway);
    if (!neighbour) return Unexpected(while_doing(neighbour.error(), "ask for neighbour " + gateway.to_string()));
    if (*neighbour && (*neighbour)->usable) {
      mac = (*neighbour)->mac;
      return {};
    }
    // A refusal (the device is down, no address on it) only means that it stays unknown; the notes say so.
    if (in_.resolve_gateways) (void)netlink::resolve_neighbour(kernel_.route, device, gateway);
    return {};
  }

  Result<void> find_tunnels() {
    auto ways = find_ways(kernel_.route, *in_.config, links(), world_.problems);
    if (!ways) return Unexpected(while_doing(ways.error(), "look up the ways under the tunnel"));
    static const std::set<IpAddr> kNone;
    const SavedWays before = in_.saved == nullptr ? SavedWays{} : in_.saved->ways;
    world_.ways = std::move(*ways);
    world_.saved_ways = next_ways(before, world_.ways, in_.distrusted == nullptr ? kNone : *in_.distrusted);
    world_.facts.ways = tunnel_ways(world_.saved_ways, world_.ways);
    return {};
  }

  Kernel& kernel_;
  const LookInput& in_;
  std::unordered_map<std::string_view, const Link*> by_name_;
  std::vector<uint8_t> switch_id_;  // of the NIC that the uplink is a port of
  World world_;
};

}  // namespace

std::string World::device_name(IfIndex index) const {
  const auto found = devices.find(index);
  return found == devices.end() ? "device " + std::to_string(index.value()) : found->second;
}

netlink::VxlanWanted vxlan_wanted(const config::Host& host, const std::string& instance) {
  return {host.vxlan.device, instance, host.vxlan.port, host.underlay.mtu - config::tunnel_overhead(host.underlay)};
}

Result<World> look(Kernel& kernel, const LookInput& input) { return Look(kernel, input).run(); }

}  // namespace sepal::agent
