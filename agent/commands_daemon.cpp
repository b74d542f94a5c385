// status and reload: what is asked of a running daemon, and what can be said without one.
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/control.hpp"
#include "agent/exit_codes.hpp"
#include "agent/report.hpp"
#include "agent/world.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

int status_without_daemon(const Command& command) {
  Kernel kernel = command.kernel;
  auto world = look(kernel, {nullptr, command.paths.instance, nullptr});
  if (!world) return complain(command, world.error());
  std::set<IfIndex> devices;
  for (const tc::Observed& rule : world->observed) devices.insert(rule.id.device);
  if (command.output.json())
    command.output.print({{"running", false},
                          {"instance", command.paths.instance},
                          {"rules", world->observed.size()},
                          {"devices", devices.size()},
                          {"foreign", world->foreign.size()}});
  else
    command.output.line("sepald is not running; instance " + command.paths.instance + " has " +
                        count_text(world->observed.size(), "rule") + " on " + count_text(devices.size(), "device") +
                        " in the kernel, which go on working");
  return kExitOk;
}

// "40 questions, 38 answered; 2 lost: nobody listened, or too many asked at once"
std::string guests_line(const json& guests) {
  uint64_t asked = 0;
  uint64_t answered = 0;
  const json kinds = guests.value("questions", json::object());
  for (const auto& [kind, count] : kinds.items()) {
    asked += count.value("asked", uint64_t{0});
    answered += count.value("answered", uint64_t{0});
  }
  std::string line = count_text(asked, "question") + ", " + std::to_string(answered) + " answered";
  if (const auto lost = guests.value("lost", uint64_t{0}); lost > 0)
    line += "; " + std::to_string(lost) + " lost: nobody listened, or too many asked at once";
  return guests.value("hears", false) ? line : line + "; nobody listens";
}

// "3 tenants bounded, none full", "3 tenants bounded; full: blue"
std::string connections_line(const json& tenants) {
  std::string full;
  for (const json& tenant : tenants)
    if (tenant.value("full", false)) full += (full.empty() ? "" : ", ") + tenant.value("tenant", "");
  return count_text(tenants.size(), "tenant") + " bounded" + (full.empty() ? ", none full" : "; full: " + full);
}

void print_status(const Output& out, const json& status) {
  const json report = status.value("report", json::object());
  std::vector<std::vector<std::string>> rows{
      {"sepald", "running, pid " + std::to_string(status.value("pid", 0)) + ", for " +
                     std::to_string(status.value("running_seconds", 0)) + " s"},
      {"instance", status.value("instance", "")},
      {"configuration", status.value("config", "") + ", " + count_text(status.value("tenants", size_t{0}), "tenant")},
      {"rules", status.value("summary", "")},
      {"looks", "every " + std::to_string(status.value("look_interval_ms", 0)) + " ms, " +
                    std::to_string(status.value("look_cpu_ms", 0)) + " ms of CPU each"}};
  if (const size_t foreign = report.value("foreign", size_t{0}); foreign > 0)
    rows.push_back({"others", count_text(foreign, "filter") + " (sepalctl show --foreign)"});
  if (status.contains("guests")) rows.push_back({"guests", guests_line(status["guests"])});
  if (const json bounded = status.value("connections", json::array()); !bounded.empty())
    rows.push_back({"connections", connections_line(bounded)});
  out.table(rows, 0);
  if (status.contains("error"))
    out.line(out.paint(Paint::red, "last pass failed: " + status["error"].value("message", "")));
  for (const auto& fault : status.value("faults", json::array()))
    out.line(out.paint(Paint::red, "fault: " + fault.value("file", "") + ":" + std::to_string(fault.value("line", 0)) +
                                       ":" + std::to_string(fault.value("column", 0)) + ": " +
                                       fault.value("what", "")));
  for (const auto& note : report.value("notes", json::array()))
    out.line(out.paint(Paint::yellow, note.get<std::string>()));
  for (const auto& port : report.value("waiting", json::array()))
    out.line(out.paint(Paint::yellow, "waiting: tenant " + port.value("tenant", "") + ", port " +
                                          port.value("port", "") + ": its device is not there"));
  for (const auto& problem : report.value("problems", json::array()))
    out.line(out.paint(Paint::red, "problem: " + problem.get<std::string>()));
  for (const auto& unit : report.value("software", json::array())) {
    out.line(out.paint(Paint::yellow, "in software: " + software_line(unit)));
    out.line("             rule: " + unit.value("rule", ""));
  }
  for (const auto& trouble : report.value("refused", json::array())) {
    out.line(out.paint(Paint::red, "refused: " + refusal_line(trouble)));
    out.line("         " + trouble.value("rule", ""));
  }
}

}  // namespace

int relay(const Command& command, const json& reply) {
  const int code = reply.value("exit", static_cast<int>(kExitError));
  if (command.output.json()) {
    command.output.print(reply);
    return code;
  }
  const json report = reply.value("report", json::object());
  for (const char* list : {"made", "changes", "notes", "removed"})
    if (const auto lines = report.find(list); lines != report.end() && lines->is_array())
      for (const auto& line : *lines) command.output.line(line.get<std::string>());
  for (const auto& port : report.value("waiting", json::array()))
    command.output.line("waiting: tenant " + port.value("tenant", "") + ", port " + port.value("port", "") +
                        ": its device is not there");
  for (const auto& problem : report.value("problems", json::array()))
    command.output.line("problem: " + problem.get<std::string>());
  for (const auto& unit : report.value("software", json::array()))
    command.output.line("in software: " + software_line(unit));
  for (const auto& trouble : report.value("refused", json::array()))
    command.output.line("refused: " + refusal_line(trouble));
  for (const auto& fault : reply.value("faults", json::array()))
    command.output.line(fault.value("file", "") + ":" + std::to_string(fault.value("line", 0)) + ":" +
                        std::to_string(fault.value("column", 0)) + ": " + fault.value("what", "") + "; " +
                        fault.value("hint", ""));
  if (reply.contains("error"))
    command.output.complain(reply.value("error", ""));
  else
    command.output.line("done by sepald");
  return code;
}

int command_status(const Command& command) {
  auto reply = ask_daemon(command.paths.socket, {{"do", "status"}}, std::chrono::seconds(30));
  if (!reply && reply.error().code == Errc::not_found) return status_without_daemon(command);
  if (!reply) return complain(command, reply.error());
  (*reply)["running"] = true;
  if (command.output.json())
    command.output.print(*reply);
  else
    print_status(command.output, *reply);
  const json report = reply->value("report", json::object());
  if (!reply->value("faults", json::array()).empty()) return kExitInvalid;
  if (reply->contains("error")) return kExitError;
  if (!report.value("refused", json::array()).empty()) return kExitRefused;
  return report.value("software", json::array()).empty() ? kExitOk : kExitSoftware;
}

int command_reload(const Command& command) {
  auto reply = ask_daemon(command.paths.socket, {{"do", "reload"}}, std::chrono::seconds(600));
  if (!reply) return complain(command, reply.error());
  return relay(command, *reply);
}

}  // namespace sepal::agent
