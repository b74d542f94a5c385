// Ethernet frames as guests send them, and a guest's end of the wire: a packet socket in its network namespace.
//
// Frames leave without a queueing discipline and arrive before the guest's own stack and its tc have seen them. On veth
// a frame's whole way, up to the packet socket at its other end, is part of the call that sends it, unless something on
// the way hands it to another thread.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

inline constexpr size_t kFrameBytes = 60;      // the shortest that Ethernet has, without its checksum
inline constexpr size_t kLongFrameBytes = 86;  // a neighbour solicitation with its option
inline constexpr uint8_t kFin = 0x01, kSyn = 0x02, kAck = 0x10;

using Frame = std::array<uint8_t, kLongFrameBytes>;

struct Mac {
  std::array<uint8_t, 6> bytes{};
};

// Who one is, and to whom frames are addressed: the other guest's MAC on a switch, the gateway's where one routes.
struct Identity {
  std::string netns;  // a path
  Mac mac;
  Mac next_hop;
  in_addr address{};
  in6_addr address6{};
};

// NETNS,MAC,NEXT_HOP_MAC,ADDRESS[,ADDRESS6]; ends the program on anything else.
Identity parse_identity(std::string_view text);

struct Ports {
  uint16_t from = 0;
  uint16_t to = 0;
};

struct TcpSegment {
  uint8_t flags = 0;
  uint32_t sequence = 0;
  uint32_t acknowledged = 0;
};

// All with true checksums: conntrack verifies them.
Frame tcp_frame(const Identity& from, in_addr to, Ports ports, TcpSegment segment);
Frame udp_frame(const Identity& from, in_addr to, Ports ports);
Frame arp_request(const Identity& from, in_addr target);
Frame neighbour_solicitation(const Identity& from, const in6_addr& target);

// What a frame that arrived tells; `protocol` 0: nothing of ours.
struct Arrived {
  uint8_t protocol = 0;  // IPPROTO_TCP, IPPROTO_UDP
  uint8_t flags = 0;
  Ports ports;
};

class Wire {
 public:
  explicit Wire(const Identity& identity);  // on its eth0
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  // Queues, and sends when the queue is full.
  void push(const Frame& frame, size_t bytes = kFrameBytes);
  void flush();
  // Up to 64 frames that are there; never waits.
  std::span<const Arrived> receive();
  int fd() const { return fd_; }
  uint64_t refused() const { return refused_; }  // frames that the kernel did not take

 private:
  static constexpr size_t kBatch = 64;

  int fd_ = -1;
  size_t queued_ = 0;
  uint64_t refused_ = 0;
  std::array<Frame, kBatch> out_{};
  std::array<iovec, kBatch> out_vectors_{};
  std::array<mmsghdr, kBatch> out_messages_{};
  std::array<std::array<uint8_t, 64>, kBatch> in_{};  // headers; the rest is cut off
  std::array<iovec, kBatch> in_vectors_{};
  std::array<mmsghdr, kBatch> in_messages_{};
  std::vector<Arrived> arrived_;
};

// Frames that the eth0 of a namespace has received since it exists; the calling thread is in that namespace afterwards.
uint64_t received_by(const Identity& identity);

[[noreturn]] void die(const std::string& what);

}  // namespace bench
