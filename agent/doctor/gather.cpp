#include "agent/doctor/gather.hpp"

#include <sys/utsname.h>

#include <algorithm>

#include "agent/doctor/files.hpp"
#include "agent/doctor/parse.hpp"
#include "agent/kernel_parts.hpp"
#include "agent/nic_card.hpp"
#include "agent/nic_run.hpp"
#include "agent/world.hpp"
#include "config/read.hpp"
#include "netlink/conntrack.hpp"

namespace sepal::agent::doctor {
namespace {

namespace fs = std::filesystem;

class Gathering {
 public:
  Gathering(Kernel& kernel, const GatherInput& input) : kernel_(kernel), in_(input) {}

  Facts run() {
    utsname system{};
    if (::uname(&system) == 0) facts_.kernel = system.release;
    facts_.options = read_kernel_options(in_.places, facts_.kernel);
    read_config();
    read_world();
    read_card();
    read_conntrack();
    read_port();
    read_firewall();
    read_listeners();
    read_managers();
    return std::move(facts_);
  }

 private:
  void problem(const Error& error) { facts_.problems.push_back(error.message()); }

  void read_config() {
    facts_.directory = in_.directory;
    auto read = config::read_directory(in_.directory);
    if (read)
      facts_.config = std::move(*read);
    else
      facts_.faults = read.error().size();
  }

  void read_world() {
    auto links = netlink::list_links(kernel_.route);
    if (!links) return problem(links.error());
    facts_.links = std::move(*links);
    if (!facts_.config) return;
    facts_.vxlan = netlink::check_vxlan(facts_.links, vxlan_wanted(facts_.config->host, in_.paths.instance));
    const SavedState saved = load_state(in_.paths.state);
    LookInput look_input{&*facts_.config, in_.paths.instance, &saved};
    look_input.filters = false;
    auto world = look(kernel_, look_input);
    if (!world) return problem(world.error());
    facts_.ports = world->facts.ports;
    facts_.problems = std::move(world->problems);
    auto ways = find_ways(kernel_.route, *facts_.config, facts_.links, facts_.problems);
    if (!ways) return problem(ways.error());
    facts_.ways = std::move(*ways);
    for (const UnderlayWay& way : facts_.ways) {
      auto status = find_status(kernel_.route, way);
      if (status)
        facts_.way_status.emplace(way.vtep, *status);
      else
        problem(status.error());
    }
  }

  void read_card() {
    if (!facts_.wants_nic()) return;
    auto card = open_nic(facts_.config->host.nic.pci, in_.places.sys);
    auto state = look_at_rest(*card, std::chrono::milliseconds(0));
    if (state)
      facts_.card = std::move(*state);
    else
      facts_.card_error = state.error().message();
  }

  void read_conntrack() {
    const fs::path directory = in_.places.proc / "sys/net/netfilter";
    std::error_code error;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (!name.starts_with("nf_conntrack_") && !name.starts_with("nf_flowtable_")) continue;
      if (const auto text = read_text(entry->path())) facts_.sysctls.emplace(name, trimmed(*text));
    }
    if (facts_.sysctls.empty()) return;
    uint64_t all = 0;
    uint64_t tunnels = 0;
    auto listed = netlink::for_each_connection(kernel_.netfilter, [&](const netlink::Connection& connection) {
      ++all;
      const bool outer = connection.zone == Zone() && connection.original.protocol == tc::kProtoUdp &&
                         connection.original.destination_port == facts_.tunnel_port();
      if (outer) ++tunnels;
    });
    if (!listed) return problem(listed.error());
    facts_.connections = all;
    facts_.tracked_tunnels = tunnels;
  }

  void read_port() {
    std::vector<uint64_t> inodes;
    for (const char* table : {"net/udp", "net/udp6"}) {
      const auto text = read_text(in_.places.proc / "self" / table);
      for (const SocketEntry& entry : parse_udp(text.value_or(""), facts_.tunnel_port()))
        if (entry.inode != 0) inodes.push_back(entry.inode);  // the kernel's own: a tunnel device's
    }
    facts_.port_owners = owners_of(in_.places, inodes);
  }

  void read_firewall() {
    const auto legacy = read_text(in_.places.proc / "self/net/ip_tables_names");
    facts_.legacy_firewall = legacy && legacy->find("filter") != std::string::npos;
    auto chains = netlink::list_firewall(kernel_.netfilter, facts_.tunnel_port());
    if (chains)
      facts_.firewall = std::move(*chains);
    else
      problem(chains.error());
  }

