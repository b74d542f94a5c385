// ICMP to a shared public address through the real program: which slice it belongs to.
#include <functional>
#include <random>

#include "tests/bpf/slow_path_bed.hpp"

namespace sepal::test {
namespace {

using bpf::Slice;

constexpr uint16_t kIpv4 = 0x0800;
constexpr uint16_t kIpv6 = 0x86dd;
constexpr uint32_t kBlue = 7;    // ports 1024-2047 of both public addresses
constexpr uint32_t kRed = 9;     // ports 2048-2559
constexpr uint32_t kGreen = 12;  // all ports of another address

// What the real program says, and the hash it leaves (0: as it was).
struct Choice {
  int verdict = 0;
  uint32_t slice = 0;
  bool operator==(const Choice&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Choice& c) {
  return out << "verdict " << c.verdict << " slice " << c.slice;
}
constexpr Choice kNone{kUnspec, 0};
constexpr Choice chosen(uint32_t slice) { return {kPipe, slice}; }

class SliceProgram : public SlowPathTest {
 protected:
  void SetUp() override {
    SlowPathTest::SetUp();
    if (!slow_path_) return;
    std::vector<Slice> slices;
    for (const char* address : {"203.0.113.10", "2001:db8:ffff::10"}) {
      slices.push_back({bpf::make_slice_key(ip(address), 1024, 6), bpf::make_slice_value(kBlue)});
      slices.push_back({bpf::make_slice_key(ip(address), 2048, 7), bpf::make_slice_value(kRed)});
    }
    slices.push_back({bpf::make_slice_key(ip("203.0.113.11"), 0, 0), bpf::make_slice_value(kGreen)});
    auto written = slow_path_->sync_slices(slices);
    ASSERT_TRUE(written) << written.error().message();
    probe_ = load_test_program("slice_probe.bpf.o", "probe", map_of(slow_path_->slice().fd.get()).get());
  }

  // The verdict is the real program's, the hash that of its source inside the probe: both must agree.
  Choice choose(const Bytes& frame, uint32_t vlan = 0) {
    const Outcome real = run(slow_path_->slice().fd.get(), frame);
    const Outcome probe = run(probe_.get(), frame, 1, {vlan});
    EXPECT_EQ(real.verdict, probe.verdict) << to_hex(frame);
    EXPECT_EQ(to_hex(real.frame), to_hex(frame)) << "the program only looks";
    return {real.verdict, probe.cb[2] == probe.cb[1] ? 0 : probe.cb[2]};
  }
  Choice choose4(const Ip4& packet, uint32_t vlan = 0) { return choose(ethernet(kIpv4, packet.bytes()), vlan); }
  Choice choose6(const Ip6& packet, uint32_t vlan = 0) { return choose(ethernet(kIpv6, packet.bytes()), vlan); }

