// The seam between bytes and kernel: everything above speaks netlink through these verbs, tests answer them from a
// fake. Synchronous with deadlines: a pass over the kernel is one plain function that a test can call; the agent runs
// passes in bounded slices between its events.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace sepal::netlink {

using Bytes = std::vector<uint8_t>;
using BytesView = std::span<const uint8_t>;

// The kernel's answer to one request: success, or -errno with its extended-ack text inside Error::ext_ack.
using Answer = Result<void>;

// Called once per message of a dump or of a reply, with a whole nlmsghdr message. Returning an Error ends the dump
// (the rest is drained and thrown away).
using MessageSink = std::function<Result<void>(BytesView message)>;

using Answered = std::function<void(size_t, const Answer&)>;

// A transact() under way; see Transport::start().
class Flight {
 public:
  virtual ~Flight() = default;  // waits for its end
  // Waits, and tells what transact() tells. Once.
  virtual Result<void> finish(const Answered& answered) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Sends whole nlmsghdr messages laid end to end in `requests` (each NLMSG_ALIGNed; nlmsg_seq and NLM_F_ACK are set
  // here) in batches within the window, and calls `answered(i, answer)` once for each, i counting from 0, in the order
  // of requests. A refused request never stops the others. An Error returned here means that the connection itself
  // failed and some answers are unknown (Errc::resync: look at the kernel again).
  virtual Result<void> transact(Bytes& requests, const Answered& answered) = 0;

  // A transact() that goes on while the caller does something else, where the transport has a thread for it; elsewhere
  // it is done when this returns. Flights may overtake each other, so none may depend on another.
  virtual std::unique_ptr<Flight> start(Bytes requests);

  // One request with NLM_F_DUMP; the kernel's messages go to `sink`. An interrupted dump (NLM_F_DUMP_INTR) or an
  // overrun gives Errc::resync: the caller repeats the dump.
  virtual Result<void> dump(Bytes request, const MessageSink& sink) = 0;

  // One request whose reply is a message (RTM_GETTFILTER for one filter, NLM_F_ECHO): reply to `sink`, then its ack.
  virtual Result<void> get(Bytes request, const MessageSink& sink) = 0;

  // One request that changes the kernel, acknowledged by itself. What comes back is what the kernel remarks although it
  // carried the request out: a driver's words on why it did not take a rule, when the request asks for them. Often
  // empty.
  virtual Result<std::string> remark(Bytes request);

  // How many messages that change the kernel have been sent since the start: tests prove with it that a restart
  // writes nothing.
  [[nodiscard]] virtual uint64_t writes() const = 0;
};

// One request through transact(): the kernel's answer, or the failure of the connection.
Result<void> transact_one(Transport& transport, Bytes request);
// A dump repeated, a few times at most, while the kernel's tables change under it (Errc::resync). `restart` is called
// before each attempt: it forgets what earlier ones brought.
Result<void> dump_whole(Transport& transport, const Bytes& request, const std::function<void()>& restart,
                        const MessageSink& sink);

struct SocketOptions {
  int protocol = 0;                            // NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC
  std::chrono::milliseconds deadline{10'000};  // for each answer; past it the transport is broken (resync)
};
// Opens a socket with NETLINK_EXT_ACK, NETLINK_CAP_ACK and NETLINK_GET_STRICT_CHK (needed for filtered dumps).
Result<std::unique_ptr<Transport>> open_transport(const SocketOptions& options);

// Writes over several sockets at once, one thread each (filter adds on clsact run without RTNL). The requests of one
// transact() must be independent of each other; a flight goes whole to one of the sockets.
Result<std::unique_ptr<Transport>> open_parallel_transport(const SocketOptions& options, unsigned sockets);

}  // namespace sepal::netlink
