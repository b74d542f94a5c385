// sd_notify(3) without its library. A message that cannot be sent is dropped: the manager's own timeouts judge.
#include "agent/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <ctime>

namespace sepal::agent {
namespace {

std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line)
    if (c == '\n') c = ' ';
  return line;
}

std::optional<std::chrono::microseconds> watchdog_from_environment() {
  const char* limit = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (limit == nullptr) return std::nullopt;
  if (pid != nullptr && std::strtol(pid, nullptr, 10) != ::getpid()) return std::nullopt;
  const long long microseconds = std::strtoll(limit, nullptr, 10);
  if (microseconds <= 0) return std::nullopt;
  return std::chrono::microseconds(microseconds / 2);
}

}  // namespace

Notifier Notifier::from_environment() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  Notifier notifier(address == nullptr ? "" : address);
  notifier.watchdog_period_ = watchdog_from_environment();
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  return notifier;
}

Notifier::Notifier(std::string address) : address_(std::move(address)) {
  sockaddr_un un{};
  const bool usable =
      !address_.empty() && (address_[0] == '/' || address_[0] == '@') && address_.size() < sizeof un.sun_path;
  if (usable) socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

void Notifier::send(std::string_view message) const {
  if (!socket_.valid()) return;
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, address_.data(), address_.size());
  if (un.sun_path[0] == '@') un.sun_path[0] = 0;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  // The generic address type is what the socket interface asks for.
  ::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&un), size);
}

void Notifier::ready(std::string_view status) { send("READY=1\nSTATUS=" + one_line(status)); }

void Notifier::status(std::string_view status) { send("STATUS=" + one_line(status)); }

void Notifier::reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto microseconds = static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds));
}

void Notifier::stopping() { send("STOPPING=1"); }

void Notifier::alive() { send("WATCHDOG=1"); }

}  // namespace sepal::agent
