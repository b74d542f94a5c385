// The guest of both targets, what a fuzzer cannot guess, and what every answer must keep to.
#pragma once

#include <cstdlib>

#include "guest/guest.hpp"

namespace sepal::guest {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline Guest fuzzed_guest() {
  Guest guest;
  guest.mac = {{2, 0, 0, 0, 0, 0x0a}};
  guest.gateway_mac = {{2, 0xff, 0xff, 0xff, 0xff, 1}};
  guest.domain = "net.example.com";
  for (const char* address : {"2001:db8:1::a", "2001:db8:2::a"}) {
    const IpAddr own = *IpAddr::parse(address);
    guest.addresses.push_back({own, IpPrefix::make(own, 64), *IpAddr::parse("fe80::1")});
  }
  guest.dns = guest.ntp = {*IpAddr::parse("2001:db8:53::1")};
  guest.boot.url = "http://boot.example.com/a.efi";
  guest.boot.ipxe = "http://boot.example.com/boot.ipxe";
  return guest;
}

// 16-bit words, the last one filled up, with the pseudo-header; by itself, not by what is under test.
inline uint32_t sum_of(const Frame& frame, size_t size) {
  const auto byte = [&](size_t at) -> uint32_t { return at < 54 + size ? frame[at] : 0; };
  uint32_t sum = static_cast<uint32_t>(size) + frame[20];
  for (size_t at = 22; at < 54 + size; at += 2) sum += byte(at) << 8U | byte(at + 1);
  while (sum > 0xffff) sum = (sum & 0xffffU) + (sum >> 16U);
  return sum;
}

// Puts right what would stop nearly every input at the door: MAC, lengths and checksum. One first byte in four leaves
// them.
inline Frame admitted(const uint8_t* data, size_t size) {
  if (size == 0) return {};
  const bool leave = (data[0] & 3U) == 3U;
  Frame frame(data + 1, data + size);
  if (leave || frame.size() < 62 || frame.size() > 1514) return frame;
  const size_t payload = frame.size() - 54;
  const bool udp = frame[20] == 17;
  const auto put = [&](size_t at, size_t value) {
    frame[at] = static_cast<uint8_t>(value >> 8U);
    frame[at + 1] = static_cast<uint8_t>(value);
  };
  put(18, payload);
  if (udp) put(58, payload);
  const size_t checksum = udp ? 60 : 56;
  put(checksum, 0);
  const uint32_t sum = ~sum_of(frame, payload) & 0xffffU;
  put(checksum, udp && sum == 0 ? 0xffff : sum);
  return frame;
}

inline void check(const Answer& answer, const Guest& guest) {
  require(!answer.what.empty() && answer.what.size() < 300);
  for (char c : answer.what) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  if (!answer.frame) return;
  const Frame& frame = *answer.frame;
  require(frame.size() >= 62 && frame.size() <= 14 + 1280);
  for (size_t i = 0; i < 6; ++i) require(frame[6 + i] == guest.gateway_mac.bytes[i]);
  const size_t size = static_cast<size_t>(frame[18] << 8U | frame[19]);
  require(size == frame.size() - 54 && sum_of(frame, size) == 0xffff);
}

}  // namespace sepal::guest
