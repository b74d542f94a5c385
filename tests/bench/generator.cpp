// Raw traffic between two guests, and what becomes of it. A flow is a five-tuple that this run has not used before.
//
//   sepal-generator connections CLIENT SERVER [OPTION...]   connections per second, each of six packets (below)
//   sepal-generator datagrams   CLIENT SERVER [OPTION...]   flows of one UDP datagram per second
//   sepal-generator latency     CLIENT SERVER [OPTION...]   microseconds of a flow's first packet (SYN), one under way
//   sepal-generator burst       CLIENT SERVER [OPTION...]   first packets (SYN) that arrive, sent at a pace, not waited
//   for sepal-generator stream      CLIENT SERVER [OPTION...]   packets per second of one established UDP flow, not
//   waited for sepal-generator flood KIND  CLIENT SERVER [OPTION...]   KIND syn, udp, arp or nd, at a pace; nobody
//   counts what arrives
//
//   CLIENT, SERVER: NETNS,MAC,NEXT_HOP_MAC,ADDRESS[,ADDRESS6]
//   seconds=N     of measuring (1), or of sending; until SIGTERM for a flood
//   flows=N       at most; all of them for latency and burst (50000)
//   first=N       number of the first flow (0); flow n has source port 1024 + n % 60000
//   flight=N      connections or datagrams under way at once (16)
//   rate=N        frames per second of a flood
//   cpu=N         stay there
//
// One thread is both guests. What a frame meets on its way runs inside the call that sends it, on the same CPU, so
// rates are the cost of the way plus the generator's own, which is the same for all that carry its frames; work that
// the way hands to other threads (an upcall) has the other CPUs to itself.
//
//   a connection: SYN → · ← SYN,ACK · ACK → · FIN,ACK → · ← FIN,ACK · ACK →; it counts when the last has arrived.
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "frames.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t stop_asked = 0;

constexpr uint32_t kSources = 60'000;
constexpr uint16_t kFirstSource = 1024, kFirstService = 8000;
constexpr uint32_t kWarm = 64;       // flows before the clock starts: what is learnt from the first is no flow's cost
constexpr double kWarmSeconds = 20;  // at most
constexpr double kPatience = 1.0;    // seconds after which a frame is lost
constexpr uint32_t kFromClient = 1000, kFromServer = 5000;  // first sequence numbers

struct Options {
  double seconds = 1;
  uint32_t flows = 50'000;
  uint32_t first = 0;
  uint32_t flight = 16;
  double rate = 0;
  int cpu = -1;
};

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

Ports ports_of(uint32_t flow) {
  return {static_cast<uint16_t>(kFirstSource + flow % kSources),
          static_cast<uint16_t>(kFirstService + flow / kSources)};
}

uint32_t flow_of(Ports ports) {
  return static_cast<uint32_t>(ports.to - kFirstService) * kSources + (ports.from - kFirstSource);
}

// Until one of them has something to read.
void wait_for(const Wire& one, const Wire& other, int ms) {
  std::array<pollfd, 2> both{{{one.fd(), POLLIN, 0}, {other.fd(), POLLIN, 0}}};
  ::poll(both.data(), both.size(), ms);
}

// --- closed loops ---------------------------------------------------------------------------------------------

// Many connections at once, each waiting for its own next frame.
class Connections {
 public:
  Connections(const Identity& client, const Identity& server, const Options& options)
      : client_(client), server_(server), options_(options), to_server_(client), to_client_(server) {}

  void run() {
    next_ = options_.first;
    for (uint32_t i = 0; i < options_.flight; ++i) flights_.push_back(Flight{});
    for (Flight& flight : flights_) begin(flight);
    to_server_.flush();
    auto started = Clock::now();
    double elapsed = 0;
    auto looked = started;
    while (stop_asked == 0 && (elapsed = since(started)) < (warm_ > 0 ? options_.seconds : kWarmSeconds) &&
           under_way_ > 0) {
      const bool any = serve() | go_on();
      to_client_.flush();
      to_server_.flush();
      if (warm_ < kWarm && completed_ >= kWarm) {
        warm_ = completed_;
        started = Clock::now();
      }
      if (!any) wait_for(to_server_, to_client_, 10);
      if (since(looked) > kPatience / 4) {
        looked = Clock::now();
        give_up_on_lost();
      }
    }
    const uint32_t counted = completed_ - warm_;
    std::printf(
        "{\"per_second\": %.1f, \"completed\": %u, \"lost\": %u, \"seconds\": %.3f, \"flows\": %u, \"refused\": "
        "%llu}\n",
        counted / elapsed, completed_, lost_, elapsed, next_ - options_.first,
        static_cast<unsigned long long>(to_server_.refused() + to_client_.refused()));
  }

