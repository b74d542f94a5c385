// The daemon's loop. Events only mark; this acts on the marks, one thing after another, at its own pace.
#include "agent/daemon.hpp"

#include <malloc.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/changes.hpp"
#include "agent/control.hpp"
#include "agent/exit_codes.hpp"
#include "agent/removal.hpp"
#include "agent/report.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// A device comes with a burst of events (created, renamed, set up): wait for the burst's end, but not for ever.
constexpr milliseconds kLinksSettle{100};
// Looks cost at most one part in this of one CPU.
constexpr int kLookShare = 50;
// Looks that events ask for may cost more, for they are what brings a change into force; but a route that never rests
// must not keep the daemon busy.
constexpr int kLinkLookShare = 10;
// Between two turns at guests' questions.
constexpr milliseconds kGuestsPause{5};
// A public gateway that was asked for answers within a second, or not at all.
constexpr std::chrono::seconds kGatewayPatience{2};
constexpr std::chrono::hours kFar{24};
constexpr size_t kTroublesNamedMax = 20;

milliseconds cpu_time() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return milliseconds(used.tv_sec * 1000 + used.tv_nsec / 1'000'000);
}

bool same_directory(const std::string& a, const std::string& b) {
  std::error_code ignored;
  return std::filesystem::equivalent(a, b, ignored);
}

}  // namespace

Daemon::Daemon(Kernel kernel, DaemonSettings settings, Events& events, Notifier& notifier)
    : kernel_(kernel),
      settings_(std::move(settings)),
      events_(events),
      notifier_(notifier),
      reconciler_(kernel, settings_.paths),
      directory_(settings_.config_directory),
      nic_(settings_.paths),
      guests_([this](IfIndex device, guest::FrameView frame) { return send_frame(device, frame); },
              [this](const tc::PortKey& port, const std::string& at, const MacAddr& mac) {
                return learn_mac(port, at, mac);
              }),
      wire_([this](IfIndex device, guest::FrameView frame) { return send_frame(device, frame); }),
      flow_log_(kernel, events),
      connection_limits_(kernel),
      started_(Clock::now()),
      next_look_(started_),
      next_alive_(started_),
      look_pause_(settings_.look_interval) {}

int Daemon::run() {
  if (const auto failed = start()) return *failed;
  while (!events_.stop_asked() && !removed_) {
    keep_alive();
    events_.wait(next_deadline());
    act();
  }
  notifier_.stopping();
  log::notice("stopped", removed_ ? "everything of this instance was removed by request" : "every rule stays in place");
  return kExitOk;
}

std::optional<int> Daemon::start() {
  macs_ = learnt_macs(load_state(settings_.paths.state));
  if (!read_config()) return kExitInvalid;
  const bool passed = pass(Cause::start);
  watch_nic();
  if (!passed) return events_.stop_asked() ? kExitOk : kExitError;
  notifier_.ready(status_text());
  return std::nullopt;
}

bool Daemon::read_config() {
  auto read = directory_.read();
  faults_.clear();
  if (read) {
    flow_log_due_ = wanted_changed_ = true;
    fill_in_macs();
    vteps_ = remote_vteps(config());
    return true;
  }
  faults_ = std::move(read.error());
  for (const config::Fault& fault : faults_) log::error("config-fault", fault.to_string());
  log::error("config-invalid", settings_.config_directory + ": " + count_text(faults_.size(), "fault") +
                                   (directory_.config() != nullptr ? "; the configuration before stays in force"
                                                                   : "; nothing was changed"));
  return false;
}

void Daemon::fill_in_macs() {
  filled_in_.reset();
  if (!leaves_macs_open(*directory_.config())) return macs_.clear();
  filled_in_ = *directory_.config();
  fill_in(*filled_in_, macs_);
}

// The pass that follows fills it in, writes rules for it, and then the state file: questions are heard while a pass
// reads the configuration, too.
std::string Daemon::learn_mac(const tc::PortKey& port, const std::string& at, const MacAddr& mac) {
  for (const config::Tenant& tenant : config().tenants) {
    if (tenant.name != port.tenant) continue;
    for (const config::Port& here : tenant.ports) {
      if (here.name != port.port || !here.mac_is_open) continue;
      if (const std::string other = taken_by(tenant, here, mac); !other.empty())
        return "that is the MAC address of port " + other;
      const std::pair seat{tenant.vni, seat_of(here)};
      if (seat.second != at) return "the port is at " + seat.second + " from now on";
      for (const auto& [other, learnt] : macs_)
        if (other.first == seat.first && other.second != seat.second && learnt == mac)
          return "that is the MAC address of the guest at " + other.second;
      const std::string before = here.mac.is_zero() ? "" : " and no longer " + here.mac.to_string();
      log::notice("mac-learnt", "tenant " + port.tenant + ", port " + port.port + ": its guest's MAC address is " +
                                    mac.to_string() + before);
      macs_[seat] = mac;
      macs_changed_ = true;
      links_changed();
      return {};
    }
  }
  return "the port is not there any more";
}

