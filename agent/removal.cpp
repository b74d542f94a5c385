// Filters first, then what they stood in, then what they pointed to.
#include "agent/removal.hpp"

#include <unistd.h>

#include <chrono>
#include <thread>

#include "agent/changes.hpp"
#include "agent/clsact.hpp"
#include "agent/connections.hpp"
#include "agent/execution.hpp"
#include "agent/last_pass.hpp"
#include "agent/shared_actions.hpp"
#include "agent/state.hpp"
#include "agent/world.hpp"
#include "base/limits.hpp"
#include "tc/pipeline/diff.hpp"

namespace sepal::agent {
namespace {

// How long the kernel may take to let go of the actions of filters that are gone: it waits for an RCU grace period, and
// does the rest when it finds the time.
constexpr std::chrono::seconds kLetGo{5};
constexpr std::chrono::milliseconds kLetGoPause{20};

Result<void> remove_rules(Kernel& kernel, const World& world, const Progress& progress, RemovalReport& report) {
  const std::vector<tc::CompiledRule> nothing;
  const std::vector<tc::Step> steps = tc::diff(nothing, world.observed);
  SharedActions none(world.facts.instance);
  ExecutionInput input{nothing, world, steps, none};
  input.progress = progress;
  auto outcome = execute(kernel, input);
  if (!outcome) return Unexpected(outcome.error());
  report.rules = outcome->removed;
  for (const auto& [id, error] : outcome->not_removed)
    report.problems.push_back("filter on " + world.device_name(id.device) + ": " + error.message());
  if (outcome->stopped) return fail(Errc::transient, "stopped before everything was removed");
  return {};
}

Result<void> remove_shared_actions(Kernel& kernel, const World& world, const Progress& progress,
                                   RemovalReport& report) {
  SharedActions shared(world.facts.instance);
  size_t gone = 0;
  const auto until = std::chrono::steady_clock::now() + kLetGo;
  for (;;) {
    auto dropped = shared.drop_unused(kernel.route);
    if (!dropped) return Unexpected(dropped.error());
    gone += *dropped;
    if (shared.count() == 0 || std::chrono::steady_clock::now() >= until) break;
    if (progress && !progress()) return fail(Errc::transient, "stopped before everything was removed");
    std::this_thread::sleep_for(kLetGoPause);
  }
  if (gone > 0) report.removed.push_back(count_text(gone, "shared action"));
  if (shared.count() > 0)
    report.problems.push_back(count_text(shared.count(), "shared action") +
                              " of ours cannot go: filters of others refer to them (`tc actions list action pedit`)");
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
  if (auto removed = remove_shared_actions(kernel, *world, progress, report); !removed)
    return Unexpected(removed.error());
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
  if (report.problems.empty()) {
    ::unlink(paths.state.c_str());
    ::unlink(paths.hardware.c_str());
  }
  return report;
}

}  // namespace sepal::agent
