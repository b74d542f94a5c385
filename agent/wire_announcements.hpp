// Tells the wire unasked what is behind the uplink: addresses of ports on tenants' VLANs, and public ones that
// translate. A guest that moved here from another hypervisor is reached at once, and not when the neighbours' caches
// have aged.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/result.hpp"
#include "config/model.hpp"
#include "guest/guest.hpp"
#include "tc/pipeline/facts.hpp"

namespace sepal::agent {

// The uplink as the last look saw it.
struct Wire {
  IfIndex device;
  MacAddr mac;
  bool operator==(const Wire&) const = default;
};

class WireAnnouncements {
 public:
  using Clock = std::chrono::steady_clock;
  using Send = std::function<Result<void>(IfIndex device, guest::FrameView frame)>;
  explicit WireAnnouncements(Send send) : send_(std::move(send)) {}

  // What holds from now on: what is new on the wire is due at once, and all of it when the wire itself is another.
  void follow(const config::Config& config, const std::map<tc::PortKey, IfIndex>& ports, const Wire& wire,
              Clock::time_point now);
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  // Twice, with a second in between, for nobody acknowledges them; at most a turn's worth.
  void announce(Clock::time_point now);
  [[nodiscard]] uint64_t announced() const { return announced_; }

 private:
  using OnWire = std::pair<Vid, IpAddr>;
  struct Due {
    Clock::time_point at;
    unsigned times = 0;
  };

  static std::set<OnWire> behind(const config::Config& config, const std::map<tc::PortKey, IfIndex>& ports);

  Send send_;
  Wire wire_;
  std::set<OnWire> known_;
  std::map<OnWire, Due> due_;
  Clock::time_point not_before_;
  uint64_t announced_ = 0;
};

}  // namespace sepal::agent