 private:
  struct Flight {
    uint32_t flow = 0;
    bool active = false;
    bool acknowledged = false;  // the third frame is there
    Clock::time_point begun;
  };

  // Only the latest flow of a source port can be under way.
  Flight* find(Ports ports) {
    const uint32_t flow = flow_of(ports);
    for (Flight& flight : flights_) {
      if (flight.active && flight.flow == flow) return &flight;
    }
    return nullptr;
  }

  void begin(Flight& flight) {
    if (flight.active) --under_way_;
    flight.active = next_ < options_.first + options_.flows;
    if (!flight.active) return;
    ++under_way_;
    flight = {next_++, true, false, Clock::now()};
    say(ports_of(flight.flow), {kSyn, kFromClient, 0});
  }

  void say(Ports ports, TcpSegment segment) { to_server_.push(tcp_frame(client_, server_.address, ports, segment)); }
  void answer(Ports ports, TcpSegment segment) {
    to_client_.push(tcp_frame(server_, client_.address, {ports.to, ports.from}, segment));
  }

  bool serve() {
    const auto frames = to_client_.receive();
    for (const Arrived& frame : frames) {
      if (frame.protocol != IPPROTO_TCP) continue;
      Flight* flight = find(frame.ports);
      if (flight == nullptr) continue;
      if (frame.flags == kSyn) {
        answer(frame.ports, {kSyn | kAck, kFromServer, kFromClient + 1});
      } else if (frame.flags == (kFin | kAck)) {
        answer(frame.ports, {kFin | kAck, kFromServer + 1, kFromClient + 2});
      } else if (frame.flags == kAck && !flight->acknowledged) {
        flight->acknowledged = true;
      } else if (frame.flags == kAck) {
        ++completed_;
        begin(*flight);
      }
    }
    return !frames.empty();
  }

  bool go_on() {
    const auto frames = to_server_.receive();
    for (const Arrived& frame : frames) {
      const Ports ports{frame.ports.to, frame.ports.from};
      if (frame.protocol != IPPROTO_TCP || find(ports) == nullptr) continue;
      if (frame.flags == (kSyn | kAck)) {
        say(ports, {kAck, kFromClient + 1, kFromServer + 1});
        say(ports, {kFin | kAck, kFromClient + 1, kFromServer + 1});
      } else if (frame.flags == (kFin | kAck)) {
        say(ports, {kAck, kFromClient + 2, kFromServer + 2});
      }
    }
    return !frames.empty();
  }

  void give_up_on_lost() {
    for (Flight& flight : flights_) {
      if (!flight.active || since(flight.begun) < kPatience) continue;
      ++lost_;
      begin(flight);
    }
  }

  const Identity& client_;
  const Identity& server_;
  const Options& options_;
  Wire to_server_;  // the client's
  Wire to_client_;  // the server's
  std::vector<Flight> flights_;
  uint32_t next_ = 0;
  uint32_t under_way_ = 0;
  uint32_t completed_ = 0;
  uint32_t warm_ = 0;
  uint32_t lost_ = 0;
};

void datagrams(const Identity& client, const Identity& server, const Options& options) {
  Wire to_server(client);
  Wire arrivals(server);
  uint32_t sent = 0;
  uint32_t arrived = 0;
  uint32_t lost = 0;
  uint32_t warm = 0;
  auto started = Clock::now();
  auto heard = started;
  double elapsed = 0;
  while (stop_asked == 0 && (elapsed = since(started)) < (warm > 0 ? options.seconds : kWarmSeconds) &&
         arrived + lost < options.flows) {
    for (; sent - arrived - lost < options.flight && sent < options.flows; ++sent)
      to_server.push(udp_frame(client, server.address, ports_of(options.first + sent)));
    to_server.flush();
    uint32_t now = 0;
    for (const Arrived& frame : arrivals.receive()) now += frame.protocol == IPPROTO_UDP ? 1 : 0;
    arrived += now;
    if (now > 0) heard = Clock::now();
    if (warm < kWarm && arrived >= kWarm) {
      warm = arrived;
      started = Clock::now();
    }
    if (now > 0) continue;
    wait_for(arrivals, arrivals, 10);
    if (since(heard) < kPatience) continue;
    lost = sent - arrived;
    heard = Clock::now();
  }
  std::printf("{\"per_second\": %.1f, \"arrived\": %u, \"lost\": %u, \"seconds\": %.3f, \"flows\": %u}\n",
              (arrived - warm) / elapsed, arrived, lost, elapsed, sent);
}

