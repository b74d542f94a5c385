// Frames as a wire carries them, read into the model's packet. Bytes were made with scapy; asymmetric on purpose.
#include "tc/model/frame.hpp"

#include <gtest/gtest.h>

namespace sepal::tc::model {
namespace {

std::vector<uint8_t> bytes(std::string_view hex) {
  std::vector<uint8_t> out;
  std::string digits;
  for (char c : hex)
    if (c != ' ') digits += c;
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    out.push_back(static_cast<uint8_t>(std::stoul(digits.substr(i, 2), nullptr, 16)));
  return out;
}

constexpr std::string_view kEthernet = "02736570616c 020000000101 ";
constexpr std::string_view kIp4Tcp =
    "0800 4500 0028 0001 0000 3f06 67cc 0a000001 c6120001  9c40 01bb 00000000 00000000 5002 2000 0000 0000";

Packet parsed(const std::string& hex) {
  auto packet = parse_frame(bytes(hex));
  EXPECT_TRUE(packet) << packet.error().message();
  return packet.value_or(Packet{});
}

TEST(Frame, reads_a_syn) {
  const Packet packet = parsed(std::string(kEthernet) + std::string(kIp4Tcp));
  EXPECT_EQ(packet.dst_mac.to_string(), "02:73:65:70:61:6c");
  EXPECT_EQ(packet.src_mac.to_string(), "02:00:00:00:01:01");
  EXPECT_EQ(packet.src.to_string(), "10.0.0.1");
  EXPECT_EQ(packet.dst.to_string(), "198.18.0.1");
  EXPECT_EQ(packet.ttl, 63);
  EXPECT_EQ(packet.src_port, 40000);
  EXPECT_EQ(packet.dst_port, 443);
  EXPECT_EQ(packet.tcp_flags, kTcpSyn);
  EXPECT_FALSE(packet.fragment);
}

TEST(Frame, reads_both_tags_of_a_double_tagged_frame) {
  const Packet packet = parsed(std::string(kEthernet) + "88a8 0028 8100 2064 " + std::string(kIp4Tcp));
  ASSERT_EQ(packet.tags.size(), 2U);
  EXPECT_EQ(packet.tags[0].protocol, kEthQinq);
  EXPECT_EQ(packet.tags[0].id, Vid(40));
  EXPECT_EQ(packet.tags[1].id, Vid(100));
  EXPECT_EQ(packet.dst_port, 443);
}

TEST(Frame, takes_a_later_fragment_for_what_it_is_and_reads_no_ports_from_it) {
  const Packet packet =
      parsed(std::string(kEthernet) + "0800 4500 001c 0001 00b9 4011 0000 0a000001 0a000002  1234 5678 9abc def0");
  EXPECT_TRUE(packet.fragment);
  EXPECT_EQ(packet.src_port, 0);
}

TEST(Frame, walks_over_extension_headers_to_the_fragment_header) {
  const Packet packet =
      parsed(std::string(kEthernet) +
             "86dd 60000000 0018 00 40 fd000100000000000000000000000001 fd000100000000000000000000000002 "
             "2c00 0104 0000 0000  1100 0008 0000 0001  1234 0035 0010 0000");
  EXPECT_TRUE(packet.fragment);
  EXPECT_EQ(packet.protocol, kProtoUdp);
  EXPECT_EQ(packet.ttl, 64);
}

TEST(Frame, reads_what_an_icmp_error_is_about) {
  const Packet packet = parsed(std::string(kEthernet) +
                               "0800 4500 0038 0001 0000 4001 0000 c6120001 cb00710a  0304 0000 0000 0578 "
                               "4500 0028 0001 4000 3f06 0000 cb00710a c6120001 0401 01bb 00000000");
  EXPECT_EQ(packet.icmp_type, 3);
  EXPECT_EQ(packet.icmp_code, 4);
  ASSERT_TRUE(packet.quoted);
  EXPECT_EQ(packet.quoted->src.to_string(), "203.0.113.10");
  EXPECT_EQ(packet.quoted->src_port, 1025);
  EXPECT_EQ(packet.quoted->dst_port, 443);
}

TEST(Frame, reads_the_targets_of_questions) {
  const Packet arp = parsed(std::string("ffffffffffff 020000000101 ") +
                            "0806 0001 0800 0604 0001 020000000101 0a000001 000000000000 a9fe0101");
  EXPECT_TRUE(arp.is_question());
  EXPECT_EQ(arp.asked.to_string(), "169.254.1.1");
  EXPECT_EQ(arp.arp_operation, kArpRequest);
  EXPECT_EQ(arp.said_mac.to_string(), "02:00:00:00:01:01");
  EXPECT_EQ(arp.src.to_string(), "10.0.0.1");
  const Packet solicitation =
      parsed(std::string("3333ff000001 020000000101 ") +
             "86dd 60000000 0018 3a ff fd000100000000000000000000000001 ff0200000000000000000001ff000001 "
             "8700 0000 00000000 fe800000000000000000000000000001");
  EXPECT_TRUE(solicitation.is_question());
  EXPECT_EQ(solicitation.asked.to_string(), "fe80::1");
  const Packet advertisement =
      parsed(std::string("333300000001 020000000101 ") +
             "86dd 60000000 0018 3a ff fd000100000000000000000000000001 ff020000000000000000000000000001 "
             "8800 0000 20000000 fd000100000000000000000000000001");
  EXPECT_TRUE(advertisement.is_advertisement());
  EXPECT_FALSE(advertisement.is_question());
  EXPECT_EQ(advertisement.asked.to_string(), "fd00:100::1");
}

TEST(Frame, an_echo_keeps_its_id) {
  const Packet packet =
      parsed(std::string(kEthernet) + "0800 4500 001c 0001 0000 4001 0000 0a000001 0a000002 0800 0000 1234 0001");
  EXPECT_EQ(packet.icmp_id, 0x1234);
}

TEST(Frame, a_frame_cut_anywhere_in_its_headers_is_refused) {
  const std::vector<uint8_t> whole = bytes(std::string(kEthernet) + std::string(kIp4Tcp));
  for (size_t size = 0; size < whole.size() - 6; ++size) {
    const auto packet = parse_frame(std::span(whole).first(size));
    ASSERT_FALSE(packet) << size << " bytes";
    EXPECT_EQ(packet.error().code, Errc::protocol);
  }
}

}  // namespace
}  // namespace sepal::tc::model
