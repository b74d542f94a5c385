// Passes, refusals, faults and removals in words and in JSON.
#include "agent/report.hpp"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

std::string port_text(const tc::PortKey& port) { return "tenant " + port.tenant + ", port " + port.port; }

}  // namespace

std::string status_line(const PassReport& report, const Reconciler::Troubles& troubles, size_t tenants) {
  std::string text = count_text(report.rules - std::min(report.rules, troubles.size()), "rule") + " for " +
                     count_text(tenants, "tenant") + " in place";
  if (!troubles.empty()) text += ", " + std::to_string(troubles.size()) + " refused";
  if (!report.waiting.empty()) text += ", " + count_text(report.waiting.size(), "port") + " waiting";
  if (!report.software.empty())
    text += ", " + count_text(report.software.size(), "unit") + " in software because the NIC refused a rule";
  if (report.tenants_without_offload > 0)
    text += ", " + count_text(report.tenants_without_offload, "tenant") + " beyond the NIC's conntrack zones";
  return text;
}

std::string to_line(const Trouble& trouble) {
  std::string text = trouble.purpose + ": " + trouble.refusal.error.message();
  if (!trouble.refusal.held && trouble.attempts > 1) text += "; refused " + std::to_string(trouble.attempts) + " times";
  return text + "; rule: " + trouble.text;
}

std::vector<std::string> to_lines(const PassReport& report, const Reconciler::Troubles& troubles) {
  std::vector<std::string> lines;
  for (const std::string& made : report.made) lines.push_back("made " + made);
  for (const std::string& change : report.changes) lines.push_back(change);
  if (report.connections_ended > 0)
    lines.push_back(count_text(report.connections_ended, "connection") +
                    " ended: its tenant or address left, or security groups forbid it now");
  for (const std::string& note : report.notes) lines.push_back(note);
  for (const tc::PortKey& port : report.waiting)
    lines.push_back("waiting: " + port_text(port) + ": its device is not there");
  for (const auto& [id, error] : report.outcome.not_removed) lines.push_back("not removed: " + error.message());
  for (const std::string& problem : report.problems) lines.push_back("problem: " + problem);
  for (const HardwareMove& move : report.moves) lines.push_back(move.text);
  for (const SoftwareUnit& unit : report.software) lines.push_back("in software: " + to_line(unit));
  for (const auto& [key, trouble] : troubles) lines.push_back("refused: " + to_line(trouble));
  return lines;
}

std::string to_line(const SoftwareUnit& unit) {
  return unit.name + ": " + unit.reason + (unit.punted ? "; hardware leads its packets into software" : "") +
         "; rule: " + unit.rule;
}

std::vector<std::string> to_lines(const RemovalReport& report) {
  std::vector<std::string> lines;
  for (const std::string& removed : report.removed) lines.push_back("removed " + removed);
  for (const std::string& problem : report.problems) lines.push_back("problem: " + problem);
  lines.push_back(count_text(report.rules, "rule") + " removed, " + count_text(report.connections, "connection") +
                  " ended");
  return lines;
}

json to_json(const Error& error) {
  json out{{"code", to_string(error.code)}, {"message", error.message()}};
  if (error.sys_errno != 0) out["errno"] = error.sys_errno;
  if (!error.ext_ack.empty()) out["kernel"] = error.ext_ack;
  return out;
}

json to_json(const Trouble& trouble, std::optional<Clock::time_point> now) {
  json out{{"purpose", trouble.purpose},
           {"rule", trouble.text},
           {"held", trouble.refusal.held},
           {"attempts", trouble.attempts},
           {"error", to_json(trouble.refusal.error)}};
  if (now && !trouble.refusal.held) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(trouble.next_try - *now).count();
    out["retry_in_ms"] = std::max<int64_t>(left, 0);
  }
  return out;
}

std::string refusal_line(const json& trouble) {
  std::string text = trouble.value("purpose", "") + ": " + trouble.value("error", json::object()).value("message", "");
  if (trouble.value("held", false)) return text;
  text += "; tried " + count_text(trouble.value("attempts", size_t{0}), "time");
  if (const auto left = trouble.find("retry_in_ms"); left != trouble.end() && left->is_number_integer())
    text += ", again in " + std::to_string((left->get<int64_t>() + 999) / 1000) + " s";
  return text;
}

json to_json(const SoftwareUnit& unit, std::optional<Clock::time_point> now) {
  json out{{"unit", unit.name},
           {"cause", to_string(unit.refusal.cause)},
           {"reason", unit.reason},
           {"rule", unit.rule},
           {"punted", unit.punted},
           {"since", std::chrono::duration_cast<std::chrono::seconds>(unit.since.time_since_epoch()).count()}};
  if (unit.refusal.sys_errno != 0) out["errno"] = unit.refusal.sys_errno;
  if (!unit.refusal.words.empty()) out["nic"] = unit.refusal.words;
  if (now && unit.next_try) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*unit.next_try - *now).count();
    out["retry_in_ms"] = std::max<int64_t>(left, 0);
  }
  return out;
}

std::string software_line(const json& unit) {
  std::string text = unit.value("unit", "") + ": " + unit.value("reason", "");
  if (const auto left = unit.find("retry_in_ms"); left != unit.end() && left->is_number_integer())
    text += "; again in " + std::to_string((left->get<int64_t>() + 999) / 1000) + " s";
  return text;
}

json to_json(const PassReport& report, const Reconciler::Troubles& troubles, std::optional<Clock::time_point> now) {
  json waiting = json::array();
  for (const tc::PortKey& port : report.waiting) waiting.push_back({{"tenant", port.tenant}, {"port", port.port}});
  json refused = json::array();
  for (const auto& [key, trouble] : troubles) refused.push_back(to_json(trouble, now));
  json software = json::array();
  for (const SoftwareUnit& unit : report.software) software.push_back(to_json(unit, now));
  return {{"rules", report.rules},
          {"software", std::move(software)},
          {"added", report.outcome.added},
          {"replaced", report.outcome.replaced},
          {"removed", report.outcome.removed},
          {"connections_ended", report.connections_ended},
          {"foreign", report.foreign},
          {"tenants_without_offload", report.tenants_without_offload},
          {"made", report.made},
          {"changes", report.changes},
          {"problems", report.problems},
          {"notes", report.notes},
          {"waiting", std::move(waiting)},
          {"refused", std::move(refused)}};
}

json to_json(const RemovalReport& report) {
  return {{"rules", report.rules},
          {"connections", report.connections},
          {"removed", report.removed},
          {"problems", report.problems}};
}

json to_json(const std::vector<config::Fault>& faults) {
  json out = json::array();
  for (const config::Fault& fault : faults)
    out.push_back({{"file", fault.file},
                   {"line", fault.line},
                   {"column", fault.column},
                   {"what", fault.what},
                   {"hint", fault.hint}});
  return out;
}

}  // namespace sepal::agent
