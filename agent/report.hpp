// What a pass did, for the log, for the service manager's status line and for clients: the same facts in words and in
// JSON (field names: docs/reference/cli.md).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/reconciler.hpp"
#include "agent/removal.hpp"
#include "config/read.hpp"

namespace sepal::agent {

// "1204 rules for 2 tenants in place, 3 refused, 1 port waiting"
std::string status_line(const PassReport& report, const Reconciler::Troubles& troubles, size_t tenants);

// One line per fact, most important last written nearest to the prompt: what was made, changed, waits, was refused.
std::vector<std::string> to_lines(const PassReport& report, const Reconciler::Troubles& troubles);
// "tenant blue, port web-0 (blue.yaml:7:12): Operation not supported: kernel says: …; refused 3 times"
std::string to_line(const Trouble& trouble);

// "tenant blue, port web-0: the NIC is full: No space left on device; rule: …"
std::string to_line(const SoftwareUnit& unit);

// With `now` (a daemon's, which tries refused rules again) each tells when: retry_in_ms.
nlohmann::json to_json(const PassReport& report, const Reconciler::Troubles& troubles,
                       std::optional<Clock::time_point> now = std::nullopt);
nlohmann::json to_json(const Trouble& trouble, std::optional<Clock::time_point> now = std::nullopt);
// One of those, as a daemon told it, in a line: "tenant blue, …: kernel says: …; tried 3 times, again in 4 s".
std::string refusal_line(const nlohmann::json& trouble);
nlohmann::json to_json(const SoftwareUnit& unit, std::optional<Clock::time_point> now = std::nullopt);
// One of those in a line, with when it is tried again.
std::string software_line(const nlohmann::json& unit);
nlohmann::json to_json(const RemovalReport& report);
nlohmann::json to_json(const Error& error);
nlohmann::json to_json(const std::vector<config::Fault>& faults);
std::vector<std::string> to_lines(const RemovalReport& report);

}  // namespace sepal::agent
