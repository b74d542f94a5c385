// plan, apply, remove: the kernel against a configuration. While a daemon runs, it is the one that writes.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/control.hpp"
#include "agent/exit_codes.hpp"
#include "agent/lock.hpp"
#include "agent/reconciler.hpp"
#include "agent/removal.hpp"
#include "agent/report.hpp"
#include "agent/words.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

// The lock, or the daemon that has it, or what stands in the way.
struct Writer {
  std::optional<WriterLock> lock;
  std::optional<json> reply;  // the daemon's, to the request
  int exit = kExitOk;         // when neither is there, already explained
};

Writer become_writer(const Command& command, const json& request) {
  Writer writer;
  if (auto made = make_run_directory(command.paths); !made) {
    writer.exit = complain(command, made.error());
    return writer;
  }
  auto lock = WriterLock::take(command.paths.lock);
  if (lock) {
    writer.lock = std::move(*lock);
    return writer;
  }
  if (lock.error().code != Errc::conflict) {
    writer.exit = complain(command, lock.error());
    return writer;
  }
  auto reply = ask_daemon(command.paths.socket, request, std::chrono::seconds(600));
  if (reply) {
    writer.reply = std::move(*reply);
    return writer;
  }
  complain(command, reply.error().code == Errc::not_found ? lock.error() : reply.error());
  writer.exit = reply.error().code == Errc::not_found ? kExitLocked : kExitError;
  return writer;
}

std::vector<Filter> dump_removed(Kernel& kernel, const Difference& difference) {
  std::set<IfIndex> devices;
  for (const tc::Step& step : difference.steps)
    if (step.kind != tc::Step::Kind::add)
      devices.insert(step.kind == tc::Step::Kind::remove ? difference.world.observed[step.rule].id.device
                                                         : difference.wanted.rules[step.rule].rule.id.device);
  std::vector<Filter> filters;
  for (IfIndex device : devices)
    if (auto dumped = dump_filters(kernel.route, device))
      std::move(dumped->begin(), dumped->end(), std::back_inserter(filters));
  return filters;
}

struct RuleLine {
  char sign;
  std::string text;
};

std::vector<RuleLine> rule_lines(const Difference& difference, const std::vector<Filter>& old, const Names& names) {
  std::map<tc::RuleId, const Filter*> now;
  for (const Filter& filter : old) now.emplace(filter.rule.id, &filter);
  std::vector<RuleLine> lines;
  for (const tc::Step& step : difference.steps) {
    if (step.kind == tc::Step::Kind::remove) {
      const tc::RuleId& id = difference.world.observed[step.rule].id;
      const auto found = now.find(id);
      lines.push_back({'-', found == now.end() ? describe_place(names.device(id.device), id, "flower")
                                               : rule_text(found->second->rule, names)});
      continue;
    }
    const tc::Rule& rule = difference.wanted.rules[step.rule].rule;
    if (step.kind == tc::Step::Kind::replace) {
      if (const auto found = now.find(rule.id); found != now.end())
        lines.push_back({'<', rule_text(found->second->rule, names)});
    }
    lines.push_back({step.kind == tc::Step::Kind::add ? '+' : '~', rule_text(rule, names)});
  }
  return lines;
}

std::string sign_word(char sign) {
  switch (sign) {
    case '+': return "add";
    case '~': return "replace";
    case '<': return "old";
    default: return "remove";
  }
}

Paint sign_paint(char sign) {
  if (sign == '+') return Paint::green;
  if (sign == '-') return Paint::red;
  return sign == '~' ? Paint::yellow : Paint::dim;
}

struct StepCounts {
  size_t add = 0, replace = 0, remove = 0;
  explicit StepCounts(const std::vector<tc::Step>& steps) {
    for (const tc::Step& step : steps)
      ++(step.kind == tc::Step::Kind::add ? add : step.kind == tc::Step::Kind::replace ? replace : remove);
  }
};

json plan_json(const Difference& difference, const std::vector<Change>& changes, const std::vector<RuleLine>& rules,
               bool with_rules, const Names& names) {
  const StepCounts counts(difference.steps);
  json out{{"difference", difference.any()},
           {"add", counts.add},
           {"replace", counts.replace},
           {"remove", counts.remove},
           {"make", difference.to_make},
           {"notes", difference.wanted.notes},
           {"rules_wanted", difference.wanted.rules.size()},
           {"changes", json::array()},
           {"waiting", json::array()}};
  for (const Change& change : changes) {
    json entry{{"change", sign_word(change.sign)},
               {"vni", change.vni.value()},
               {"object", change.object},
               {"rules", change.rules},
               {"blocks", change.blocks}};
    if (const auto tenant = names.tenant_name(change.vni)) entry["tenant"] = *tenant;
    out["changes"].push_back(std::move(entry));
  }
  for (const tc::PortKey& port : difference.wanted.waiting)
    out["waiting"].push_back({{"tenant", port.tenant}, {"port", port.port}});
  if (with_rules) {
    out["rules"] = json::array();
    for (const RuleLine& line : rules) out["rules"].push_back({{"change", sign_word(line.sign)}, {"rule", line.text}});
  }
  return out;
}

