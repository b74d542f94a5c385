// The services on guests' links: takes the questions that the slow path copied, answers each from the configuration,
// and sends the answer out of the port it came from. Hears from guests which MAC address they have, where nobody
// configured it. Says unasked where gateways are and what routers advertise, too.
// Holds nothing whose loss a guest would notice: what guests are told is what the configuration says.
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
  // A guest whose MAC address nobody configured showed it; `seat`: where its port sat when it was served. Empty: it is
  // the guest's from now on, and serve() comes soon; else why it cannot be.
  using Learn = std::function<std::string(const tc::PortKey& port, const std::string& seat, const MacAddr& mac)>;
  explicit GuestServices(Send send, Learn learn = {}) : send_(std::move(send)), learn_(std::move(learn)) {}

  // What holds from now on. Ports that are new here, and those whose guests would hear something else than before, are
  // due to be told at once. A device that is another port's now is new, but what the port before was advertised is
  // withdrawn on it.
  void serve(const config::Config& config, const std::map<tc::PortKey, IfIndex>& ports, Clock::time_point now);

  // Where questions come from; null: nowhere any more.
  void hear(std::unique_ptr<Questions> questions) { questions_ = std::move(questions); }
  [[nodiscard]] bool hears() const { return questions_ != nullptr; }
  [[nodiscard]] int descriptor() const { return questions_->descriptor(); }
  // Says in the log why nobody is heard: once, and again after questions were read or for another reason.
  void unheard(const std::string& why);
  // Answers some of what was asked, never more than a turn's worth: whoever asks most must not have the agent to
  // himself. False: the questions could not be read, and are let go of; the caller gives new ones to hear().
  bool answer_some(Clock::time_point now);

  // When the next is due that nobody asks for: one of the two below.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  // Where gateways are, twice in a second to guests that may not know. At most a turn's worth, and so is the other.
  void announce(Clock::time_point now);
  // What the router is and tells; and, when that changes, what of it ended.
  void advertise(Clock::time_point now);

  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Served {
    tc::PortKey port;
    std::shared_ptr<const guest::Guest> told;        // what its guest is told
    std::shared_ptr<const guest::Guest> advertised;  // the same as of the last router advertisement; null: none
    Clock::time_point advertised_next;
    bool open = false;  // nobody configured its guest's MAC address
    std::string seat;   // of an open one
    Clock::time_point learns_next;
    std::chrono::seconds learning_pause{0};  // after the last change
    unsigned announcements = 0;              // that are still to be made
    Clock::time_point announced_next;
  };
  struct Count {
    uint64_t asked = 0;
    uint64_t answered = 0;
  };

  static Served served_now(const Served* before, const tc::PortKey& port, guest::Guest told, Clock::time_point now);
  void take(IfIndex device, guest::FrameView frame, Clock::time_point now);
  void listen(Served& served, IfIndex device, guest::FrameView frame, Clock::time_point now);
  bool answer(IfIndex device, const guest::Guest& told, guest::FrameView frame, std::string& what);
  Result<void> send(IfIndex device, const guest::Frame& frame);
  void log_line(Clock::time_point now, IfIndex device, bool answered, const std::string& text);

  Send send_;
  Learn learn_;
  std::unique_ptr<Questions> questions_;
  std::string unheard_;  // why, as the log has it; empty: somebody is heard
  std::map<IfIndex, Served> served_;
  std::map<std::string, Count> counts_;  // by what it was, in a word or two
  uint64_t strangers_ = 0;               // from devices that are no port's
  uint64_t unsent_ = 0;
  uint64_t advertised_ = 0;
  uint64_t announced_ = 0;
  uint64_t learnt_ = 0;
  Clock::time_point lines_since_;
  unsigned lines_ = 0;
  std::map<IfIndex, unsigned> lines_of_;  // by device, those left out as well
  unsigned lines_left_out_ = 0;
};

}  // namespace sepal::agent
