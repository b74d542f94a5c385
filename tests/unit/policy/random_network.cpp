// See random_network.hpp. Few values, close to each other: rules must meet.
#include "random_network.hpp"

#include <algorithm>

#include "policy/parts.hpp"

namespace sepal::policy::model {
namespace {

using config::GroupRule;

IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }

const std::vector<IpPrefix>& networks() {
  static const std::vector<IpPrefix> kNetworks = {
      prefix("0.0.0.0/0"),    prefix("10.0.0.0/8"),    prefix("10.0.0.0/24"), prefix("10.0.0.0/28"),
      prefix("10.0.0.4/30"),  prefix("10.0.0.5/32"),   prefix("10.0.0.6/32"), prefix("172.16.0.0/12"),
      prefix("128.0.0.0/1"),  prefix("::/0"),          prefix("fd00::/16"),   prefix("fd00:1::/64"),
      prefix("fd00:1::/124"), prefix("fd00:1::5/128"), prefix("2000::/3"),    prefix("fd00:1::4/126")};
  return kNetworks;
}

IpAddr address(Chance& chance) {
  const uint32_t kind = chance.below(10);
  if (kind < 5) return IpAddr::v4(10, 0, 0, static_cast<uint8_t>(chance.below(20)));
  if (kind == 5)
    return IpAddr::v4(static_cast<uint8_t>(chance.below(224)), 16, 0, static_cast<uint8_t>(chance.below(4)));
  IpAddr six = IpAddr::parse(kind < 9 ? "fd00:1::" : "2001:db8::").value();
  six.bytes[15] = static_cast<uint8_t>(chance.below(20));
  return six;
}

constexpr uint16_t kPorts[] = {1, 22, 53, 79, 80, 81, 443, 1023, 1024, 32767, 32768, 65534, 65535};

uint16_t port(Chance& chance) {
  return chance.percent(80) ? chance.of(kPorts) : static_cast<uint16_t>(1 + chance.below(65535));
}

PortRange range(Chance& chance) {
  const uint16_t a = port(chance);
  const uint16_t b = chance.percent(50) ? a : port(chance);
  return {std::min(a, b), std::max(a, b)};
}

constexpr uint8_t kProtocols[] = {6, 17, 1, 58, 47, 132};

GroupRule rule(Chance& chance, const std::vector<std::string>& groups, uint32_t line) {
  GroupRule made;
  made.allow = chance.percent(65);
  made.priority = static_cast<uint16_t>(chance.percent(50) ? 1000 : 10 * (1 + chance.below(3)));
  made.where.line = line;
  if (chance.percent(85)) made.protocol = chance.of(kProtocols);
  if (made.protocol == 6 || made.protocol == 17) {
    for (uint32_t i = chance.below(4); i > 0; --i) made.ports.push_back(range(chance));
  } else if ((made.protocol == 1 || made.protocol == 58) && chance.percent(70)) {
    made.icmp_type = static_cast<uint8_t>(chance.percent(50) ? 8 : 128 + chance.below(2));
    if (chance.percent(40)) made.icmp_code = static_cast<uint8_t>(chance.below(2));
  }
  do {
    if (chance.percent(25)) made.remote.any = true;
    for (uint32_t i = chance.below(3); i > 0; --i) made.remote.networks.push_back(chance.of(networks()));
    if (chance.percent(30)) made.remote.groups.push_back(chance.of(groups));
  } while (made.remote == config::RuleRemote{});
  return made;
}

}  // namespace