void Daemon::links_changed() {
  if (!links_due_) links_due_ = std::max(Clock::now() + kLinksSettle, links_not_before_);
}

void Daemon::routes_changed(const netlink::RouteChanges& changes) {
  std::set<IpAddr> concerned;
  for (const IpAddr& vtep : vteps_)
    if (changes.concern(vtep)) concerned.insert(vtep);
  if (concerned.empty()) return;
  if (passing_) unsure_.merge(concerned);
  links_changed();
}

Clock::time_point Daemon::next_deadline() const {
  Clock::time_point next = std::min(next_look_, next_alive_);
  if (const auto retry = next_retry()) next = std::min(next, *retry);
  if (links_due_) next = std::min(next, *links_due_);
  if (const auto nic = nic_.next()) next = std::min(next, *nic);
  if (const auto guests = guests_.next()) next = std::min(next, *guests);
  if (const auto wire = wire_.next()) next = std::min(next, *wire);
  if (const auto lost = flow_log_.next()) next = std::min(next, *lost);
  if (const auto count = connection_limits_.next()) next = std::min(next, *count);
  return next;
}

// While passes fail, looks are what tries again: a rule that is due would else make one failed pass follow another.
std::optional<Clock::time_point> Daemon::next_retry() const {
  return last_error_ ? std::nullopt : reconciler_.next_retry();
}

void Daemon::act() {
  if (events_.stop_asked()) return;
  while (auto request = events_.take_request()) {
    answer(*request);
    if (removed_ || events_.stop_asked()) return;
  }
  const auto now = Clock::now();
  guests_.announce(now);
  guests_.advertise(now);
  wire_.announce(now);
  const auto retry = next_retry();
  flow_log_.tell_lost(now);
  if (const auto count = connection_limits_.next(); count && *count <= now) connection_limits_.look(now);
  if (events_.take_reload()) {
    reload();
  } else if (links_due_ && *links_due_ <= now) {
    links_due_.reset();
    const auto changed = reconciler_.devices_changed(config());
    links_not_before_ = Clock::now() + (Clock::now() - now) * kLinkLookShare;
    if (!changed || *changed || macs_changed_ || wanted_changed_) pass(Cause::links);
    watch_nic();
  } else if (retry && *retry <= now) {
    pass(Cause::retry);
  } else if (next_look_ <= now) {
    pass(Cause::look);
    watch_nic();
  } else if (const auto nic = nic_.next(); nic && *nic <= now) {
    watch_nic();
  }
}

// What is known to have changed is followed; what somebody else may have changed takes a look. So does a reload of what
// is in force already: who asks for it wants to be sure.
Result<PassReport> Daemon::pass_for(Cause cause, const Progress& progress) {
  switch (cause) {
    case Cause::start: return reconciler_.apply(config(), progress);
    case Cause::links: return reconciler_.follow(config(), progress);
    case Cause::reload: {
      auto followed = reconciler_.follow(config(), progress);
      return followed && followed->quiet ? reconciler_.apply(config(), progress) : followed;
    }
    case Cause::look:
    case Cause::retry: break;
  }
  return reconciler_.look_again(config(), progress);
}

// Costs a dump of links, so only where something is amiss that a NIC out of service explains.
void Daemon::watch_nic() {
  if (config().host.nic.manual_representors) return;
  if (!last_error_ && last_.waiting.empty() && last_.problems.empty()) return nic_.take(std::nullopt, Clock::now());
  const auto links = netlink::list_links(kernel_.route);
  nic_.take(links ? nic_loss(*links, config()) : nic_.loss(), Clock::now());
}

