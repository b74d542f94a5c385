// Sends whole Ethernet frames out of devices, past all filters and queues; receives nothing. packet(7).
#pragma once

#include <span>

#include "base/net_types.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sepal::agent {

class FrameSocket {
 public:
  static Result<FrameSocket> open();
  // Never waits: a device that takes no more now is an error like any other, and whoever asked asks again.
  Result<void> send(IfIndex device, std::span<const uint8_t> frame);

 private:
  explicit FrameSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace sepal::agent
