// One overload per action kind.
#include "agent/words.hpp"

#include <cstdio>

#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {
namespace {

std::string hex(uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%x", value);
  return text;
}

std::string verdict_in_words(const tc::Verdict& verdict) {
  switch (verdict.control) {
    case tc::Control::pipe: return "go on";
    case tc::Control::pass: return "pass to the host";
    case tc::Control::drop: return "drop";
    case tc::Control::goto_chain: return "to " + tc::to_string(tc::parse_chain(verdict.chain));
    case tc::Control::reclassify: return "reclassify";
    case tc::Control::stolen: return "stolen";
    case tc::Control::redirect: return "redirect";
    case tc::Control::next_rule: return "go on to the next rule";
    case tc::Control::other: return "other";
  }
  return "other";
}

struct InWords {
  const Names& names;

  std::string operator()(const tc::Gact& a) const {
    return a.verdict.control == tc::Control::pipe ? "count" : verdict_in_words(a.verdict);
  }
  std::string operator()(const tc::Mirred& a) const {
    return std::string(a.mirror ? "mirror to " : "redirect to ") + names.device(a.device) +
           (a.ingress ? " ingress" : "");
  }
  std::string operator()(const tc::VlanAction& a) const {
    if (a.kind == tc::VlanAction::Kind::pop) return "pop vlan";
    return std::string(a.kind == tc::VlanAction::Kind::push ? "push" : "change to") + " vlan " +
           std::to_string(a.id.value());
  }
  std::string operator()(const tc::TunnelSet& a) const {
    return "tunnel to " + a.destination.to_string() + " as vni " + std::to_string(a.key_id);
  }
  std::string operator()(const tc::TunnelUnset& /*a*/) const { return "end of tunnel"; }
  std::string operator()(const tc::Pedit& a) const {
    using Key = tc::PeditKey;
    bool macs = false;
    bool ttl = false;
    bool other = false;
    for (const Key& key : a.keys) {
      const bool ip = key.header == Key::Header::ip4 || key.header == Key::Header::ip6;
      macs = macs || key.header == Key::Header::eth;
      ttl = ttl || (ip && key.command == Key::Command::add);
      other = other || !(key.header == Key::Header::eth || (ip && key.command == Key::Command::add));
    }
    std::string text = "rewrite";
    if (macs) text += " MACs";
    if (ttl) text += macs ? " and TTL" : " TTL";
    if (other) text += " and more";
    return text;
  }
  std::string operator()(const tc::Csum& /*a*/) const { return {}; }  // belongs to the rewrite before it
  std::string operator()(const tc::Ct& a) const {
    if (a.clear) return "forget connection";
    std::string text = (a.commit ? "commit in zone " : "ct zone ") + std::to_string(a.zone.value());
    if (a.nat && a.direction == tc::Ct::Direction::none) text += " nat";
    if (a.direction != tc::Ct::Direction::none) {
      text += a.direction == tc::Ct::Direction::src ? " snat" : " dnat";
      text += a.nat_first ? " to " + a.nat_first->to_string() : " as before";
      if (a.nat_last && a.nat_last != a.nat_first) text += "-" + a.nat_last->to_string();
      if (a.nat_ports) text += " ports " + a.nat_ports->to_string();
    }
    if (a.mark_mask != 0) text += " mark " + hex(a.mark) + "/" + hex(a.mark_mask);
    return text;
  }
  std::string operator()(const tc::Police& a) const {
    if (a.rate_packets_per_second != 0) return "police " + std::to_string(a.rate_packets_per_second) + " packets/s";
    if (a.rate_bytes_per_second != 0) return "police " + std::to_string(a.rate_bytes_per_second) + " bytes/s";
    const bool larger = a.exceed.control == tc::Control::pipe;
    return (larger ? "of more than " : "of at most ") + std::to_string(a.mtu) + " bytes";
  }
  std::string operator()(const tc::SkbeditMark& a) const { return "mark " + hex(a.mark); }
  std::string operator()(const tc::Bpf& a) const { return "eBPF " + a.name; }
  std::string operator()(const tc::UnknownAction& a) const { return a.kind; }
};

}  // namespace

std::string actions_in_words(const tc::RuleSpec& spec, const Names& names) {
  std::string text;
  for (const tc::Action& action : spec.actions) {
    const std::string words = std::visit(InWords{names}, action.kind);
    if (words.empty()) continue;
    if (!text.empty()) text += ", ";
    text += words;
  }
  return text;
}

std::string match_in_words(const tc::Match& match) {
  const std::string text = tc::to_text(match);
  return text.empty() ? "any" : text;
}

std::string rule_text(const tc::Rule& rule, const Names& names) {
  std::string text = "dev " + names.device(rule.id.device) + " chain " + hex(rule.id.chain) + " prio " +
                     std::to_string(rule.id.prio) + " handle " + hex(rule.id.handle);
  const std::string match = tc::to_text(rule.spec.match);
  if (!match.empty()) text += " " + match;
  if (rule.spec.skip_hw) text += " skip_hw";
  return text + " → " + actions_in_words(rule.spec, names);
}

}  // namespace sepal::agent