Network random_network(Chance& chance) {
  Network network;
  network.vni = Vni(1 + chance.below(1000));
  network.tenant = "blue";
  std::vector<std::string> names;
  for (uint32_t i = 0; i <= chance.below(5); ++i) names.push_back("g" + std::to_string(i));
  uint32_t line = 1;
  for (const std::string& name : names) {
    config::SecurityGroup group;
    group.name = name;
    group.audit = chance.percent(25);
    for (uint32_t i = chance.below(3); i > 0; --i)
      group.members.push_back(chance.percent(50) ? chance.of(networks()) : IpPrefix::host(address(chance)));
    for (uint32_t i = chance.below(8); i > 0; --i) group.ingress.push_back(rule(chance, names, line++));
    for (uint32_t i = chance.below(8); i > 0; --i) group.egress.push_back(rule(chance, names, line++));
    network.groups.push_back(std::move(group));
  }
  std::vector<IpPrefix> taken;
  auto take = [&taken](const IpPrefix& wanted) {
    const bool fresh = std::find(taken.begin(), taken.end(), wanted) == taken.end();
    if (fresh) taken.push_back(wanted);
    return fresh;
  };
  for (uint32_t i = 0; i < 6; ++i) {
    Port port;
    port.name = "p" + std::to_string(i);
    for (uint32_t n = 1 + chance.below(3); n > 0; --n) {
      const IpPrefix source = chance.percent(80) ? IpPrefix::host(address(chance)) : chance.of(networks());
      if (take(source)) port.sources.push_back(source);
    }
    if (chance.percent(80))
      for (uint32_t n = 1 + chance.below(3); n > 0; --n)
        if (const std::string& name = chance.of(names);
            std::find(port.groups.begin(), port.groups.end(), name) == port.groups.end())
          port.groups.push_back(name);
    network.ports.push_back(std::move(port));
  }
  for (uint32_t i = chance.below(4); i > 0; --i) {
    const IpPrefix to = chance.percent(50) ? IpPrefix::host(address(chance)) : chance.of(networks());
    if (take(to)) network.routes.push_back({to, chance.percent(50) ? "p" + std::to_string(chance.below(6)) : ""});
  }
  return network;
}

Flow random_flow(Chance& chance, const Network& network) {
  Flow flow;
  auto end = [&] {
    if (chance.percent(40)) return address(chance);
    const Port& port = chance.of(network.ports);
    return port.sources.empty() ? address(chance) : chance.of(port.sources).address;
  };
  flow.source = end();
  do flow.destination = end();
  while (flow.destination.family != flow.source.family);
  flow.protocol = chance.of(kProtocols);
  if (flow.protocol == 6 || flow.protocol == 17) {
    flow.detail = port(chance);
  } else if (flow.protocol == (flow.source.is_v4() ? 1 : 58)) {
    flow.detail = static_cast<uint16_t>((chance.percent(50) ? 8 : 128 + chance.below(2)) << 8U | chance.below(2));
  }
  flow.from_peer = chance.percent(10);
  return flow;
}

std::string to_string(const Network& network) {
  std::string text;
  for (const config::SecurityGroup& group : network.groups) {
    text += "group " + group.name + (group.audit ? " (audit)" : "") + "\n";
    for (const IpPrefix& member : group.members) text += "  member " + member.to_string() + "\n";
    for (const GroupRule& one : group.ingress)
      text += "  line " + std::to_string(one.where.line) + ": ingress " + to_text(one, Direction::ingress) + "\n";
    for (const GroupRule& one : group.egress)
      text += "  line " + std::to_string(one.where.line) + ": egress " + to_text(one, Direction::egress) + "\n";
  }
  for (const Port& port : network.ports) {
    text += "port " + port.name + ":";
    for (const IpPrefix& source : port.sources) text += " " + source.to_string();
    for (const std::string& group : port.groups) text += " " + group;
    text += "\n";
  }
  for (const Delivery& route : network.routes)
    text += "route " + route.to.to_string() + " via " + (route.port.empty() ? "elsewhere" : route.port) + "\n";
  return text;
}

std::string to_string(const Flow& flow) {
  return flow.source.to_string() + " > " + flow.destination.to_string() + " protocol " + std::to_string(flow.protocol) +
         " detail " + std::to_string(flow.detail) + (flow.from_peer ? " from a peer" : "");
}

}  // namespace sepal::policy::model
