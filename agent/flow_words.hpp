// Flows in words: what `connections`, the flow log and `drops --follow` have in common.
#pragma once

#include <cstdint>
#include <string>

#include "base/net_types.hpp"

namespace sepal::agent {

std::string protocol_text(uint8_t protocol);  // "tcp", "icmpv6", "protocol 47"
// "10.0.0.1:80", "[fd00::1]:80"; the address alone without a port.
std::string end_text(const IpAddr& address, uint16_t port, bool with_port);
// "2026-01-31T12:34:56.123456Z"
std::string time_text(uint64_t nanoseconds_since_1970);

}  // namespace sepal::agent
