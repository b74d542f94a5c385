// The system calls of a netlink socket: options, sendmsg, poll, recvmsg. Meaning of the bytes is not known here.
// Governed by netlink(7) and net/netlink/af_netlink.c.
#include "netlink/channel.hpp"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/limits.hpp"
#include "base/unique_fd.hpp"

namespace sepal::netlink {
namespace {

// The kernel fills at most 32 KiB per datagram of a dump, and only for readers whose buffer is at least that large
// (netlink_recvmsg remembers the size as max_recvmsg_len). Twice that leaves room for one oversized object.
constexpr size_t kReceiveBytes = 64UL << 10U;

Result<void> set_netlink_option(int fd, int option, int value, const char* name) {
  if (::setsockopt(fd, SOL_NETLINK, option, &value, sizeof value) == 0) return {};
  return fail_errno(errno, std::string("set socket option ") + name);
}

// The FORCE variants need CAP_NET_ADMIN and ignore net.core.{r,w}mem_max; the plain ones give as much as is allowed.
void enlarge(int fd, int forced, int plain) {
  const int size = static_cast<int>(limits::kSocketBufferBytes);
  if (::setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0) {
    (void)::setsockopt(fd, SOL_SOCKET, plain, &size, sizeof size);
  }
}

Result<UniqueFd> open_socket(int protocol, const std::vector<unsigned>& groups) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return fail_errno(errno, "open netlink socket");
  enlarge(fd.get(), SO_RCVBUFFORCE, SO_RCVBUF);
  enlarge(fd.get(), SO_SNDBUFFORCE, SO_SNDBUF);
  Result<void> set;
  auto require = [&](int option, int value, const char* name) {
    if (set) set = set_netlink_option(fd.get(), option, value, name);
  };
  require(NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK");
  require(NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK");
  require(NETLINK_GET_STRICT_CHK, 1, "NETLINK_GET_STRICT_CHK");
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (set && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) {
    set = fail_errno(errno, "bind netlink socket");
  }
  for (const unsigned group : groups)
    require(NETLINK_ADD_MEMBERSHIP, static_cast<int>(group), "NETLINK_ADD_MEMBERSHIP");
  if (!set) return Unexpected(set.error());
  return fd;
}

class SocketChannel : public Channel {
 public:
  SocketChannel(int protocol, std::vector<unsigned> groups)
      : protocol_(protocol), groups_(std::move(groups)), buffer_(kReceiveBytes) {}

  Result<void> renew() override {
    auto fd = open_socket(protocol_, groups_);
    if (!fd) return Unexpected(fd.error());
    fd_ = std::move(*fd);
    return {};
  }

  [[nodiscard]] int fd() const override { return fd_.get(); }

  Result<void> send(BytesView datagram) override {
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    iovec part{const_cast<uint8_t*>(datagram.data()), datagram.size()};
    msghdr message{};
    message.msg_name = &kernel;
    message.msg_namelen = sizeof kernel;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    for (;;) {
      const ssize_t sent = ::sendmsg(fd_.get(), &message, 0);
      if (sent >= 0) return {};
      if (errno != EINTR) return fail_errno(errno, "send " + std::to_string(datagram.size()) + " bytes of netlink");
    }
  }

  Result<Datagram> receive(Clock::time_point until) override {
    if (oversized_ > buffer_.size()) buffer_.resize(oversized_);  // what was cut is lost; its repetition will fit
    for (;;) {
      // Receive first, wait only when there is nothing: the kernel has answered before sendmsg() returned.
      sockaddr_nl from{};
      iovec part{buffer_.data(), buffer_.size()};
      msghdr message{};
      message.msg_name = &from;
      message.msg_namelen = sizeof from;
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      const ssize_t size = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_TRUNC);
      if (size >= 0) {
        const auto whole = static_cast<size_t>(size);
        Datagram datagram{BytesView(buffer_).first(std::min(whole, buffer_.size())), whole, from.nl_pid};
        if (whole > buffer_.size()) oversized_ = whole;
        return datagram;
      }
      if (errno == ENOBUFS) return overrun();
      if (errno == EAGAIN) {
        if (auto ready = wait(until); !ready) return Unexpected(ready.error());
      } else if (errno != EINTR) {
        return fail_errno(errno, "receive netlink");
      }
    }
  }

 private:
  static Unexpected overrun() {
    return Unexpected(Error{Errc::resync, ENOBUFS, "the kernel dropped netlink messages for us", {}});
  }

  Result<void> wait(Clock::time_point until) const {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      if (left <= 0) return Unexpected(Error{Errc::transient, ETIMEDOUT, "wait for a netlink message", {}});
      pollfd ready{fd_.get(), POLLIN, 0};
      const int count = ::poll(&ready, 1, static_cast<int>(std::min<int64_t>(left, 60'000)));
      if (count > 0) return {};  // POLLERR too: recvmsg() tells which error
      if (count < 0 && errno != EINTR) return fail_errno(errno, "wait for a netlink message");
    }
  }

  int protocol_;
  std::vector<unsigned> groups_;
  UniqueFd fd_;
  std::vector<uint8_t> buffer_;
  size_t oversized_ = 0;
};

}  // namespace

Result<std::unique_ptr<Channel>> open_channel(int protocol, const std::vector<unsigned>& groups) {
  auto channel = std::make_unique<SocketChannel>(protocol, groups);
  if (auto opened = channel->renew(); !opened) return Unexpected(opened.error());
  return channel;
}

}  // namespace sepal::netlink
