// A ctnetlink kernel in memory behind the Transport. As unforgiving as Linux 6.1: a deletion without a tuple empties
// the whole table, whatever zone it names.
#pragma once

#include <deque>

#include "netlink/conntrack.hpp"
#include "netlink/transport.hpp"

namespace sepal::test {

class FakeConntrack : public netlink::Transport {
 public:
  std::deque<netlink::Connection> table;
  bool allowed = true;     // false: no CAP_NET_ADMIN, every deletion is refused
  bool supported = true;   // false: no ctnetlink in this kernel
  size_t dumps = 0;        // asked for
  bool vanishing = false;  // entries end by themselves between the dump and their deletion

  Result<void> transact(netlink::Bytes& requests,
                        const std::function<void(size_t, const netlink::Answer&)>& answered) override;
  Result<void> dump(netlink::Bytes request, const netlink::MessageSink& sink) override;
  Result<void> get(netlink::Bytes request, const netlink::MessageSink& sink) override;
  [[nodiscard]] uint64_t writes() const override { return writes_; }

 private:
  netlink::Answer remove(netlink::BytesView message);
  uint64_t writes_ = 0;
};

// An entry as the kernel shows it.
netlink::Bytes connection_message(const netlink::Connection& connection);

}  // namespace sepal::test