bool Daemon::pass(Cause cause) {
  const milliseconds before = cpu_time();
  const Progress progress = [this] { return this->progress(); };
  events_.poll();  // what happened before the look is in it
  if (std::exchange(macs_changed_, false)) {
    fill_in_macs();
    wanted_changed_ = true;
  }
  // A look asks whether the kernel changed, and not what is wanted.
  if (wanted_changed_ && (cause == Cause::look || cause == Cause::retry)) cause = Cause::reload;
  passing_ = true;
  auto report = pass_for(cause, progress);
  events_.poll();
  passing_ = false;
  // Which of the two ways a NIC found when a rule was installed nobody knows.
  if (!report || report->outcome.writes() > 0) reconciler_.distrust_ways(unsure_);
  unsure_.clear();
  serve_guests();
  ::malloc_trim(0);  // rules are compiled, written and let go: give their memory back
  const milliseconds cost = cpu_time() - before;
  if (!report) {
    const std::string message = report.error().message();
    // A fault that lasts is one line, not one per look.
    if (!last_error_ || last_error_->message() != message) log::error("pass-failed", message);
    last_error_ = std::move(report.error());
    next_look_ = Clock::now() + look_pause_;
    if (last_error_->code == Errc::resync) next_look_ = Clock::now() + kLinksSettle;
    notifier_.status(status_text());
    return false;
  }
  const bool gateway_unknown = report->gateway_unknown;
  connection_limits_.follow(config(), reconciler_.served(), Clock::now());
  flow_log_.follow(config(), reconciler_.served(), std::exchange(flow_log_due_, false) || !report->quiet);
  wanted_changed_ = report->outcome.stopped;
  if (last_error_) log::notice("pass-works-again", "the kernel could be read and written again");
  last_error_.reset();
  if (report->quiet) {
    look_cost_ = cost;
    look_pause_ = std::max(settings_.look_interval, cost * kLookShare);
  } else {
    log_pass(*report, cause);
    last_ = std::move(*report);
    notifier_.status(status_text());
  }
  // What follows devices and guests looks at nothing else, and must not put off what does.
  if (cause != Cause::links) next_look_ = Clock::now() + look_pause_;
  if (gateway_unknown) next_look_ = std::min(next_look_, Clock::now() + kGatewayPatience);
  if (last_.outcome.devices_left) links_changed();
  return !last_.outcome.stopped;
}

// Questions wait in the ring until the programs that copy them are in place.
void Daemon::serve_guests() {
  guests_.serve(config(), reconciler_.ports(), Clock::now());
  wire_.follow(config(), reconciler_.ports(), reconciler_.wire(), Clock::now());
  if (guests_.hears()) return;
  auto questions = kernel_.slow_path.questions();
  if (!questions) return guests_.unheard(questions.error().message());
  guests_.hear(std::move(*questions));
  const auto answer_some = [this] { return guests_.answer_some(Clock::now()); };
  if (events_.watch(guests_.descriptor(), answer_some, kGuestsPause)) return;
  guests_.hear(nullptr);
  guests_.unheard("the ring of guests' questions cannot be watched");
}

Result<void> Daemon::send_frame(IfIndex device, guest::FrameView frame) {
  if (settings_.send) return settings_.send(device, frame);
  if (!frames_) {
    auto opened = FrameSocket::open();
    if (!opened) return Unexpected(opened.error());
    frames_.emplace(std::move(*opened));
  }
  return frames_->send(device, frame);
}

void Daemon::log_pass(const PassReport& report, Cause cause) {
  for (const std::string& made : report.made) log::notice("made", made);
  for (const std::string& change : report.changes) {
    if (report.others_changed && cause != Cause::reload)
      log::warning("healed", "others changed our rules; put right: " + change);
    else
      log::info("changed", change);
  }
  if (report.connections_ended > 0)
    log::info("connections-ended", count_text(report.connections_ended, "connection") +
                                       " whose tenant or address left, or that security groups forbid now");
  for (const auto& [id, error] : report.outcome.not_removed) log::error("not-removed", error.message());
  if (report.problems != last_.problems)
    for (const std::string& problem : report.problems) log::error("problem", problem);
  if (report.notes != last_.notes)
    for (const std::string& note : report.notes) log::warning("note", note);
  for (const tc::PortKey& port : report.waiting)
    if (!std::binary_search(last_.waiting.begin(), last_.waiting.end(), port))
      log::warning("port-waiting", "tenant " + port.tenant + ", port " + port.port +
                                       ": its device is not there; everything else is applied");
  for (const tc::PortKey& port : last_.waiting)
    if (!std::binary_search(report.waiting.begin(), report.waiting.end(), port))
      log::notice("port-came", "tenant " + port.tenant + ", port " + port.port + " waits no longer");
  for (const HardwareMove& move : report.moves)
    log::write(move.out ? log::Level::warning : log::Level::notice, move.out ? "left-hardware" : "back-in-hardware",
               move.text);
  log_troubles();
  const Outcome& outcome = report.outcome;
  if (outcome.writes() > 0 || cause == Cause::start || cause == Cause::reload)
    log::info("pass", std::to_string(outcome.added) + " added, " + std::to_string(outcome.replaced) + " replaced, " +
                          std::to_string(outcome.removed) + " removed; " +
                          status_line(report, reconciler_.troubles(), config().tenants.size()));
}

// Names a refused rule once, and says when it is accepted at last.
void Daemon::log_troubles() {
  size_t left_out = 0;
  std::set<std::pair<tc::RuleId, uint64_t>> named;
  for (const auto& [key, trouble] : reconciler_.troubles()) {
    named.insert(key);
    if (named_.contains(key)) continue;
    if (named.size() > kTroublesNamedMax)
      ++left_out;
    else
      log::error("rule-refused", to_line(trouble));
  }
  if (left_out > 0)
    log::error("rule-refused", "and " + std::to_string(left_out) + " more; `sepalctl status` names them all");
  if (!named_.empty() && named.empty()) log::notice("rule-accepted", "no rule is refused any more");
  named_ = std::move(named);
}

