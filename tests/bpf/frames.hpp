// Frames for the eBPF tests, built field by field, each field with a valid default that a test may spoil; and the
// checker of answers, which shares no code with the programs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/net_types.hpp"

namespace sepal::test {

using Bytes = std::vector<uint8_t>;

MacAddr mac(const char* text);
IpAddr ip(const char* text);
Bytes from_hex(std::string_view hex);
std::string to_hex(const Bytes& bytes);
Bytes operator+(Bytes a, const Bytes& b);
Bytes big_endian(uint16_t value);

inline const MacAddr kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

struct Arp {
  MacAddr to = kBroadcast;
  MacAddr from = mac("02:00:00:00:00:0a");
  uint16_t hardware = 1;
  uint16_t protocol = 0x0800;
  uint8_t hardware_length = 6;
  uint8_t protocol_length = 4;
  uint16_t operation = 1;
  MacAddr sender_mac = mac("02:00:00:00:00:0a");
  IpAddr sender_ip = ip("10.0.0.1");
  MacAddr target_mac;
  IpAddr target_ip = ip("10.0.0.2");
  [[nodiscard]] Bytes bytes() const;
};

// A neighbour solicitation, or the advertisement expected for one.
struct Nd {
  MacAddr to = mac("33:33:ff:00:00:02");
  MacAddr from = mac("02:00:00:00:00:0a");
  uint8_t version = 6;
  uint8_t next_header = 58;
  uint8_t hop_limit = 255;
  IpAddr source = ip("fd00:100::1");
  IpAddr destination = ip("ff02::1:ff00:2");
  uint8_t type = 135;
  uint8_t code = 0;
  uint8_t flags = 0;
  IpAddr target = ip("fd00:100::2");
  Bytes options = from_hex("010102000000000a");  // source link-layer address
  std::optional<uint16_t> payload_length;        // default: what is there
  std::optional<uint16_t> checksum;              // default: the right one
  [[nodiscard]] Bytes bytes() const;
};

struct Icmp {  // and ICMPv6
  uint8_t type = 0;
  uint8_t code = 0;
  uint16_t id = 1234;
  Bytes payload;
  [[nodiscard]] Bytes bytes() const;  // checksum left zero: conntrack's affair
};

struct Ip4 {
  uint8_t version = 4;
  uint8_t protocol = 1;
  IpAddr source = ip("198.51.100.7");
  IpAddr destination = ip("203.0.113.10");
  uint16_t fragment = 0;  // flags and offset
  uint8_t ttl = 64;
  Bytes options;                         // a multiple of 4
  std::optional<uint8_t> header_words;   // default: what is there
  std::optional<uint16_t> total_length;  // default: what is there
  Bytes payload;
  [[nodiscard]] Bytes bytes() const;
};

struct Ip6 {
  uint8_t version = 6;
  uint8_t next_header = 58;
  IpAddr source = ip("2001:db8::7");
  IpAddr destination = ip("2001:db8:ffff::10");
  std::optional<uint16_t> payload_length;
  uint8_t hop_limit = 64;
  Bytes payload;
  [[nodiscard]] Bytes bytes() const;
};

Bytes ethernet(uint16_t type, const Bytes& payload);

// The Internet checksum, RFC 1071, byte pair by byte pair.
uint16_t internet_checksum(const Bytes& bytes);

// What an answer says, after everything that RFC 826, RFC 4861 and the lengths demand was checked; what is wrong
// otherwise.
struct Answer {
  std::string wrong;  // empty: a valid answer
  MacAddr to;
  MacAddr from;
  IpAddr asked;  // the address this answers for
  MacAddr mac;   // what it says
  IpAddr asker;  // whom it tells
  bool router = false, solicited = false, overrides = false;
};
Answer check_arp_reply(const Bytes& frame);
Answer check_advertisement(const Bytes& frame);

}  // namespace sepal::test
