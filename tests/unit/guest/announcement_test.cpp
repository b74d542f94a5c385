// Where gateways are, byte by byte.
#include "guest/announcement.hpp"

#include <gtest/gtest.h>

#include "base/limits.hpp"
#include "tests/unit/guest/frames6.hpp"

namespace sepal::guest {
namespace {

// By hand, from RFC 826 and 5227: a request of 10.0.0.1 for 10.0.0.1.
constexpr const char* kArp =
    "ffffffffffff02ffffffff010806"
    "0001080006040001"
    "02ffffffff010a000001"
    "0000000000000a000001";
// By hand, from RFC 4861 section 4.4: flags R and O, the target, and its link-layer address (option 2). The checksum is
// that of RFC 4443 section 2.3, reckoned apart from this code.
constexpr const char* kLinkLocal =
    "33330000000102ffffffff0186dd"
    "6000000000203aff"
    "fe800000000000000000000000000001ff020000000000000000000000000001"
    "8800d79aa0000000"
    "fe800000000000000000000000000001"
    "020102ffffffff01";
// The same for a gateway with an address of its network.
constexpr const char* kGlobal =
    "33330000000102ffffffff0186dd"
    "6000000000203aff"
    "fe800000000000000000000000000001ff020000000000000000000000000001"
    "8800a860a0000000"
    "20010db8000200000000000000000001"
    "020102ffffffff01";

std::vector<std::string> told(const Guest& guest) {
  std::vector<std::string> frames;
  for (const Frame& frame : gateway_announcements(guest)) frames.push_back(hex(frame));
  return frames;
}

TEST(Announcement, each_gateway_of_a_guests_networks_is_announced_in_its_familys_way) {
  EXPECT_EQ(told(two_networks()), (std::vector<std::string>{kArp, kLinkLocal, kGlobal}));
}

TEST(Announcement, the_other_gateways_of_the_tenant_follow_once_each) {
  Guest guest = two_networks();
  guest.gateways = {ip("169.254.1.1"), ip("fe80::1"), ip("10.0.0.1"), ip("10.9.0.1")};
  const std::vector<std::string> frames = told(guest);
  ASSERT_EQ(frames.size(), 5U);
  EXPECT_EQ(frames[0], kArp);
  EXPECT_EQ(frames[3].substr(56, 8), "a9fe0101");
  EXPECT_EQ(frames[4].substr(56, 8), "0a090001");
}

// By hand, as above: an address of a tenant's port on VLAN 40, at the uplink's MAC address.
constexpr const char* kOnWire =
    "ffffffffffff020000008801"
    "81000028"
    "0806"
    "0001080006040001"
    "0200000088010a000001"
    "0000000000000a000001";
constexpr const char* kOnWire6 =
    "333300000001020000008801"
    "81000028"
    "86dd"
    "6000000000203aff"
    "20010db8000200000000000000000001ff020000000000000000000000000001"
    "8800712620000000"
    "20010db8000200000000000000000001"
    "0201020000008801";

TEST(Announcement, an_address_behind_an_uplink_is_announced_in_its_vlan_or_untagged) {
  const MacAddr uplink{{2, 0, 0, 0, 0x88, 1}};
  EXPECT_EQ(hex(*address_announcement(ip("10.0.0.1"), uplink, Vid(40))), kOnWire);
  EXPECT_EQ(hex(*address_announcement(ip("2001:db8:2::1"), uplink, Vid(40))), kOnWire6);
  std::string untagged = kOnWire;
  untagged.erase(24, 8);
  EXPECT_EQ(hex(*address_announcement(ip("10.0.0.1"), uplink, Vid())), untagged);
}

TEST(Announcement, a_guest_hears_nothing_of_a_family_it_has_no_address_of) {
  Guest guest = two_networks();
  guest.gateways = {ip("169.254.1.1"), ip("fe80::1")};
  guest.addresses.resize(1);
  EXPECT_EQ(told(guest).size(), 2U);
  guest.addresses.clear();
  EXPECT_TRUE(told(guest).empty());
}

TEST(Announcement, of_many_gateways_a_guest_hears_of_its_own_and_so_many_others) {
  Guest guest = two_networks();
  for (uint8_t i = 0; i < 200; ++i) guest.gateways.push_back(IpAddr::v4(10, 1, i, 1));
  const std::vector<std::string> frames = told(guest);
  EXPECT_EQ(frames.size(), limits::kGatewaysAnnouncedMax);
  EXPECT_EQ(frames[2], kGlobal);
}

}  // namespace
}  // namespace sepal::guest
