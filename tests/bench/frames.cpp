#include "frames.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace bench {
namespace {

constexpr size_t kIp = 14;       // where the IPv4 header begins
constexpr size_t kL4 = 14 + 20;  // where what is in it begins
constexpr size_t kIp6 = 14, kL4In6 = 14 + 40;

void put16(Frame& frame, size_t at, uint32_t value) {
  frame[at] = static_cast<uint8_t>(value >> 8U);
  frame[at + 1] = static_cast<uint8_t>(value);
}

void put32(Frame& frame, size_t at, uint32_t value) {
  put16(frame, at, value >> 16U);
  put16(frame, at + 2, value);
}

template <typename Bytes>
void put(Frame& frame, size_t at, const Bytes& bytes) {
  std::memcpy(frame.data() + at, &bytes, sizeof bytes);
}

uint32_t sum(const uint8_t* bytes, size_t size, uint32_t begin = 0) {
  for (size_t i = 0; i + 1 < size; i += 2) begin += static_cast<uint32_t>(bytes[i] << 8U | bytes[i + 1]);
  return begin;
}

uint32_t folded(uint32_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffffU) + (sum >> 16U);
  return ~sum & 0xffffU;
}

Frame ipv4_frame(const Identity& from, in_addr to, uint8_t protocol, uint32_t l4_bytes) {
  Frame frame{};
  put(frame, 0, from.next_hop);
  put(frame, 6, from.mac);
  put16(frame, 12, ETHERTYPE_IP);
  frame[kIp] = 0x45;
  put16(frame, kIp + 2, 20 + l4_bytes);
  put16(frame, kIp + 6, 0x4000);  // not to be fragmented
  frame[kIp + 8] = 64;
  frame[kIp + 9] = protocol;
  put(frame, kIp + 12, from.address);
  put(frame, kIp + 16, to);
  put16(frame, kIp + 10, folded(sum(frame.data() + kIp, 20)));
  return frame;
}

// Over the pseudo header, too: addresses, protocol, length.
void put_l4_checksum(Frame& frame, size_t at, uint32_t l4_bytes) {
  const uint32_t pseudo = sum(frame.data() + kIp + 12, 8, frame[kIp + 9] + l4_bytes);
  put16(frame, at, folded(sum(frame.data() + kL4, l4_bytes, pseudo)));
}

void enter(const Identity& identity) {
  const int fd = ::open(identity.netns.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::setns(fd, CLONE_NEWNET) != 0) die(identity.netns);
  ::close(fd);
}

Mac parse_mac(const std::string& text) {
  const ether_addr* parsed = ::ether_aton(text.c_str());
  if (parsed == nullptr) die("no MAC: " + text);
  Mac mac;
  std::memcpy(mac.bytes.data(), parsed, mac.bytes.size());
  return mac;
}

}  // namespace

