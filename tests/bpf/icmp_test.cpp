// What the router says in ICMP, through the real program: echo replies of the gateway, and errors for expired TTLs.
// What comes back out of a tunnel needs a tunnel: tests/vm.
#include <random>

#include "tests/bpf/slow_path_bed.hpp"

namespace sepal::test {
namespace {

constexpr uint16_t kIpv4 = 0x0800;
constexpr uint16_t kIpv6 = 0x86dd;
const Bytes kGateway4 = from_hex("a9fe0101");
const Bytes kGateway6 = from_hex("fe800000000000000000000000000001");

Bytes part(const Bytes& bytes, size_t first, size_t count) {
  if (first + count > bytes.size()) return {};
  return {bytes.begin() + static_cast<std::ptrdiff_t>(first),
          bytes.begin() + static_cast<std::ptrdiff_t>(first + count)};
}
Bytes rest(const Bytes& bytes, size_t first) {
  return part(bytes, first, bytes.size() - std::min(first, bytes.size()));
}

// Source, destination, length, three zeros, 58: RFC 8200 section 8.1.
Bytes pseudo_header(const Bytes& addresses, size_t length) {
  return addresses + Bytes{0, 0} + big_endian(static_cast<uint16_t>(length)) + Bytes{0, 0, 0, 58};
}

Bytes udp(size_t payload = 40) {
  return from_hex("9c40829b") + big_endian(static_cast<uint16_t>(8 + payload)) + Bytes{0x12, 0x34} +
         Bytes(payload, 0xa5);
}
Bytes packet4(uint8_t protocol, const Bytes& payload, const char* from = "10.0.0.1", const char* to = "10.0.0.2") {
  Ip4 ip4;
  ip4.protocol = protocol;
  ip4.source = ip(from);
  ip4.destination = ip(to);
  ip4.payload = payload;
  return ip4.bytes();
}
Bytes packet6(uint8_t protocol, const Bytes& payload, const char* from = "fd00:100::1",
              const char* to = "fd00:100::2") {
  Ip6 ip6;
  ip6.next_header = protocol;
  ip6.source = ip(from);
  ip6.destination = ip(to);
  ip6.payload = payload;
  return ip6.bytes();
}
Bytes echo(uint8_t type, const Bytes& payload) {
  Bytes message = Bytes{type, 0, 0, 0, 0x12, 0x34, 0, 1} + payload;
  const Bytes sum = big_endian(internet_checksum(message));
  std::copy(sum.begin(), sum.end(), message.begin() + 2);
  return message;
}
Bytes echo6(const Bytes& payload, const char* from, const char* to) {
  Bytes message = Bytes{128, 0, 0, 0, 0x12, 0x34, 0, 1} + payload;
  const Bytes packet = packet6(58, message, from, to);
  const Bytes sum = big_endian(internet_checksum(pseudo_header(part(packet, 8, 32), message.size()) + message));
  std::copy(sum.begin(), sum.end(), message.begin() + 2);
  return packet6(58, message, from, to);
}

class IcmpProgram : public SlowPathTest {
 protected:
  Outcome expire(const Bytes& frame) { return run(slow_path_->icmp().fd.get(), frame, 1, {}, SEPAL_ICMP_EXPIRED); }
  Outcome too_big(const Bytes& frame, uint16_t mtu) {
    return run(slow_path_->icmp().fd.get(), frame, 1, {}, SEPAL_ICMP_TOO_BIG | mtu);
  }
  Outcome ask(const Bytes& frame) { return run(slow_path_->icmp().fd.get(), frame); }
  void expect_silence(const Outcome& outcome, const Bytes& frame, const char* why) {
    EXPECT_EQ(outcome.verdict, kUnspec) << why;
    EXPECT_EQ(to_hex(outcome.frame), to_hex(frame)) << why;
  }
};

TEST_F(IcmpProgram, tells_an_ipv4_sender_from_the_gateway_and_quotes_its_packet) {
  const Bytes packet = packet4(17, udp());
  const Bytes frame = ethernet(kIpv4, packet);
  const Outcome told = expire(frame);
  ASSERT_EQ(told.verdict, kPipe);
  EXPECT_EQ(part(told.frame, 0, 6), part(frame, 6, 6)) << "back to the station that sent it";
  EXPECT_EQ(part(told.frame, 6, 6), part(frame, 0, 6));
  const Bytes header = part(told.frame, 14, 20);
  EXPECT_EQ(header.at(0), 0x45);
  EXPECT_EQ(part(header, 2, 2), big_endian(static_cast<uint16_t>(28 + packet.size())));
  EXPECT_EQ(header.at(8), 64);
  EXPECT_EQ(header.at(9), 1);
  EXPECT_EQ(internet_checksum(header), 0);
  EXPECT_EQ(part(header, 12, 4), kGateway4);
  EXPECT_EQ(part(header, 16, 4), from_hex("0a000001"));
  const Bytes message = rest(told.frame, 34);
  EXPECT_EQ(part(message, 0, 2), from_hex("0b00"));
  EXPECT_EQ(internet_checksum(message), 0);
  EXPECT_EQ(rest(message, 8), packet);
}

TEST_F(IcmpProgram, tells_an_ipv6_sender_from_the_gateway_and_quotes_its_packet) {
  const Bytes packet = packet6(17, udp());
  const Bytes frame = ethernet(kIpv6, packet);
  const Outcome told = expire(frame);
  ASSERT_EQ(told.verdict, kPipe);
  EXPECT_EQ(part(told.frame, 0, 6), part(frame, 6, 6));
  EXPECT_EQ(part(told.frame, 14, 1), from_hex("60"));
  EXPECT_EQ(part(told.frame, 18, 4), big_endian(static_cast<uint16_t>(8 + packet.size())) + from_hex("3a40"));
  EXPECT_EQ(part(told.frame, 22, 16), kGateway6);
  EXPECT_EQ(part(told.frame, 38, 16), part(packet, 8, 16));
  const Bytes message = rest(told.frame, 54);
  EXPECT_EQ(part(message, 0, 2), from_hex("0300"));
  EXPECT_EQ(internet_checksum(pseudo_header(part(told.frame, 22, 32), message.size()) + message), 0);
  EXPECT_EQ(rest(message, 8), packet);
}

TEST_F(IcmpProgram, tells_the_mtu_to_who_may_not_be_fragmented_and_lets_all_else_go_on) {
  Ip4 whole;
  whole.protocol = 17;
  whole.source = ip("10.0.0.1");
  whole.destination = ip("10.0.0.2");
  whole.payload = udp(1400);
  const Bytes may_be_fragmented = ethernet(kIpv4, whole.bytes());
  whole.fragment = 0x4000;  // "don't fragment"
  const Bytes four = ethernet(kIpv4, whole.bytes());
  const Outcome told4 = too_big(four, 1400);
  ASSERT_EQ(told4.verdict, kPipe);
  EXPECT_EQ(part(told4.frame, 0, 12), part(four, 6, 6) + part(four, 0, 6));
  EXPECT_EQ(part(told4.frame, 34, 2), from_hex("0304"));
  EXPECT_EQ(part(told4.frame, 38, 4), from_hex("00000578"));
  EXPECT_EQ(internet_checksum(rest(told4.frame, 34)), 0);
  EXPECT_EQ(rest(told4.frame, 42), part(four, 14, 128));

  const Outcome told6 = too_big(ethernet(kIpv6, packet6(17, udp(1400))), 1400);
  ASSERT_EQ(told6.verdict, kPipe);
  EXPECT_EQ(part(told6.frame, 54, 2), from_hex("0200"));
  EXPECT_EQ(part(told6.frame, 58, 4), from_hex("00000578"));
  const Bytes message = rest(told6.frame, 54);
  EXPECT_EQ(internet_checksum(pseudo_header(part(told6.frame, 22, 32), message.size()) + message), 0);

  expect_silence(too_big(may_be_fragmented, 1400), may_be_fragmented, "may be fragmented");
  const Bytes error = ethernet(kIpv6, packet6(58, Bytes{2, 0} + Bytes(1400, 1)));
  expect_silence(too_big(error, 1280), error, "an error");
}

TEST_F(IcmpProgram, quotes_no_more_than_128_bytes_and_no_padding) {
  for (size_t payload : {0U, 1U, 71U, 99U, 100U, 101U, 500U, 1400U}) {
    const Bytes four = packet4(17, udp(payload));
    const Outcome told4 = expire(ethernet(kIpv4, four) + Bytes(7, 0xee));
    ASSERT_EQ(told4.verdict, kPipe) << payload;
    EXPECT_EQ(rest(told4.frame, 42), part(four, 0, std::min<size_t>(four.size(), 128))) << payload;
    EXPECT_EQ(internet_checksum(rest(told4.frame, 34)), 0) << payload;
    const Bytes six = packet6(17, udp(payload));
    const Outcome told6 = expire(ethernet(kIpv6, six) + Bytes(7, 0xee));
    ASSERT_EQ(told6.verdict, kPipe) << payload;
    EXPECT_EQ(rest(told6.frame, 62), part(six, 0, std::min<size_t>(six.size(), 128))) << payload;
    const Bytes message = rest(told6.frame, 54);
    EXPECT_EQ(internet_checksum(pseudo_header(part(told6.frame, 22, 32), message.size()) + message), 0) << payload;
  }
}

TEST_F(IcmpProgram, never_complains_about_errors_groups_or_later_fragments) {
  auto silent = [&](const Bytes& frame, const char* why) { expect_silence(expire(frame), frame, why); };
  for (const uint8_t type : Bytes{3, 4, 5, 11, 12})
    silent(ethernet(kIpv4, packet4(1, Bytes{type, 0} + Bytes(30, 1))), "an ICMP error");
  for (const uint8_t type : Bytes{1, 2, 3, 4, 137})
    silent(ethernet(kIpv6, packet6(58, Bytes{type, 0} + Bytes(30, 1))), "an ICMPv6 error");
  silent(ethernet(kIpv4, packet4(17, udp(), "10.0.0.1", "224.0.0.5")), "to a group");
  silent(ethernet(kIpv6, packet6(17, udp(), "fd00:100::1", "ff02::1")), "to a group");
  silent(ethernet(kIpv4, packet4(17, udp(), "10.0.0.1", "255.255.255.255")), "to all");
  silent(ethernet(kIpv4, packet4(17, udp(), "0.0.0.0")), "from nobody");
  silent(ethernet(kIpv6, packet6(17, udp(), "::")), "from nobody");
  silent(ethernet(kIpv4, packet4(17, udp(), "224.0.0.5")), "from a group");
  silent(ethernet(kIpv4, packet4(17, udp(), "127.0.0.1")), "from itself");
  Bytes to_all = ethernet(kIpv4, packet4(17, udp()));
  std::fill_n(to_all.begin(), 6, uint8_t{0xff});
  silent(to_all, "in a broadcast");
  Ip4 later;
  later.protocol = 17;
  later.fragment = 5;
  later.payload = udp();
  silent(ethernet(kIpv4, later.bytes()), "a later fragment");
  Ip4 lies;
  lies.protocol = 17;
  lies.payload = udp();
  lies.total_length = 2000;
  silent(ethernet(kIpv4, lies.bytes()), "longer than it is");
  lies.total_length = 24;
  silent(ethernet(kIpv4, lies.bytes()), "shorter than a header and its ports");
  silent(ethernet(0x0806, Bytes(46, 0)), "no IP");
  const Outcome asked = expire(ethernet(kIpv4, packet4(1, echo(8, Bytes(10, 7)))));
  EXPECT_EQ(asked.verdict, kPipe) << "an echo is no error";
}

TEST_F(IcmpProgram, the_gateway_answers_echoes_of_any_length) {
  for (size_t payload : {0U, 1U, 56U, 1472U}) {
    const Bytes data(payload, 0x5a);
    const Bytes packet = packet4(1, echo(8, data), "10.0.0.1", "10.0.0.254");
    const Bytes frame = ethernet(kIpv4, packet);
    const Outcome answered = ask(frame);
    ASSERT_EQ(answered.verdict, kPipe) << payload;
    EXPECT_EQ(part(answered.frame, 0, 12), part(frame, 6, 6) + part(frame, 0, 6));
    EXPECT_EQ(part(answered.frame, 26, 8), from_hex("0a0000fe0a000001"));
    EXPECT_EQ(answered.frame.at(22), 64);
    EXPECT_EQ(rest(answered.frame, 34), echo(0, data)) << "checksum and all";

    const Bytes six = ethernet(kIpv6, echo6(data, "fd00:100::1", "fe80::1"));
    const Outcome answered6 = ask(six);
    ASSERT_EQ(answered6.verdict, kPipe) << payload;
    EXPECT_EQ(part(answered6.frame, 22, 16), kGateway6);
    EXPECT_EQ(part(answered6.frame, 38, 16), part(six, 22, 16));
    const Bytes message = rest(answered6.frame, 54);
    EXPECT_EQ(part(message, 0, 2), from_hex("8100"));
    EXPECT_EQ(internet_checksum(pseudo_header(part(answered6.frame, 22, 32), message.size()) + message), 0);
    EXPECT_EQ(rest(message, 8), data);
  }
}

TEST_F(IcmpProgram, an_answers_header_checksum_is_right_for_every_ttl) {
  for (unsigned ttl = 0; ttl < 256; ttl += 5) {
    Bytes frame = ethernet(kIpv4, packet4(1, echo(8, Bytes(8, 1)), "10.0.0.1", "10.0.0.254"));
    frame.at(22) = static_cast<uint8_t>(ttl);
    frame.at(24) = frame.at(25) = 0;
    const Bytes sum = big_endian(internet_checksum(part(frame, 14, 20)));
    std::copy(sum.begin(), sum.end(), frame.begin() + 24);
    const Outcome answered = ask(frame);
    ASSERT_EQ(answered.verdict, kPipe);
    EXPECT_EQ(internet_checksum(part(answered.frame, 14, 20)), 0) << ttl;
  }
}

TEST_F(IcmpProgram, leaves_alone_what_is_no_whole_echo_from_one_host) {
  auto silent = [&](const Bytes& frame, const char* why) { expect_silence(ask(frame), frame, why); };
  silent(ethernet(kIpv4, packet4(1, echo(0, Bytes(8, 1)))), "a reply");
  silent(ethernet(kIpv4, packet4(17, udp())), "UDP");
  silent(ethernet(kIpv4, packet4(1, echo(8, Bytes(8, 1)), "255.255.255.255")), "from all");
  silent(ethernet(kIpv6, packet6(58, Bytes{128, 0, 0, 0, 0, 0, 0, 0}, "ff02::1")), "from a group");
  silent(ethernet(kIpv6, packet6(58, Bytes{128, 0, 0, 0, 0, 0, 0, 0}, "::")), "from nobody");
  Ip4 first;
  first.fragment = 0x2000;
  first.payload = echo(8, Bytes(8, 1));
  silent(ethernet(kIpv4, first.bytes()), "a first fragment");
  Ip4 routed;
  routed.options = from_hex("01010101");
  routed.payload = echo(8, Bytes(8, 1));
  silent(ethernet(kIpv4, routed.bytes()), "with options");
}

TEST_F(IcmpProgram, random_bytes_end_in_a_verdict) {
  std::mt19937 random(20240);
  for (int i = 0; i < 20'000; ++i) {
    Bytes frame(14 + random() % 300);
    for (uint8_t& byte : frame) byte = static_cast<uint8_t>(random());
    const bool six = random() % 2 == 0;
    frame.at(12) = six ? 0x86 : 0x08;
    frame.at(13) = six ? 0xdd : 0x00;
    if (frame.size() > 24 && random() % 4 != 0) {
      frame.at(0) &= 0xfeU;
      frame.at(6) &= 0xfeU;
      frame.at(14) = six ? 0x60 : static_cast<uint8_t>(0x40 | random() % 16);
      frame.at(six ? 20 : 23) = six ? 58 : 1;
    }
    const Outcome outcome = random() % 2 == 0 ? expire(frame) : ask(frame);
    ASSERT_TRUE(outcome.verdict == kUnspec || outcome.verdict == kPipe) << outcome.verdict << " " << to_hex(frame);
  }
}

}  // namespace
}  // namespace sepal::test
