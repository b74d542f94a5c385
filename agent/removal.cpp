// Filters first, then what they stood in, then what they pointed to.
#include "agent/removal.hpp"

#include <unistd.h>

#include "agent/clsact.hpp"
#include "agent/connections.hpp"
#include "agent/execution.hpp"
#include "agent/last_pass.hpp"
#include "agent/state.hpp"
#include "agent/world.hpp"
#include "base/limits.hpp"
#include "tc/pipeline/diff.hpp"

namespace sepal::agent {
namespace {

Result<void> remove_rules(Kernel& kernel, const World& world, const Progress& progress, RemovalReport& report) {
  const std::vector<tc::CompiledRule> nothing;
  const std::vector<tc::Step> steps = tc::diff(nothing, world.observed);
  ExecutionInput input{nothing, world, steps};
  input.progress = progress;
  auto outcome = execute(kernel, input);
  if (!outcome) return Unexpected(outcome.error());
  report.rules = outcome->removed;
  for (const auto& [id, error] : outcome->not_removed)
    report.problems.push_back("filter on " + world.device_name(id.device) + ": " + error.message());
  if (outcome->stopped) return fail(Errc::transient, "stopped before everything was removed");
  return {};
}

void end_all_connections(Kernel& kernel, const World& world, const SavedState& saved, RemovalReport& report) {
  Departed gone;
  std::set<Zone> zones;
  for (const auto& [vni, zone] : world.facts.zones)
    if (vni.value() <= limits::kVniMax) zones.insert(zone);
  for (const auto& [vni, tenant] : saved.tenants) zones.insert(tenant.zone);
  gone.zones.assign(zones.begin(), zones.end());
  auto ended = end_connections(kernel, gone);
  if (ended)
    report.connections = *ended;
  else
    report.problems.push_back(ended.error().message());
}

}  // namespace

Result<RemovalReport> remove_everything(Kernel& kernel, const Paths& paths, const Progress& progress) {
  RemovalReport report;
  forget_last_pass(paths.last);
  const SavedState saved = load_state(paths.state);
  auto world = look(kernel, {nullptr, paths.instance, &saved});
  if (!world) return Unexpected(world.error());
  if (auto removed = remove_rules(kernel, *world, progress, report); !removed) return Unexpected(removed.error());
  for (IfIndex device : world->clsact) {
    auto detached = detach_clsact(kernel, device, world->facts.instance);
    if (!detached)
      report.problems.push_back("clsact on " + world->device_name(device) + ": " + detached.error().message());
    else if (*detached)
      report.removed.push_back("clsact on " + world->device_name(device));
  }
  for (const OwnDevice& device : world->own_vxlans) {
    const std::string text = "vxlan device " + device.name;
    auto deleted = netlink::delete_vxlan(kernel.route, device.name, paths.instance);
    if (!deleted)
      report.problems.push_back(while_doing(deleted.error(), text).message());
    else if (*deleted)
      report.removed.push_back(text);
  }
  if (auto unpinned = kernel.slow_path.unpin(); !unpinned)
    report.problems.push_back(unpinned.error().message());
  else if (*unpinned)
    report.removed.push_back("eBPF objects");
  end_all_connections(kernel, *world, saved, report);
  if (report.problems.empty()) ::unlink(paths.state.c_str());
  return report;
}

}  // namespace sepal::agent
