// verify: every rule as the kernel tells it in full, against what the configuration compiles to. Cookies prove only
// that nobody changed a rule since we wrote it; this also proves that the kernel understood what we wrote.
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/exit_codes.hpp"
#include "agent/filters.hpp"
#include "agent/reconciler.hpp"
#include "agent/words.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

struct Mismatch {
  std::string wanted;  // empty: a rule of ours that nobody wants
  std::string kernel;  // empty: missing
};

using FilterMap = std::map<tc::RuleId, Filter>;

Result<FilterMap> our_filters(Kernel& kernel, const Difference& difference) {
  std::set<IfIndex> devices;
  for (const tc::Observed& rule : difference.world.observed) devices.insert(rule.id.device);
  FilterMap filters;
  for (IfIndex device : devices) {
    auto dumped = dump_filters(kernel.route, device);
    if (!dumped) return Unexpected(while_doing(dumped.error(), difference.world.device_name(device)));
    for (Filter& filter : *dumped) {
      const auto& cookie = filter.state.cookie;
      if (cookie && cookie->instance == difference.world.facts.instance)
        filters.emplace(filter.rule.id, std::move(filter));
    }
  }
  return filters;
}

std::vector<Mismatch> compare(const Difference& difference, FilterMap filters, const Names& names) {
  std::vector<Mismatch> mismatches;
  for (const tc::CompiledRule& wanted : difference.wanted.rules) {
    auto found = filters.find(wanted.rule.id);
    if (found == filters.end()) {
      mismatches.push_back({rule_text(wanted.rule, names), {}});
      continue;
    }
    if (!(found->second.rule.spec == wanted.rule.spec) || found->second.state.unknown_attributes > 0)
      mismatches.push_back({rule_text(wanted.rule, names), rule_text(found->second.rule, names)});
    filters.erase(found);
  }
  for (const auto& [id, filter] : filters) mismatches.push_back({{}, rule_text(filter.rule, names)});
  return mismatches;
}

}  // namespace

int command_verify(const Command& command) {
  const auto config = read_or_complain(command);
  if (!config) return kExitInvalid;
  Kernel kernel = command.kernel;
  auto difference = find_difference(kernel, *config, command.paths);
  if (!difference) return complain(command, difference.error());
  auto filters = our_filters(kernel, *difference);
  if (!filters) return complain(command, filters.error());
  const Names names(&*config, difference->world.facts.ports, difference->world.devices);
  const std::vector<Mismatch> mismatches = compare(*difference, std::move(*filters), names);
  if (command.output.json()) {
    json list = json::array();
    for (const Mismatch& mismatch : mismatches)
      list.push_back({{"wanted", mismatch.wanted}, {"kernel", mismatch.kernel}});
    command.output.print({{"rules", difference->wanted.rules.size()}, {"mismatches", std::move(list)}});
  } else {
    for (const Mismatch& mismatch : mismatches) {
      command.output.line("wanted " + (mismatch.wanted.empty() ? "nothing" : mismatch.wanted));
      command.output.line("kernel " + (mismatch.kernel.empty() ? "nothing" : mismatch.kernel));
    }
    command.output.line(count_text(difference->wanted.rules.size(), "rule") + ", " + std::to_string(mismatches.size()) +
                        " told differently by the kernel");
  }
  return mismatches.empty() ? kExitOk : kExitDifference;
}

}  // namespace sepal::agent
