// See plain_model.hpp. Obviously right is worth more here than fast.
#include "plain_model.hpp"

#include <algorithm>
#include <ostream>

namespace sepal::policy::model {
namespace {

using config::GroupRule;
using config::SecurityGroup;

// The port whose longest prefix holds the address.
const Port* owner_of(const Network& network, const IpAddr& address, int& length) {
  const Port* owner = nullptr;
  for (const Port& port : network.ports) {
    for (const IpPrefix& source : port.sources) {
      if (!source.contains(address) || source.length <= length) continue;
      owner = &port;
      length = source.length;
    }
  }
  return owner;
}

const Port* sender_of(const Network& network, const IpAddr& address) {
  int length = -1;
  return owner_of(network, address, length);
}

const Port* receiver_of(const Network& network, const IpAddr& address) {
  int length = -1;
  const Port* receiver = owner_of(network, address, length);
  for (const Delivery& route : network.routes) {
    if (!route.to.contains(address) || route.to.length < length) continue;
    length = route.to.length;
    receiver = nullptr;
    for (const Port& port : network.ports)
      if (port.name == route.port) receiver = &port;
  }
  return receiver;
}

bool is_member(const Network& network, const std::string& group, const IpAddr& address) {
  const Port* port = sender_of(network, address);
  if (port != nullptr && std::find(port->groups.begin(), port->groups.end(), group) != port->groups.end()) return true;
  for (const SecurityGroup& one : network.groups)
    if (one.name == group)
      for (const IpPrefix& member : one.members)
        if (member.contains(address)) return true;
  return false;
}

bool names(const Network& network, const config::RuleRemote& remote, const IpAddr& other, bool networks_only) {
  if (remote.any) return true;
  for (const IpPrefix& prefix : remote.networks)
    if (prefix.contains(other)) return true;
  if (networks_only) return false;
  for (const std::string& group : remote.groups)
    if (is_member(network, group, other)) return true;
  return false;
}

bool matches(const GroupRule& rule, const Flow& flow) {
  if (!rule.protocol) return true;
  if (*rule.protocol != flow.protocol) return false;
  if (rule.icmp_type && flow.detail >> 8U != *rule.icmp_type) return false;
  if (rule.icmp_code && (flow.detail & 0xffU) != *rule.icmp_code) return false;
  if (rule.ports.empty()) return true;
  for (const PortRange& range : rule.ports)
    if (flow.detail >= range.first && flow.detail <= range.last) return true;
  return false;
}

const GroupRule* decide(const Network& network, const Port& port, const Flow& flow, Direction direction,
                        bool enforced_only, bool& any_group) {
  const GroupRule* best = nullptr;
  any_group = false;
  for (const SecurityGroup& group : network.groups) {
    if (std::find(port.groups.begin(), port.groups.end(), group.name) == port.groups.end()) continue;
    if (enforced_only && group.audit) continue;
    any_group = true;
    for (const GroupRule& rule : direction == Direction::egress ? group.egress : group.ingress) {
      const IpAddr& other = direction == Direction::egress ? flow.destination : flow.source;
      if (!matches(rule, flow)) continue;
      if (!names(network, rule.remote, other, direction == Direction::ingress && flow.from_peer)) continue;
      const bool better = best == nullptr || rule.priority < best->priority ||
                          (rule.priority == best->priority && best->allow && !rule.allow);
      if (better) best = &rule;
    }
  }
  return best;
}

Said ask(const Network& network, const Port* port, const Flow& flow, Direction direction) {
  Said said;
  if (port == nullptr || port->groups.empty()) return said;
  said.judged = true;
  bool any_group = false;
  const GroupRule* rule = decide(network, *port, flow, direction, true, any_group);
  said.allows = rule != nullptr ? rule->allow : !any_group;
  said.line = rule != nullptr ? rule->where.line : 0;
  rule = decide(network, *port, flow, direction, false, any_group);
  said.would_allow = rule != nullptr && rule->allow;
  said.would_line = rule != nullptr ? rule->where.line : 0;
  return said;
}

Said in_words(const TenantPolicy& policy, const Side& side) {
  Said said;
  if (!side.judged()) return said;
  auto line_of = [&policy](uint32_t rule) {
    const NamedRule* named = policy.rule(rule & SEPAL_RULE_ID);
    return named == nullptr ? 0U : named->where.line;
  };
  said.judged = true;
  said.allows = side.allows();
  said.line = line_of(side.enforced_rule);
  said.would_allow = (side.rule & SEPAL_RULE_ALLOWS) != 0;
  said.would_line = line_of(side.rule);
  return said;
}

void print(std::ostream& out, const char* name, const Said& said) {
  out << name << (said.judged ? "" : " (not judged)") << ": " << (said.allows ? "allows" : "denies") << " by line "
      << said.line << ", all groups " << (said.would_allow ? "allow" : "deny") << " by line " << said.would_line
      << "; ";
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Judgement& judgement) {
  print(out, "egress", judgement.egress);
  print(out, "ingress", judgement.ingress);
  return out;
}

Judgement judge(const Network& network, const Flow& flow) {
  Judgement judgement;
  if (!flow.from_peer) judgement.egress = ask(network, sender_of(network, flow.source), flow, Direction::egress);
  judgement.ingress = ask(network, receiver_of(network, flow.destination), flow, Direction::ingress);
  return judgement;
}

Judgement in_words(const TenantPolicy& policy, const Verdict& verdict) {
  return {in_words(policy, verdict.egress), in_words(policy, verdict.ingress)};
}

}  // namespace sepal::policy::model
