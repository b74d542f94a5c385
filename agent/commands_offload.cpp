// offload: why is this not in hardware? One screen: how much is, who is and who is not, and each reason.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/exit_codes.hpp"
#include "agent/offload.hpp"
#include "agent/words.hpp"
#include "tc/pipeline/capabilities.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

// Rules named one by one; the rest is counted. JSON has all.
constexpr size_t kRulesShown = 10;

std::string chain_name(const tc::Rule& rule, tc::BlockKind kind) {
  if (rule.id.chain != 0) return tc::to_string(tc::parse_chain(rule.id.chain));
  return kind == tc::BlockKind::port ? "g0" : "g1";
}

std::string block_name(const OffloadBlock& block) {
  if (block.port != nullptr) return block.port->tenant + "/" + block.port->port;
  switch (block.kind) {
    case tc::BlockKind::vxlan: return "tunnel";
    case tc::BlockKind::uplink: return "uplink";
    case tc::BlockKind::port: break;
  }
  return "-";  // a device that the configuration does not name
}

// Rounded down: 100 % is all of it.
std::string percent(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  const auto tenths = static_cast<unsigned>(1000.0L * static_cast<long double>(part) / static_cast<long double>(whole));
  char text[16];
  std::snprintf(text, sizeof text, "%u.%u %%", tenths / 10, tenths % 10);
  return part >= whole ? "100 %" : text;
}

std::vector<std::string> share_cells(const Share& share) {
  return {">" + std::to_string(share.packets), ">" + percent(share.hw_packets, share.packets),
          ">" + percent(share.hw_bytes, share.bytes)};
}

