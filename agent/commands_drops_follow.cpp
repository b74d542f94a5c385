// drops --follow: dropped packets as they are dropped, until somebody says stop.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/drop_lines.hpp"
#include "agent/exit_codes.hpp"
#include "bpf/drop_watch.hpp"

namespace sepal::agent {
namespace {

constexpr long kPerSecond = 100;
constexpr size_t kRecordsPerTurn = 256;
constexpr int kTurnMs = 200;
constexpr std::chrono::seconds kLookAgain{1};

volatile std::sig_atomic_t stop_asked = 0;

uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

void stop_at_signals() {
  struct sigaction action{};
  action.sa_handler = [](int) { stop_asked = 1; };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

// What one look found; each borrows of those before it.
struct Picture {
  std::optional<config::Config> config;
  std::optional<Shown> shown;
  std::optional<DropTeller> teller;
};

template <typename Json>
std::string one_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// What is known of rules, read again when a packet met one that is not known.
class Follower {
 public:
  explicit Follower(const Command& command) : command_(command), kernel_(command.kernel) {}

  // One that fails leaves what was known before.
  Result<void> look() {
    auto picture = std::make_unique<Picture>();
    picture->config = read_for_names(command_);
    const config::Config* config = picture->config ? &*picture->config : nullptr;
    auto shown = gather_shown(kernel_, config, command_.paths);
    looked_ = std::chrono::steady_clock::now();  // of a failed one, too, or the next packet would ask again
    if (!shown) return Unexpected(shown.error());
    picture->shown.emplace(std::move(*shown));
    picture->teller.emplace(*picture->shown, config);
    picture_ = std::move(picture);
    return {};
  }
  [[nodiscard]] const Names& names() const { return picture_->shown->names; }
  // The mark that all rules of a tenant bear; nullopt: it has none here.
  [[nodiscard]] std::optional<Zone> zone_of(Vni vni) const {
    const auto& zones = picture_->shown->facts.zones;
    const auto found = zones.find(vni);
    return found == zones.end() ? std::nullopt : std::optional(found->second);
  }
  // Only this tenant's: of those that no tenant's rule dropped, none.
  void choose(std::optional<Vni> only) { only_ = only; }

  void take(const sepal_drop& drop) {
    if (!picture_->teller->knows(drop) && std::chrono::steady_clock::now() - looked_ >= kLookAgain) (void)look();
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);
    const uint64_t age = now - std::min<uint64_t>(drop.time, now);
    const ToldDrop told = picture_->teller->tell(drop, clock_ns(CLOCK_REALTIME) - age);
    if (only_ && told.vni != *only_) return;
    ++shown_packets_;
    if (command_.output.json())
      std::cout << one_line(to_json(told, names())) << std::endl;  // flushed: somebody watches
    else
      std::cout << to_line(told) << std::endl;
  }
  [[nodiscard]] uint64_t shown_packets() const { return shown_packets_; }

 private:
  const Command& command_;
  Kernel kernel_;
  std::unique_ptr<Picture> picture_;
  std::chrono::steady_clock::time_point looked_;
  std::optional<Vni> only_;
  uint64_t shown_packets_ = 0;
};

void tell_sum(const Command& command, uint64_t shown, uint64_t not_shown) {
  if (command.output.json())
    std::cout << one_line(nlohmann::json{{"shown", shown}, {"not_shown", not_shown}}) << std::endl;
  else
    command.output.line(count_text(shown, "packet") + " shown, " + std::to_string(not_shown) +
                        " more dropped and not shown");
}

Result<void> follow(Follower& follower, bpf::DropWatch& watch) {
  // Once more after the word to stop: what was dropped before it is shown.
  for (bool last = false; !last;) {
    last = stop_asked != 0;
    pollfd ready{watch.descriptor(), POLLIN, 0};
    if (!last && ::poll(&ready, 1, kTurnMs) < 0 && errno != EINTR) return fail_errno(errno, "wait for dropped packets");
    auto read = watch.read(
        [&](std::span<const std::byte> record) {
          sepal_drop drop{};
          if (record.size() < sizeof drop) return;
          std::memcpy(&drop, record.data(), sizeof drop);
          follower.take(drop);
        },
        kRecordsPerTurn);
    if (!read) return Unexpected(read.error());
  }
  return {};
}

}  // namespace

int command_drops_follow(const Command& command) {
  auto limit = command.options.number("--limit", 1, 100'000);
  if (!limit) return complain(command, limit.error());
  Follower follower(command);
  if (auto looked = follower.look(); !looked) return complain(command, looked.error());
  std::optional<Vni> only;
  if (!tenant_asked(command, follower.names(), only)) return kExitError;
  follower.choose(only);
  bpf::DropsWanted wanted;
  tc::Cookie cookie;
  cookie.instance = tc::instance_hash(command.paths.instance);
  // Of a tenant that has no zone here yet, Follower alone chooses, among all that is told.
  if (const auto zone = only ? follower.zone_of(*only) : std::nullopt) {
    cookie.zone = *zone;
    wanted.cookie_bytes = SEPAL_DROP_COOKIE_ZONE;
  }
  const auto bytes = cookie.bytes();
  std::copy_n(bytes.begin(), wanted.cookie.size(), wanted.cookie.begin());
  wanted.per_second = static_cast<uint32_t>(limit->value_or(kPerSecond));
  auto watch = bpf::DropWatch::open(wanted);
  if (!watch) return complain(command, watch.error());
  stop_at_signals();
  std::cerr << "sepalctl: watching dropped packets; Ctrl-C ends it" << std::endl;
  const auto followed = follow(follower, *watch);
  tell_sum(command, follower.shown_packets(), watch->not_told());
  return followed ? kExitOk : complain(command, followed.error());
}

}  // namespace sepal::agent
