// How many connections each tenant may have at once (`limits.connections`): counts what conntrack holds, and tells the
// program before `ct commit` how many more may begin. Between two counts the program counts on by itself, so a tenant
// never has more than its bound; what has ended is noticed by the next count.
//
// An agent that is away counts nothing, and then nobody is held back: what it said last lapses after half a minute.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "agent/kernel.hpp"
#include "agent/state.hpp"
#include "config/model.hpp"

namespace sepal::agent {

class ConnectionLimits {
 public:
  using Clock = std::chrono::steady_clock;
  // Borrows the kernel for its life.
  explicit ConnectionLimits(Kernel kernel) : kernel_(kernel) {}

  // After a pass: what is in force from now on.
  void follow(const config::Config& config, const SavedState& served, Clock::time_point now);

  // When look() is due; none where nobody is bounded.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  // Counts if somebody may have used up half of what it was given, and says anew what each may begin. Takes a dump of
  // conntrack's table, at most one part in 50 of the time.
  void look(Clock::time_point now);

  // By tenant: limit, the last count, and whether it has no room.
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Bound {
    std::string tenant;
    Zone zone;
    uint32_t limit = 0;
    std::optional<uint64_t> counted;  // connections, at the last count
    uint64_t begun = 0;               // ever, just before that count
    bool full = false;                // and nobody has ended enough since
    [[nodiscard]] uint64_t room() const { return *counted < limit ? limit - *counted : 0; }
  };
  // `pause`: until the next look; longer when counting took long.
  Result<void> give(Clock::time_point now, Clock::duration& pause);
  Result<void> count(const std::map<Vni, uint64_t>& begun);
  void tell(Bound& bound, uint64_t begun);

  Kernel kernel_;
  std::map<Vni, Bound> bounds_;
  bool fresh_ = true;  // the map in the kernel is somebody else's
  std::optional<Clock::time_point> next_;
  std::string failed_;  // as the log has it
};

}  // namespace sepal::agent