  void read_listeners() {
    const auto text = read_text(in_.places.proc / "self/net/netlink");
    std::vector<uint64_t> inodes;
    for (const SocketEntry& entry : parse_tc_listeners(text.value_or(""))) inodes.push_back(entry.inode);
    facts_.tc_listeners = owners_of(in_.places, inodes);
  }

  // Ports' devices and the tunnel's: the uplink needs somebody who gives it its addresses.
  void read_managers() {
    facts_.managers = running_managers(in_.places);
    if (!facts_.config) return;
    std::vector<const netlink::Link*> devices;
    for (const auto& [key, index] : facts_.ports)
      if (const netlink::Link* link = facts_.link(index)) devices.push_back(link);
    if (facts_.vxlan.state != netlink::VxlanState::missing)
      if (const netlink::Link* link = facts_.link(facts_.vxlan.index)) devices.push_back(link);
    for (const netlink::Link* link : devices) {
      const std::string index = std::to_string(link->index.value());
      const auto network_manager = read_text(in_.places.run / "NetworkManager/devices" / index);
      if (network_manager && parse_ini(*network_manager, "managed") == "true")
        facts_.managed.push_back({link->name, "NetworkManager"});
      const auto networkd = read_text(in_.places.run / "systemd/netif/links" / index);
      const std::string setup = networkd ? parse_ini(*networkd, "ADMIN_STATE") : "";
      if (!setup.empty() && setup != "unmanaged") facts_.managed.push_back({link->name, "systemd-networkd"});
      const netlink::Link* master = link->master == IfIndex() ? nullptr : facts_.link(link->master);
      if (master != nullptr && master->kind == "openvswitch") facts_.managed.push_back({link->name, "Open vSwitch"});
    }
  }

  Kernel& kernel_;
  const GatherInput& in_;
  Facts facts_;
};

}  // namespace

Facts gather(Kernel& kernel, const GatherInput& input) { return Gathering(kernel, input).run(); }

KernelOptions read_kernel_options(const Places& places, const std::string& release) {
  KernelOptions options;
  const fs::path packed = places.proc / "config.gz";
  if (const auto text = read_gzip(packed)) {
    options.source = packed.string();
    options.settings = parse_kernel_config(*text);
    return options;
  }
  for (const fs::path& path : {places.boot / ("config-" + release), places.modules / release / "config"}) {
    const auto text = read_text(path);
    if (!text) continue;
    options.source = path.string();
    options.settings = parse_kernel_config(*text);
    return options;
  }
  const KernelParts parts = running_kernel_parts(places.proc / "kallsyms");
  if (parts.skb_ext) options.evidence.emplace("NET_TC_SKB_EXT", *parts.skb_ext);
  if (parts.mlx5_tc) options.evidence.emplace("MLX5_CLS_ACT", *parts.mlx5_tc);
  if (parts.mlx5_ct) options.evidence.emplace("MLX5_TC_CT", *parts.mlx5_ct);
  return options;
}

std::vector<Process> owners_of(const Places& places, const std::vector<uint64_t>& inodes) {
  std::vector<Process> owners;
  if (inodes.empty()) return owners;
  std::map<std::string, bool> wanted;  // "socket:[123]" → found
  for (const uint64_t inode : inodes) wanted.emplace("socket:[" + std::to_string(inode) + "]", false);
  std::error_code error;
  for (fs::directory_iterator entry(places.proc, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    bool mine = false;
    std::error_code gone;
    for (fs::directory_iterator fd(entry->path() / "fd", gone), last; !gone && fd != last; fd.increment(gone)) {
      std::error_code unreadable;
      const auto found = wanted.find(fs::read_symlink(fd->path(), unreadable).string());
      if (unreadable || found == wanted.end()) continue;
      found->second = true;
      mine = true;
    }
    if (mine)
      owners.push_back(
          {static_cast<uint32_t>(std::stoul(name)), trimmed(read_text(entry->path() / "comm").value_or(""))});
  }
  std::sort(owners.begin(), owners.end(), [](const Process& a, const Process& b) { return a.pid < b.pid; });
  if (std::any_of(wanted.begin(), wanted.end(), [](const auto& w) { return !w.second; })) owners.push_back({});
  return owners;
}

std::vector<std::string> running_managers(const Places& places) {
  // As /proc/PID/comm has them, which keeps fifteen letters.
  static const std::map<std::string, std::string> kManagers = {
      {"NetworkManager", "NetworkManager"}, {"systemd-network", "systemd-networkd"}, {"ovs-vswitchd", "ovs-vswitchd"}};
  std::set<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(places.proc, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto manager = kManagers.find(trimmed(read_text(entry->path() / "comm").value_or("")));
    if (manager != kManagers.end()) found.insert(manager->second);
  }
  return {found.begin(), found.end()};
}

}  // namespace sepal::agent::doctor