void latency(const Identity& client, const Identity& server, const Options& options) {
  Wire to_server(client);
  Wire arrivals(server);
  std::vector<double> us;
  uint32_t lost = 0;
  for (uint32_t n = 0; n < options.flows && stop_asked == 0; ++n) {
    const Ports ports = ports_of(options.first + n);
    to_server.push(tcp_frame(client, server.address, ports, {kSyn, kFromClient, 0}));
    const auto begun = Clock::now();
    to_server.flush();
    bool there = false;
    while (!there && since(begun) < kPatience) {
      for (const Arrived& frame : arrivals.receive())
        there = there || (frame.ports.from == ports.from && frame.ports.to == ports.to);
      if (!there) wait_for(arrivals, arrivals, 100);
    }
    if (!there) ++lost;
    if (there && n >= kWarm) us.push_back(since(begun) * 1e6);
  }
  if (us.empty()) us.push_back(kPatience * 1e6);
  std::sort(us.begin(), us.end());
  std::printf("{\"median_us\": %.1f, \"p99_us\": %.1f, \"lost\": %u, \"flows\": %u}\n", us[us.size() / 2],
              us[us.size() * 99 / 100], lost, options.flows);
}

// --- open loops -----------------------------------------------------------------------------------------------

// Calls `send(n)` for the number of each frame that is due, and `flush` when all due are sent; until `seconds` are over
// or `count` are sent. Who was held up sends what is due at once, so that the rate holds if the way allows it at all.
// Returns the seconds spent sending, and tells how many were sent.
template <typename Send, typename Flush>
double paced(double seconds, double rate, uint64_t count, uint64_t& sent, Send send, Flush flush) {
  const auto begin = Clock::now();
  double busy = 0;
  sent = 0;
  while (stop_asked == 0 && sent < count) {
    const double elapsed = since(begin);
    if (seconds > 0 && elapsed >= seconds) break;
    const uint64_t due = std::min(count, static_cast<uint64_t>(elapsed * rate) + 1);
    if (due > sent) {
      const auto began = Clock::now();
      // 64 at a time, so that a way that is too slow for the rate still sees the end of it.
      for (const uint64_t until = std::min(due, sent + 64); sent < until; ++sent) send(sent);
      flush();
      busy += since(began);
    }
    if (due <= sent) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return busy;
}

void burst(const Identity& client, const Identity& server, const Options& options) {
  Wire to_server(client);
  Wire arrivals(server);
  std::vector<bool> seen(options.flows + kWarm);
  uint32_t arrived = 0;
  const auto hear = [&] {
    const auto frames = arrivals.receive();
    for (const Arrived& frame : frames) {
      const uint32_t n = flow_of(frame.ports) - options.first;
      if (frame.protocol != IPPROTO_TCP || n >= seen.size() || seen[n]) continue;
      seen[n] = true;
      ++arrived;
    }
    return !frames.empty();
  };
  const auto begin_flow = [&](uint64_t n) {
    to_server.push(
        tcp_frame(client, server.address, ports_of(options.first + static_cast<uint32_t>(n)), {kSyn, kFromClient, 0}));
  };
  // Some one by one before, as a network that is in use.
  for (uint32_t n = 0; n < kWarm; ++n) {
    begin_flow(n);
    to_server.flush();
    const auto sent_at = Clock::now();
    while (arrived <= n && since(sent_at) < kPatience) {
      if (!hear()) wait_for(arrivals, arrivals, 10);
    }
  }
  const uint32_t before = arrived;
  uint64_t sent = 0;
  const auto begun = Clock::now();
  paced(
      0, options.flows / options.seconds, options.flows, sent, [&](uint64_t n) { begin_flow(kWarm + n); },
      [&] { to_server.flush(); });
  const double sending = since(begun);
  auto heard = Clock::now();
  while (since(heard) < kPatience && arrived - before < sent) {
    if (hear())
      heard = Clock::now();
    else
      wait_for(arrivals, arrivals, 10);
  }
  std::printf("{\"sent\": %llu, \"arrived\": %u, \"sending_ms\": %.1f, \"until_last_ms\": %.1f, \"flows\": %u}\n",
              static_cast<unsigned long long>(sent), arrived - before, sending * 1000,
              std::chrono::duration<double>(heard - begun).count() * 1000, options.flows + kWarm);
}

void stream(const Identity& client, const Identity& server, const Options& options) {
  const Ports ports = ports_of(options.first);
  Wire to_server(client);
  {
    // Both directions, so that it is established; who receives reads no more then, and device counters tell.
    Wire to_client(server);
    for (int turn = 0; turn < 3; ++turn) {
      to_server.push(udp_frame(client, server.address, ports));
      to_server.flush();
      wait_for(to_client, to_client, 1000);
      if (to_client.receive().empty()) die("the stream's first packets do not arrive");
      to_client.push(udp_frame(server, client.address, {ports.to, ports.from}));
      to_client.flush();
      wait_for(to_server, to_server, 1000);
      if (to_server.receive().empty()) die("the stream's answers do not arrive");
    }
  }
  const Frame frame = udp_frame(client, server.address, ports);
  const uint64_t before = received_by(server);
  uint64_t sent = 0;
  const auto started = Clock::now();
  double elapsed = 0;
  for (; stop_asked == 0 && (elapsed = since(started)) < options.seconds; sent += 64) {
    for (int i = 0; i < 64; ++i) to_server.push(frame);
  }
  const uint64_t received = received_by(server) - before;
  std::printf("{\"per_second\": %.1f, \"sent\": %llu, \"received\": %llu, \"seconds\": %.3f, \"flows\": 1}\n",
              static_cast<double>(received) / elapsed, static_cast<unsigned long long>(sent),
              static_cast<unsigned long long>(received), elapsed);
}

void flood(const std::string& kind, const Identity& client, const Identity& server, const Options& options) {
  Wire wire(client);
  const Frame arp = arp_request(client, server.address);
  const Frame nd = neighbour_solicitation(client, server.address6);
  uint64_t sent = 0;
  const auto begun = Clock::now();
  const double busy = paced(
      options.seconds, options.rate, UINT64_MAX, sent,
      [&](uint64_t n) {
        const Ports ports = ports_of(static_cast<uint32_t>((options.first + n) % (100 * kSources)));
        if (kind == "syn") wire.push(tcp_frame(client, server.address, ports, {kSyn, kFromClient, 0}));
        if (kind == "udp") wire.push(udp_frame(client, server.address, ports));
        if (kind == "arp") wire.push(arp);
        if (kind == "nd") wire.push(nd, kLongFrameBytes);
      },
      [&] { wire.flush(); });
  std::printf("{\"sent\": %llu, \"refused\": %llu, \"seconds\": %.3f, \"us_per_frame\": %.2f, \"per_second\": %.1f}\n",
              static_cast<unsigned long long>(sent), static_cast<unsigned long long>(wire.refused()), since(begun),
              busy * 1e6 / static_cast<double>(std::max<uint64_t>(sent, 1)), static_cast<double>(sent) / since(begun));
}

// --- words ----------------------------------------------------------------------------------------------------

Options parse_options(char** words, int count) {
  Options options;
  for (int i = 0; i < count; ++i) {
    const std::string word = words[i];
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const double value = equals == std::string::npos ? 0 : std::atof(word.c_str() + equals + 1);
    if (name == "seconds")
      options.seconds = value;
    else if (name == "flows")
      options.flows = static_cast<uint32_t>(value);
    else if (name == "first")
      options.first = static_cast<uint32_t>(value);
    else if (name == "flight")
      options.flight = static_cast<uint32_t>(value);
    else if (name == "rate")
      options.rate = value;
    else if (name == "cpu")
      options.cpu = static_cast<int>(value);
    else
      die("no option " + word);
  }
  return options;
}

void stay_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) die("cpu");
}

int run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const int ends = command == "flood" ? 3 : 2;
  if (argc < ends + 2) {
    std::fprintf(stderr,
                 "usage: sepal-generator connections|datagrams|latency|burst|stream|flood KIND CLIENT SERVER "
                 "[OPTION=VALUE...]\n");
    return 64;
  }
  const Identity client = parse_identity(argv[ends]);
  const Identity server = parse_identity(argv[ends + 1]);
  const Options options = parse_options(argv + ends + 2, argc - ends - 2);
  if (options.cpu >= 0) stay_on(options.cpu);
  if (command == "connections")
    Connections(client, server, options).run();
  else if (command == "datagrams")
    datagrams(client, server, options);
  else if (command == "latency")
    latency(client, server, options);
  else if (command == "burst")
    burst(client, server, options);
  else if (command == "stream")
    stream(client, server, options);
  else if (command == "flood")
    flood(argv[2], client, server, options);
  else
    die("no command " + command);
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { bench::stop_asked = 1; });
  std::signal(SIGINT, [](int) { bench::stop_asked = 1; });
  return bench::run(argc, argv);
}