void Daemon::answer(const Request& request) {
  json reply;
  if (auto parsed = parse_message(request.body); !parsed)
    reply = {{"ok", false}, {"error", parsed.error().message()}};
  else
    reply = handle(*parsed);
  events_.reply(request.client, reply);
}

json Daemon::handle(const json& request) {
  const auto verb = request.find("do");
  const std::string what = verb != request.end() && verb->is_string() ? verb->get<std::string>() : "";
  if (what == "status") return status();
  if (what == "reload") return reload();
  if (what == "remove") return remove();
  if (what == "apply") {
    const auto directory = request.find("directory");
    if (directory != request.end() && directory->is_string() &&
        same_directory(directory->get<std::string>(), settings_.config_directory))
      return reload();
    return {{"ok", false},
            {"exit", kExitLocked},
            {"error", "sepald runs this instance from " + settings_.config_directory +
                          "; apply that directory, or stop sepald first"}};
  }
  return {{"ok", false}, {"exit", kExitError}, {"error", "unknown request '" + what + "'"}};
}

json Daemon::reload() {
  notifier_.reloading();
  flow_log_.reopen();
  json reply;
  if (!read_config()) {
    reply = {{"ok", false},
             {"exit", kExitInvalid},
             {"error", "the configuration is invalid; the one before stays in force"},
             {"faults", to_json(faults_)}};
  } else {
    reconciler_.forget_back_off();
    log::info("reload", "read " + settings_.config_directory + ": " + count_text(config().tenants.size(), "tenant"));
    if (pass(Cause::reload)) {
      const int code = !reconciler_.troubles().empty() ? kExitRefused
                       : last_.software.empty()        ? kExitOk
                                                       : kExitSoftware;
      reply = {{"ok", true}, {"exit", code}, {"report", to_json(last_, reconciler_.troubles(), Clock::now())}};
    } else {
      reply = {{"ok", false},
               {"exit", kExitError},
               {"error", last_error_ ? last_error_->message() : std::string("stopped before the end")}};
    }
  }
  notifier_.ready(status_text());
  return reply;
}

json Daemon::remove() {
  const Progress progress = [this] { return this->progress(); };
  auto report = remove_everything(kernel_, settings_.paths, progress);
  if (!report) return {{"ok", false}, {"exit", kExitError}, {"error", report.error().message()}};
  removed_ = true;
  return {{"ok", report->problems.empty()},
          {"exit", report->problems.empty() ? kExitOk : kExitError},
          {"report", to_json(*report)}};
}

json Daemon::status() const {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - started_);
  json out{{"ok", true},
           {"instance", settings_.paths.instance},
           {"pid", ::getpid()},
           {"config", settings_.config_directory},
           {"tenants", directory_.config() != nullptr ? config().tenants.size() : 0},
           {"faults", to_json(faults_)},
           {"running_seconds", seconds.count()},
           {"look_interval_ms", look_pause_.count()},
           {"look_cpu_ms", look_cost_.count()},
           {"writes", kernel_.route.writes()},
           {"summary",
            directory_.config() != nullptr ? status_line(last_, reconciler_.troubles(), config().tenants.size()) : ""},
           {"guests", guests_.to_json()},
           {"announced_on_the_wire", wire_.announced()},
           {"connections", connection_limits_.to_json()},
           {"report", to_json(last_, reconciler_.troubles(), Clock::now())}};
  if (const auto lost = kernel_.slow_path.questions_lost()) out["guests"]["lost"] = *lost;
  if (last_error_) out["error"] = to_json(*last_error_);
  return out;
}

bool Daemon::progress() {
  keep_alive();
  events_.poll();
  return !events_.stop_asked();
}

void Daemon::keep_alive() {
  const auto now = Clock::now();
  if (now < next_alive_) return;
  const auto period = notifier_.watchdog_period();
  if (period) notifier_.alive();
  next_alive_ = now + (period ? std::chrono::duration_cast<Clock::duration>(*period) : Clock::duration(kFar));
}

std::string Daemon::status_text() const {
  if (last_error_) return "last pass failed: " + last_error_->message();
  std::string text = directory_.config() != nullptr
                         ? status_line(last_, reconciler_.troubles(), config().tenants.size())
                         : "no configuration";
  if (!faults_.empty())
    text = "configuration invalid (" + count_text(faults_.size(), "fault") + "), the one before is in force: " + text;
  return text;
}

}  // namespace sepal::agent
