#include "agent/flow_sink.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.hpp"
#include "base/result.hpp"

namespace sepal::agent {
namespace {

constexpr mode_t kMode = 0640;
constexpr size_t kBytesMax = 1U << 20U;  // of one flush

bool has_room(int fd) {
  pollfd ready{fd, POLLOUT, 0};
  return ::poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0;
}

}  // namespace

void FlowSink::set_file(const std::string& file) {
  if (file == file_) return;
  flush();
  file_ = file;
  fd_ = {};
  failing_ = torn_ = false;
}

void FlowSink::add(const std::string& line) {
  if (lines_.size() + line.size() > kBytesMax) {
    ++lost_;
    return;
  }
  lines_ += line;
  lines_ += '\n';
  ++waiting_;
}

void FlowSink::begin_second(Clock::time_point now) {
  if (now - second_ < std::chrono::seconds(1)) return;
  second_ = now;
  in_second_ = 0;
  shares_.clear();
}

bool FlowSink::take_share(Vni vni, Clock::time_point now) {
  begin_second(now);
  unsigned& taken = shares_[vni];
  if (taken >= lines_per_second() / 2) return false;
  ++taken;
  return true;
}

bool FlowSink::flush(Clock::time_point now) {
  if (waiting_ == 0) return true;
  begin_second(now);
  const unsigned most = lines_per_second();
  const unsigned room = most - std::min(in_second_, most);
  while (waiting_ > room) {  // the last come are the first lost
    lines_.pop_back();
    lines_.erase(lines_.rfind('\n') == std::string::npos ? 0 : lines_.rfind('\n') + 1);
    --waiting_;
    ++lost_;
  }
  if (waiting_ == 0) return false;
  const unsigned lines = waiting_;
  const bool written = file_.empty() ? write_journal() : write_file();
  in_second_ += lines;
  lines_.clear();
  waiting_ = 0;
  return written;
}

uint64_t FlowSink::take_lost() { return std::exchange(lost_, 0); }

bool FlowSink::write_journal() {
  bool any = false;
  for (size_t at = 0; at < lines_.size();) {
    const size_t end = lines_.find('\n', at);
    if (has_room(STDERR_FILENO) && log::record("flow", std::string_view(lines_).substr(at, end - at)))
      any = true;
    else
      ++lost_;
    at = end + 1;
  }
  return any;
}

// O_NONBLOCK: a pipe without a reader must not hold the agent. The mode of a file that was there is its owner's matter;
// of a new one the umask of a service (0077) would take the group's right to read.
bool FlowSink::open_file() {
  if (fd_.valid()) return true;
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  fd_ = UniqueFd(::open(file_.c_str(), kFlags | O_EXCL, kMode));
  if (fd_.valid())
    (void)::fchmod(fd_.get(), kMode);
  else if (errno == EEXIST)
    fd_ = UniqueFd(::open(file_.c_str(), kFlags, kMode));
  return fd_.valid();
}

bool FlowSink::write_file() {
  const std::string text = (torn_ ? "\n" : "") + lines_;
  const ssize_t result = open_file() ? ::write(fd_.get(), text.data(), text.size()) : -1;
  const int error = result < 0 ? errno : ENOSPC;
  const size_t written = result < 0 ? 0 : static_cast<size_t>(result);
  if (written == text.size()) {
    if (std::exchange(failing_, false)) log::notice("flow-log-works-again", file_ + " can be written again");
    torn_ = false;
    return true;
  }
  const auto left = std::count(text.begin() + static_cast<std::ptrdiff_t>(written), text.end(), '\n');
  lost_ += std::min<uint64_t>(static_cast<uint64_t>(left), waiting_);
  if (written > 0) torn_ = text[written - 1] != '\n';
  if (!std::exchange(failing_, true)) {
    const Error why{errc_from_errno(error), error, "write the flow log to " + file_, {}};
    log::error("flow-log-lost", why.message() + "; records are lost until it works again");
  }
  return written > 0;
}

}  // namespace sepal::agent
