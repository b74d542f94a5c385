// Asio's side of the daemon. Handlers only set marks and move bytes.
#include "agent/events.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>

#include "agent/control.hpp"
#include "base/log.hpp"
#include "base/unique_fd.hpp"

namespace sepal::agent {
namespace asio = boost::asio;
using asio::local::stream_protocol;

namespace {

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
// A client that neither asks nor reads is let go, and no more than these wait at a time.
constexpr std::chrono::seconds kClientPatience{10};
constexpr size_t kClientsMax = 16;
// After an event that could not be handled.
constexpr std::chrono::milliseconds kTroublePause{1000};

// One connection; its phase tells a late timer whether what it timed is still going on.
struct Client {
  explicit Client(stream_protocol::socket s) : socket(std::move(s)) {}
  stream_protocol::socket socket;
  enum class Phase : uint8_t { asking, waiting, reading } phase = Phase::asking;
};

}  // namespace

struct Events::Inside {
  asio::io_context io{1};
  asio::signal_set signals{io};
  stream_protocol::acceptor acceptor{io};
  std::string socket_path;
  std::map<uint64_t, std::shared_ptr<Client>> clients;
  std::deque<Request> requests;
  uint64_t last_client = 0;
  bool stop = false;
  bool reload = false;

  void listen_to_signals();
  static asio::awaitable<void> accept_clients(Inside* self);
  static asio::awaitable<void> hear_client(Inside* self, uint64_t number, std::shared_ptr<Client> client);
  static asio::awaitable<void> answer_client(std::shared_ptr<Client> client, std::string bytes);
  static asio::awaitable<void> hang_up_late(std::shared_ptr<Client> client, Client::Phase phase);
  static asio::awaitable<void> watch(std::shared_ptr<asio::posix::stream_descriptor> descriptor,
                                     std::function<bool()> readable, std::chrono::milliseconds pause);
};

void Events::Inside::listen_to_signals() {
  signals.async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;
    (number == SIGHUP ? reload : stop) = true;
    listen_to_signals();
  });
}

asio::awaitable<void> Events::Inside::accept_clients(Inside* self) {
  for (;;) {
    auto [error, accepted] = co_await self->acceptor.async_accept(kQuietly);
    if (error == asio::error::operation_aborted) co_return;
    if (error || self->clients.size() >= kClientsMax) continue;  // `accepted` closes: the client sees an end
    auto client = std::make_shared<Client>(std::move(accepted));
    const uint64_t number = ++self->last_client;
    self->clients.emplace(number, client);
    asio::co_spawn(self->io, hear_client(self, number, client), asio::detached);
    asio::co_spawn(self->io, hang_up_late(client, Client::Phase::asking), asio::detached);
  }
}

// Cuts off a client that is still in `phase` when its patience ends. One that waits for a long pass is in neither.
asio::awaitable<void> Events::Inside::hang_up_late(std::shared_ptr<Client> client, Client::Phase phase) {
  std::weak_ptr<Client> weak = client;
  asio::steady_timer timer(client->socket.get_executor(), kClientPatience);
  client.reset();
  co_await timer.async_wait(kQuietly);
  auto late = weak.lock();
  boost::system::error_code ignored;
  if (late && late->phase == phase) late->socket.cancel(ignored);
}

asio::awaitable<void> Events::Inside::hear_client(Inside* self, uint64_t number, std::shared_ptr<Client> client) {
  std::array<uint8_t, kFrameHeaderBytes> header{};
  auto [header_error, header_bytes] = co_await asio::async_read(client->socket, asio::buffer(header), kQuietly);
  const auto size = frame_length(header, kRequestBytesMax);
  if (header_error || !size) {
    self->clients.erase(number);
    co_return;
  }
  std::string body(*size, '\0');
  auto [body_error, body_bytes] = co_await asio::async_read(client->socket, asio::buffer(body), kQuietly);
  client->phase = Client::Phase::waiting;
  if (body_error)
    self->clients.erase(number);
  else
    self->requests.push_back({number, std::move(body)});
}

