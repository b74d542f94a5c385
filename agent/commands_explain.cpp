// explain: a packet's way, printed.
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/exit_codes.hpp"
#include "agent/explain.hpp"
#include "agent/question.hpp"
#include "agent/words.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;
using tc::model::Outcome;

std::string chain_name(const Stop& stop) {
  if (stop.chain != 0) return tc::to_string(tc::parse_chain(stop.chain));
  return stop.rule != nullptr && stop.rule->origin.block != tc::BlockKind::port ? "g1" : "g0";
}

std::string end_text(const Outcome& outcome, const Names& names) {
  std::string text;
  switch (outcome.kind) {
    case Outcome::Kind::sent: text = "sent on " + names.device(outcome.device); break;
    case Outcome::Kind::host: text = "passed to the host"; break;
    case Outcome::Kind::heard: text = "heard by sepald, which answers"; break;
    case Outcome::Kind::dropped: text = "dropped"; break;
  }
  if (outcome.reason() != tc::DropReason::none) text += ": " + std::string(tc::to_string(outcome.reason()));
  if (outcome.packet.answer) text = "answered with " + outcome.packet.answer->to_string();
  if (outcome.kind == Outcome::Kind::sent) text += " as " + tc::model::to_string(outcome.packet);
  if (!outcome.fault.empty()) text += " (impossible: " + outcome.fault + ")";
  return text;
}

std::string where_text(const Stop& stop) {
  if (stop.ran_in_hw) return "hardware";
  return (stop.placed.placement == Placement::slow_path ? std::string(to_string(stop.placed.placement)) : "software") +
         ": " + stop.why;
}

void print_way(const Output& out, const Way& way, const Explanation& told) {
  out.line(out.paint(Paint::bold, way.title));
  for (const Stop& stop : way.stops) {
    for (const std::string& foreign : stop.before)
      out.line("  " + out.paint(Paint::yellow, "a filter of others comes first: " + foreign));
    if (stop.rule == nullptr) {
      out.line("  " + chain_name(stop) + "  no rule takes it");
      continue;
    }
    const tc::Rule& rule = stop.rule->rule;
    out.line("  " + chain_name(stop) + "  prio " + std::to_string(rule.id.prio) + "  " +
             out.paint(Paint::dim, told.names.purpose(stop.rule->origin)));
    out.line("      " + match_in_words(rule.spec.match));
    out.line("      → " + actions_in_words(rule.spec, told.names));
    out.line("      " + (stop.ran_in_hw ? out.paint(Paint::green, where_text(stop)) : where_text(stop)));
    if (stop.standing != Standing::as_wanted)
      out.line("      " + out.paint(Paint::red, stop.standing == Standing::missing
                                                    ? "the kernel has no such rule"
                                                    : "the kernel has another rule in this place"));
  }
  for (const std::string& line : way.groups) out.line("  security groups: " + line);
  out.line("  = " + end_text(way.outcome, told.names));
}

json stop_json(const Stop& stop, const Explanation& told) {
  json out{{"chain", stop.chain}, {"place", chain_name(stop)}, {"foreign_before", stop.before}};
  if (stop.rule == nullptr) return out;
  const tc::Rule& rule = stop.rule->rule;
  out["prio"] = rule.id.prio;
  out["handle"] = rule.id.handle;
  out["match"] = tc::to_text(rule.spec.match);
  out["words"] = actions_in_words(rule.spec, told.names);
  out["purpose"] = told.names.purpose(stop.rule->origin);
  out["kernel"] = to_string(stop.standing);
  out["in_hw"] = stop.placed.held > 0;
  put_placed(out, stop.placed);
  out["ran_in_hw"] = stop.ran_in_hw;
  if (!stop.why.empty()) out["why_software"] = stop.why;
  if (stop.rule->origin.drop != tc::DropReason::none) out["drop"] = tc::to_string(stop.rule->origin.drop);
  return out;
}

json way_json(const Way& way, const Explanation& told) {
  json stops = json::array();
  for (const Stop& stop : way.stops) stops.push_back(stop_json(stop, told));
  static constexpr std::string_view kEnds[] = {"dropped", "host", "sent", "heard"};
  json out{{"title", way.title},
           {"stops", std::move(stops)},
           {"end", kEnds[static_cast<size_t>(way.outcome.kind)]},
           {"packet", tc::model::to_string(way.outcome.packet)},
           {"left_hardware", way.outcome.left_hardware},
           {"security_groups", way.groups}};
  if (way.outcome.kind == Outcome::Kind::sent) out["device"] = told.names.device(way.outcome.device);
  if (way.outcome.reason() != tc::DropReason::none) out["drop"] = tc::to_string(way.outcome.reason());
  return out;
}

}  // namespace

int command_explain(const Command& command) {
  const auto config = read_or_complain(command);
  if (!config) return kExitInvalid;
  Kernel kernel = command.kernel;
  auto ground = survey(kernel, *config, command.paths);
  if (!ground) return complain(command, ground.error());
  const std::vector<std::string> words(command.options.words().begin() + 1, command.options.words().end());
  auto question = read_question(words, command.options, *config, *ground);
  if (!question) return complain(command, question.error());
  auto told = explain(kernel, *config, *ground, *question, command.paths);
  if (!told) return complain(command, told.error());
  if (command.output.json()) {
    json ways = json::array();
    for (const Way& way : told->ways) ways.push_back(way_json(way, *told));
    command.output.print({{"ways", std::move(ways)}, {"differences", told->differences}});
  } else {
    for (const Way& way : told->ways) print_way(command.output, way, *told);
    if (told->differences > 0)
      command.output.line(count_text(told->differences, "rule") +
                          " on the way not as the configuration wants; `sepalctl plan` tells all");
  }
  return told->differences == 0 ? kExitOk : kExitDifference;
}

}  // namespace sepal::agent
