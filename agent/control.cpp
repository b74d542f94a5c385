// Framing and the blocking client of the control socket.
#include "agent/control.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/unique_fd.hpp"

namespace sepal::agent {
namespace {

Result<UniqueFd> connect_to(const std::string& path, std::chrono::seconds deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(Errc::invalid_config, path + ": too long for a socket's name");
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno(errno, "open a socket");
  const timeval limit{deadline.count(), 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    // ECONNREFUSED: the file of a daemon that was killed.
    if (errno == ENOENT || errno == ECONNREFUSED) return fail(Errc::not_found, "no sepald listens on " + path);
    return fail_errno(errno, "connect to " + path);
  }
  return fd;
}

Result<void> send_all(int fd, const std::string& text) {
  size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t n = ::send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "send to sepald");
    sent += static_cast<size_t>(n);
  }
  return {};
}

Result<void> receive_all(int fd, void* data, size_t size) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::recv(fd, at, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return fail(Errc::transient, "sepald did not answer in time");
    if (n < 0) return fail_errno(errno, "receive from sepald");
    if (n == 0) return fail(Errc::transient, "sepald closed the connection without an answer");
    at += n;
    size -= static_cast<size_t>(n);
  }
  return {};
}

}  // namespace

std::string frame(const nlohmann::json& message) {
  // Names come from files and devices, which may hold any bytes: a byte that is no UTF-8 is replaced, not fatal.
  const std::string body = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto size = static_cast<uint32_t>(body.size());
  std::string text;
  for (unsigned shift : {24U, 16U, 8U, 0U}) text += static_cast<char>(size >> shift & 0xffU);
  return text + body;
}

Result<uint32_t> frame_length(const std::array<uint8_t, kFrameHeaderBytes>& header, uint32_t limit) {
  uint32_t size = 0;
  for (uint8_t byte : header) size = size << 8U | byte;
  if (size == 0 || size > limit) return fail(Errc::protocol, "control message of " + std::to_string(size) + " bytes");
  return size;
}

Result<nlohmann::json> parse_message(const std::string& text) {
  nlohmann::json message = nlohmann::json::parse(text, nullptr, false);
  if (message.is_discarded() || !message.is_object())
    return fail(Errc::protocol, "control message is not a JSON object");
  return message;
}

Result<nlohmann::json> ask_daemon(const std::string& socket, const nlohmann::json& request,
                                  std::chrono::seconds deadline) {
  auto fd = connect_to(socket, deadline);
  if (!fd) return Unexpected(fd.error());
  if (auto sent = send_all(fd->get(), frame(request)); !sent) return Unexpected(sent.error());
  std::array<uint8_t, kFrameHeaderBytes> header{};
  if (auto got = receive_all(fd->get(), header.data(), header.size()); !got) return Unexpected(got.error());
  const auto size = frame_length(header, kReplyBytesMax);
  if (!size) return Unexpected(size.error());
  std::string body(*size, '\0');
  if (auto got = receive_all(fd->get(), body.data(), body.size()); !got) return Unexpected(got.error());
  return parse_message(body);
}

}  // namespace sepal::agent
