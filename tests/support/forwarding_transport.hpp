// A transport that passes everything on: for tests that change one thing about it.
#pragma once

#include <utility>

#include "netlink/transport.hpp"

namespace sepal::test {

class ForwardingTransport : public netlink::Transport {
 public:
  explicit ForwardingTransport(netlink::Transport& kernel) : kernel_(kernel) {}
  Result<void> transact(netlink::Bytes& requests, const netlink::Answered& answered) override {
    return kernel_.transact(requests, answered);
  }
  Result<void> dump(netlink::Bytes request, const netlink::MessageSink& sink) override {
    return kernel_.dump(std::move(request), sink);
  }
  Result<void> get(netlink::Bytes request, const netlink::MessageSink& sink) override {
    return kernel_.get(std::move(request), sink);
  }
  [[nodiscard]] uint64_t writes() const override { return kernel_.writes(); }

 protected:
  netlink::Transport& kernel_;
};

}  // namespace sepal::test
