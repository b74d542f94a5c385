// connections: the conntrack entries of our tenants' zones, and their deletion one by one.
#include <map>
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/connections.hpp"
#include "agent/exit_codes.hpp"
#include "agent/flow_words.hpp"
#include "agent/world.hpp"
#include "base/limits.hpp"
#include "netlink/conntrack.hpp"
#include "tc/rule/match.hpp"

namespace sepal::agent {
namespace {

using netlink::Connection;
using netlink::ConnectionTuple;
using nlohmann::json;

bool is_icmp(const ConnectionTuple& tuple) {
  return tuple.protocol == tc::kProtoIcmp || tuple.protocol == tc::kProtoIcmpv6;
}

std::string tuple_text(const ConnectionTuple& tuple) {
  const bool ports = tuple.source_port != 0 || tuple.destination_port != 0;
  std::string text = end_text(tuple.source, tuple.source_port, ports) + " → " +
                     end_text(tuple.destination, tuple.destination_port, ports);
  if (is_icmp(tuple)) text += " id " + std::to_string(tuple.icmp_id);
  return text;
}

// "as 203.0.113.10:1024" when the reply shows another address than the first packet did.
std::string translation_text(const Connection& connection) {
  const ConnectionTuple& first = connection.original;
  const ConnectionTuple& back = connection.reply;
  std::string text;
  const bool ports = back.source_port != 0 || back.destination_port != 0;
  if (back.destination != first.source || back.destination_port != first.source_port)
    text = "as " + end_text(back.destination, back.destination_port, ports);
  if (back.source != first.destination || back.source_port != first.destination_port)
    text += (text.empty() ? "to " : " to ") + end_text(back.source, back.source_port, ports);
  return text;
}

json tuple_json(const ConnectionTuple& tuple) {
  json out{{"source", tuple.source.to_string()},
           {"destination", tuple.destination.to_string()},
           {"protocol", protocol_text(tuple.protocol)}};
  if (is_icmp(tuple)) {
    out["icmp_type"] = tuple.icmp_type;
    out["icmp_code"] = tuple.icmp_code;
    out["icmp_id"] = tuple.icmp_id;
  } else {
    out["source_port"] = tuple.source_port;
    out["destination_port"] = tuple.destination_port;
  }
  return out;
}

struct Tenancy {
  Names names;
  std::map<Zone, Vni> owners;  // the zones asked for
};

// nullopt: explained already.
std::optional<Tenancy> find_tenancy(const Command& command, Kernel& kernel,
                                    const std::optional<config::Config>& config) {
  const SavedState saved = load_state(command.paths.state);
  auto world = look(kernel, {nullptr, command.paths.instance, &saved});
  if (!world) {
    complain(command, world.error());
    return std::nullopt;
  }
  Tenancy tenancy{Names(config ? &*config : nullptr, {}, world->devices), {}};
  std::optional<Vni> only;
  if (command.options.has("--tenant")) {
    only = tenant_given(command, tenancy.names);
    if (!only) return std::nullopt;
  }
  for (const auto& [vni, zone] : world->facts.zones)
    if (vni.value() <= limits::kVniMax && (!only || vni == *only)) tenancy.owners.emplace(zone, vni);
  return tenancy;
}

}  // namespace

int command_connections(const Command& command) {
  const auto config = read_for_names(command);
  Kernel kernel = command.kernel;
  const auto tenancy = find_tenancy(command, kernel, config);
  if (!tenancy) return kExitError;
  const Output& out = command.output;
  if (command.options.has("--delete")) {
    auto deleted = netlink::delete_connections(
        kernel.netfilter, [&](const Connection& connection) { return tenancy->owners.contains(connection.zone); });
    if (!deleted) return complain(command, deleted.error());
    if (out.json())
      out.print({{"deleted", *deleted}});
    else
      out.line(count_text(*deleted, "connection") + " deleted");
    return kExitOk;
  }
  json list = json::array();
  std::vector<std::vector<std::string>> rows;
  auto listed = netlink::for_each_connection(kernel.netfilter, [&](const Connection& entry_of_kernel) {
    const Connection connection = as_begun(entry_of_kernel);
    const auto owner = tenancy->owners.find(connection.zone);
    if (owner == tenancy->owners.end()) return;
    if (out.json()) {
      json entry{{"vni", owner->second.value()},
                 {"zone", connection.zone.value()},
                 {"id", connection.id},
                 {"mark", connection.mark},
                 {"timeout", connection.timeout_s},
                 {"original", tuple_json(connection.original)},
                 {"reply", tuple_json(connection.reply)}};
      if (const auto name = tenancy->names.tenant_name(owner->second)) entry["tenant"] = *name;
      list.push_back(std::move(entry));
    } else {
      rows.push_back({tenancy->names.tenant(owner->second), protocol_text(connection.original.protocol),
                      tuple_text(connection.original), translation_text(connection),
                      ">" + std::to_string(connection.timeout_s) + " s left"});
    }
  });
  if (!listed) return complain(command, listed.error());
  if (out.json()) {
    out.print({{"connections", std::move(list)}});
    return kExitOk;
  }
  std::sort(rows.begin(), rows.end());
  out.table(rows, 0);
  out.line(count_text(rows.size(), "connection"));
  return kExitOk;
}

}  // namespace sepal::agent
