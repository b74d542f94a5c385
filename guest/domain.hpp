// A domain name as services write it: labels, each after its length, and a zero (RFC 1035 section 3.1, uncompressed).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sepal::guest {

// nullopt for what is no name: an empty label, one beyond 63 bytes, or 255 bytes in all. A dot at the end is taken.
std::optional<std::vector<uint8_t>> encode_domain(const std::string& name);

}  // namespace sepal::guest