void print_plan(const Command& command, const Difference& difference, const std::vector<Change>& changes,
                const std::vector<RuleLine>& rules, const Names& names) {
  const Output& out = command.output;
  std::optional<Vni> current;
  std::vector<std::vector<std::string>> rows;
  auto flush = [&] {
    out.table(rows, 2);
    rows.clear();
  };
  if (!difference.to_make.empty()) {
    out.line(out.paint(Paint::bold, "this host"));
    for (const std::string& make : difference.to_make) out.line("  " + out.paint(Paint::green, "+") + " " + make);
  }
  for (const Change& change : changes) {
    if (current != change.vni) {
      flush();
      std::string title = names.tenant(change.vni);
      if (names.tenant_name(change.vni)) title += " (vni " + std::to_string(change.vni.value()) + ")";
      if (change.vni == Vni()) title = "host: uplink and tunnel";
      out.line(out.paint(Paint::bold, title));
      current = change.vni;
    }
    rows.push_back({out.paint(sign_paint(change.sign), std::string(1, change.sign)) + " " + change.object,
                    count_text(change.rules, "rule"), "in " + count_text(change.blocks, "block")});
  }
  flush();
  for (const RuleLine& line : rules)
    out.line(out.paint(sign_paint(line.sign), std::string(1, line.sign) + " " + line.text));
  for (const tc::PortKey& port : difference.wanted.waiting)
    out.line(out.paint(Paint::yellow,
                       "waiting: tenant " + port.tenant + ", port " + port.port + ": its device is not there"));
  for (const std::string& note : difference.wanted.notes) out.line(out.paint(Paint::yellow, note));
  const StepCounts counts(difference.steps);
  if (!difference.any())
    out.line("no difference: " + count_text(difference.wanted.rules.size(), "rule") + " in place");
  else
    out.line(std::to_string(counts.add) + " to add, " + std::to_string(counts.replace) + " to replace, " +
             std::to_string(counts.remove) + " to remove, of " + count_text(difference.wanted.rules.size(), "rule"));
}

}  // namespace

int command_plan(const Command& command) {
  const auto config = read_or_complain(command);
  if (!config) return kExitInvalid;
  Kernel kernel = command.kernel;
  auto difference = find_difference(kernel, *config, command.paths);
  if (!difference) return complain(command, difference.error());
  const Names names(&*config, difference->world.facts.ports, difference->world.devices);
  const std::vector<Filter> old = dump_removed(kernel, *difference);
  const auto changes = summarize(names, difference->wanted.rules, difference->world.observed, difference->steps, old);
  const bool with_rules = command.options.has("--rules");
  const auto rules = with_rules ? rule_lines(*difference, old, names) : std::vector<RuleLine>();
  if (command.output.json())
    command.output.print(plan_json(*difference, changes, rules, with_rules, names));
  else
    print_plan(command, *difference, changes, rules, names);
  return difference->any() ? kExitDifference : kExitOk;
}

int command_apply(const Command& command) {
  const auto config = read_or_complain(command);
  if (!config) return kExitInvalid;
  std::error_code ignored;
  const std::string directory = std::filesystem::absolute(command.directory, ignored).string();
  Writer writer = become_writer(command, {{"do", "apply"}, {"directory", directory}});
  if (writer.reply) return relay(command, *writer.reply);
  if (!writer.lock) return writer.exit;
  Reconciler reconciler(command.kernel, command.paths);
  auto report = reconciler.apply(*config, {});
  if (!report) return complain(command, report.error());
  const auto& troubles = reconciler.troubles();
  if (command.output.json()) {
    json out = to_json(*report, troubles);
    out["ok"] = troubles.empty() && report->problems.empty();
    command.output.print(out);
  } else {
    for (const std::string& line : to_lines(*report, troubles)) command.output.line(line);
    command.output.line(std::to_string(report->outcome.added) + " added, " + std::to_string(report->outcome.replaced) +
                        " replaced, " + std::to_string(report->outcome.removed) + " removed; " +
                        status_line(*report, troubles, config->tenants.size()));
  }
  if (!troubles.empty()) return kExitRefused;
  if (!report->problems.empty() || !report->outcome.not_removed.empty()) return kExitError;
  return report->software.empty() ? kExitOk : kExitSoftware;
}

int command_remove(const Command& command) {
  Writer writer = become_writer(command, {{"do", "remove"}});
  if (writer.reply) return relay(command, *writer.reply);
  if (!writer.lock) return writer.exit;
  Kernel kernel = command.kernel;
  auto report = remove_everything(kernel, command.paths, {});
  if (!report) return complain(command, report.error());
  if (command.output.json())
    command.output.print(to_json(*report));
  else
    for (const std::string& line : to_lines(*report)) command.output.line(line);
  if (!report->problems.empty()) return kExitError;
  std::error_code ignored;
  std::filesystem::remove(command.paths.socket, ignored);  // of a daemon that was killed
  writer.lock->remove_file();
  std::filesystem::remove(command.paths.directory, ignored);  // only when it is empty
  return kExitOk;
}

}  // namespace sepal::agent
