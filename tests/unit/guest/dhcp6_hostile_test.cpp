// What no client sends: lengths that lie, checksums that are wrong, options without end.
#include <gtest/gtest.h>
#include <tins/ipv6_address.h>
#include <tins/utils/checksum_utils.h>

#include <cstring>

#include "guest/dhcp6.hpp"
#include "tests/unit/guest/frames6.hpp"

namespace sepal::guest {
namespace {

using Tins::DHCPv6;

constexpr size_t kPayloadLength = 18;  // of IPv6, in the frame
constexpr size_t kNextHeader = 20;
constexpr size_t kUdpLength = 58;
constexpr size_t kUdpChecksum = 60;
constexpr size_t kMessage = 62;
constexpr size_t kAnswerBytesMax = 14 + 1280;

Frame solicit() {
  DHCPv6 question = message(DHCPv6::SOLICIT);
  associate(question, 1);
  return dhcp6_frame(question);
}

// The frame around these bytes of a message, with lengths and checksum as they should be.
Frame frame_of_bytes(const std::vector<uint8_t>& bytes) {
  Frame frame = solicit();
  frame.resize(kMessage);
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  const size_t size = bytes.size() + 8;
  frame[kPayloadLength] = frame[kUdpLength] = static_cast<uint8_t>(size >> 8U);
  frame[kPayloadLength + 1] = frame[kUdpLength + 1] = static_cast<uint8_t>(size);
  repair_checksum(frame);
  return frame;
}

std::vector<uint8_t> bytes_of(DHCPv6 message) { return message.serialize(); }

std::string refusal(const Frame& frame, const Guest& guest = two_networks()) {
  const Answer answer = answer_dhcp6(frame, guest);
  EXPECT_FALSE(answer.frame) << answer.what;
  return answer.what;
}

TEST(HostileDhcp6, a_wrong_checksum_and_none_are_refused) {
  Frame frame = solicit();
  frame[kUdpChecksum] ^= 1;
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: UDP checksum");
  frame[kUdpChecksum] = frame[kUdpChecksum + 1] = 0;
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: UDP checksum");
}

// A guest with a virtual NIC leaves the sum of the pseudo-header where the checksum belongs; seen with dhclient on
// veth.
TEST(HostileDhcp6, a_checksum_left_to_a_virtual_nic_is_taken) {
  Frame frame = solicit();
  const auto size = static_cast<uint16_t>(frame.size() - 54);
  uint32_t sum =
      Tins::Utils::pseudoheader_checksum(Tins::IPv6Address(&frame[22]), Tins::IPv6Address(&frame[38]), size, 17);
  while (sum > 0xffff) sum = (sum & 0xffffU) + (sum >> 16U);
  const auto left = static_cast<uint16_t>(sum);  // of words as they lie in memory
  std::memcpy(&frame[kUdpChecksum], &left, sizeof left);
  EXPECT_TRUE(answer_dhcp6(frame, two_networks()).frame);
}

TEST(HostileDhcp6, a_checksum_that_comes_out_as_zero_is_sent_as_all_ones) {
  Frame frame = solicit();
  const Frame before = *answer_dhcp6(frame, two_networks()).frame;
  // The transaction's last 16 bits are a word of the sum: adding the checksum to them makes the checksum zero.
  uint32_t word = 0x3456U + (before[kUdpChecksum] << 8U | before[kUdpChecksum + 1]);
  word = (word & 0xffffU) + (word >> 16U);
  frame[kMessage + 2] = static_cast<uint8_t>(word >> 8U);
  frame[kMessage + 3] = static_cast<uint8_t>(word);
  repair_checksum(frame);
  const Frame after = *answer_dhcp6(frame, two_networks()).frame;
  EXPECT_EQ(after[kUdpChecksum], 0xff);
  EXPECT_EQ(after[kUdpChecksum + 1], 0xff);
}

TEST(HostileDhcp6, the_padding_of_a_short_frame_is_no_part_of_the_question) {
  Frame frame = solicit();
  const Answer plain = answer_dhcp6(frame, two_networks());
  frame.resize(frame.size() + 20, 0xee);
  EXPECT_EQ(answer_dhcp6(frame, two_networks()), plain);
}

TEST(HostileDhcp6, lengths_that_lie_are_refused) {
  Frame frame = solicit();
  ++frame[kPayloadLength + 1];
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: shorter than it says");
  frame = solicit();
  frame[kPayloadLength + 1] = 7;
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: shorter than its headers");
  frame = solicit();
  --frame[kUdpLength + 1];
  repair_checksum(frame);
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: UDP length");
  EXPECT_EQ(refusal({}), "malformed DHCPv6: shorter than its headers");
  EXPECT_EQ(refusal(frame_of_bytes({1, 2, 3})), "malformed DHCPv6: shorter than its header");
  frame.resize(1515);
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: longer than an Ethernet frame");
}

TEST(HostileDhcp6, what_is_not_plain_udp_over_ipv6_is_refused) {
  Frame frame = solicit();
  frame[13] = 0;
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: not IPv6");
  frame = solicit();
  frame[14] = 0x45;
  EXPECT_EQ(refusal(frame), "malformed DHCPv6: not IPv6");
  for (const int header : {0, 41, 43, 44, 51, 58, 59, 60, 135}) {
    frame = solicit();
    frame[kNextHeader] = static_cast<uint8_t>(header);
    EXPECT_EQ(refusal(frame), "malformed DHCPv6: behind an extension header, or another protocol");
  }
}

TEST(HostileDhcp6, an_option_that_reaches_beyond_the_message_is_refused) {
  std::vector<uint8_t> bytes = bytes_of(message(DHCPv6::SOLICIT));
  bytes.insert(bytes.end(), {0, 8, 0, 3, 0, 0});
  EXPECT_EQ(refusal(frame_of_bytes(bytes)).rfind("malformed DHCPv6: ", 0), 0U);
  bytes.resize(bytes.size() - 3);  // half a header
  EXPECT_EQ(refusal(frame_of_bytes(bytes)).rfind("malformed DHCPv6: ", 0), 0U);
}

TEST(HostileDhcp6, an_association_shorter_than_its_fields_is_refused) {
  for (const auto& [kind, least] : {std::pair{3, 12}, std::pair{25, 12}, std::pair{4, 4}}) {
    std::vector<uint8_t> bytes = bytes_of(message(DHCPv6::SOLICIT));
    bytes.insert(bytes.end(), {0, static_cast<uint8_t>(kind), 0, static_cast<uint8_t>(least - 1)});
    bytes.resize(bytes.size() + static_cast<size_t>(least) - 1);
    EXPECT_EQ(refusal(frame_of_bytes(bytes)).rfind("malformed DHCPv6: ", 0), 0U) << kind;
  }
}

TEST(HostileDhcp6, what_lies_within_an_association_stays_within_it) {
  // An IA_NA of 16 bytes in which an address says it has 24.
  std::vector<uint8_t> bytes = bytes_of(message(DHCPv6::SOLICIT));
  bytes.insert(bytes.end(), {0, 3, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24});
  bytes.resize(bytes.size() + 24);
  EXPECT_EQ(refusal(frame_of_bytes(bytes)).rfind("malformed DHCPv6: ", 0), 0U);
  // And one whose address is shorter than an address.
  bytes = bytes_of(message(DHCPv6::SOLICIT));
  bytes.insert(bytes.end(), {0, 3, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0xfe});
  EXPECT_EQ(refusal(frame_of_bytes(bytes)).rfind("malformed DHCPv6: ", 0), 0U);
}

TEST(HostileDhcp6, an_identifier_given_twice_or_of_no_length_identifiers_have_is_refused) {
  DHCPv6 twice = message(DHCPv6::SOLICIT);
  twice.client_id(twice.client_id());
  EXPECT_EQ(refusal(dhcp6_frame(twice)), "malformed DHCPv6: client identifier");
  twice = message_to_us(DHCPv6::REQUEST);
  twice.server_id(twice.server_id());
  EXPECT_EQ(refusal(dhcp6_frame(twice)), "malformed DHCPv6: server identifier");
  for (const size_t size : {0, 2, 131}) {
    DHCPv6 odd = message(DHCPv6::SOLICIT);
    odd.remove_option(DHCPv6::CLIENTID);
    const std::vector<uint8_t> duid(size, 7);
    odd.add_option(DHCPv6::option(DHCPv6::CLIENTID, duid.begin(), duid.end()));
    EXPECT_EQ(refusal(dhcp6_frame(odd)), "malformed DHCPv6: client identifier") << size;
  }
}

TEST(HostileDhcp6, half_an_option_number_among_the_requested_is_refused) {
  std::vector<uint8_t> bytes = bytes_of(message(DHCPv6::SOLICIT));
  bytes.insert(bytes.end(), {0, 6, 0, 3, 0, 23, 0});
  EXPECT_EQ(refusal(frame_of_bytes(bytes)).rfind("malformed DHCPv6: ", 0), 0U);
}

TEST(HostileDhcp6, more_associations_than_a_client_has_are_refused) {
  DHCPv6 question = message(DHCPv6::SOLICIT);
  for (uint32_t id = 0; id < 8; ++id) associate(question, id);
  EXPECT_TRUE(answer_dhcp6(dhcp6_frame(question), two_networks()).frame);
  associate(question, 8);
  EXPECT_EQ(refusal(dhcp6_frame(question)), "malformed DHCPv6: too many associations");
}

// Nothing is walked twice: an option costs one step, and a frame of them is a few hundred.
TEST(HostileDhcp6, a_frame_full_of_the_smallest_options_is_answered_as_one_without) {
  std::vector<uint8_t> bytes = bytes_of(message(DHCPv6::INFO_REQUEST));
  const Answer plain = answer_dhcp6(frame_of_bytes(bytes), two_networks());
  while (bytes.size() + kMessage + 4 <= 1514) bytes.insert(bytes.end(), {0x12, 0x34, 0, 0});
  EXPECT_EQ(answer_dhcp6(frame_of_bytes(bytes), two_networks()), plain);
  ASSERT_TRUE(plain.frame);
}

TEST(HostileDhcp6, an_association_full_of_the_smallest_options_is_answered_as_one_without) {
  std::vector<uint8_t> bytes = bytes_of(message(DHCPv6::SOLICIT));
  std::vector<uint8_t> association(12);
  const auto with = [&] {
    std::vector<uint8_t> all = bytes;
    all.insert(all.end(),
               {0, 3, static_cast<uint8_t>(association.size() >> 8U), static_cast<uint8_t>(association.size())});
    all.insert(all.end(), association.begin(), association.end());
    return answer_dhcp6(frame_of_bytes(all), two_networks());
  };
  const Answer plain = with();
  while (bytes.size() + association.size() + kMessage + 8 <= 1514) association.insert(association.end(), {0, 13, 0, 0});
  EXPECT_EQ(with(), plain);
  ASSERT_TRUE(plain.frame);
}

TEST(HostileDhcp6, the_longest_answer_fits_the_smallest_mtu_with_every_address_in_it) {
  Guest guest = two_networks();
  guest.addresses.clear();
  for (uint8_t i = 0; i < 40; ++i) {
    IpAddr address = ip("2001:db8:1::");
    address.bytes[15] = i;
    guest.addresses.push_back({address, *IpPrefix::parse("2001:db8:1::/64"), ip("fe80::1")});
    guest.dns.push_back(address);
    guest.ntp.push_back(address);
  }
  guest.domain = "a123456789012345678901234567890123456789012345678901234567890.example.com";
  guest.boot.url = std::string(1000, 'x');
  DHCPv6 question = message_to_us(DHCPv6::RENEW);
  question.remove_option(DHCPv6::CLIENTID);
  const std::vector<uint8_t> duid(130, 7);
  question.add_option(DHCPv6::option(DHCPv6::CLIENTID, duid.begin(), duid.end()));
  const std::vector<const char*> foreign(20, "2001:db8:77::1");
  associate(question, 1, foreign);
  for (uint32_t id = 2; id <= 8; ++id) associate(question, id, {"2001:db8:78::1"});
  const Answer answer = answer_dhcp6(dhcp6_frame(question), guest);
  ASSERT_TRUE(answer.frame) << answer.what;
  EXPECT_LE(answer.frame->size(), kAnswerBytesMax);
  EXPECT_GT(answer.frame->size(), 1100U);
  const DHCPv6 reply(answer.frame->data() + kMessage, static_cast<uint32_t>(answer.frame->size() - kMessage));
  EXPECT_EQ(reply.ia_na().options.size(), (16 + 8) * 28U);
  EXPECT_NE(reply.search_option(DHCPv6::DNS_SERVERS), nullptr);
  EXPECT_EQ(reply.search_option(static_cast<DHCPv6::OptionTypes>(59)), nullptr);
}

TEST(HostileDhcp6, every_shortened_frame_and_every_changed_byte_ends_in_words) {
  DHCPv6 question = message_to_us(DHCPv6::RENEW);
  associate(question, 1, {"2001:db8:1::a", "2001:db8:1::b"});
  associate(question, 2, {}, DHCPv6::IA_PD);
  const Frame whole = dhcp6_frame(question);
  for (size_t size = 0; size < whole.size(); ++size) {
    Frame cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    cut.shrink_to_fit();
    EXPECT_FALSE(answer_dhcp6(cut, two_networks()).what.empty());
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {1, 0x80, 0xff}) {
      Frame changed = whole;
      changed[at] = static_cast<uint8_t>(changed[at] ^ change);
      if (at != kUdpChecksum && at != kUdpChecksum + 1 && at != kPayloadLength && at != kPayloadLength + 1 &&
          at != kNextHeader)
        repair_checksum(changed);
      EXPECT_FALSE(answer_dhcp6(changed, two_networks()).what.empty());
    }
  }
}

}  // namespace
}  // namespace sepal::guest
