// See drops.hpp.
#include "agent/drops.hpp"

#include <map>
#include <tuple>

namespace sepal::agent {

std::string place_of(IfIndex device, const Shown& shown) {
  if (const tc::PortKey* port = shown.names.port_on(device)) return "port " + port->port;
  const auto block = shown.blocks.find(device);
  if (block == shown.blocks.end()) return shown.names.device(device);
  return block->second == tc::BlockKind::vxlan ? "tunnel" : "uplink";
}

tc::DropReason reason_of(const tc::ActionKind& action) {
  if (std::holds_alternative<tc::Police>(action)) return tc::DropReason::rate_limited;
  if (std::holds_alternative<tc::Ct>(action)) return tc::DropReason::conntrack;
  const auto* program = std::get_if<tc::Bpf>(&action);
  if (program == nullptr) return tc::DropReason::none;
  if (judges(action)) return tc::DropReason::denied;
  if (program->name == "sepal_room") return tc::DropReason::too_many_connections;
  return program->name == "sepal_slice" ? tc::DropReason::outside_slice : tc::DropReason::not_answered;
}

std::vector<Drop> drops_of(const Shown& shown) {
  std::map<std::tuple<Vni, std::string, tc::DropReason>, std::pair<uint64_t, uint64_t>> sums;
  for (const ShownRule& rule : shown.rules) {
    const std::string where = place_of(rule.filter.rule.id.device, shown);
    auto add = [&](tc::DropReason reason, uint64_t packets, uint64_t bytes) {
      if (packets == 0 || reason == tc::DropReason::none) return;
      auto& sum = sums[{rule.vni, where, reason}];
      sum.first += packets;
      sum.second += bytes;
    };
    if (rule.origin && rule.origin->drop != tc::DropReason::none) {
      // Whatever its actions do: nothing that it takes goes on.
      add(rule.origin->drop, rule.packets(), rule.bytes());
      continue;
    }
    const auto& actions = rule.filter.rule.spec.actions;
    for (size_t i = 0; i < actions.size(); ++i) add(reason_of(actions[i].kind), rule.dropped_by(i), 0);
  }
  std::vector<Drop> drops;
  drops.reserve(sums.size());
  for (const auto& [key, sum] : sums)
    drops.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), sum.first, sum.second});
  return drops;
}

}  // namespace sepal::agent
