// The flow log: verdicts of security groups out of the ring, connections that begin and end from conntrack, each a line
// of JSON. No packet waits for any of it: what comes faster than it is read or written is lost, counted and told.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string_view>

#include "agent/events.hpp"
#include "agent/flow_book.hpp"
#include "agent/flow_sink.hpp"
#include "agent/kernel.hpp"
#include "bpf/ring.hpp"

namespace sepal::agent {

class FlowLog {
 public:
  using Clock = std::chrono::steady_clock;
  // Borrows both for its life. Subscribes to nothing before somebody's flow log is on.
  FlowLog(Kernel kernel, Events& events) : kernel_(kernel), events_(events) {}

  // After a pass: writes what `config` asks for from now on. `changed`: something may be other than at the last call.
  void follow(const config::Config& config, const SavedState& served, bool changed);
  // The file was renamed; the next lines go to a new one of its name.
  void reopen() { sink_.reopen(); }

  // When tell_lost() has something to tell.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  void tell_lost(Clock::time_point now);

 private:
  void open_ring();
  void open_connections();
  bool read_ring();
  bool read_connections();
  void lose(std::string_view where, uint64_t records);

  Kernel kernel_;
  Events& events_;
  FlowBook book_;
  FlowSink sink_;
  bool fresh_ = true;
  std::optional<bpf::Ring> ring_;
  uint64_t ring_lost_ = 0;  // as the kernel counts
  std::optional<netlink::ConnectionMonitor> connections_;
  bool listening_ = false;  // to connections
  bool complained_ = false;
  std::map<std::string, uint64_t, std::less<>> lost_;  // not told yet, by where
  uint64_t lost_in_words_ = 0;                         // not named in our own log yet
  Clock::time_point told_{};
  Clock::time_point told_in_words_{};
};

}  // namespace sepal::agent
