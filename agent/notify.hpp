// The service manager's side of the conversation: sd_notify(3) datagrams to $NOTIFY_SOCKET, and the watchdog's period.
// The protocol is a few lines of text on a datagram socket and documented as stable, so no library is linked for it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"

namespace sepal::agent {

class Notifier {
 public:
  // From the environment, which it cleans, so that children do not speak in our name. Without NOTIFY_SOCKET all verbs
  // do nothing.
  static Notifier from_environment();
  // To a given socket, path or "@abstract"; an empty one: nobody listens.
  explicit Notifier(std::string address);

  void ready(std::string_view status);
  void status(std::string_view status);
  void reloading();
  void stopping();
  void alive();  // WATCHDOG=1

  // How often alive() must be called; half of what the manager allows. None: no watchdog.
  [[nodiscard]] std::optional<std::chrono::microseconds> watchdog_period() const { return watchdog_period_; }

 private:
  void send(std::string_view message) const;
  std::string address_;
  UniqueFd socket_;
  std::optional<std::chrono::microseconds> watchdog_period_;
};

}  // namespace sepal::agent
