#include "base/net_types.hpp"

#include <gtest/gtest.h>

namespace sepal {
namespace {

TEST(MacAddr, parses_what_it_prints) {
  auto mac = MacAddr::parse("02:00:5e:10:0A:ff");
  ASSERT_TRUE(mac);
  EXPECT_EQ(mac->to_string(), "02:00:5e:10:0a:ff");
}

TEST(MacAddr, refuses_what_is_not_six_pairs) {
  for (const char* text :
       {"", "02:00:00:00:00", "02:00:00:00:00:0", "02-00-00-00-00-0a", "02:00:00:00:00:0g", "02:00:00:00:00:0a "}) {
    EXPECT_FALSE(MacAddr::parse(text)) << text;
  }
}

TEST(IpAddr, knows_its_family_by_its_text) {
  EXPECT_EQ(IpAddr::parse("192.0.2.1")->family, Family::ipv4);
  EXPECT_EQ(IpAddr::parse("2001:db8::1")->family, Family::ipv6);
  EXPECT_FALSE(IpAddr::parse("192.0.2.256"));
  EXPECT_FALSE(IpAddr::parse("10.1"));
  EXPECT_FALSE(IpAddr::parse(std::string_view("1.2.3.4\0x", 9)));
}

TEST(IpPrefix, refuses_host_bits_unless_told_to_be_lenient) {
  EXPECT_TRUE(IpPrefix::parse("10.0.0.0/24"));
  EXPECT_FALSE(IpPrefix::parse("10.0.0.1/24"));
  EXPECT_FALSE(IpPrefix::parse("10.0.0.0/33"));
  EXPECT_FALSE(IpPrefix::parse("10.0.0.0"));
  EXPECT_EQ(IpPrefix::parse_lenient("10.0.0.1/24")->to_string(), "10.0.0.0/24");
  EXPECT_EQ(IpPrefix::parse_lenient("fd00::1")->to_string(), "fd00::1/128");
}

TEST(IpPrefix, masks_end_inside_a_byte) {
  EXPECT_EQ(IpPrefix::parse("10.16.0.0/12")->mask().to_string(), "255.240.0.0");
  EXPECT_EQ(IpPrefix::parse("fd00:8000::/17")->mask().to_string(), "ffff:8000::");
  EXPECT_EQ(IpPrefix::parse("0.0.0.0/0")->mask().to_string(), "0.0.0.0");
}

TEST(IpPrefix, contains_only_its_own_family) {
  auto any4 = *IpPrefix::parse("0.0.0.0/0");
  EXPECT_TRUE(any4.contains(*IpAddr::parse("203.0.113.9")));
  EXPECT_FALSE(any4.contains(*IpAddr::parse("2001:db8::9")));
  EXPECT_TRUE(IpPrefix::parse("10.0.0.0/8")->contains(*IpPrefix::parse("10.1.0.0/16")));
  EXPECT_FALSE(IpPrefix::parse("10.1.0.0/16")->contains(*IpPrefix::parse("10.0.0.0/8")));
  EXPECT_TRUE(IpPrefix::parse("10.1.0.0/16")->overlaps(*IpPrefix::parse("10.0.0.0/8")));
}

TEST(PortRange, reads_one_port_or_two) {
  EXPECT_EQ(PortRange::parse("1024-2047"), (PortRange{1024, 2047}));
  EXPECT_EQ(PortRange::parse("80"), (PortRange{80, 80}));
  EXPECT_FALSE(PortRange::parse("2047-1024"));
  EXPECT_FALSE(PortRange::parse("1-65536"));
  EXPECT_FALSE(PortRange::parse("-80"));
}

}  // namespace
}  // namespace sepal
