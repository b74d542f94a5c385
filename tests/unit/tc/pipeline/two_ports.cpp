// See two_ports.hpp.
#include "two_ports.hpp"

#include <algorithm>

#include "tc/pipeline/plan.hpp"
#include "world.hpp"

namespace sepal::tc {

using config::Config;
using config::Tenant;
using model::example_config;
using model::example_port;
using model::example_tenant;
using model::ip;
using model::mac;
using model::prefix;

Config blue_with_two_ports() {
  Config config = example_config();
  Tenant& t = config.tenants.emplace_back(example_tenant("blue", 100));
  t.ports = {example_port("web", 1), example_port("db", 2)};
  return config;
}

void add_public(Config& config, std::optional<Vid> vlan) {
  config.host.public_net = config::Public{vlan, {ip("198.51.100.1")}, mac("02:00:00:00:99:01"), true, {}};
}

std::vector<std::string> chain_text(const RuleSet& rules, IfIndex device, uint32_t chain) {
  std::vector<std::string> lines;
  for (const CompiledRule& rule : rules.rules) {
    if (rule.rule.id.device != device || rule.rule.id.chain != chain) continue;
    lines.push_back(std::to_string(rule.rule.id.prio) + " " + to_text(rule.rule.spec));
  }
  std::sort(lines.begin(), lines.end(), [](const std::string& a, const std::string& b) {
    const int x = std::stoi(a);
    const int y = std::stoi(b);
    return x != y ? x < y : a < b;
  });
  return lines;
}

const CompiledRule* routed_to(const RuleSet& rules, IfIndex device, uint32_t chain, const char* to) {
  for (const CompiledRule& rule : rules.rules) {
    if (rule.rule.id.device != device || rule.rule.id.chain != chain) continue;
    const IpPrefix wanted = prefix(to);
    if (rule.rule.spec.match.find(Key::ct_mark) != nullptr) continue;
    if (Match().eth_type(eth_of(wanted.family())).ip(Key::dst_ip4, wanted) == rule.rule.spec.match) return &rule;
  }
  return nullptr;
}

model::Packet guest_packet(uint8_t from, const char* to) {
  model::Packet packet;
  packet.src_mac = example_port("", from).mac;
  packet.dst_mac = example_config().host.gateway_mac;
  packet.src = IpAddr::v4(10, 0, 0, from);
  packet.dst = ip(to);
  packet.src_port = 4000;
  packet.dst_port = 53;
  return packet;
}

}  // namespace sepal::tc
