// See guest_services.hpp.
#include "agent/guest_services.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/guest_of.hpp"
#include "base/log.hpp"
#include "guest/answer.hpp"
#include "guest/router.hpp"

namespace sepal::agent {
namespace {

using std::chrono::seconds;

// Some milliseconds of work. With the pause between turns: a few thousand answers per second, and most of a CPU for
// everything else.
constexpr size_t kQuestionsPerTurn = 64;
constexpr size_t kAdvertisementsPerTurn = 64;
// A fraction of the lifetime that router advertisements tell (half an hour): several may be lost.
constexpr seconds kAdvertisementPeriod{200};
// Guests decide how much there is to log.
constexpr seconds kLinesPeriod{10};
constexpr unsigned kLinesPerPeriod = 20;
constexpr size_t kKindsMax = 64;

std::string kind_of(const std::string& what) { return what.substr(0, what.find_first_of(" :")); }

std::string port_text(const config::Tenant& tenant, const config::Port& port) {
  return "tenant " + tenant.name + ", port " + port.name + ": ";
}

}  // namespace

void GuestServices::serve(const config::Config& config, const std::map<tc::PortKey, IfIndex>& ports,
                          Clock::time_point now) {
  std::map<IfIndex, Served> served;
  for (const config::Tenant& tenant : config.tenants) {
    for (const config::Port& port : tenant.ports) {
      const auto device = ports.find({tenant.name, port.name});
      if (device == ports.end()) continue;
      const auto before = served_.find(device->second);
      served[device->second] = {&tenant, &port, before == served_.end() ? now : before->second.advertised_next};
    }
  }
  config_ = &config;
  served_ = std::move(served);
}

bool GuestServices::answer_some(Clock::time_point now) {
  if (!questions_) return false;
  const auto read = questions_->read(
      [this, now](IfIndex device, std::span<const uint8_t> frame) { answer(device, frame, now); }, kQuestionsPerTurn);
  if (read) return true;
  log::error("guests-unheard", read.error().message());
  return false;
}

void GuestServices::answer(IfIndex device, guest::FrameView frame, Clock::time_point now) {
  const auto found = served_.find(device);
  if (found == served_.end()) {
    ++strangers_;
    return;
  }
  const Served& served = found->second;
  const guest::Answer answer = guest::answer(frame, guest_of(config_->host, *served.tenant, *served.port));
  std::string kind = kind_of(answer.what);
  if (!counts_.contains(kind) && counts_.size() >= kKindsMax) kind = "other";
  Count& count = counts_[kind];
  ++count.asked;
  const bool answered = answer.frame && send(device, *answer.frame);
  if (answered) ++count.answered;
  log_line(now, answered, port_text(*served.tenant, *served.port) + answer.what);
}

bool GuestServices::send(IfIndex device, const guest::Frame& frame) {
  const auto sent = send_(device, frame);
  if (sent) return true;
  ++unsent_;
  log::debug("guest-unsent", sent.error().message());
  return false;
}

void GuestServices::log_line(Clock::time_point now, bool answered, const std::string& text) {
  if (now - lines_since_ >= kLinesPeriod) {
    if (lines_left_out_ > 0)
      log::info("guest-asked", "and " + std::to_string(lines_left_out_) + " more questions of guests");
    lines_since_ = now;
    lines_ = lines_left_out_ = 0;
  }
  if (++lines_ > kLinesPerPeriod) {
    ++lines_left_out_;
  } else if (answered) {
    log::info("guest-answered", text);
  } else {
    log::notice("guest-unanswered", text);
  }
}

std::optional<GuestServices::Clock::time_point> GuestServices::next() const {
  std::optional<Clock::time_point> next;
  for (const auto& [device, served] : served_)
    if (!next || served.advertised_next < *next) next = served.advertised_next;
  return next;
}

void GuestServices::advertise(Clock::time_point now) {
  size_t left = kAdvertisementsPerTurn;
  for (auto& [device, served] : served_) {
    if (served.advertised_next > now) continue;
    if (left-- == 0) return;
    served.advertised_next = now + kAdvertisementPeriod;
    const auto frame = guest::router_advertisement(guest_of(config_->host, *served.tenant, *served.port));
    if (frame && send(device, *frame)) ++advertised_;
  }
}

nlohmann::json GuestServices::to_json() const {
  nlohmann::json kinds = nlohmann::json::object();
  for (const auto& [kind, count] : counts_) kinds[kind] = {{"asked", count.asked}, {"answered", count.answered}};
  return {{"ports", served_.size()}, {"questions", kinds},        {"from_no_port", strangers_},
          {"unsent", unsent_},       {"advertised", advertised_}, {"hears", hears()}};
}

}  // namespace sepal::agent
