// nic show, plan, apply, reset: the NIC that the tenants' VFs belong to. The NIC alone: rules are the other commands'.
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/exit_codes.hpp"
#include "agent/lock.hpp"
#include "agent/nic_plan.hpp"
#include "agent/nic_report.hpp"
#include "agent/report.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

// Long enough for a driver that just bound to make its netdev.
constexpr std::chrono::milliseconds kPatience{2'000};

// What one of the commands works on.
struct NicJob {
  std::optional<config::Config> config;  // not asked for by show and reset with --pci
  std::string pci;
  std::string record;  // its path
};

// nullopt: explained, `exit` is the status.
std::optional<NicJob> find_job(const Command& command, bool needs_config, int& exit) {
  NicJob job;
  job.pci = command.options.value("--pci", "");
  if (job.pci.find('/') != std::string::npos) {
    exit = complain(command, {Errc::invalid_config, 0, "--pci " + job.pci + " is not a PCI address", {}});
    return std::nullopt;
  }
  if (needs_config || job.pci.empty()) {
    job.config = read_or_complain(command);
    if (!job.config) {
      exit = kExitInvalid;
      return std::nullopt;
    }
    const config::Nic& nic = job.config->host.nic;
    if (nic.manual_representors) {
      const std::string text = command.directory + " names no NIC (representors: manual): there is nothing to bring up";
      if (command.output.json())
        command.output.print({{"nic", nullptr}, {"note", text}});
      else
        command.output.line(text);
      exit = kExitOk;
      return std::nullopt;
    }
    if (!job.pci.empty() && job.pci != nic.pci) {
      exit =
          complain(command, {Errc::invalid_config,
                             0,
                             "--pci " + job.pci + " is not the NIC of " + command.directory + ", which is " + nic.pci,
                             {}});
      return std::nullopt;
    }
    job.pci = nic.pci;
  }
  job.record = record_path(command.options.value("--state-dir", kStateDirectory), job.pci);
  return job;
}

int show(const Command& command, const NicJob& job) {
  auto card = open_nic(job.pci);
  auto now = look_at_rest(*card, std::chrono::milliseconds(0));
  if (!now) return complain(command, now.error());
  auto record = load_record(job.record, boot_id());
  if (!record) return complain(command, record.error());
  if (command.output.json()) {
    command.output.print({{"nic", to_json(*now)}, {"recorded", record->has_value()}});
    return kExitOk;
  }
  for (const std::string& line : to_lines(*now)) command.output.line(line);
  if (*record) command.output.line("  what it was before is recorded in " + job.record);
  return kExitOk;
}

int plan(const Command& command, const NicJob& job) {
  auto record = load_record(job.record, boot_id());
  if (!record) return complain(command, record.error());
  auto card = open_nic(job.pci);
  auto now = look_at_rest(*card, kPatience);
  if (!now) return complain(command, now.error());
  const NicRecord* before = *record ? &**record : nullptr;
  auto steps = plan_nic(wanted_nic(*job.config, *now, before), *now);
  if (!steps) return complain(command, steps.error());
  if (command.output.json()) {
    command.output.print({{"difference", !steps->empty()}, {"steps", to_json(*steps)}});
  } else {
    for (const NicStep& step : *steps) command.output.line(to_string(step));
    if (steps->empty()) command.output.line("no difference: NIC " + job.pci + " is as wanted");
  }
  return steps->empty() ? kExitOk : kExitDifference;
}

int report(const Command& command, const NicOutcome& outcome, const std::string& done) {
  if (command.output.json()) {
    json out{{"ok", outcome.remarks.empty()}, {"done", to_json(outcome.done)}, {"refused", json::array()}};
    for (const NicRemark& remark : outcome.remarks) out["refused"].push_back(to_json(remark));
    command.output.print(out);
  } else {
    for (const NicRemark& remark : outcome.remarks) command.output.line(to_line(remark));
    command.output.line(done + ": " + count_text(outcome.done.size(), "step"));
  }
  return outcome.remarks.empty() ? kExitOk : kExitRefused;
}

NicRunOptions run_options(const Command& command) {
  NicRunOptions options;
  options.patience = kPatience;
  if (auto seconds = command.options.number("--timeout", 1, 3600); seconds && *seconds) {
    options.deadline = std::chrono::seconds(**seconds);
  }
  if (!command.output.json())
    options.taking = [&command](const NicStep& step) { command.output.line(to_string(step)); };
  return options;
}

// From now on a NIC found in legacy mode fell back to it, and its VFs are in use because we said they may be.
Result<void> save_ready(const std::string& path, NicRecord record) {
  if (record.ready && !record.fell_back) return {};
  record.ready = true;
  record.fell_back = false;
  return save_record(path, record);
}

int apply(const Command& command, const NicJob& job) {
  const std::string boot = boot_id();
  auto record = load_record(job.record, boot);
  if (!record) return complain(command, record.error());
  auto card = open_nic(job.pci);
  auto now = look_at_rest(*card, kPatience);
  if (!now) return complain(command, now.error());
  const NicRecord* before = *record ? &**record : nullptr;
  const NicWanted wanted = wanted_nic(*job.config, *now, before);
  auto steps = plan_nic(wanted, *now);
  if (!steps) return complain(command, steps.error());
  if (steps->empty()) {
    const NicRecord found = before != nullptr ? *before : remember(*now, wanted, boot, nullptr);
    if (auto saved = save_ready(job.record, found); !saved) return complain(command, saved.error());
    return report(command, {}, "NIC " + job.pci + " is as wanted");
  }
  const NicRecord remembered = remember(*now, wanted, boot, before);
  if (before == nullptr || *before != remembered) {
    if (auto saved = save_record(job.record, remembered); !saved) return complain(command, saved.error());
  }
  NicRunOptions options = run_options(command);
  options.patience = std::chrono::milliseconds(0);  // that was had above
  auto outcome = run_nic(
      *card, [&](const NicState& later) { return plan_nic(wanted_nic(*job.config, later, &remembered), later); },
      options);
  if (!outcome) return complain(command, outcome.error());
  if (auto saved = save_ready(job.record, remembered); !saved) return complain(command, saved.error());
  return report(command, *outcome, "NIC " + job.pci + " is ready");
}

int reset(const Command& command, const NicJob& job) {
  auto record = load_record(job.record, boot_id());
  if (!record) return complain(command, record.error());
  if (!*record) return report(command, {}, "NIC " + job.pci + " was not changed since this boot");
  auto card = open_nic(job.pci);
  auto outcome =
      run_nic(*card, [&](const NicState& now) { return plan_nic_reset(**record, now); }, run_options(command));
  if (!outcome) return complain(command, outcome.error());
  // What was refused is still to be put back: the record stays.
  if (outcome->remarks.empty()) {
    if (auto removed = remove_record(job.record); !removed) return complain(command, removed.error());
  }
  return report(command, *outcome, "NIC " + job.pci + " is what it was");
}

// One writer per NIC, whatever the instance.
std::optional<WriterLock> lock_nic(const Command& command, const NicJob& job, int& exit) {
  if (auto made = make_run_directory(command.paths); !made) {
    exit = complain(command, made.error());
    return std::nullopt;
  }
  auto lock = WriterLock::take(command.paths.directory + "/nic-" + job.pci + ".lock");
  if (lock) return std::move(*lock);
  complain(command, lock.error());
  exit = lock.error().code == Errc::conflict ? kExitLocked : kExitError;
  return std::nullopt;
}

}  // namespace

int command_nic(const Command& command) {
  struct Entry {
    std::string_view name;
    int (*run)(const Command&, const NicJob&);
    bool needs_config;
    bool writes;
  };
  static constexpr Entry kEntries[] = {{"show", show, false, false},
                                       {"plan", plan, true, false},
                                       {"apply", apply, true, true},
                                       {"reset", reset, false, true}};
  const auto& words = command.options.words();
  const std::string name = words.size() > 1 ? words[1] : "";
  for (const Entry& entry : kEntries) {
    if (entry.name != name) continue;
    int exit = kExitOk;
    const auto job = find_job(command, entry.needs_config, exit);
    if (!job) return exit;
    std::optional<WriterLock> lock;
    if (entry.writes && !(lock = lock_nic(command, *job, exit))) return exit;
    return entry.run(command, *job);
  }
  command.output.complain(name.empty() ? "nic: which command? show, plan, apply or reset"
                                       : "nic: unknown command '" + name + "'");
  return kExitUsage;
}

}  // namespace sepal::agent
