// What the doctor says: one line for each thing looked at, and one line of cure where something is to be done.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sepal::agent::doctor {

enum class State : uint8_t {
  ok,
  unknown,  // could not be found out: no fault by itself
  warn,     // works, but slower, or not for long, or not for everybody
  fail,     // something the configuration asks for does not work
};
std::string_view to_string(State state);

struct Finding {
  std::string check;  // what was looked at: "kernel", "mtu"; stable, for programs
  State state = State::ok;
  std::string what;  // one line
  std::string cure;  // one line; empty when nothing is to be done
  bool operator==(const Finding&) const = default;
};

using Findings = std::vector<Finding>;

inline void say(Findings& out, std::string check, State state, std::string what, std::string cure = {}) {
  out.push_back({std::move(check), state, std::move(what), std::move(cure)});
}

// The worst there is; ok when there is nothing. Unknown counts as ok: a script cannot do anything about it.
State worst(const Findings& findings);
// What sepalctl ends with: 0 ok, 2 warn, 7 fail.
int exit_status(const Findings& findings);

nlohmann::json to_json(const Findings& findings);

}  // namespace sepal::agent::doctor