void append(std::vector<std::string>& row, std::vector<std::string> more) {
  row.insert(row.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void print_summary(const Output& out, const OffloadReport& report, const Shown& shown) {
  if (!report.any_nic) {
    out.line("no NIC: no device here is a port of an eSwitch and nic.pci is not set; everything runs in software");
  } else {
    size_t ports = 0;
    size_t in_hardware = 0;
    for (const OffloadBlock& block : report.blocks) {
      if (block.port == nullptr) continue;
      ++ports;
      in_hardware += block.in_hardware() ? 1U : 0U;
    }
    const bool all = in_hardware == ports;
    out.line(out.paint(all ? Paint::green : Paint::yellow,
                       std::to_string(in_hardware) + " of " + count_text(ports, "port") + " in hardware") +
             "; of " + count_text(report.wanted, "rule") + " that should be " + std::to_string(report.held) + " are" +
             (report.slow > 0 ? ", " + std::to_string(report.slow) + " of them slow" : "") + "; " +
             std::to_string(report.software_only) + " are software by design");
  }
  for (const tc::PortKey& port : shown.waiting)
    out.line(out.paint(Paint::yellow,
                       "waiting: tenant " + port.tenant + ", port " + port.port + ": its device is not there"));
}

void print_blocks(const Output& out, const OffloadReport& report, const Shown& shown) {
  std::vector<std::vector<std::string>> rows{
      {"port", "device", ">rules", ">sent", ">in hw", ">bytes", ">received", ">in hw", ">bytes"}};
  for (const OffloadBlock& block : report.blocks) {
    std::vector<std::string> row{block_name(block), shown.names.device(block.device),
                                 ">" + std::to_string(block.held) + "/" + std::to_string(block.wanted)};
    append(row, share_cells(block.sent));
    if (block.port != nullptr) append(row, share_cells(block.received));
    rows.push_back(std::move(row));
  }
  out.line("");
  out.table(rows, 2);
}

void print_tenants(const Output& out, const OffloadReport& report, const Shown& shown) {
  if (report.tenants.empty()) return;
  std::vector<std::vector<std::string>> rows{
      {"tenant", ">packets", ">in hw", ">bytes", ">connections", ">in hw", ">could be", ">young", ">never"}};
  for (const OffloadTenant& tenant : report.tenants) {
    const auto name = shown.names.tenant_name(tenant.vni);
    std::vector<std::string> row{name ? *name : "vni " + std::to_string(tenant.vni.value())};
    append(row, share_cells(tenant.traffic));
    const ConnectionCount& count = tenant.connections;
    for (size_t number : {count.total, count.hardware, count.software, count.young, count.never})
      row.push_back(">" + std::to_string(number));
    rows.push_back(std::move(row));
  }
  out.line("");
  out.table(rows, 2);
}

std::string lint_text(const OffloadRule& rule) {
  if (!rule.foreseen.empty()) return "; foreseen: " + rule.foreseen;
  if (rule.judges.empty()) return "; not foreseen by lint";
  return "; not foreseen: lint " + rule.judges + " is about such words, and had found nothing";
}

std::string object_of(const OffloadRule& rule, const Shown& shown) {
  return rule.origin ? shown.names.purpose(*rule.origin) : shown.names.tenant(rule.vni);
}

void print_rule(const Output& out, const OffloadRule& rule, const Shown& shown, const OffloadReport& report) {
  tc::BlockKind kind = tc::BlockKind::port;
  for (const OffloadBlock& block : report.blocks)
    if (block.device == rule.rule.id.device) kind = block.kind;
  out.line("  " + shown.names.device(rule.rule.id.device) + "  " + chain_name(rule.rule, kind) + "  prio " +
           std::to_string(rule.rule.id.prio) + "  " + out.paint(Paint::dim, object_of(rule, shown)));
  out.line("      " + match_in_words(rule.rule.spec.match) + " → " + actions_in_words(rule.rule.spec, shown.names));
  out.line("      " +
           out.paint(rule.placed.placement == Placement::slow_path ? Paint::yellow : Paint::red,
                     std::string(to_string(rule.placed.placement)) + ": " + rule.placed.why) +
           (rule.placed.cause == Cause::refused ? lint_text(rule) : ""));
}

// What one rule has of its own to say, and what is said once for all of a device.
bool speaks_for_itself(const OffloadRule& rule) {
  return rule.placed.cause == Cause::refused || rule.placed.cause == Cause::neighbour;
}

void print_reasons(const Output& out, const OffloadReport& report, const Shown& shown) {
  if (report.rules.empty()) return;
  out.line("");
  out.line(out.paint(Paint::bold, "not as it should be"));
  std::map<std::pair<std::string, std::string>, size_t> together;
  size_t alone = 0;
  for (const OffloadRule& rule : report.rules) {
    if (!speaks_for_itself(rule)) {
      ++together[{shown.names.device(rule.rule.id.device), rule.placed.why}];
      continue;
    }
    if (++alone <= kRulesShown) print_rule(out, rule, shown, report);
  }
  if (alone > kRulesShown) out.line("  … and " + count_text(alone - kRulesShown, "rule") + " more (--json has all)");
  for (const auto& [what, count] : together)
    out.line("  " + what.first + "  " + count_text(count, "rule") + "  " + out.paint(Paint::red, what.second));
}

void print_by_design(const Output& out, const OffloadReport& report) {
  if (report.by_design.empty()) return;
  out.line("");
  out.line(out.paint(Paint::bold, "software by design"));
  std::vector<std::vector<std::string>> rows;
  for (const auto& [reason, count] : report.by_design) rows.push_back({">" + std::to_string(count), reason});
  out.table(rows, 2);
}

json share_json(const Share& share) {
  return {{"packets", share.packets},
          {"bytes", share.bytes},
          {"hw_packets", share.hw_packets},
          {"hw_bytes", share.hw_bytes}};
}

json block_json(const OffloadBlock& block, const Shown& shown) {
  json out{{"device", shown.names.device(block.device)},
           {"ifindex", block.device.value()},
           {"block", tc::to_string(block.kind)},
           {"in_hardware", block.in_hardware()},
           {"wanted", block.wanted},
           {"held", block.held},
           {"slow_path", block.slow},
           {"software_only", block.software_only},
           {"sent", share_json(block.sent)}};
  if (block.port != nullptr) {
    out["tenant"] = block.port->tenant;
    out["port"] = block.port->port;
    out["received"] = share_json(block.received);
  }
  if (block.obstacle) {
    out["cause"] = to_string(block.obstacle->cause);
    out["why"] = block.obstacle->why;
  }
  return out;
}

json tenant_json(const OffloadTenant& tenant, const Shown& shown) {
  const ConnectionCount& count = tenant.connections;
  json out{{"vni", tenant.vni.value()},
           {"traffic", share_json(tenant.traffic)},
           {"connections",
            {{"total", count.total},
             {"hardware", count.hardware},
             {"could_be", count.software},
             {"young", count.young},
             {"never", count.never}}}};
  if (const auto name = shown.names.tenant_name(tenant.vni)) out["tenant"] = *name;
  return out;
}

json rule_json(const OffloadRule& rule, const Shown& shown) {
  const tc::RuleId& id = rule.rule.id;
  json out{{"device", shown.names.device(id.device)},
           {"ifindex", id.device.value()},
           {"chain", id.chain},
           {"prio", id.prio},
           {"handle", id.handle},
           {"match", tc::to_text(rule.rule.spec.match)},
           {"words", actions_in_words(rule.rule.spec, shown.names)},
           {"purpose", object_of(rule, shown)}};
  put_placed(out, rule.placed);
  if (rule.placed.cause == Cause::refused) {
    out["foreseen"] = rule.foreseen.empty() ? json(nullptr) : json(rule.foreseen);
    if (!rule.judges.empty()) out["lint"] = rule.judges;
  }
  return out;
}

json report_json(const OffloadReport& report, const Shown& shown, const std::optional<Error>& untracked) {
  json blocks = json::array();
  for (const OffloadBlock& block : report.blocks) blocks.push_back(block_json(block, shown));
  json tenants = json::array();
  for (const OffloadTenant& tenant : report.tenants) tenants.push_back(tenant_json(tenant, shown));
  json rules = json::array();
  for (const OffloadRule& rule : report.rules) rules.push_back(rule_json(rule, shown));
  json by_design = json::array();
  for (const auto& [reason, count] : report.by_design) by_design.push_back({{"why", reason}, {"rules", count}});
  json waiting = json::array();
  for (const tc::PortKey& port : shown.waiting) waiting.push_back({{"tenant", port.tenant}, {"port", port.port}});
  json out{{"as_wanted", report.as_wanted()},   {"nic", report.any_nic},
           {"wanted", report.wanted},           {"held", report.held},
           {"slow_path", report.slow},          {"software_only", report.software_only},
           {"differing", report.differing},     {"blocks", std::move(blocks)},
           {"tenants", std::move(tenants)},     {"not_as_wanted", std::move(rules)},
           {"by_design", std::move(by_design)}, {"waiting", std::move(waiting)}};
  if (untracked) out["connections_unknown"] = untracked->message();
  return out;
}

}  // namespace

void put_placed(json& out, const Placed& placed) {
  out["placement"] = to_string(placed.placement);
  out["wanted_in_hw"] = placed.wanted;
  out["in_hw_count"] = placed.held;
  out["in_hw_expected"] = placed.expected;
  if (placed.cause != Cause::none) out["cause"] = to_string(placed.cause);
  if (!placed.why.empty()) out["why"] = placed.why;
  if (placed.refusal) {
    if (placed.refusal->error != 0) out["errno"] = placed.refusal->error;
    out["driver"] = placed.refusal->words;
  }
}

int command_offload(const Command& command) {
  const auto config = read_for_names(command);
  Kernel kernel = command.kernel;
  auto shown = gather_shown(kernel, config ? &*config : nullptr, command.paths);
  if (!shown) return complain(command, shown.error());
  std::optional<Vni> only;
  if (!tenant_asked(command, shown->names, only)) return kExitError;
  std::map<Zone, ConnectionCount> connections;
  std::optional<Error> untracked;
  auto listed = netlink::for_each_connection(
      kernel.netfilter, [&](const netlink::Connection& connection) { connections[connection.zone].add(connection); });
  if (!listed) untracked = listed.error();
  const OffloadReport report = make_offload_report(*shown, config ? &*config : nullptr, connections, only);
  const Output& out = command.output;
  if (out.json()) {
    out.print(report_json(report, *shown, untracked));
  } else {
    print_summary(out, report, *shown);
    print_blocks(out, report, *shown);
    print_tenants(out, report, *shown);
    print_by_design(out, report);
    print_reasons(out, report, *shown);
    if (untracked) out.line("connections are not known: " + untracked->message());
    if (report.differing > 0)
      out.line(count_text(report.differing, "rule") + " not as the configuration wants; `sepalctl plan` tells which");
    if (!config)
      out.line("no readable configuration in " + command.directory + ": the rules in the kernel are taken as wanted");
  }
  if (!report.as_wanted()) return kExitSoftware;
  return report.differing > 0 ? kExitDifference : kExitOk;
}

}  // namespace sepal::agent