void die(const std::string& what) {
  if (errno != 0)
    std::perror(what.c_str());
  else
    std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

Identity parse_identity(std::string_view text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  Identity identity;
  if (parts.size() < 4) die("an end is NETNS,MAC,NEXT_HOP_MAC,ADDRESS[,ADDRESS6]");
  identity.netns = parts[0];
  identity.mac = parse_mac(parts[1]);
  identity.next_hop = parse_mac(parts[2]);
  if (::inet_pton(AF_INET, parts[3].c_str(), &identity.address) != 1) die("no address: " + parts[3]);
  if (parts.size() > 4 && ::inet_pton(AF_INET6, parts[4].c_str(), &identity.address6) != 1)
    die("no address: " + parts[4]);
  return identity;
}

Frame tcp_frame(const Identity& from, in_addr to, Ports ports, TcpSegment segment) {
  Frame frame = ipv4_frame(from, to, IPPROTO_TCP, 20);
  put16(frame, kL4, ports.from);
  put16(frame, kL4 + 2, ports.to);
  put32(frame, kL4 + 4, segment.sequence);
  put32(frame, kL4 + 8, segment.acknowledged);
  frame[kL4 + 12] = 0x50;  // five words
  frame[kL4 + 13] = segment.flags;
  put16(frame, kL4 + 14, 0xffff);  // window
  put_l4_checksum(frame, kL4 + 16, 20);
  return frame;
}

Frame udp_frame(const Identity& from, in_addr to, Ports ports) {
  constexpr uint32_t kBytes = kFrameBytes - kL4;
  Frame frame = ipv4_frame(from, to, IPPROTO_UDP, kBytes);
  put16(frame, kL4, ports.from);
  put16(frame, kL4 + 2, ports.to);
  put16(frame, kL4 + 4, kBytes);
  put_l4_checksum(frame, kL4 + 6, kBytes);
  return frame;
}

Frame arp_request(const Identity& from, in_addr target) {
  Frame frame{};
  std::memset(frame.data(), 0xff, 6);
  put(frame, 6, from.mac);
  put16(frame, 12, ETHERTYPE_ARP);
  put32(frame, 14, 0x0001'0800);  // Ethernet, IPv4
  put32(frame, 18, 0x0604'0001);  // lengths of their addresses; request
  put(frame, 22, from.mac);
  put(frame, 28, from.address);
  put(frame, 38, target);
  return frame;
}

Frame neighbour_solicitation(const Identity& from, const in6_addr& target) {
  constexpr uint32_t kBytes = 32;
  Frame frame{};
  const std::array<uint8_t, 3> low{target.s6_addr[13], target.s6_addr[14], target.s6_addr[15]};
  put32(frame, 0, 0x3333'ff00);
  put(frame, 3, low);
  put(frame, 6, from.mac);
  put16(frame, 12, ETHERTYPE_IPV6);
  frame[kIp6] = 0x60;
  put16(frame, kIp6 + 4, kBytes);
  frame[kIp6 + 6] = IPPROTO_ICMPV6;
  frame[kIp6 + 7] = 255;
  put(frame, kIp6 + 8, from.address6);
  put16(frame, kIp6 + 24, 0xff02);  // ff02::1:ff00:0/104, the target's group
  frame[kIp6 + 35] = 0x01;
  frame[kIp6 + 36] = 0xff;
  put(frame, kIp6 + 37, low);
  frame[kL4In6] = 135;
  put(frame, kL4In6 + 8, target);
  put16(frame, kL4In6 + 24, 0x0101);  // source link-layer address
  put(frame, kL4In6 + 26, from.mac);
  put16(frame, kL4In6 + 2,
        folded(sum(frame.data() + kL4In6, kBytes, sum(frame.data() + kIp6 + 8, 32, IPPROTO_ICMPV6 + kBytes))));
  return frame;
}

Wire::Wire(const Identity& identity) {
  enter(identity);
  fd_ = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd_ < 0) die("packet socket");
  const int on = 1;
  const int room = 128 << 20;  // a run's frames, when nobody reads until its end
  if (::setsockopt(fd_, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0) die("PACKET_QDISC_BYPASS");
  if (::setsockopt(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0) die("PACKET_IGNORE_OUTGOING");
  if (::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) die("SO_RCVBUFFORCE");
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
  if (at.sll_ifindex == 0 || ::bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) die("eth0");
  for (size_t i = 0; i < kBatch; ++i) {
    out_vectors_[i].iov_base = out_[i].data();
    out_messages_[i].msg_hdr.msg_iov = &out_vectors_[i];
    out_messages_[i].msg_hdr.msg_iovlen = 1;
    in_vectors_[i] = {in_[i].data(), in_[i].size()};
    in_messages_[i].msg_hdr.msg_iov = &in_vectors_[i];
    in_messages_[i].msg_hdr.msg_iovlen = 1;
  }
}

Wire::~Wire() { ::close(fd_); }

void Wire::push(const Frame& frame, size_t bytes) {
  out_[queued_] = frame;
  out_vectors_[queued_].iov_len = bytes;
  if (++queued_ == kBatch) flush();
}

void Wire::flush() {
  for (size_t done = 0; done < queued_;) {
    const int sent = ::sendmmsg(fd_, out_messages_.data() + done, static_cast<unsigned>(queued_ - done), 0);
    if (sent > 0) done += static_cast<size_t>(sent);
    if (sent <= 0) {
      ++refused_;
      ++done;
    }
  }
  queued_ = 0;
}

std::span<const Arrived> Wire::receive() {
  arrived_.clear();
  const int count = ::recvmmsg(fd_, in_messages_.data(), kBatch, MSG_DONTWAIT, nullptr);
  for (size_t i = 0; i < static_cast<size_t>(std::max(count, 0)); ++i) {
    const auto& frame = in_[i];
    if (in_messages_[i].msg_len < kL4 + 20 || frame[12] != 0x08 || frame[13] != 0 || frame[kIp] != 0x45) continue;
    Arrived arrived;
    arrived.protocol = frame[kIp + 9];
    if (arrived.protocol == IPPROTO_TCP) arrived.flags = frame[kL4 + 13];
    arrived.ports.from = static_cast<uint16_t>(frame[kL4] << 8U | frame[kL4 + 1]);
    arrived.ports.to = static_cast<uint16_t>(frame[kL4 + 2] << 8U | frame[kL4 + 3]);
    arrived_.push_back(arrived);
  }
  return arrived_;
}

uint64_t received_by(const Identity& identity) {
  enter(identity);
  std::ifstream devices("/proc/thread-self/net/dev");
  for (std::string line; std::getline(devices, line);) {
    unsigned long long bytes = 0;
    unsigned long long packets = 0;
    if (std::sscanf(line.c_str(), " eth0: %llu %llu", &bytes, &packets) == 2) return packets;
  }
  die("no eth0");
}

}  // namespace bench
