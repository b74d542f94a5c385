// The words of `sepalctl explain` → where a packet comes in, and the packet.
#pragma once

#include <string>
#include <vector>

#include "agent/explain.hpp"
#include "agent/options.hpp"

namespace sepal::agent {

// `words`: PLACE, then PROTOCOL SOURCE[:PORT] DESTINATION[:PORT] or nothing when --frame gives the bytes in hex.
// PLACE: TENANT/PORT, a device, "uplink", "tunnel". --vni N (tunnel), --vlan N (uplink), --ttl N.
// Errc::invalid_config says what is wrong and what would be right.
Result<Question> read_question(const std::vector<std::string>& words, const Options& options,
                               const config::Config& config, const Ground& ground);

}  // namespace sepal::agent
