// The services on guests' links: takes the questions that the slow path copied, answers each from the configuration,
// and sends the answer out of the port it came from. Advertises routers unasked, too. Holds nothing that a restart
// could lose: what guests are told is what the configuration says.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "agent/slow_path.hpp"
#include "base/result.hpp"
#include "config/model.hpp"
#include "guest/guest.hpp"

namespace sepal::agent {

class GuestServices {
 public:
  using Clock = std::chrono::steady_clock;
  using Send = std::function<Result<void>(IfIndex device, guest::FrameView frame)>;
  explicit GuestServices(Send send) : send_(std::move(send)) {}

  // What holds from now on; `config` is borrowed until the next call. Ports that are new here are advertised to at
  // once.
  void serve(const config::Config& config, const std::map<tc::PortKey, IfIndex>& ports, Clock::time_point now);

  // Where questions come from.
  void hear(std::unique_ptr<Questions> questions) { questions_ = std::move(questions); }
  [[nodiscard]] bool hears() const { return questions_ != nullptr; }
  [[nodiscard]] int descriptor() const { return questions_->descriptor(); }
  // Answers some of what was asked, never more than a turn's worth: whoever asks most must not have the agent to
  // himself. False: there will be no more.
  bool answer_some(Clock::time_point now);

  // When the next unasked advertisement is due.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  void advertise(Clock::time_point now);

  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Served {
    const config::Tenant* tenant = nullptr;
    const config::Port* port = nullptr;
    Clock::time_point advertised_next;
  };
  struct Count {
    uint64_t asked = 0;
    uint64_t answered = 0;
  };

  void answer(IfIndex device, guest::FrameView frame, Clock::time_point now);
  bool send(IfIndex device, const guest::Frame& frame);
  void log_line(Clock::time_point now, bool answered, const std::string& text);

  Send send_;
  std::unique_ptr<Questions> questions_;
  const config::Config* config_ = nullptr;
  std::map<IfIndex, Served> served_;
  std::map<std::string, Count> counts_;  // by the first word of what it was
  uint64_t strangers_ = 0;               // from devices that are no port's
  uint64_t unsent_ = 0;
  uint64_t advertised_ = 0;
  Clock::time_point lines_since_;
  unsigned lines_ = 0;
  unsigned lines_left_out_ = 0;
};

}  // namespace sepal::agent
