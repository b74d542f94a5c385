// What can happen to a daemon, as marks that its loop takes at its own pace: signals, changes of links, requests on the
// control socket. The one io_context of the project is behind this; nothing here decides anything.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/result.hpp"

namespace sepal::agent {

struct Request {
  uint64_t client = 0;
  std::string body;  // JSON, as it came
};

class Events {
 public:
  // `socket`: path of the control socket; a stale file there is replaced (the caller holds the writer's lock).
  static Result<std::unique_ptr<Events>> open(const std::string& socket);
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  // Calls `readable` whenever `descriptor` (borrowed) has something to read, until it returns false; rests for `pause`
  // after each call. One that throws is called again after a second, and a descriptor that turns out not to tell when
  // it can be read is taken to be readable every second: it must not block. False: this one cannot be watched at all,
  // and `readable` will not be called.
  bool watch(int descriptor, std::function<bool()> readable,
             std::chrono::milliseconds pause = std::chrono::milliseconds(0));

  // Takes what has happened; waits for the first event until `deadline` at most.
  void wait(std::chrono::steady_clock::time_point deadline);
  void poll();

  [[nodiscard]] bool stop_asked() const;
  bool take_reload();
  std::optional<Request> take_request();
  // Sends the reply and closes the client. A client that left or does not read is dropped.
  void reply(uint64_t client, const nlohmann::json& message);

 private:
  struct Inside;
  explicit Events(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace sepal::agent
