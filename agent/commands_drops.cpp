// drops: what was dropped, by tenant, port and reason, and the verdicts of security groups by rule.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/commands.hpp"
#include "agent/drops.hpp"
#include "agent/exit_codes.hpp"
#include "agent/report.hpp"
#include "policy/network.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

struct Verdicts {
  policy::RuleCount count;
  std::string rule;  // in words
};

// Of tenants in the configuration: a rule's id means nothing without it.
std::vector<Verdicts> verdicts_of(const std::vector<policy::RuleCount>& counts, const config::Config& config) {
  std::map<Vni, policy::TenantPolicy> policies;
  for (policy::TenantPolicy& policy : policy::compile(config)) policies.emplace(policy.vni, std::move(policy));
  std::vector<Verdicts> verdicts;
  for (const policy::RuleCount& count : counts) {
    const auto policy = policies.find(count.vni);
    if (policy == policies.end()) continue;
    verdicts.push_back({count, policy::rule_text(policy->second, count.rule)});
  }
  return verdicts;
}

json to_json(const Drop& drop, const Names& names) {
  json out{{"vni", drop.vni.value()},
           {"where", drop.where},
           {"reason", tc::to_string(drop.reason)},
           {"packets", drop.packets}};
  if (drop.bytes > 0) out["bytes"] = drop.bytes;
  if (const auto tenant = names.tenant_name(drop.vni)) out["tenant"] = *tenant;
  return out;
}

json to_json(const Verdicts& verdicts, const Names& names) {
  json out{{"vni", verdicts.count.vni.value()},
           {"rule", verdicts.rule},
           {"allowed", verdicts.count.allowed},
           {"denied", verdicts.count.denied},
           {"audited", verdicts.count.audited}};
  if (const auto tenant = names.tenant_name(verdicts.count.vni)) out["tenant"] = *tenant;
  return out;
}

std::string number(uint64_t count) { return ">" + std::to_string(count); }

void print(const Output& out, const std::vector<Drop>& drops, const std::vector<Verdicts>& verdicts, bool reasons_known,
           const Names& names) {
  std::vector<std::vector<std::string>> rows;
  for (const Drop& drop : drops)
    rows.push_back({names.tenant(drop.vni), drop.where, std::string(tc::to_string(drop.reason)),
                    number(drop.packets) + " packets", drop.bytes > 0 ? number(drop.bytes) + " bytes" : ""});
  if (rows.empty() && reasons_known) out.line("nothing was dropped");
  out.table(rows, 0);
  if (verdicts.empty()) return;
  out.line("");
  out.line(out.paint(Paint::bold, "new connections, by the rule of security groups that decided"));
  rows.clear();
  for (const Verdicts& v : verdicts)
    rows.push_back({names.tenant(v.count.vni), v.rule, number(v.count.allowed) + " allowed",
                    number(v.count.denied) + " denied", number(v.count.audited) + " audited"});
  out.table(rows, 2);
}

}  // namespace

int command_drops(const Command& command) {
  if (command.options.has("--follow")) return command_drops_follow(command);
  const auto config = read_for_names(command);
  Kernel kernel = command.kernel;
  auto shown = gather_shown(kernel, config ? &*config : nullptr, command.paths);
  if (!shown) return complain(command, shown.error());
  std::optional<Vni> only;
  if (!tenant_asked(command, shown->names, only)) return kExitError;
  std::vector<Drop> drops = drops_of(*shown);
  std::vector<Verdicts> verdicts;
  std::optional<Error> no_counts;
  if (config && !policy::judged_tenants(*config).empty()) {
    auto counts = kernel.slow_path.policy_counts();
    if (counts) verdicts = verdicts_of(*counts, *config);
    if (!counts) no_counts = counts.error();
  }
  if (only) {
    std::erase_if(drops, [&](const Drop& drop) { return drop.vni != *only; });
    std::erase_if(verdicts, [&](const Verdicts& v) { return v.count.vni != *only; });
  }
  // Which rule drops for which reason is the configuration's to say.
  const bool reasons_known = shown->wanted.has_value();
  const Output& out = command.output;
  if (!out.json()) {
    print(out, drops, verdicts, reasons_known, shown->names);
    if (!reasons_known)
      out.line(command.directory + (config ? " does not compile on this host" : " holds no readable configuration") +
               ", so only drops by actions are told; `sepalctl plan` says why");
    if (no_counts) return complain(command, *no_counts);
    return kExitOk;
  }
  json list = json::array();
  for (const Drop& drop : drops) list.push_back(to_json(drop, shown->names));
  json by_rule = json::array();
  for (const Verdicts& v : verdicts) by_rule.push_back(to_json(v, shown->names));
  json told{{"drops", std::move(list)}, {"security_groups", std::move(by_rule)}, {"reasons_known", reasons_known}};
  if (no_counts) told["error"] = to_json(*no_counts);
  out.print(told);
  return no_counts ? kExitError : kExitOk;
}

}  // namespace sepal::agent
