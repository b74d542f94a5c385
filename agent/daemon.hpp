// The daemon's life: apply, say ready, then look, listen and heal until told to stop. It leaves every rule in place
// when it ends, however it ends.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "agent/connection_limits.hpp"
#include "agent/events.hpp"
#include "agent/flow_log.hpp"
#include "agent/frame_socket.hpp"
#include "agent/guest_services.hpp"
#include "agent/learnt_macs.hpp"
#include "agent/nic_watch.hpp"
#include "agent/notify.hpp"
#include "agent/paths.hpp"
#include "agent/reconciler.hpp"
#include "config/directory.hpp"
#include "netlink/route_monitor.hpp"

namespace sepal::agent {

struct DaemonSettings {
  std::string config_directory;
  Paths paths;
  std::chrono::milliseconds look_interval{10'000};
  GuestServices::Send send{};  // how frames are sent to guests and the wire; empty: by a packet socket
};

class Daemon {
 public:
  // The caller holds the writer's lock as long as this lives.
  Daemon(Kernel kernel, DaemonSettings settings, Events& events, Notifier& notifier);

  // Until it is told to stop; the process's exit status.
  int run();

  // Something about links changed: act soon, once for many such calls.
  void links_changed();
  // Where the reconciler asks what happened to devices (Devices::Heard).
  void set_device_events(Devices::Heard heard) { reconciler_.set_device_events(std::move(heard)); }
  // The same for routes, as far as they concern a tunnel of ours.
  void routes_changed(const netlink::RouteChanges& changes);

 private:
  enum class Cause : uint8_t { start, reload, look, links, retry };

  std::optional<int> start();
  bool read_config();
  void act();
  bool pass(Cause cause);
  Result<PassReport> pass_for(Cause cause, const Progress& progress);
  void log_pass(const PassReport& report, Cause cause);
  void log_troubles();
  void watch_nic();
  void serve_guests();
  Result<void> send_frame(IfIndex device, guest::FrameView frame);
  std::string learn_mac(const tc::PortKey& port, const std::string& at, const MacAddr& mac);
  void fill_in_macs();
  void answer(const Request& request);
  nlohmann::json handle(const nlohmann::json& request);
  nlohmann::json reload();
  nlohmann::json remove();
  nlohmann::json status() const;
  bool progress();
  void keep_alive();
  [[nodiscard]] const config::Config& config() const { return filled_in_ ? *filled_in_ : *directory_.config(); }
  [[nodiscard]] std::string status_text() const;
  [[nodiscard]] Clock::time_point next_deadline() const;
  [[nodiscard]] std::optional<Clock::time_point> next_retry() const;

  Kernel kernel_;
  DaemonSettings settings_;
  Events& events_;
  Notifier& notifier_;
  Reconciler reconciler_;
  config::ConfigDirectory directory_;        // its config() is in force …
  std::optional<config::Config> filled_in_;  // … with what was learnt, where it leaves MAC addresses open
  LearntMacs macs_;
  bool macs_changed_ = false;    // some are not filled in yet
  bool wanted_changed_ = false;  // and no pass has succeeded since
  NicWatch nic_;
  GuestServices guests_;
  WireAnnouncements wire_;
  std::optional<FrameSocket> frames_;
  FlowLog flow_log_;
  bool flow_log_due_ = false;  // a configuration was read, and no pass has succeeded since
  ConnectionLimits connection_limits_;
  std::vector<config::Fault> faults_;                // of the last reading; empty: it is what is in force
  PassReport last_;                                  // the last pass that was not quiet
  std::optional<Error> last_error_;                  // of the last pass
  std::set<std::pair<tc::RuleId, uint64_t>> named_;  // refused rules the log has named
  Clock::time_point started_;
  Clock::time_point next_look_;
  Clock::time_point next_alive_;
  std::optional<Clock::time_point> links_due_;
  Clock::time_point links_not_before_;       // so that looks at links cost no more than their share
  std::vector<IpAddr> vteps_;                // that routes of the configuration lead to
  bool passing_ = false;                     // between a pass's look and its last write
  std::set<IpAddr> unsure_;                  // VTEPs whose way changed meanwhile
  std::chrono::milliseconds look_cost_{0};   // CPU time of the last quiet look
  std::chrono::milliseconds look_pause_{0};  // the interval after stretching
  bool removed_ = false;                     // `remove` was carried out: end
};

}  // namespace sepal::agent
