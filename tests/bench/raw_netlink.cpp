// Netlink by hand; see raw_netlink.hpp. Governed by netlink(7).
#include "raw_netlink.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "metered.hpp"

namespace sepal::bench {

using netlink::Bytes;
using netlink::BytesView;

Result<RawNetlink> RawNetlink::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.valid()) return fail_errno(errno, "open netlink socket");
  const int size = 4 << 20;
  const int on = 1;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) != 0) {
    return fail_errno(errno, "connect netlink socket");
  }
  return RawNetlink(std::move(fd));
}

Result<BytesView> RawNetlink::receive() {
  const ssize_t size = ::recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
  if (size < 0) return fail_errno(errno, "receive netlink");
  return BytesView(buffer_).first(static_cast<size_t>(size));
}

Result<RawNetlink::Written> RawNetlink::write(Bytes& messages, size_t per_send) {
  // Where each send begins and ends, and the flags on its messages: prepared before the clock starts.
  std::vector<std::pair<size_t, size_t>> sends;
  size_t at = 0;
  size_t begin = 0;
  Written out;
  while (at < messages.size()) {
    nlmsghdr header{};
    std::memcpy(&header, messages.data() + at, sizeof header);
    const size_t next = at + NLMSG_ALIGN(header.nlmsg_len);
    ++out.messages;
    const bool last = out.messages % per_send == 0 || next == messages.size();
    header.nlmsg_flags = static_cast<uint16_t>((header.nlmsg_flags & ~NLM_F_ACK) | (last ? NLM_F_ACK : 0));
    header.nlmsg_seq = last ? static_cast<uint32_t>(sends.size() + 1) : 0;
    std::memcpy(messages.data() + at, &header, sizeof header);
    if (last) {
      sends.emplace_back(begin, next - begin);
      begin = next;
    }
    at = next;
  }
  const auto start = BenchClock::now();
  for (size_t i = 0; i < sends.size(); ++i) {
    if (::send(fd_.get(), messages.data() + sends[i].first, sends[i].second, 0) < 0) return fail_errno(errno, "send");
    for (bool answered = false; !answered;) {
      auto datagram = receive();
      if (!datagram) return Unexpected(datagram.error());
      for (size_t offset = 0; offset + sizeof(nlmsghdr) + sizeof(int) <= datagram->size();) {
        nlmsghdr header{};
        int error = 0;
        std::memcpy(&header, datagram->data() + offset, sizeof header);
        std::memcpy(&error, datagram->data() + offset + sizeof header, sizeof error);
        if (header.nlmsg_type == NLMSG_ERROR && error != 0) ++out.refused;
        if (header.nlmsg_seq == i + 1) answered = true;
        offset += NLMSG_ALIGN(header.nlmsg_len);
      }
    }
  }
  out.ms = ms_since(start);
  return out;
}

Result<RawNetlink::Read> RawNetlink::dump(Bytes request) {
  nlmsghdr header{};
  std::memcpy(&header, request.data(), sizeof header);
  header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
  header.nlmsg_seq = ++seq_;
  std::memcpy(request.data(), &header, sizeof header);
  Read out;
  const auto start = BenchClock::now();
  if (::send(fd_.get(), request.data(), request.size(), 0) < 0) return fail_errno(errno, "send");
  for (;;) {
    auto datagram = receive();
    if (!datagram) return Unexpected(datagram.error());
    out.bytes += datagram->size();
    for (size_t offset = 0; offset + sizeof header <= datagram->size(); offset += NLMSG_ALIGN(header.nlmsg_len)) {
      std::memcpy(&header, datagram->data() + offset, sizeof header);
      if (header.nlmsg_type == NLMSG_DONE) {
        out.ms = ms_since(start);
        return out;
      }
      if (header.nlmsg_type == NLMSG_ERROR) return fail(Errc::protocol, "dump refused");
      ++out.messages;
    }
  }
}

}  // namespace sepal::bench
