#include "agent/flow_log.hpp"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <fstream>

#include "agent/changes.hpp"
#include "base/log.hpp"

namespace sepal::agent {
namespace {

constexpr size_t kRecordsPerTurn = 512;
constexpr std::chrono::milliseconds kPause{20};  // between turns: as many as the ring holds come in some 140 ms
constexpr std::chrono::seconds kLostEvery{1};
constexpr std::chrono::minutes kLostInWordsEvery{1};
constexpr int kTurnsMax = 16;  // without a pause, before the book is another: twice as many as empty a full ring
constexpr const char* kAccounting = "/proc/sys/net/netfilter/nf_conntrack_acct";
const std::string kNoVerdicts = "verdicts of security groups are not written: ";
const std::string kNoConnections = "connections that begin and end are not written: ";

uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

bool is_readable(int fd) {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) > 0;
}

// Counts packets and bytes of connections that begin from now on. A daemon in its sandbox may not.
void ask_for_counts() {
  std::string value;
  std::ifstream(kAccounting) >> value;
  if (value != "0") return;
  std::ofstream set(kAccounting);
  set << "1" << std::flush;
  if (!set)
    log::warning("flow-log-without-counts",
                 "conntrack does not count packets and bytes, so records of the flow log lack them: sysctl -w "
                 "net.netfilter.nf_conntrack_acct=1");
}

}  // namespace

void FlowLog::follow(const config::Config& config, const SavedState& served, bool changed) {
  if (!changed) return;
  read_all();
  book_ = FlowBook(config, served, std::move(book_));
  sink_.set_file(config.host.flow_log_file);
  if (book_.wants_verdicts() && !ring_) open_ring();
  if (book_.wants_connections() != listening_) open_connections();
}

// What waits to be read, ends of connections by the pass itself among it, is told by the configuration before: it has
// the ids of those rules and those zones.
void FlowLog::read_all() {
  for (int turn = 0; turn < kTurnsMax && ring_; ++turn)
    if (!read_ring() || !is_readable(ring_->descriptor())) break;
  for (int turn = 0; turn < kTurnsMax && listening_; ++turn)
    if (!read_connections() || !is_readable(connections_->fd())) break;
}

void FlowLog::open_ring() {
  auto map = kernel_.slow_path.events();
  auto ring = map ? bpf::Ring::open(*map) : Unexpected(map.error());
  if (!ring) {
    if (!std::exchange(ring_complained_, true)) log::error("flow-log-off", kNoVerdicts + ring.error().message());
    return;
  }
  ring_complained_ = false;
  // What was lost while nobody read is known to nobody.
  ring_lost_ = kernel_.slow_path.events_lost().value_or(0);
  ring_.emplace(std::move(*ring));
  events_.watch(ring_->descriptor(), [this, number = ++rings_] { return number == rings_ && read_ring(); }, kPause);
}

void FlowLog::open_connections() {
  const bool on = book_.wants_connections();
  const bool is_new = !connections_;
  Result<void> done;
  if (is_new) {
    auto opened = netlink::ConnectionMonitor::open();
    if (opened) connections_.emplace(std::move(*opened));
    if (!opened) done = Unexpected(opened.error());
  }
  if (done) done = connections_->listen(on);
  if (!done) {
    if (is_new) connections_.reset();
    if (!std::exchange(connections_complained_, true))
      log::error("flow-log-off", kNoConnections + done.error().message());
    return;
  }
  connections_complained_ = false;
  listening_ = on;
  if (on) ask_for_counts();
  if (!is_new) return;
  events_.watch(
      connections_->fd(), [this, number = ++monitors_] { return number == monitors_ && read_connections(); }, kPause);
}

bool FlowLog::read_ring() {
  if (!ring_) return false;
  const auto turn = Clock::now();
  const uint64_t now = clock_ns(CLOCK_REALTIME);
  const uint64_t since_boot = clock_ns(CLOCK_MONOTONIC);
  auto read = ring_->read(
      [&](std::span<const std::byte> record) {
        sepal_event event{};
        if (record.size() < sizeof event) return;
        std::memcpy(&event, record.data(), sizeof event);
        if (!has_share(Vni(event.vni), turn)) return;
        const uint64_t age = since_boot - std::min<uint64_t>(event.time, since_boot);
        sink_.add(book_.line(event, now - age));
      },
      kRecordsPerTurn);
  sink_.flush(turn);
  if (const auto lost = kernel_.slow_path.events_lost(); lost && *lost > ring_lost_)
    lose("ring", *lost - std::exchange(ring_lost_, *lost));
  lose("output", sink_.take_lost());
  if (read) return true;
  log::error("flow-log-off", kNoVerdicts + read.error().message());
  ring_.reset();
  return false;
}

bool FlowLog::read_connections() {
  if (!connections_) return false;
  const auto turn = Clock::now();
  const uint64_t now = clock_ns(CLOCK_REALTIME);
  auto lost = connections_->drain([&](const netlink::ConnectionEvent& event) {
    const auto owner = book_.owner(event);
    if (!owner || !has_share(*owner, turn)) return;
    if (const auto line = book_.line(event, now)) sink_.add(*line);
  });
  sink_.flush(turn);
  lose("output", sink_.take_lost());
  if (lost) {
    lose("conntrack", *lost);
    return true;
  }
  log::error("flow-log-off", kNoConnections + lost.error().message());
  // Its watch holds the socket until it is woken once more: what nobody reads is not to be made.
  (void)connections_->listen(false);
  connections_.reset();
  listening_ = false;
  return false;
}

bool FlowLog::has_share(Vni vni, Clock::time_point now) {
  if (sink_.take_share(vni, now)) return true;
  lose("share", 1, vni);
  return false;
}

void FlowLog::lose(std::string_view where, uint64_t records, Vni of) {
  if (records == 0) return;
  lost_[{std::string(where), of}] += records;
  lost_in_words_ += records;
}

std::optional<FlowLog::Clock::time_point> FlowLog::next() const {
  std::optional<Clock::time_point> due;
  if (!lost_.empty()) due = tell_from_;
  if (lost_in_words_ > 0 && (!due || tell_in_words_from_ < *due)) due = tell_in_words_from_;
  return due;
}

void FlowLog::tell_lost(Clock::time_point now) {
  if (!lost_.empty() && now >= tell_from_) {
    const uint64_t time = clock_ns(CLOCK_REALTIME);
    tell_from_ = now + kLostEvery;
    for (auto at = lost_.begin(); at != lost_.end(); at = lost_.erase(at)) {
      const auto& [where, of] = at->first;
      sink_.add(book_.lost_line(time, at->second, where, of));
      if (!sink_.flush(now)) break;  // an output that takes nothing is asked again: it is still to be told
    }
    (void)sink_.take_lost();
  }
  if (lost_in_words_ > 0 && now >= tell_in_words_from_) {
    log::warning("flow-records-lost", count_text(lost_in_words_, "record") +
                                          " of the flow log came faster than they were read or written, and are lost");
    lost_in_words_ = 0;
    tell_in_words_from_ = now + kLostInWordsEvery;
  }
}

}  // namespace sepal::agent
