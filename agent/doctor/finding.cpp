#include "agent/doctor/finding.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/exit_codes.hpp"

namespace sepal::agent::doctor {

std::string_view to_string(State state) {
  switch (state) {
    case State::ok: return "ok";
    case State::unknown: return "unknown";
    case State::warn: return "warn";
    case State::fail: return "fail";
  }
  return "";
}

State worst(const Findings& findings) {
  State worst = State::ok;
  for (const Finding& finding : findings)
    if (finding.state != State::unknown) worst = std::max(worst, finding.state);
  return worst;
}

int exit_status(const Findings& findings) {
  switch (worst(findings)) {
    case State::fail: return kExitUnfit;
    case State::warn: return kExitDifference;
    default: return kExitOk;
  }
}

nlohmann::json to_json(const Findings& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    nlohmann::json entry{{"check", finding.check}, {"state", to_string(finding.state)}, {"what", finding.what}};
    if (!finding.cure.empty()) entry["cure"] = finding.cure;
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace sepal::agent::doctor
