#include "agent/flow_book.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/connections.hpp"
#include "agent/flow_words.hpp"
#include "bpf/policy_entries.hpp"
#include "config/digest.hpp"
#include "policy/network.hpp"

namespace sepal::agent {
namespace {

using netlink::ConnectionEvent;
using netlink::ConnectionTuple;
using Json = nlohmann::ordered_json;

bool has_ports(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
         protocol == IPPROTO_UDPLITE || protocol == IPPROTO_DCCP;
}

bool is_icmp(uint8_t protocol) { return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6; }

uint16_t big_endian(const __u8* bytes) { return static_cast<uint16_t>(bytes[0] << 8U | bytes[1]); }

Json begin_line(uint64_t time, std::string_view event) { return {{"time", time_text(time)}, {"event", event}}; }

std::string finish(const Json& line) { return line.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool any_logs(const config::Tenant& tenant) {
  const auto logs = [](const config::GroupRule& rule) { return rule.log; };
  return std::any_of(tenant.security_groups.begin(), tenant.security_groups.end(), [&](const auto& group) {
    return std::any_of(group.ingress.begin(), group.ingress.end(), logs) ||
           std::any_of(group.egress.begin(), group.egress.end(), logs);
  });
}

void put_flow(Json& line, const ConnectionTuple& tuple) {
  line["protocol"] = protocol_text(tuple.protocol);
  line["source"] = tuple.source.to_string();
  if (has_ports(tuple.protocol)) line["source_port"] = tuple.source_port;
  line["destination"] = tuple.destination.to_string();
  if (has_ports(tuple.protocol)) line["destination_port"] = tuple.destination_port;
  if (is_icmp(tuple.protocol)) {
    line["icmp_type"] = tuple.icmp_type;
    line["icmp_code"] = tuple.icmp_code;
    line["icmp_id"] = tuple.icmp_id;
  }
}

// What answers show: the source as others see it, the destination as it is behind a translation.
void put_translation(Json& line, const netlink::Connection& connection) {
  const ConnectionTuple& first = connection.original;
  const ConnectionTuple& back = connection.reply;
  const bool ports = has_ports(first.protocol);
  Json translated;
  if (back.destination != first.source || (ports && back.destination_port != first.source_port)) {
    translated["source"] = back.destination.to_string();
    if (ports) translated["source_port"] = back.destination_port;
  }
  if (back.source != first.destination || (ports && back.source_port != first.destination_port)) {
    translated["destination"] = back.source.to_string();
    if (ports) translated["destination_port"] = back.source_port;
  }
  if (is_icmp(first.protocol) && back.icmp_id != first.icmp_id) translated["icmp_id"] = back.icmp_id;
  if (!translated.is_null()) line["translated"] = std::move(translated);
}

std::string_view to_string(__u8 kind) {
  switch (kind) {
    case SEPAL_EVENT_ALLOWED: return "allowed";
    case SEPAL_EVENT_DENIED: return "denied";
    case SEPAL_EVENT_AUDITED: return "audited";
    default: return "unknown";
  }
}

// Where rules stand in their files counts here, unlike in config/digest.hpp: records name the places.
uint64_t digest_with_places(const config::Tenant& tenant) {
  Digest digest;
  config::mix(digest, tenant);
  for (const config::SecurityGroup& group : tenant.security_groups)
    for (const auto* rules : {&group.egress, &group.ingress})
      for (const config::GroupRule& rule : *rules) digest.all(rule.where.file, rule.where.line, rule.where.column);
  return digest.value();
}

// The side whose rule a reader looks for first: the one that denied, or would; else the one that asked to be logged.
uint32_t telling(const sepal_event& event) {
  // Nobody asks the ingress side of what the egress side denied (tell() in bpf/policy.bpf.c); one without groups, which
  // was asked, allows.
  if (event.kind == SEPAL_EVENT_DENIED) return event.ingress == SEPAL_RULE_NO_GROUPS ? event.egress : event.ingress;
  const bool wanted_allowed = event.kind == SEPAL_EVENT_ALLOWED;
  for (const uint32_t word : {event.egress, event.ingress}) {
    const bool allows = (word & SEPAL_RULE_ALLOWS) != 0;
    if (allows == wanted_allowed && (word & SEPAL_RULE_LOGS) != 0) return word;
  }
  return event.egress;
}

}  // namespace

const std::string* FlowBook::Tenant::port(const IpAddr& address) const {
  const auto* found = ports.covering(IpPrefix::host(address));
  return found == nullptr ? nullptr : &found->second;
}

FlowBook::FlowBook(const config::Config& config, const SavedState& served, FlowBook before) : files_(config.files) {
  for (const config::Tenant& tenant : config.tenants) {
    const bool verdicts = any_logs(tenant) || (tenant.flow_log && policy::is_judged(tenant));
    if (!verdicts && !tenant.flow_log) continue;
    wants_verdicts_ = wants_verdicts_ || verdicts;
    add(tenant, before);
    const auto zone = served.tenants.find(tenant.vni);
    if (tenant.flow_log && zone != served.tenants.end()) by_zone_.emplace(zone->second.zone, tenant.vni);
  }
}

void FlowBook::add(const config::Tenant& tenant, FlowBook& before) {
  const uint64_t digest = digest_with_places(tenant);
  if (auto known = before.tenants_.extract(tenant.vni); !known.empty() && known.mapped().digest == digest) {
    tenants_.insert(std::move(known));
    return;
  }
  Tenant& added = tenants_[tenant.vni];
  added.name = tenant.name;
  added.vni = tenant.vni;
  added.digest = digest;
  for (const config::Port& port : tenant.ports) {
    for (const IpAddr& address : port.addresses) added.ports.insert(IpPrefix::host(address), port.name);
    for (const IpPrefix& prefix : port.prefixes) added.ports.insert(prefix, port.name);
  }
  if (!policy::is_judged(tenant)) return;
  added.policy = policy::compile(policy::network_of(tenant));
  added.policy.tables = {};
}

std::string FlowBook::line(const sepal_event& event, uint64_t time) const {
  Json line = begin_line(time, to_string(event.kind));
  const auto tenant = tenants_.find(Vni(event.vni));
  const IpAddr source = bpf::address_of(event.source, event.is_ipv6 != 0);
  const IpAddr destination = bpf::address_of(event.destination, event.is_ipv6 != 0);
  if (tenant != tenants_.end()) line["tenant"] = tenant->second.name;
  line["vni"] = event.vni;
  line["protocol"] = protocol_text(event.protocol);
  line["source"] = source.to_string();
  const bool ports = event.protocol == IPPROTO_TCP || event.protocol == IPPROTO_UDP;
  if (ports) line["source_port"] = big_endian(event.source_port);
  line["destination"] = destination.to_string();
  if (ports) line["destination_port"] = big_endian(event.detail);
  if (event.protocol == (event.is_ipv6 != 0 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP})) {
    line["icmp_type"] = event.detail[0];
    line["icmp_code"] = event.detail[1];
  }
  if (event.from_peer != 0) line["from_peer"] = true;
  if (tenant == tenants_.end()) return finish(line);
  const Tenant& known = tenant->second;
  if (const std::string* port = event.from_peer != 0 ? nullptr : known.port(source)) line["from"] = *port;
  if (const std::string* port = known.port(destination)) line["to"] = *port;
  const uint32_t rule = telling(event);
  line["rule"] = policy::rule_text(known.policy, rule);
  if (const policy::NamedRule* named = known.policy.rule(rule & SEPAL_RULE_ID);
      named != nullptr && named->where.file < files_.size())
    line["at"] =
        files_[named->where.file] + ":" + std::to_string(named->where.line) + ":" + std::to_string(named->where.column);
  return finish(line);
}

std::optional<std::string> FlowBook::line(const ConnectionEvent& event, uint64_t time) const {
  const netlink::Connection connection = as_begun(event.connection);
  const auto vni = owner(event);
  if (!vni) return std::nullopt;
  const Tenant& tenant = tenants_.at(*vni);
  const bool ended = event.kind == ConnectionEvent::Kind::ended;
  Json line = begin_line(time, ended ? "ended" : "new");
  line["tenant"] = tenant.name;
  line["vni"] = tenant.vni.value();
  put_flow(line, connection.original);
  if (const std::string* port = tenant.port(connection.original.source)) line["from"] = *port;
  if (const std::string* port = tenant.port(connection.reply.source)) line["to"] = *port;
  put_translation(line, connection);
  if (ended && connection.original_counters) {
    line["packets"] = connection.original_counters->packets;
    line["bytes"] = connection.original_counters->bytes;
  }
  if (ended && connection.reply_counters) {
    line["reply_packets"] = connection.reply_counters->packets;
    line["reply_bytes"] = connection.reply_counters->bytes;
  }
  line["connection"] = connection.id;
  return finish(line);
}

std::optional<Vni> FlowBook::owner(const ConnectionEvent& event) const {
  const auto found = by_zone_.find(event.connection.zone);
  return found == by_zone_.end() ? std::nullopt : std::optional(found->second);
}

std::string FlowBook::lost_line(uint64_t time, uint64_t records, std::string_view where, Vni of) const {
  Json line = begin_line(time, "lost");
  if (const auto tenant = tenants_.find(of); tenant != tenants_.end()) line["tenant"] = tenant->second.name;
  if (of != Vni()) line["vni"] = of.value();
  line["records"] = records;
  line["where"] = where;
  return finish(line);
}

}  // namespace sepal::agent
