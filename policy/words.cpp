// Rules and verdicts in words.
#include <netinet/in.h>

#include <algorithm>

#include "policy/parts.hpp"

namespace sepal::policy {
namespace {

std::string protocol_text(const config::GroupRule& rule) {
  if (!rule.protocol) return "any protocol";
  switch (*rule.protocol) {
    case IPPROTO_TCP: return "tcp";
    case IPPROTO_UDP: return "udp";
    case IPPROTO_ICMP: return "icmp";
    case IPPROTO_ICMPV6: return "icmpv6";
    default: return "protocol " + std::to_string(*rule.protocol);
  }
}

std::string port_text(const PortRange& range) {
  return range.first == range.last ? std::to_string(range.first) : range.to_string();
}

void append(std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; }

}  // namespace

std::string to_text(const config::GroupRule& rule, Direction direction) {
  std::string text = (rule.allow ? "allow " : "deny ") + protocol_text(rule);
  std::string details;
  for (const PortRange& range : rule.ports) append(details, port_text(range));
  if (!details.empty()) text += " " + details;
  if (rule.icmp_type) text += " type " + std::to_string(*rule.icmp_type);
  if (rule.icmp_code) text += " code " + std::to_string(*rule.icmp_code);
  std::string remote;
  if (rule.remote.any) append(remote, "any");
  for (const IpPrefix& network : rule.remote.networks) append(remote, network.to_string());
  for (const std::string& group : rule.remote.groups) append(remote, "group " + group);
  text += (direction == Direction::egress ? " to " : " from ") + remote;
  if (rule.priority != config::GroupRule{}.priority) text += ", priority " + std::to_string(rule.priority);
  return text;
}

const NamedRule* TenantPolicy::rule(uint32_t id) const {
  const auto found = std::lower_bound(rules.begin(), rules.end(), id,
                                      [](const NamedRule& rule, uint32_t wanted) { return rule.id < wanted; });
  return found == rules.end() || found->id != id ? nullptr : &*found;
}

std::string rule_text(const TenantPolicy& policy, uint32_t rule) {
  const uint32_t id = rule & SEPAL_RULE_ID;
  if (const NamedRule* named = policy.rule(id))
    return "group " + named->group + ", " + (named->direction == Direction::egress ? "egress" : "ingress") + ": " +
           named->text;
  switch (id) {
    case SEPAL_RULE_DEFAULT_EGRESS: return "egress: no rule of its groups matches";
    case SEPAL_RULE_DEFAULT_INGRESS: return "ingress: no rule of its groups matches";
    case SEPAL_RULE_NOT_ENFORCED: return "its groups are audited only";
    case SEPAL_RULE_NO_GROUPS: return "no groups";
    default: return "a rule that is not in the configuration";
  }
}

}  // namespace sepal::policy
