// The flow log: verdicts of security groups out of the ring, connections that begin and end from conntrack, each a line
// of JSON. No packet waits for any of it: what comes faster than it is read or written is lost, counted and told.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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

  // After a pass: writes what `config` asks for from now on. `changed`: something may be other than at the last call;
  // then what could not be heard of is tried again, too.
  void follow(const config::Config& config, const SavedState& served, bool changed);
  // The file was renamed; the next lines go to a new one of its name.
  void reopen() { sink_.reopen(); }

  // When tell_lost() has something to tell.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  void tell_lost(Clock::time_point now);

 private:
  void read_all();
  void open_ring();
  void open_connections();
  // One turn each. False: there is nothing to read from any more.
  bool read_ring();
  bool read_connections();
  bool has_share(Vni vni, Clock::time_point now);
  void lose(std::string_view where, uint64_t records, Vni of = Vni());

  Kernel kernel_;
  Events& events_;
  FlowBook book_;
  FlowSink sink_;
  std::optional<bpf::Ring> ring_;
  uint64_t ring_lost_ = 0;  // as the kernel counts
  unsigned rings_ = 0;      // opened so far: tells the watch of an earlier one that it is over
  bool ring_complained_ = false;
  std::optional<netlink::ConnectionMonitor> connections_;
  unsigned monitors_ = 0;   // the same for these
  bool listening_ = false;  // to connections
  bool connections_complained_ = false;
  std::map<std::pair<std::string, Vni>, uint64_t> lost_;  // not told yet, by where and whose (0: anybody's)
  uint64_t lost_in_words_ = 0;                            // not named in our own log yet
  Clock::time_point tell_from_{};                         // what is lost next
  Clock::time_point tell_in_words_from_{};                // the same
};

}  // namespace sepal::agent
