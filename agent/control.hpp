// How sepalctl speaks to a running sepald: a stream socket only root may open, one request, one reply, both JSON behind
// a length of four bytes (big-endian). The requests and replies are documented in docs/reference/cli.md. This is the
// framing and the client; the server is the daemon's.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.hpp"

namespace sepal::agent {

inline constexpr uint32_t kRequestBytesMax = 64U << 10U;
inline constexpr uint32_t kReplyBytesMax = 16U << 20U;  // a status that names thousands of refused rules
inline constexpr size_t kFrameHeaderBytes = 4;

std::string frame(const nlohmann::json& message);
// Errc::protocol when the length is zero or above `limit`.
Result<uint32_t> frame_length(const std::array<uint8_t, kFrameHeaderBytes>& header, uint32_t limit);
// A JSON object, or Errc::protocol.
Result<nlohmann::json> parse_message(const std::string& text);

// Asks the daemon behind `socket`. Errc::not_found: nobody listens there (no daemon runs).
Result<nlohmann::json> ask_daemon(const std::string& socket, const nlohmann::json& request,
                                  std::chrono::seconds deadline = std::chrono::seconds(120));

}  // namespace sepal::agent
