// A paced one-way UDP stream, and the receiver that tells which of its datagrams did not arrive.
//
//   sepal-stream send ADDRESS PORT PER_SECOND [SECONDS]   until SIGTERM, or for so long; JSON: sent, late_ms_max
//   sepal-stream receive ADDRESS PORT                     until SIGTERM; JSON: received, first, last, gaps, duplicates
//
// Every millisecond what is due is sent, each datagram with its number; a sender that was held up sends what it owes at
// once, so that the rate holds on a busy machine. The receiver only counts, in a bitmap.
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t stop_asked = 0;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Endpoint {
  sockaddr_storage address{};
  socklen_t size = 0;
};

Endpoint parse(const char* address, const char* port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address, port, &hints, &found) != 0) die("address");
  Endpoint endpoint;
  std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
  endpoint.size = found->ai_addrlen;
  ::freeaddrinfo(found);
  return endpoint;
}

int open_socket(const Endpoint& endpoint) {
  const int fd = ::socket(endpoint.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const int size = 32 << 20;
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  return fd;
}

int send_stream(const Endpoint& to, uint64_t per_second, double seconds) {
  const int fd = open_socket(to);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to.address), to.size) != 0) die("connect");
  const auto begin = Clock::now();
  uint64_t sent = 0;
  uint64_t refused = 0;
  double late_max = 0;
  while (stop_asked == 0) {
    const double elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
    if (seconds > 0 && elapsed >= seconds) break;
    const auto due = static_cast<uint64_t>(elapsed * static_cast<double>(per_second));
    if (due > sent)
      late_max = std::max(late_max, static_cast<double>(due - sent) * 1000.0 / static_cast<double>(per_second));
    for (; sent < due && stop_asked == 0; ++sent) {
      uint64_t payload[4] = {sent};
      if (::send(fd, payload, sizeof payload, 0) < 0) ++refused;  // counted as lost: the receiver will miss it
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::printf("{\"sent\": %llu, \"refused\": %llu, \"late_ms_max\": %.1f}\n", static_cast<unsigned long long>(sent),
              static_cast<unsigned long long>(refused), late_max);
  return 0;
}

int receive_stream(const Endpoint& at) {
  const int fd = open_socket(at);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&at.address), at.size) != 0) die("bind");
  const timeval patience{0, 100'000};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::vector<bool> seen;
  uint64_t received = 0;
  uint64_t duplicates = 0;
  std::puts("{\"ready\": true}");
  std::fflush(stdout);
  for (bool quiet = false; stop_asked == 0 || !quiet;) {
    uint64_t payload[4];
    const ssize_t size = ::recv(fd, payload, sizeof payload, 0);
    quiet = size < 0;
    if (size != static_cast<ssize_t>(sizeof payload)) continue;
    const uint64_t number = payload[0];
    if (number > (1ULL << 30U)) continue;
    if (number >= seen.size()) seen.resize(number + 1 + seen.size() / 2);
    if (seen[number])
      ++duplicates;
    else
      ++received;
    seen[number] = true;
  }
  // Where the holes are: the first numbers of at most ten of them.
  std::string holes;
  uint64_t last = seen.size();
  while (last > 0 && !seen[last - 1]) --last;
  unsigned shown = 0;
  for (uint64_t i = 0; i < last && shown < 10; ++i) {
    if (seen[i] || (i > 0 && !seen[i - 1])) continue;
    holes += (holes.empty() ? "" : ", ") + std::to_string(i);
    ++shown;
  }
  std::printf("{\"received\": %llu, \"duplicates\": %llu, \"last\": %llu, \"holes\": [%s]}\n",
              static_cast<unsigned long long>(received), static_cast<unsigned long long>(duplicates),
              static_cast<unsigned long long>(last), holes.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { stop_asked = 1; });
  std::signal(SIGINT, [](int) { stop_asked = 1; });
  const std::string command = argc > 3 ? argv[1] : "";
  if (command == "receive") return receive_stream(parse(argv[2], argv[3]));
  if (command == "send" && argc > 4) {
    return send_stream(parse(argv[2], argv[3]), std::strtoull(argv[4], nullptr, 10), argc > 5 ? std::atof(argv[5]) : 0);
  }
  std::fprintf(stderr, "usage: sepal-stream send ADDRESS PORT PER_SECOND [SECONDS] | receive ADDRESS PORT\n");
  return 64;
}
