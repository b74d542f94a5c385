// See drops.hpp.
#include "agent/drops.hpp"

#include <algorithm>
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
  // One that looks at sizes drops nothing by itself.
  if (const auto* police = std::get_if<tc::Police>(&action))
    return police->mtu == 0 ? tc::DropReason::rate_limited : tc::DropReason::none;
  if (std::holds_alternative<tc::Ct>(action)) return tc::DropReason::conntrack;
  if (const auto* mirred = std::get_if<tc::Mirred>(&action); mirred != nullptr && !mirred->mirror)
    return tc::DropReason::not_sent;
  const auto* program = std::get_if<tc::Bpf>(&action);
  if (program == nullptr) return tc::DropReason::none;
  if (judges(action)) return tc::DropReason::denied;
  if (program->name == "sepal_room") return tc::DropReason::too_many_connections;
  return program->name == "sepal_slice" ? tc::DropReason::outside_slice : tc::DropReason::not_answered;
}

bool guards(const tc::ActionKind& action) {
  const auto* program = std::get_if<tc::Bpf>(&action);
  return program != nullptr && program->name == "sepal_neigh";
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
    for (size_t i = 0; i < actions.size(); ++i) {
      uint64_t dropped = rule.dropped_by(i);
      if (dropped > 0 && guards(actions[i].kind)) {
        const uint64_t forged = std::min(dropped, rule.filter.state.stats[i].drops);
        add(tc::DropReason::spoofed, forged, 0);
        dropped -= forged;
      }
      add(reason_of(actions[i].kind), dropped, 0);
    }
  }
  std::vector<Drop> drops;
  drops.reserve(sums.size());
  for (const auto& [key, sum] : sums)
    drops.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), sum.first, sum.second});
  return drops;
}

}  // namespace sepal::agent
