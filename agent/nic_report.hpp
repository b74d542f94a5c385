// A NIC's state, plan and outcome as text and as JSON. Field names are documented in docs/reference/cli.md.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "agent/nic_run.hpp"

namespace sepal::agent {

std::vector<std::string> to_lines(const NicState& state);
nlohmann::json to_json(const NicState& state);

nlohmann::json to_json(const std::vector<NicStep>& steps);  // a list of sentences
nlohmann::json to_json(const NicRemark& remark);
// "parameter esw_port_metadata stays as it is: …"
std::string to_line(const NicRemark& remark);

}  // namespace sepal::agent
