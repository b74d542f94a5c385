// See frame_socket.hpp.
#include "agent/frame_socket.hpp"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace sepal::agent {

Result<FrameSocket> FrameSocket::open() {
  // Protocol 0: bound to no packets, so that none is ever queued here.
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno(errno, "open a packet socket (needs CAP_NET_RAW)");
  // Past the device's queue: what it does not take now is dropped. Frames in a queue count against the socket's buffer,
  // which all guests share: one that takes nothing would fill it, and then nobody is sent anything.
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0)
    return fail_errno(errno, "send past the queues of devices (PACKET_QDISC_BYPASS)");
  return FrameSocket(std::move(fd));
}

Result<void> FrameSocket::send(IfIndex device, std::span<const uint8_t> frame) {
  if (frame.size() < ETH_HLEN) return fail(Errc::internal, "a frame without its header");
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(device.value());
  to.sll_protocol = static_cast<uint16_t>(frame[12] | frame[13] << 8U);  // as it stands in the frame
  to.sll_halen = ETH_ALEN;
  std::copy_n(frame.begin(), ETH_ALEN, std::begin(to.sll_addr));
  // The generic address type is what the socket interface asks for.
  const ssize_t sent = ::sendto(fd_.get(), frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr*>(&to), sizeof to);
  if (sent < 0) return fail_errno(errno, "send a frame");
  return {};
}

}  // namespace sepal::agent
