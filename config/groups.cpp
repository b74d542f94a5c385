// Security groups of a tenant: a map of names, each with its members and its rules. What a rule means stands in its own
// keys; rules that name each other's groups are validate_groups.cpp's.
#include <netinet/in.h>

#include <algorithm>

#include "base/limits.hpp"
#include "config/documents.hpp"
#include "config/fields.hpp"

namespace sepal::config {
namespace {

constexpr Bounds kByteBounds{0, 255};
constexpr Bounds kPriorityBounds{1, 65535};

auto number(Bounds bounds) {
  return [bounds](NodeRef node) { return parse_number(node, bounds); };
}

tl::unexpected<Issue> issue(std::string what, std::string hint) {
  return tl::unexpected<Issue>({std::move(what), std::move(hint)});
}

// One of two words.
auto word(std::string_view when_true, std::string_view when_false) {
  return [=](NodeRef node) -> Parsed<bool> {
    if (node.kind() == NodeKind::refused) return issue("", "");
    const std::string hint = "write " + std::string(when_true) + " or " + std::string(when_false);
    if (node.kind() != NodeKind::scalar) return issue("expected a word, found " + describe(node.kind()), hint);
    if (node.text() == when_true) return true;
    if (node.text() == when_false) return false;
    return issue(quoted(node.text()) + " is not known", hint);
  };
}

// nullopt inside: any.
Parsed<std::optional<uint8_t>> parse_protocol(NodeRef node) {
  if (node.kind() == NodeKind::refused) return issue("", "");
  static const std::string kHint = "write tcp, udp, icmp, icmpv6, any, or a protocol's number from 0 to 255";
  if (node.kind() != NodeKind::scalar) return issue("expected a protocol, found " + describe(node.kind()), kHint);
  static constexpr std::pair<std::string_view, uint8_t> kNames[] = {
      {"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6}};
  for (const auto& [name, protocol] : kNames)
    if (node.text() == name) return std::optional<uint8_t>(protocol);
  if (node.text() == "any") return std::optional<uint8_t>();
  const auto value = parse_number(node, kByteBounds);
  if (!value) return issue(quoted(node.text()) + " is no protocol", kHint);
  return std::optional<uint8_t>(static_cast<uint8_t>(*value));
}

// Calls `visit` with the items of a list, or with the one value that stands in its place.
template <typename Visit>
void each_or_one(NodeRef node, const Visit& visit) {
  if (node.kind() != NodeKind::sequence) return visit(node);
  for (NodeRef item = node.child(); item; item = item.next()) visit(item);
}

void read_remote_item(const Fields& rule, std::string_view key, NodeRef node, RuleRemote& remote) {
  if (node.kind() == NodeKind::map) {
    Fields fields(node, tables::kRemote, rule.faults());
    auto group = fields.require("group", "the group's name, such as group: web", parse_name);
    if (group) remote.groups.push_back(*group);
    return;
  }
  if (node.kind() == NodeKind::scalar && node.text() == "any") {
    remote.any = true;
    return;
  }
  const bool is_name = node.kind() == NodeKind::scalar && !IpPrefix::parse_lenient(node.text()) && parse_name(node) &&
                       node.text().find_first_not_of("0123456789.") != std::string_view::npos;
  if (is_name) {
    rule.fault(node.where(), std::string(key) + ": " + quoted(node.text()) + " is neither any nor a network",
               "write {group: " + std::string(node.text()) + "} where a group is meant");
    return;
  }
  auto network = rule.accept(key, node, parse_addresses(node));
  if (network) remote.networks.push_back(*network);
}

void read_remote(const Fields& rule, std::string_view key, RuleRemote& remote) {
  if (rule.missing(key)) {
    rule.fault(rule.where(), std::string(key) + " is missing",
               "add " + std::string(key) + ": any, a network, {group: NAME}, or a list of them");
  }
  NodeRef node = rule.find(key);
  if (!node) return;
  const bool empty = node.kind() == NodeKind::null || (node.kind() == NodeKind::sequence && !node.child());
  if (empty) {
    rule.fault(node.where(), std::string(key) + ": nobody is named",
               "write any, a network, {group: NAME}, or a list of them");
  } else {
    each_or_one(node, [&](NodeRef item) { read_remote_item(rule, key, item, remote); });
  }
}

// What of a packet a rule looks at must be there in its protocol.
void read_details(const Fields& fields, GroupRule& rule) {
  const bool has_ports = rule.protocol && (*rule.protocol == IPPROTO_TCP || *rule.protocol == IPPROTO_UDP);
  const bool has_types = rule.protocol && (*rule.protocol == IPPROTO_ICMP || *rule.protocol == IPPROTO_ICMPV6);
  if (NodeRef ports = fields.find("ports")) {
    if (!has_ports)
      fields.fault(ports.where(), "ports go with tcp and udp only", "add protocol: tcp or udp, or remove them");
    const bool empty = ports.kind() == NodeKind::null || (ports.kind() == NodeKind::sequence && !ports.child());
    if (empty) fields.fault(ports.where(), "ports: none is named", "leave ports out where all are meant");
    if (!empty)
      each_or_one(ports, [&](NodeRef item) {
        auto range = fields.accept("ports", item, parse_port_range(item));
        if (range) rule.ports.push_back(*range);
      });
  }
  NodeRef type = fields.find("type");
  NodeRef code = fields.find("code");
  for (NodeRef given : {type, code}) {
    if (!given || has_types) continue;
    fields.fault(given.where(), "type and code go with icmp and icmpv6 only",
                 "add protocol: icmp or icmpv6, or remove them");
    break;
  }
  if (code && !type) fields.fault(code.where(), "code goes with a type", "add type, or remove code");
  if (auto value = fields.read("type", number(kByteBounds))) rule.icmp_type = static_cast<uint8_t>(*value);
  if (auto value = fields.read("code", number(kByteBounds))) rule.icmp_code = static_cast<uint8_t>(*value);
}

GroupRule read_rule(NodeRef node, const KeyTable& table, std::string_view remote, std::string_view group,
                    Faults& faults) {
  GroupRule rule;
  rule.where = node.where();
  if (node.kind() == NodeKind::map && !node.child()) {
    faults.add(node.where(), std::string(table.owner) + " of " + quoted(group) + ": the rule is empty",
               "write at least " + std::string(remote) + ": any, or remove it");
    return rule;
  }
  Fields fields(node, table, faults, group);
  read_remote(fields, remote, rule.remote);
  rule.allow = fields.read("action", word("allow", "deny")).value_or(true);
  if (auto priority = fields.read("priority", number(kPriorityBounds)))
    rule.priority = static_cast<uint16_t>(*priority);
  rule.log = fields.read("log", parse_boolean).value_or(false);
  const size_t before = faults.progress();
  rule.protocol = fields.read("protocol", parse_protocol).value_or(std::nullopt);
  if (faults.progress() == before) read_details(fields, rule);
  return rule;
}

SecurityGroup read_group(std::string name, NodeRef node, Faults& faults) {
  SecurityGroup group;
  group.name = std::move(name);
  group.where = node.where();
  if (node.kind() == NodeKind::null) return group;  // no rules: nothing is allowed
  Fields fields(node, tables::kGroup, faults, group.name);
  group.audit = !fields.read("mode", word("enforce", "audit")).value_or(true);
  fields.each("members", [&](NodeRef item) {
    auto member = fields.accept("members", item, parse_addresses(item));
    if (member) group.members.push_back(*member);
  });
  fields.each("ingress", [&](NodeRef item) {
    group.ingress.push_back(read_rule(item, tables::kIngressRule, "from", group.name, faults));
  });
  fields.each("egress", [&](NodeRef item) {
    group.egress.push_back(read_rule(item, tables::kEgressRule, "to", group.name, faults));
  });
  return group;
}

}  // namespace

std::vector<SecurityGroup> read_groups(NodeRef node, Faults& faults) {
  std::vector<SecurityGroup> groups;
  if (node.kind() == NodeKind::null) return groups;
  if (node.kind() == NodeKind::refused) {
    faults.note_silent();
    return groups;
  }
  if (node.kind() != NodeKind::map) {
    faults.add(node.where(), "security_groups: expected a map, found " + describe(node.kind()),
               "write it as a map of names: {web: {ingress: [ … ]}}");
    return groups;
  }
  for (NodeRef key = node.child(); key; key = key.next().next()) {
    auto name = parse_name(key);
    if (!name) {
      if (name.error().what.empty())
        faults.note_silent();
      else
        faults.add(key.where(), "security_groups: " + name.error().what, name.error().hint);
      continue;
    }
    const auto twice =
        std::find_if(groups.begin(), groups.end(), [&](const SecurityGroup& group) { return group.name == *name; });
    if (twice != groups.end()) {
      faults.add(key.where(),
                 "security group " + quoted(*name) + " is given twice (at " + faults.place(twice->where) + ")",
                 "keep one");
      continue;
    }
    groups.push_back(read_group(*name, key.next(), faults));
  }
  std::sort(groups.begin(), groups.end(),
            [](const SecurityGroup& a, const SecurityGroup& b) { return a.name < b.name; });
  return groups;
}

}  // namespace sepal::config
