// Whose MAC address a frame shows, and whose it does not.
#include "guest/speaker.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/guest/frames6.hpp"

namespace sepal::guest {
namespace {

using Tins::ICMPv6;

// Made by scapy 2.5.0 alone:
//   Ether(src="02:00:00:00:00:0a", dst="ff:ff:ff:ff:ff:ff")/ARP(hwsrc="02:00:00:00:00:0a", psrc="10.0.0.5",
//   pdst="10.0.0.254")
constexpr const char* kArp =
    "ffffffffffff02000000000a08060001080006040001"
    "02000000000a0a000005"
    "0000000000000a0000fe";
constexpr MacAddr kOther{{2, 0, 0, 0, 0, 0x0b}};

// Where things stand in a frame of ARP.
constexpr size_t kSource = 6, kOperation = 21, kSenderMac = 22, kSenderIp = 28, kTargetIp = 38;

class Speaker : public testing::Test {
 protected:
  Speaker() {
    guest_ = two_networks();
    guest_.mac = MacAddr();
    guest_.addresses.push_back({ip("10.0.0.5"), *IpPrefix::parse("10.0.0.0/24"), ip("10.0.0.254")});
  }
  std::optional<MacAddr> shown(const Frame& frame) { return speaker(frame, guest_); }
  static Frame arp_with(size_t at, const std::vector<uint8_t>& bytes) {
    Frame frame = hex(kArp);
    std::copy(bytes.begin(), bytes.end(), frame.begin() + static_cast<ptrdiff_t>(at));
    return frame;
  }
  static Frame solicitation(const Way& way, const std::optional<MacAddr>& link = {}) {
    ICMPv6 message(ICMPv6::NEIGHBOUR_SOLICIT);
    message.target_addr("fd00:100::fe");
    if (link) message.source_link_layer_addr(Tins::HWAddress<6>(link->bytes.data()));
    return icmp6_frame(message, way);
  }
  Guest guest_;
};

TEST_F(Speaker, arp_of_an_own_address_shows_its_sender) {
  EXPECT_EQ(shown(hex(kArp)), kGuestMac);
  EXPECT_EQ(shown(arp_with(kOperation, {2})), kGuestMac) << "an answer, too";
  EXPECT_EQ(shown(arp_with(kSenderIp, {10, 0, 0, 6})), std::nullopt) << "an address that is somebody else's";
}

TEST_F(Speaker, a_probe_shows_it_when_it_asks_for_an_own_address) {
  Frame probe = arp_with(kSenderIp, {0, 0, 0, 0});
  EXPECT_EQ(shown(probe), std::nullopt);
  std::copy_n(std::vector<uint8_t>{10, 0, 0, 5}.begin(), 4, probe.begin() + kTargetIp);
  EXPECT_EQ(shown(probe), kGuestMac);
}

TEST_F(Speaker, header_and_message_must_agree) {
  EXPECT_EQ(shown(arp_with(kSenderMac + 5, {0x0b})), std::nullopt);
  EXPECT_EQ(shown(arp_with(kSource + 5, {0x0b})), std::nullopt);
  EXPECT_EQ(shown(solicitation({.destination = "ff02::1:ff00:fe", .hop_limit = 255}, kOther)), std::nullopt);
}

TEST_F(Speaker, groups_nobody_and_the_gateway_are_no_guests) {
  for (const std::vector<uint8_t>& mac : {std::vector<uint8_t>{1, 0, 0, 0, 0, 0x0a}, std::vector<uint8_t>(6, 0),
                                          std::vector<uint8_t>{2, 0xff, 0xff, 0xff, 0xff, 1}}) {
    Frame frame = arp_with(kSource, mac);
    std::copy(mac.begin(), mac.end(), frame.begin() + kSenderMac);
    EXPECT_EQ(shown(frame), std::nullopt);
  }
}

TEST_F(Speaker, neighbour_and_router_solicitations_show_it) {
  EXPECT_EQ(shown(solicitation({.destination = "ff02::1:ff00:fe", .hop_limit = 255})), kGuestMac);
  EXPECT_EQ(shown(solicitation({.destination = "ff02::1:ff00:fe", .hop_limit = 255}, kGuestMac)), kGuestMac);
  EXPECT_EQ(shown(solicitation({.source = "::", .destination = "ff02::1:ff00:fe", .hop_limit = 255})), kGuestMac);
  EXPECT_EQ(shown(icmp6_frame(ICMPv6(ICMPv6::ROUTER_SOLICIT))), kGuestMac);
  EXPECT_EQ(shown(icmp6_frame(ICMPv6(ICMPv6::ROUTER_ADVERT))), std::nullopt);
  EXPECT_EQ(shown(solicitation({.source = "fe80::1", .destination = "ff02::1:ff00:fe", .hop_limit = 255})),
            std::nullopt);
  EXPECT_EQ(shown(solicitation({.source = "2001:db8::66", .destination = "ff02::1:ff00:fe", .hop_limit = 255})),
            std::nullopt);
  EXPECT_EQ(shown(solicitation({.destination = "ff02::1:ff00:fe", .hop_limit = 64})), std::nullopt) << "from afar";
  Frame damaged = solicitation({.destination = "ff02::1:ff00:fe", .hop_limit = 255});
  damaged.back() ^= 1U;
  EXPECT_EQ(shown(damaged), std::nullopt) << "its checksum is wrong";
}

TEST_F(Speaker, dhcp_of_a_client_shows_it) {
  EXPECT_EQ(shown(dhcp6_frame(message(Tins::DHCPv6::SOLICIT))), kGuestMac);
  EXPECT_EQ(shown(dhcp6_frame(message(Tins::DHCPv6::SOLICIT),
                              {.source = "fe80::1", .destination = "ff02::1:2", .hop_limit = 1})),
            std::nullopt);
}

TEST_F(Speaker, what_is_cut_short_shows_nothing) {
  for (const Frame& whole : {hex(kArp), solicitation({.destination = "ff02::1:ff00:fe", .hop_limit = 255}, kGuestMac),
                             dhcp6_frame(message(Tins::DHCPv6::SOLICIT))}) {
    ASSERT_TRUE(shown(whole));
    for (size_t size = 0; size < std::min<size_t>(whole.size(), 42); ++size)
      EXPECT_EQ(shown(Frame(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))), std::nullopt) << size;
  }
}

TEST(AboutNeighbours, is_what_nobody_but_the_kernel_answers) {
  EXPECT_TRUE(is_about_neighbours(hex(kArp)));
  EXPECT_TRUE(is_about_neighbours(icmp6_frame(ICMPv6(ICMPv6::NEIGHBOUR_SOLICIT))));
  EXPECT_FALSE(is_about_neighbours(icmp6_frame(ICMPv6(ICMPv6::ROUTER_SOLICIT))));
  EXPECT_FALSE(is_about_neighbours(dhcp6_frame(message(Tins::DHCPv6::SOLICIT))));
  EXPECT_FALSE(is_about_neighbours({}));
}

}  // namespace
}  // namespace sepal::guest
