#include "agent/drop_lines.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "agent/drops.hpp"
#include "agent/flow_words.hpp"
#include "policy/network.hpp"
#include "tc/model/frame.hpp"

namespace sepal::agent {
namespace {

using tc::DropReason;
using tc::model::Packet;

constexpr uint16_t kTagPresent = 0x1000;
constexpr size_t kMacsBytes = 12;

// With the tag that the kernel keeps beside the frame put back into it.
std::vector<uint8_t> frame_of(const sepal_drop& drop) {
  const size_t size = std::min<size_t>(drop.captured, SEPAL_DROP_BYTES_MAX);
  std::vector<uint8_t> frame(drop.packet, drop.packet + size);
  if ((drop.vlan & kTagPresent) == 0 || size < kMacsBytes) return frame;
  const std::array<uint8_t, 4> tag{0x81, 0x00, static_cast<uint8_t>(drop.vlan >> 8U & 0x0fU),
                                   static_cast<uint8_t>(drop.vlan)};
  frame.insert(frame.begin() + kMacsBytes, tag.begin(), tag.end());
  return frame;
}

bool has_ports(const Packet& packet) {
  return packet.is_ip() && !packet.fragment && (packet.protocol == tc::kProtoTcp || packet.protocol == tc::kProtoUdp);
}

policy::Flow flow_of(const Packet& packet, bool from_peer) {
  policy::Flow flow{packet.src, packet.dst, packet.protocol, 0, from_peer};
  if (has_ports(packet)) flow.detail = packet.dst_port;
  if (packet.is_icmp()) flow.detail = static_cast<uint16_t>(packet.icmp_type << 8U | packet.icmp_code);
  return flow;
}

bool has(const std::vector<DropReason>& reasons, DropReason reason) {
  return std::find(reasons.begin(), reasons.end(), reason) != reasons.end();
}

// Of a program that is asked before a commit.
bool is_asked(DropReason reason) { return reason == DropReason::denied || reason == DropReason::too_many_connections; }

// These programs leave the mark they were called with; the rule takes it away behind them.
bool dropped_when_asked(const ShownRule& rule, const sepal_drop& drop) {
  const auto& actions = rule.filter.rule.spec.actions;
  return (drop.mark & SEPAL_MARK_VNI) != 0 && std::any_of(actions.begin(), actions.end(), [](const tc::Action& action) {
           return is_asked(reason_of(action.kind));
         });
}

bool ends_by_sending(const ShownRule& rule) {
  const auto& actions = rule.filter.rule.spec.actions;
  return !actions.empty() && reason_of(actions.back().kind) == DropReason::not_sent;
}

// More than one where the rule has several actions that may have done it. Devices are up and take what they are given,
// so that one did not is said only where nothing else can have been.
std::vector<DropReason> reasons_of(const ShownRule& rule, const sepal_drop& drop) {
  // Nothing that such a rule takes goes on, whatever its actions do: one reason, as drops.cpp counts.
  if (rule.origin && rule.origin->drop != DropReason::none) return {rule.origin->drop};
  const bool asked = dropped_when_asked(rule, drop);
  std::vector<DropReason> reasons;
  for (const tc::Action& action : rule.filter.rule.spec.actions) {
    const bool forged = guards(action.kind) && drop.mark == SEPAL_NEIGHBOUR_FORGED;
    const DropReason reason = forged ? DropReason::spoofed : reason_of(action.kind);
    if (reason == DropReason::none || reason == DropReason::not_sent || is_asked(reason) != asked) continue;
    if (!has(reasons, reason)) reasons.push_back(reason);
  }
  if (reasons.empty() && ends_by_sending(rule)) reasons = {DropReason::not_sent};
  return reasons;
}

// As tcpdump has it.
std::string arp_text(const Packet& packet) {
  if (packet.arp_operation == tc::model::kArpReply)
    return "arp " + packet.src.to_string() + " is-at " + packet.said_mac.to_string();
  const std::string text = "arp who-has " + packet.asked.to_string();
  return packet.src.is_unspecified() ? text : text + " tell " + packet.src.to_string();
}

std::string reasons_text(const ToldDrop& drop) {
  std::string text;
  for (const DropReason reason : drop.reasons)
    text += (text.empty() ? "" : " or ") + std::string(tc::to_string(reason));
  return text.empty() ? "unknown" : text;
}

}  // namespace

DropTeller::DropTeller(const Shown& shown, const config::Config* config) : shown_(shown), config_(config) {
  for (const ShownRule& rule : shown.rules) {
    Place place{rule.filter.rule.id.device.value(), rule.filter.state.indexes};
    if (place.second.size() > SEPAL_DROP_ACTIONS_MAX) place.second.resize(SEPAL_DROP_ACTIONS_MAX);
    rules_.emplace(std::move(place), &rule);
  }
  if (config == nullptr) return;
  for (policy::TenantPolicy& policy : policy::compile(*config)) {
    policy::Judge judge(policy.tables);
    const Vni vni = policy.vni;
    policies_.emplace(vni, Policy{std::move(policy), std::move(judge)});
  }
}

DropTeller::Place DropTeller::place_of(const sepal_drop& drop) {
  const size_t count = std::min<size_t>(drop.actions, SEPAL_DROP_ACTIONS_MAX);
  return {drop.device, {drop.indexes, drop.indexes + count}};
}

const ShownRule* DropTeller::rule_of(const sepal_drop& drop) const {
  const auto found = rules_.find(place_of(drop));
  return found == rules_.end() ? nullptr : found->second;
}

ToldDrop DropTeller::tell(const sepal_drop& drop, uint64_t time) const {
  ToldDrop told;
  told.time = time;
  told.bytes = drop.bytes;
  told.tunnel_vni = drop.vni;
  told.where = agent::place_of(IfIndex(drop.device), shown_);
  if (auto packet = tc::model::parse_frame(frame_of(drop))) told.packet = std::move(*packet);
  told.filter = rule_of(drop);
  if (told.filter == nullptr) {
    told.tenant = told.where;
    told.rule = "a rule that has gone";
    return told;
  }
  const ShownRule& rule = *told.filter;
  told.vni = rule.vni;
  told.tenant = shown_.names.tenant(rule.vni);
  told.reasons = reasons_of(rule, drop);
  if (rule.origin) {
    told.rule = shown_.names.purpose(*rule.origin);
    told.at = shown_.names.place(rule.origin->where);
  }
  if (has(told.reasons, DropReason::denied)) name_groups(drop, told);
  return told;
}

// By the code that the program runs, over the tables it has when the configuration is in force.
void DropTeller::name_groups(const sepal_drop& drop, ToldDrop& told) const {
  const auto policy = policies_.find(Vni(drop.mark & SEPAL_MARK_VNI));
  if (policy == policies_.end() || !told.packet) return;
  const auto verdict = policy->second.judge.judge(flow_of(*told.packet, (drop.mark & SEPAL_MARK_FROM_PEER) != 0));
  if (verdict.allowed && has(told.reasons, DropReason::too_many_connections)) {
    told.reasons = {DropReason::too_many_connections};
    return;
  }
  told.reasons = {DropReason::denied};
  if (verdict.allowed) {
    told.rule = "the configuration would allow it now";
    return;
  }
  const policy::Side& side = verdict.egress.allows() ? verdict.ingress : verdict.egress;
  told.rule = policy::rule_text(policy->second.rules, side.enforced_rule);
  told.at.clear();
  if (const policy::NamedRule* named = policy->second.rules.rule(side.enforced_rule & SEPAL_RULE_ID))
    told.at = shown_.names.place(named->where);
}

std::string packet_text(const ToldDrop& drop) {
  if (!drop.packet) return std::to_string(drop.bytes) + " bytes that do not read as a packet";
  const Packet& p = *drop.packet;
  std::string text;
  const bool spoofed = has(drop.reasons, DropReason::spoofed);
  if (spoofed || !p.is_ip()) text += p.src_mac.to_string() + " → " + p.dst_mac.to_string() + " ";
  if (drop.tunnel_vni != 0) text += "vni " + std::to_string(drop.tunnel_vni) + " ";
  for (const tc::model::VlanTag& tag : p.tags) text += "vlan " + std::to_string(tag.id.value()) + " ";
  if (p.eth_type == tc::kEthArp) return text + arp_text(p);
  if (!p.is_ip()) return text + "protocol " + std::to_string(p.eth_type);
  text += protocol_text(p.protocol) + " " + end_text(p.src, p.src_port, has_ports(p)) + " → " +
          end_text(p.dst, p.dst_port, has_ports(p));
  if (p.fragment) return text + " fragment";
  if (p.is_icmp()) text += " type " + std::to_string(p.icmp_type) + " code " + std::to_string(p.icmp_code);
  if (p.is_question()) text += " who-has " + p.asked.to_string();
  if (p.is_advertisement()) text += " says it has " + p.asked.to_string();
  return text;
}

std::string to_line(const ToldDrop& drop) {
  std::string text = time_text(drop.time).substr(11, 12) + "  " + drop.tenant;
  if (drop.where != drop.tenant) text += ", " + drop.where;
  text += ": " + reasons_text(drop) + ": " + packet_text(drop);
  if (!drop.rule.empty()) text += "  (" + drop.rule + ")";
  if (!drop.at.empty() && drop.rule.find(drop.at) == std::string::npos) text += " at " + drop.at;
  return text;
}

nlohmann::ordered_json to_json(const ToldDrop& drop, const Names& names) {
  nlohmann::ordered_json out{{"time", time_text(drop.time)}};
  if (const auto tenant = names.tenant_name(drop.vni)) out["tenant"] = *tenant;
  out["vni"] = drop.vni.value();
  out["where"] = drop.where;
  out["reasons"] = nlohmann::ordered_json::array();
  for (const DropReason reason : drop.reasons) out["reasons"].push_back(tc::to_string(reason));
  if (!drop.rule.empty()) out["rule"] = drop.rule;
  if (!drop.at.empty()) out["at"] = drop.at;
  if (drop.filter != nullptr) {
    const tc::RuleId& id = drop.filter->filter.rule.id;
    out["device"] = names.device(id.device);
    out["chain"] = id.chain;
    out["prio"] = id.prio;
    out["handle"] = id.handle;
  }
  out["bytes"] = drop.bytes;
  if (drop.tunnel_vni != 0) out["tunnel_vni"] = drop.tunnel_vni;
  out["packet"] = packet_text(drop);
  if (!drop.packet) return out;
  const Packet& p = *drop.packet;
  out["source_mac"] = p.src_mac.to_string();
  out["destination_mac"] = p.dst_mac.to_string();
  if (!p.is_ip()) return out;
  out["protocol"] = protocol_text(p.protocol);
  out["source"] = p.src.to_string();
  out["destination"] = p.dst.to_string();
  if (has_ports(p)) {
    out["source_port"] = p.src_port;
    out["destination_port"] = p.dst_port;
  }
  if (p.is_icmp()) {
    out["icmp_type"] = p.icmp_type;
    out["icmp_code"] = p.icmp_code;
  }
  return out;
}

}  // namespace sepal::agent
