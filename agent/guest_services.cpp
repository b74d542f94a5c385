// See guest_services.hpp.
#include "agent/guest_services.hpp"

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "agent/guest_of.hpp"
#include "agent/learnt_macs.hpp"
#include "base/log.hpp"
#include "guest/announcement.hpp"
#include "guest/answer.hpp"
#include "guest/router.hpp"
#include "guest/speaker.hpp"

namespace sepal::agent {
namespace {

using std::chrono::seconds;

// Some milliseconds of work. With the pause between turns: a few thousand answers per second, and most of a CPU for
// everything else.
constexpr size_t kQuestionsPerTurn = 64;
constexpr size_t kAdvertisementsPerTurn = 64;  // and as many withdrawals
constexpr size_t kAnnouncementsPerTurn = 64;   // and what remains of the last guest's
// A small fraction of the lifetime that router advertisements tell (18 hours): for guests that began to listen late.
constexpr seconds kAdvertisementPeriod{200};
// Nobody acknowledges an announcement, so it is made more than once.
constexpr unsigned kAnnouncements = 2;
constexpr seconds kAnnouncementPause{1};
// Guests decide how much there is to log, and one that has much to say must not hide the others.
constexpr seconds kLinesPeriod{10};
constexpr unsigned kLinesPerPeriod = 20;
constexpr unsigned kLinesPerPort = 5;
constexpr size_t kKindsMax = 64;
// A guest may come back with another MAC address, but each change writes rules of its tenant: one that does it again
// and again waits twice as long each time.
constexpr seconds kLearningPause{10};
constexpr seconds kLearningPauseMax{600};
constexpr seconds kRefusedPause{1};

// What it was in the words of guest/: "DHCPDISCOVER", "DHCPv6 solicit", "router solicitation", "malformed".
std::string kind_of(std::string_view what) {
  size_t end = what.find_first_of(" :");
  const std::string_view first = what.substr(0, end);
  if (first == "not") return "other";
  if ((first == "DHCPv6" || first == "router") && end != std::string_view::npos && what[end] == ' ') {
    const size_t second_end = what.find_first_of(" :,", end + 1);
    const std::string_view second = what.substr(end + 1, second_end - end - 1);
    if (second != "from" && second != "of" && second != "to") end = second_end;
  }
  return std::string(what.substr(0, end));
}

std::string port_text(const tc::PortKey& port) { return "tenant " + port.tenant + ", port " + port.port + ": "; }

}  // namespace

void GuestServices::serve(const config::Config& config, const std::map<tc::PortKey, IfIndex>& ports,
                          Clock::time_point now) {
  std::map<IfIndex, Served> served;
  for (const config::Tenant& tenant : config.tenants) {
    for (const config::Port& port : tenant.ports) {
      const auto device = ports.find({tenant.name, port.name});
      if (device == ports.end()) continue;
      const auto before = served_.find(device->second);
      Served& here = served[device->second];
      here = served_now(before == served_.end() ? nullptr : &before->second, device->first,
                        guest_of(config.host, tenant, port), now);
      here.open = port.mac_is_open;
      here.seat = here.open ? seat_of(port) : "";
    }
  }
  served_ = std::move(served);
}

// `before`: who was served on the device until now; null: nobody.
GuestServices::Served GuestServices::served_now(const Served* before, const tc::PortKey& port, guest::Guest told,
                                                Clock::time_point now) {
  const bool same = before != nullptr && before->port == port;
  if (same && *before->told == told) return *before;
  Served served{port, std::make_shared<const guest::Guest>(std::move(told)), nullptr, now};
  served.announcements = kAnnouncements;
  served.announced_next = now;
  if (same && !served.told->mac.is_zero()) {
    served.learns_next = before->learns_next;
    served.learning_pause = before->learning_pause;
  }
  if (before != nullptr) served.advertised = before->advertised;
  if (same && guest::router_advertisement(*before->told) == guest::router_advertisement(*served.told))
    served.advertised_next = before->advertised_next;
  if (same && guest::gateway_announcements(*before->told) == guest::gateway_announcements(*served.told)) {
    served.announcements = before->announcements;
    served.announced_next = before->announced_next;
  }
  return served;
}

void GuestServices::unheard(const std::string& why) {
  if (std::exchange(unheard_, why) != why) log::error("guests-unheard", why);
}

bool GuestServices::answer_some(Clock::time_point now) {
  if (!questions_) return false;
  // Called by libbpf, which is C and which no exception may pass: what answering throws ends in take(), and when there
  // is not even memory to say so, here.
  const auto read = questions_->read(
      [this, now](IfIndex device, std::span<const uint8_t> frame) noexcept { take(device, frame, now); },
      kQuestionsPerTurn);
  if (!read) {
    unheard(read.error().message());
    questions_.reset();
    return false;
  }
  unheard_.clear();
  return true;
}

void GuestServices::take(IfIndex device, guest::FrameView frame, Clock::time_point now) {
  const auto found = served_.find(device);
  if (found == served_.end()) {
    ++strangers_;
    return;
  }
  std::string what;
  bool answered = false;
  try {
    if (found->second.open) listen(found->second, device, frame, now);
    if (guest::is_about_neighbours(frame)) return;
    answered = answer(device, *found->second.told, frame, what);
  } catch (const std::exception& fault) {
    what = std::string("fault: ") + fault.what();
  }
  std::string kind = kind_of(what);
  if (!counts_.contains(kind) && counts_.size() >= kKindsMax) kind = "other";
  Count& count = counts_[kind];
  ++count.asked;
  if (answered) ++count.answered;
  log_line(now, device, answered, port_text(found->second.port) + what);
}

// What follows in this turn is answered to the guest as it shows itself.
void GuestServices::listen(Served& served, IfIndex device, guest::FrameView frame, Clock::time_point now) {
  const auto mac = guest::speaker(frame, *served.told);
  if (!mac || *mac == served.told->mac || now < served.learns_next) return;
  const std::string why_not = learn_ ? learn_(served.port, served.seat, *mac) : "nobody learns it";
  if (!why_not.empty()) {
    served.learns_next = now + kRefusedPause;
    return log_line(now, device, false, port_text(served.port) + "speaks from " + mac->to_string() + ": " + why_not);
  }
  const bool again = !served.told->mac.is_zero() && now < served.learns_next + kLearningPauseMax;
  served.learning_pause = again ? std::min(2 * served.learning_pause, kLearningPauseMax) : kLearningPause;
  served.learns_next = now + served.learning_pause;
  ++learnt_;
  guest::Guest told = *served.told;
  told.mac = *mac;
  served.told = std::make_shared<const guest::Guest>(std::move(told));
}

// Whether it was answered; in `what`, what was asked and said.
bool GuestServices::answer(IfIndex device, const guest::Guest& told, guest::FrameView frame, std::string& what) {
  guest::Answer answer = guest::answer(frame, told);
  what = std::move(answer.what);
  if (!answer.frame) return false;
  const auto sent = send(device, *answer.frame);
  if (!sent) what += ", not sent: " + sent.error().message();
  return sent.has_value();
}

Result<void> GuestServices::send(IfIndex device, const guest::Frame& frame) {
  auto sent = send_(device, frame);
  if (sent) return sent;
  ++unsent_;
  log::debug("guest-unsent", sent.error().message());
  return sent;
}

void GuestServices::log_line(Clock::time_point now, IfIndex device, bool answered, const std::string& text) {
  if (now - lines_since_ >= kLinesPeriod) {
    if (lines_left_out_ > 0)
      log::info("guest-asked", "and " + std::to_string(lines_left_out_) + " more questions of guests");
    lines_since_ = now;
    lines_ = lines_left_out_ = 0;
    lines_of_.clear();
  }
  if (++lines_of_[device] > kLinesPerPort || lines_ == kLinesPerPeriod) {
    ++lines_left_out_;
    return;
  }
  ++lines_;
  if (answered)
    log::info("guest-answered", text);
  else
    log::notice("guest-unanswered", text);
}

std::optional<GuestServices::Clock::time_point> GuestServices::next() const {
  std::optional<Clock::time_point> next;
  for (const auto& [device, served] : served_) {
    const auto due =
        served.announcements > 0 ? std::min(served.announced_next, served.advertised_next) : served.advertised_next;
    if (!next || due < *next) next = due;
  }
  return next;
}

void GuestServices::announce(Clock::time_point now) {
  size_t made = 0;
  for (auto& [device, served] : served_) {
    if (served.announcements == 0 || served.announced_next > now) continue;
    if (made >= kAnnouncementsPerTurn) return;
    --served.announcements;
    served.announced_next = now + kAnnouncementPause;
    for (const guest::Frame& frame : guest::gateway_announcements(*served.told)) {
      ++made;
      if (send(device, frame)) ++announced_;
    }
  }
}

void GuestServices::advertise(Clock::time_point now) {
  size_t left = kAdvertisementsPerTurn;
  for (auto& [device, served] : served_) {
    if (served.advertised_next > now) continue;
    if (left-- == 0) return;
    served.advertised_next = now + kAdvertisementPeriod;
    if (served.advertised && served.advertised != served.told) {
      const auto withdrawal = guest::router_withdrawal(*served.advertised, *served.told);
      if (withdrawal && !send(device, *withdrawal)) continue;  // else it would never be said
      served.advertised.reset();
    }
    const auto frame = guest::router_advertisement(*served.told);
    if (!frame || !send(device, *frame)) continue;
    ++advertised_;
    served.advertised = served.told;
  }
}

nlohmann::json GuestServices::to_json() const {
  nlohmann::json kinds = nlohmann::json::object();
  for (const auto& [kind, count] : counts_) kinds[kind] = {{"asked", count.asked}, {"answered", count.answered}};
  return {{"ports", served_.size()},   {"questions", kinds},      {"from_no_port", strangers_}, {"unsent", unsent_},
          {"advertised", advertised_}, {"announced", announced_}, {"learnt", learnt_},          {"hears", hears()}};
}

}  // namespace sepal::agent
