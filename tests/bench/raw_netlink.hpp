// The floor: system calls and nothing else. Prebuilt messages, 64 per send, one answer per send, one thread; and a dump
// that is read but not looked at. What sepal's own transport is compared with.
#pragma once

#include <cstddef>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "netlink/transport.hpp"

namespace sepal::bench {

class RawNetlink {
 public:
  static Result<RawNetlink> open();

  struct Written {
    double ms = 0;
    size_t messages = 0;
    size_t refused = 0;
  };
  // Sends whole messages laid end to end; returns when the last answer is in.
  Result<Written> write(netlink::Bytes& messages, size_t per_send);

  struct Read {
    double ms = 0;
    size_t messages = 0;
    size_t bytes = 0;
  };
  // One dump request; its replies are counted.
  Result<Read> dump(netlink::Bytes request);

 private:
  explicit RawNetlink(UniqueFd fd) : fd_(std::move(fd)), buffer_(64UL << 10U) {}
  Result<netlink::BytesView> receive();

  UniqueFd fd_;
  netlink::Bytes buffer_;
  uint32_t seq_ = 0;
};

}  // namespace sepal::bench
