#include "agent/flow_log.hpp"

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
constexpr const char* kAccounting = "/proc/sys/net/netfilter/nf_conntrack_acct";

uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
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
  if (!changed && !fresh_) return;
  fresh_ = false;
  if (ring_) read_ring();  // ids of rules are those of the configuration before
  book_ = FlowBook(config, served);
  sink_.set_file(config.host.flow_log_file);
  if (book_.wants_verdicts() && !ring_) open_ring();
  if (book_.wants_connections() != listening_) open_connections();
}

void FlowLog::open_ring() {
  auto map = kernel_.slow_path.events();
  auto ring = map ? bpf::Ring::open(*map) : Unexpected(map.error());
  if (!ring) {
    if (!std::exchange(complained_, true))
      log::error("flow-log-off", "verdicts of security groups are not written: " + ring.error().message());
    return;
  }
  // What was lost while nobody read is known to nobody.
  ring_lost_ = kernel_.slow_path.events_lost().value_or(0);
  ring_.emplace(std::move(*ring));
  events_.watch(ring_->descriptor(), [this] { return read_ring(); }, kPause);
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
    if (!std::exchange(complained_, true))
      log::error("flow-log-off", "connections that begin and end are not written: " + done.error().message());
    return;
  }
  listening_ = on;
  if (on) ask_for_counts();
  if (is_new) events_.watch(connections_->fd(), [this] { return read_connections(); }, kPause);
}

bool FlowLog::read_ring() {
  const uint64_t now = clock_ns(CLOCK_REALTIME);
  const uint64_t since_boot = clock_ns(CLOCK_MONOTONIC);
  auto read = ring_->read(
      [&](std::span<const std::byte> record) {
        sepal_event event{};
        if (record.size() < sizeof event) return;
        std::memcpy(&event, record.data(), sizeof event);
        const uint64_t age = since_boot - std::min<uint64_t>(event.time, since_boot);
        sink_.add(book_.line(event, now - age));
      },
      kRecordsPerTurn);
  sink_.flush();
  if (const auto lost = kernel_.slow_path.events_lost(); lost && *lost > ring_lost_)
    lose("ring", *lost - std::exchange(ring_lost_, *lost));
  lose("output", sink_.take_lost());
  if (!read) log::error("flow-log-off", "verdicts of security groups are not written: " + read.error().message());
  return read.has_value();
}

bool FlowLog::read_connections() {
  const uint64_t now = clock_ns(CLOCK_REALTIME);
  auto lost = connections_->drain([&](const netlink::ConnectionEvent& event) {
    if (const auto line = book_.line(event, now)) sink_.add(*line);
  });
  sink_.flush();
  lose("output", sink_.take_lost());
  if (lost) lose("conntrack", *lost);
  if (!lost) log::error("flow-log-off", "connections that begin and end are not written: " + lost.error().message());
  return lost.has_value();
}

void FlowLog::lose(std::string_view where, uint64_t records) {
  if (records == 0) return;
  lost_[std::string(where)] += records;
  lost_in_words_ += records;
}

std::optional<FlowLog::Clock::time_point> FlowLog::next() const {
  std::optional<Clock::time_point> due;
  if (!lost_.empty()) due = told_ + kLostEvery;
  if (lost_in_words_ > 0 && (!due || told_in_words_ + kLostInWordsEvery < *due))
    due = told_in_words_ + kLostInWordsEvery;
  return due;
}

void FlowLog::tell_lost(Clock::time_point now) {
  if (!lost_.empty() && now >= told_ + kLostEvery) {
    const uint64_t time = clock_ns(CLOCK_REALTIME);
    for (const auto& [where, records] : lost_) sink_.add(lost_line(time, records, where));
    told_ = now;
    // An output that takes nothing is asked again with the next record; what this told is then still to be told.
    if (sink_.flush(now)) lost_.clear();
    (void)sink_.take_lost();
  }
  if (lost_in_words_ > 0 && now >= told_in_words_ + kLostInWordsEvery) {
    log::warning("flow-records-lost", count_text(lost_in_words_, "record") +
                                          " of the flow log came faster than they were read or written, and are lost");
    lost_in_words_ = 0;
    told_in_words_ = now;
  }
}

}  // namespace sepal::agent
