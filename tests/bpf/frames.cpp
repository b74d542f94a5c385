// Frames and their checker: see frames.hpp.
#include "tests/bpf/frames.hpp"

#include <algorithm>
#include <cstdio>

namespace sepal::test {
namespace {

Bytes address(const IpAddr& a) { return {a.bytes.begin(), a.bytes.begin() + static_cast<ptrdiff_t>(a.size())}; }
Bytes address(const MacAddr& a) { return {a.bytes.begin(), a.bytes.end()}; }

Bytes slice(const Bytes& bytes, size_t at, size_t size) {
  return {bytes.begin() + static_cast<ptrdiff_t>(at), bytes.begin() + static_cast<ptrdiff_t>(at + size)};
}
MacAddr mac_at(const Bytes& frame, size_t at) {
  MacAddr result;
  std::copy_n(frame.begin() + static_cast<ptrdiff_t>(at), 6, result.bytes.begin());
  return result;
}
IpAddr ip_at(const Bytes& frame, size_t at, Family family) {
  IpAddr result;
  result.family = family;
  std::copy_n(frame.begin() + static_cast<ptrdiff_t>(at), result.size(), result.bytes.begin());
  return result;
}
Bytes pseudo_header(const Bytes& source, const Bytes& destination, size_t length) {
  return source + destination + Bytes{0, 0} + big_endian(static_cast<uint16_t>(length)) + Bytes{0, 0, 0, 58};
}

}  // namespace

MacAddr mac(const char* text) { return MacAddr::parse(text).value(); }
IpAddr ip(const char* text) { return IpAddr::parse(text).value(); }

Bytes from_hex(std::string_view hex) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

std::string to_hex(const Bytes& bytes) {
  std::string text;
  char pair[3];
  for (const uint8_t byte : bytes) {
    std::snprintf(pair, sizeof pair, "%02x", byte);
    text += pair;
  }
  return text;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes big_endian(uint16_t value) { return {static_cast<uint8_t>(value >> 8U), static_cast<uint8_t>(value & 0xffU)}; }

Bytes Arp::bytes() const {
  return address(to) + address(from) + Bytes{0x08, 0x06} + big_endian(hardware) + big_endian(protocol) +
         Bytes{hardware_length, protocol_length} + big_endian(operation) + address(sender_mac) + address(sender_ip) +
         address(target_mac) + address(target_ip);
}

Bytes Nd::bytes() const {
  const Bytes after = Bytes{flags, 0, 0, 0} + address(target) + options;
  const size_t length = 4 + after.size();
  Bytes sum = big_endian(0);
  const Bytes head = pseudo_header(address(source), address(destination), length);
  sum = big_endian(checksum.value_or(internet_checksum(head + Bytes{type, code} + sum + after)));
  return address(to) + address(from) + Bytes{0x86, 0xdd, static_cast<uint8_t>(version << 4U), 0, 0, 0} +
         big_endian(payload_length.value_or(static_cast<uint16_t>(length))) + Bytes{next_header, hop_limit} +
         address(source) + address(destination) + Bytes{type, code} + sum + after;
}

Bytes Icmp::bytes() const { return Bytes{type, code, 0, 0} + big_endian(id) + Bytes{0, 1} + payload; }

Bytes Ip4::bytes() const {
  const auto words = static_cast<uint8_t>(5 + options.size() / 4);
  const auto length = static_cast<uint16_t>(20 + options.size() + payload.size());
  return Bytes{static_cast<uint8_t>(version << 4U | header_words.value_or(words)), 0} +
         big_endian(total_length.value_or(length)) + Bytes{0x12, 0x34} + big_endian(fragment) +
         Bytes{ttl, protocol, 0, 0} + address(source) + address(destination) + options + payload;
}

Bytes Ip6::bytes() const {
  return Bytes{static_cast<uint8_t>(version << 4U), 0, 0, 0} +
         big_endian(payload_length.value_or(static_cast<uint16_t>(payload.size()))) + Bytes{next_header, hop_limit} +
         address(source) + address(destination) + payload;
}

Bytes ethernet(uint16_t type, const Bytes& payload) {
  return from_hex("02000000000102000000000e") + big_endian(type) + payload;
}

uint16_t internet_checksum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<uint32_t>(bytes[i]) << 8U;
    if (i + 1 < bytes.size()) sum += bytes[i + 1];
    if (sum > 0xffff) sum -= 0xffff;  // end-around carry
  }
  return static_cast<uint16_t>(~sum & 0xffffU);
}

Answer check_arp_reply(const Bytes& frame) {
  Answer answer;
  if (frame.size() != 42) {
    answer.wrong = "an ARP frame of " + std::to_string(frame.size()) + " bytes";
    return answer;
  }
  if (slice(frame, 12, 10) != from_hex("08060001080006040002")) answer.wrong = "not an ARP reply: " + to_hex(frame);
  answer.to = mac_at(frame, 0);
  answer.from = mac_at(frame, 6);
  answer.mac = mac_at(frame, 22);
  answer.asked = ip_at(frame, 28, Family::ipv4);
  answer.asker = ip_at(frame, 38, Family::ipv4);
  if (answer.mac != answer.from) answer.wrong = "Ethernet and ARP differ about the answerer";
  if (mac_at(frame, 32) != answer.to) answer.wrong = "Ethernet and ARP differ about the asker";
  if (answer.mac.is_multicast() || answer.to.is_multicast()) answer.wrong = "a group address in an ARP reply";
  return answer;
}

Answer check_advertisement(const Bytes& frame) {
  Answer answer;
  if (frame.size() != 86) {
    answer.wrong = "an advertisement of " + std::to_string(frame.size()) + " bytes";
    return answer;
  }
  if (slice(frame, 12, 10) != from_hex("86dd6000000000203aff")) answer.wrong = "bad headers: " + to_hex(frame);
  if (slice(frame, 54, 2) != from_hex("8800")) answer.wrong = "not an advertisement: " + to_hex(frame);
  const Bytes message = slice(frame, 54, 32);
  if (internet_checksum(pseudo_header(slice(frame, 22, 16), slice(frame, 38, 16), 32) + message) != 0) {
    answer.wrong = "wrong checksum: " + to_hex(frame);
  }
  answer.router = (frame[58] & 0x80U) != 0;
  answer.solicited = (frame[58] & 0x40U) != 0;
  answer.overrides = (frame[58] & 0x20U) != 0;
  if ((frame[58] & 0x1fU) != 0 || slice(frame, 59, 3) != Bytes{0, 0, 0}) answer.wrong = "reserved bits are set";
  if (slice(frame, 78, 2) != Bytes{2, 1}) answer.wrong = "no target link-layer address";
  answer.to = mac_at(frame, 0);
  answer.from = mac_at(frame, 6);
  answer.mac = mac_at(frame, 80);
  answer.asked = ip_at(frame, 62, Family::ipv6);
  answer.asker = ip_at(frame, 38, Family::ipv6);
  if (answer.mac != answer.from) answer.wrong = "Ethernet and option differ about the answerer";
  if (ip_at(frame, 22, Family::ipv6) != answer.asked) answer.wrong = "it does not come from the address it is about";
  if (answer.asker.is_multicast() && answer.solicited) answer.wrong = "to a group, but solicited (RFC 4861 7.1.2)";
  if (answer.asker.is_multicast() != answer.to.is_multicast())
    answer.wrong = "Ethernet and IPv6 differ about the group";
  return answer;
}

}  // namespace sepal::test