asio::awaitable<void> Events::Inside::answer_client(std::shared_ptr<Client> client, std::string bytes) {
  client->phase = Client::Phase::reading;
  asio::co_spawn(client->socket.get_executor(), hang_up_late(client, Client::Phase::reading), asio::detached);
  co_await asio::async_write(client->socket, asio::buffer(bytes), kQuietly);
}

// Asio drops what a coroutine throws, and the coroutine with it: whoever waits for events would wait for ever.
asio::awaitable<void> Events::Inside::watch(std::shared_ptr<asio::posix::stream_descriptor> descriptor,
                                            std::function<bool()> readable, std::chrono::milliseconds pause) {
  asio::steady_timer timer(descriptor->get_executor());
  bool troubled = false;
  for (;;) {
    auto [error] = co_await descriptor->async_wait(asio::posix::stream_descriptor::wait_read, kQuietly);
    if (error == asio::error::operation_aborted) co_return;
    std::string trouble;
    if (error) trouble = "a descriptor cannot be waited for: " + error.message();
    bool more = true;
    try {
      more = readable();
    } catch (const std::exception& fault) {
      trouble = std::string("a handler failed: ") + fault.what();
    }
    if (!more) co_return;
    // One that lasts is one line.
    if (!trouble.empty() && !troubled) log::error("event-failed", trouble);
    troubled = !trouble.empty();
    const std::chrono::milliseconds rest = troubled ? std::max(pause, kTroublePause) : pause;
    if (rest.count() == 0) continue;
    timer.expires_after(rest);
    co_await timer.async_wait(kQuietly);
  }
}

Events::Events(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}

Events::~Events() {
  if (inside_) ::unlink(inside_->socket_path.c_str());
}

Result<std::unique_ptr<Events>> Events::open(const std::string& socket) {
  auto inside = std::make_unique<Inside>();
  ::unlink(socket.c_str());
  // Only root may speak to us: the mode must hold from the moment the name exists.
  const mode_t before = ::umask(0177);
  try {
    inside->acceptor.open();
    inside->acceptor.bind(stream_protocol::endpoint(socket));
    ::umask(before);
    inside->acceptor.listen();
    for (int number : {SIGTERM, SIGINT, SIGHUP}) inside->signals.add(number);
    inside->socket_path = socket;
    inside->listen_to_signals();
    asio::co_spawn(inside->io, Inside::accept_clients(inside.get()), asio::detached);
  } catch (const boost::system::system_error& error) {
    ::umask(before);
    return fail_errno(error.code().value(), "listen on " + socket);
  }
  return std::unique_ptr<Events>(new Events(std::move(inside)));
}

bool Events::watch(int descriptor, std::function<bool()> readable, std::chrono::milliseconds pause) {
  UniqueFd own(::dup(descriptor));
  if (!own.valid()) return false;
  auto stream = std::make_shared<asio::posix::stream_descriptor>(inside_->io);
  boost::system::error_code error;
  stream->assign(own.get(), error);
  if (error) return false;
  (void)own.release();  // Asio closes what it is given
  asio::co_spawn(inside_->io, Inside::watch(std::move(stream), std::move(readable), pause), asio::detached);
  return true;
}

void Events::wait(std::chrono::steady_clock::time_point deadline) {
  // What came while a pass polled is marked already; no handler will run again to wake us for it.
  const bool pending = inside_->stop || inside_->reload || !inside_->requests.empty();
  if (!pending) inside_->io.run_one_until(deadline);
  inside_->io.poll();
}

void Events::poll() { inside_->io.poll(); }

bool Events::stop_asked() const { return inside_->stop; }

bool Events::take_reload() { return std::exchange(inside_->reload, false); }

std::optional<Request> Events::take_request() {
  if (inside_->requests.empty()) return std::nullopt;
  Request request = std::move(inside_->requests.front());
  inside_->requests.pop_front();
  return request;
}

void Events::reply(uint64_t client, const nlohmann::json& message) {
  const auto found = inside_->clients.find(client);
  if (found == inside_->clients.end()) return;
  asio::co_spawn(inside_->io, Inside::answer_client(found->second, frame(message)), asio::detached);
  inside_->clients.erase(found);
  inside_->io.poll();
}

}  // namespace sepal::agent