  UniqueFd probe_;
};

// Packets that left from the public address, as an error quotes them.
Ip4 sent4(uint8_t protocol, const Bytes& payload) {
  Ip4 packet;
  packet.protocol = protocol;
  packet.source = ip("203.0.113.10");
  packet.destination = ip("198.51.100.99");
  packet.payload = payload;
  return packet;
}
Ip6 sent6(uint8_t protocol, const Bytes& payload) {
  Ip6 packet;
  packet.next_header = protocol;
  packet.source = ip("2001:db8:ffff::10");
  packet.destination = ip("2001:db8::99");
  packet.payload = payload;
  return packet;
}
// The eight bytes of a TCP or UDP header that every error quotes. The destination port lies in another slice.
Bytes ports(uint16_t source) { return big_endian(source) + big_endian(2100) + Bytes{0, 8, 0, 0}; }

Ip4 echo4(uint8_t type, uint16_t id) {
  Ip4 packet;
  packet.payload = Icmp{type, 0, id, Bytes(8, 0x5a)}.bytes();
  return packet;
}
Ip6 echo6(uint8_t type, uint16_t id) {
  Ip6 packet;
  packet.payload = Icmp{type, 0, id, Bytes(8, 0x5a)}.bytes();
  return packet;
}
// The error's own id field lies in the other slice, so that nobody takes it for an echo's.
Ip4 error4(uint8_t type, uint8_t code, const Ip4& quoted) {
  Ip4 packet;
  packet.payload = Icmp{type, code, 2100, quoted.bytes()}.bytes();
  return packet;
}
Ip6 error6(uint8_t type, uint8_t code, const Ip6& quoted) {
  Ip6 packet;
  packet.payload = Icmp{type, code, 2100, quoted.bytes()}.bytes();
  return packet;
}

TEST_F(SliceProgram, the_id_of_an_echo_or_timestamp_chooses_the_slice) {
  for (const uint8_t type : std::initializer_list<uint8_t>{0, 8, 13, 14}) {
    EXPECT_EQ(choose4(echo4(type, 1234)), chosen(kBlue)) << "type " << +type;
    EXPECT_EQ(choose4(echo4(type, 2100)), chosen(kRed)) << "type " << +type;
  }
  for (const uint8_t type : std::initializer_list<uint8_t>{128, 129}) {
    EXPECT_EQ(choose6(echo6(type, 1234)), chosen(kBlue)) << "type " << +type;
    EXPECT_EQ(choose6(echo6(type, 2100)), chosen(kRed)) << "type " << +type;
  }
}

TEST_F(SliceProgram, a_slice_ends_where_its_masked_ports_end) {
  EXPECT_EQ(choose4(echo4(0, 1023)), kNone);
  EXPECT_EQ(choose4(echo4(0, 1024)), chosen(kBlue));
  EXPECT_EQ(choose4(echo4(0, 2047)), chosen(kBlue));
  EXPECT_EQ(choose4(echo4(0, 2048)), chosen(kRed));
  EXPECT_EQ(choose4(echo4(0, 2559)), chosen(kRed));
  EXPECT_EQ(choose4(echo4(0, 2560)), kNone);
  EXPECT_EQ(choose4(echo4(0, 0xd204)), kNone) << "1234 with its bytes swapped";
}

TEST_F(SliceProgram, a_slice_belongs_to_one_address) {
  Ip4 other = echo4(0, 1234);
  other.destination = ip("203.0.113.12");
  EXPECT_EQ(choose4(other), kNone);
  other.destination = ip("203.0.113.11");
  EXPECT_EQ(choose4(other), chosen(kGreen));
}

TEST_F(SliceProgram, an_error_goes_where_the_packet_it_quotes_came_from) {
  for (const auto& [type, code] : {std::pair<uint8_t, uint8_t>{3, 1}, {3, 3}, {3, 4}, {11, 0}, {12, 0}}) {
    EXPECT_EQ(choose4(error4(type, code, sent4(17, ports(1234)))), chosen(kBlue)) << +type << "/" << +code;
    EXPECT_EQ(choose4(error4(type, code, sent4(6, ports(1234)))), chosen(kBlue)) << +type << "/" << +code;
    EXPECT_EQ(choose4(error4(type, code, sent4(1, Icmp{8, 0, 1234, {}}.bytes()))), chosen(kBlue));
  }
  for (const auto& [type, code] : {std::pair<uint8_t, uint8_t>{1, 0}, {2, 0}, {3, 0}, {4, 1}}) {
    EXPECT_EQ(choose6(error6(type, code, sent6(17, ports(1234)))), chosen(kBlue)) << +type << "/" << +code;
    EXPECT_EQ(choose6(error6(type, code, sent6(6, ports(1234)))), chosen(kBlue)) << +type << "/" << +code;
    EXPECT_EQ(choose6(error6(type, code, sent6(58, Icmp{128, 0, 1234, {}}.bytes()))), chosen(kBlue));
  }
}

// Both frames were made by scapy 2.5: IP()/ICMP(type=11)/IP()/UDP(sport=1234) and
// IPv6()/ICMPv6PacketTooBig()/IPv6()/TCP().
TEST_F(SliceProgram, errors_as_scapy_builds_them_are_read) {
  EXPECT_EQ(choose(from_hex("0200000000010200000000fe080045000038000100004001147fc6336407cb00710a0b005bbb00000000"
                            "4500001c000100000111532fcb00710ac633646304d2829a000811d0")),
            chosen(kBlue));
  EXPECT_EQ(
      choose(from_hex("0200000000010200000000fe86dd6000000000443a4020010db800000000000000000000000720010db8ffff00"
                      "000000000000000010020036be00000500600000000014064020010db8ffff0000000000000000001020010db800"
                      "000000000000000000009904d201bb0000000000000000500220002d3b0000")),
      chosen(kBlue));
}

TEST_F(SliceProgram, ipv4_options_outside_and_quoted_are_stepped_over) {
  for (size_t words = 1; words <= 10; ++words) {
    Ip4 echo = echo4(0, 1234);
    echo.options = Bytes(words * 4, 1);
    EXPECT_EQ(choose4(echo), chosen(kBlue)) << words;
    Ip4 quoted = sent4(17, ports(1234));
    quoted.options = Bytes(words * 4, 1);
    Ip4 error = error4(3, 3, quoted);
    EXPECT_EQ(choose4(error), chosen(kBlue)) << words;
    error.options = Bytes(words * 4, 1);
    EXPECT_EQ(choose4(error), chosen(kBlue)) << words;
  }
}

TEST_F(SliceProgram, the_packet_may_wear_its_vlan_tag_or_not) {
  EXPECT_EQ(choose4(echo4(0, 1234), 30), chosen(kBlue));
  EXPECT_EQ(choose6(error6(2, 0, sent6(6, ports(1234))), 30), chosen(kBlue));
}

TEST_F(SliceProgram, messages_that_belong_to_nobody_are_left_alone) {
  for (const uint8_t type : std::initializer_list<uint8_t>{4, 5, 9, 10, 15, 17, 40, 255}) {
    EXPECT_EQ(choose4(error4(type, 0, sent4(17, ports(1234)))), kNone) << "ICMP type " << +type;
  }
  for (const uint8_t type : std::initializer_list<uint8_t>{0, 5, 100, 127, 130, 133, 134, 135, 136, 137, 255}) {
    EXPECT_EQ(choose6(error6(type, 0, sent6(17, ports(1234)))), kNone) << "ICMPv6 type " << +type;
  }
}

TEST_F(SliceProgram, an_error_about_a_packet_we_never_sent_is_left_alone) {
  Ip4 quoted = sent4(17, ports(1234));
  quoted.source = ip("203.0.113.11");
  EXPECT_EQ(choose4(error4(3, 3, quoted)), kNone);
  std::swap(quoted.source, quoted.destination);
  EXPECT_EQ(choose4(error4(3, 3, quoted)), kNone);
  Ip6 quoted6 = sent6(17, ports(1234));
  quoted6.source = ip("2001:db8:ffff::11");
  EXPECT_EQ(choose6(error6(1, 0, quoted6)), kNone);
}

TEST_F(SliceProgram, fragments_are_read_only_where_the_ports_are) {
  Ip4 outer = echo4(0, 1234);
  outer.fragment = 0x2000;
  EXPECT_EQ(choose4(outer), kNone) << "more fragments";
  outer.fragment = 0x00b9;
  EXPECT_EQ(choose4(outer), kNone) << "a later fragment";
  outer.fragment = 0x4000;
  EXPECT_EQ(choose4(outer), chosen(kBlue)) << "don't fragment";
  Ip4 quoted = sent4(17, ports(1234));
  quoted.fragment = 0x2000;
  EXPECT_EQ(choose4(error4(11, 1, quoted)), chosen(kBlue)) << "the first fragment shows its ports";
  quoted.fragment = 0x20b9;
  EXPECT_EQ(choose4(error4(11, 1, quoted)), kNone) << "a later one shows data";
}

TEST_F(SliceProgram, malformed_packets_are_left_alone) {
  const std::vector<std::pair<const char*, std::function<void(Ip4&, Ip4&)>>> faults{
      {"version", [](Ip4& outer, Ip4&) { outer.version = 6; }},
      {"header shorter than a header", [](Ip4& outer, Ip4&) { outer.header_words = 4; }},
      {"header of no length", [](Ip4& outer, Ip4&) { outer.header_words = 0; }},
      {"header beyond the packet", [](Ip4& outer, Ip4&) { outer.header_words = 15; }},
      {"not ICMP", [](Ip4& outer, Ip4&) { outer.protocol = 17; }},
      {"ICMPv6 in IPv4", [](Ip4& outer, Ip4&) { outer.protocol = 58; }},
      {"total length 0", [](Ip4& outer, Ip4&) { outer.total_length = 0; }},
      {"quoted version", [](Ip4&, Ip4& quoted) { quoted.version = 5; }},
      {"quoted header too short", [](Ip4&, Ip4& quoted) { quoted.header_words = 3; }},
      {"quoted header beyond the packet", [](Ip4&, Ip4& quoted) { quoted.header_words = 14; }},
      {"quoted GRE", [](Ip4&, Ip4& quoted) { quoted.protocol = 47; }},
      {"quoted ICMPv6", [](Ip4&, Ip4& quoted) { quoted.protocol = 58; }},
      {"an error about an error",
       [](Ip4&, Ip4& quoted) {
         quoted.protocol = 1;
         quoted.payload = Icmp{3, 3, 1234, {}}.bytes();
       }},
  };
  for (const auto& [why, spoil] : faults) {
    Ip4 outer;
    Ip4 quoted = sent4(17, ports(1234));
    spoil(outer, quoted);
    outer.payload = error4(3, 3, quoted).payload;
    EXPECT_EQ(choose4(outer), kNone) << why;
  }
  EXPECT_EQ(choose4(error4(3, 3, sent4(17, ports(1234)))), chosen(kBlue)) << "unspoilt, the same packet is chosen";
  EXPECT_EQ(choose(ethernet(0x0806, echo4(0, 1234).bytes())), kNone) << "ARP";
  EXPECT_EQ(choose(ethernet(kIpv6, echo4(0, 1234).bytes())), kNone) << "IPv4 that calls itself IPv6";
  EXPECT_EQ(choose(ethernet(kIpv4, {})), kNone) << "nothing";
}

TEST_F(SliceProgram, extension_headers_are_not_followed) {
  Ip6 echo = echo6(129, 1234);
  echo.next_header = 0;  // hop-by-hop options
  EXPECT_EQ(choose6(echo), kNone);
  echo.next_header = 44;  // fragment
  EXPECT_EQ(choose6(echo), kNone);
  Ip6 quoted = sent6(44, Bytes{17, 0, 0, 0, 0, 0, 0, 1} + ports(1234));
  EXPECT_EQ(choose6(error6(2, 0, quoted)), kNone);
  EXPECT_EQ(choose6(error6(1, 0, sent6(1, Icmp{8, 0, 1234, {}}.bytes()))), kNone) << "ICMPv4 in IPv6";
}

TEST_F(SliceProgram, a_packet_cut_short_anywhere_is_left_alone) {
  // Behind the port nothing is needed, so the cut goes up to there.
  const Bytes four = ethernet(kIpv4, error4(3, 3, sent4(17, ports(1234))).bytes());
  for (size_t size = 14; size < 14 + 20 + 8 + 20 + 2; ++size) {
    EXPECT_EQ(choose({four.begin(), four.begin() + static_cast<ptrdiff_t>(size)}), kNone) << size;
  }
  const Bytes six = ethernet(kIpv6, error6(1, 0, sent6(17, ports(1234))).bytes());
  for (size_t size = 14; size < 14 + 40 + 8 + 40 + 2; ++size) {
    EXPECT_EQ(choose({six.begin(), six.begin() + static_cast<ptrdiff_t>(size)}), kNone) << size;
  }
}

TEST_F(SliceProgram, padding_behind_the_ip_packet_is_not_read) {
  Ip4 error = error4(3, 3, sent4(17, ports(1234)));
  for (uint16_t length = 20; length < 20 + 8 + 20 + 2; ++length) {
    error.total_length = length;
    EXPECT_EQ(choose4(error), kNone) << length;
  }
  error.total_length = 20 + 8 + 20 + 2;
  EXPECT_EQ(choose4(error), chosen(kBlue));
  Ip6 error6_packet = error6(1, 0, sent6(17, ports(1234)));
  for (uint16_t length = 0; length < 8 + 40 + 2; ++length) {
    error6_packet.payload_length = length;
    EXPECT_EQ(choose6(error6_packet), kNone) << length;
  }
}

TEST_F(SliceProgram, slice_zero_is_never_chosen) {
  ASSERT_TRUE(slow_path_->sync_slices({{bpf::make_slice_key(ip("203.0.113.10"), 0, 0), bpf::make_slice_value(0)}}));
  EXPECT_EQ(choose4(echo4(0, 1234)), kNone);
}

TEST_F(SliceProgram, garbled_packets_choose_a_slice_of_their_own_address_or_none) {
  std::mt19937 random(20240301);
  const auto pick = [&random](size_t below) { return random() % below; };
  const std::vector<Bytes> seeds{
      ethernet(kIpv4, echo4(0, 1234).bytes()), ethernet(kIpv4, error4(11, 0, sent4(17, ports(1234))).bytes()),
      ethernet(kIpv4, error4(3, 4, sent4(6, ports(2100))).bytes()), ethernet(kIpv6, echo6(129, 1234).bytes()),
      ethernet(kIpv6, error6(2, 0, sent6(6, ports(2100))).bytes())};
  int found = 0;
  for (int round = 0; round < 6000; ++round) {
    Bytes frame = seeds[pick(seeds.size())];
    for (size_t n = 1 + pick(4); n > 0; --n) frame[pick(frame.size())] = static_cast<uint8_t>(random());
    if (pick(8) == 0) frame.resize(14 + pick(frame.size()));
    const Choice choice = choose(frame);
    if (choice == kNone) continue;
    ++found;
    ASSERT_EQ(choice.verdict, kPipe) << to_hex(frame);
    const bool green = frame.size() > 33 && frame[12] == 8 && frame[33] == 11;
    ASSERT_TRUE(green ? choice.slice == kGreen : choice.slice == kBlue || choice.slice == kRed)
        << choice << ": " << to_hex(frame);
  }
  EXPECT_GT(found, 600);
}

}  // namespace
}  // namespace sepal::test
