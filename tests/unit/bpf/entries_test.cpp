// Map entries as values: bytes of the keys, text, and what separates two sets.
#include "bpf/entries.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace sepal::bpf {
namespace {

IpPrefix prefix(const char* text) { return *IpPrefix::parse_lenient(text); }
const MacAddr kMac{{0x02, 0x00, 0x00, 0x00, 0x00, 0x0b}};

Neighbour neighbour(const char* target, uint8_t last_of_mac = 0x0b) {
  MacAddr mac = kMac;
  mac.bytes[5] = last_of_mac;
  return {make_neighbour_key(IfIndex(7), Vid(), prefix(target)), make_neighbour_value(SEPAL_ANSWER_NEIGHBOUR, mac)};
}

TEST(Entries, an_ipv4_neighbour_key_is_v4_mapped_and_counts_the_mapping_in_its_bits) {
  const sepal_neighbour_key key = make_neighbour_key(IfIndex(0x01020304), Vid(0x123), prefix("10.1.2.0/24"));
  EXPECT_EQ(key.prefix_bits, 64U + 96U + 24U);
  EXPECT_EQ(key.device, 0x01020304U);
  EXPECT_EQ(key.vlan, 0x123);
  const uint8_t address[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 0};
  EXPECT_EQ(std::memcmp(key.address, address, sizeof address), 0);
}

TEST(Entries, an_ipv6_neighbour_key_is_the_address_itself) {
  const sepal_neighbour_key key = make_neighbour_key(IfIndex(7), Vid(), prefix("fd00:100::/64"));
  EXPECT_EQ(key.prefix_bits, 64U + 64U);
  EXPECT_EQ(key.address[0], 0xfd);
  EXPECT_EQ(key.address[3], 0x00);
  EXPECT_EQ(key.address[2], 0x01);
}

TEST(Entries, a_slice_key_has_its_port_in_network_order_and_no_bits_behind_the_prefix) {
  const sepal_slice_key key = make_slice_key(*IpAddr::parse("203.0.113.10"), 0x07d2, 6);
  EXPECT_EQ(key.prefix_bits, 128U + 6U);
  EXPECT_EQ(key.port[0], 0x04);
  EXPECT_EQ(key.port[1], 0x00);
  EXPECT_EQ(make_slice_key(*IpAddr::parse("203.0.113.10"), 0x1234, 16).port[1], 0x34);
}

TEST(Entries, bits_behind_the_prefix_are_cleared_to_the_bit) {
  sepal_neighbour_key key{};
  std::memset(&key, 0xff, sizeof key);
  key.prefix_bits = 64 + 11;
  clear_ignored_bits(key);
  EXPECT_EQ(key.device, 0xffffffffU);
  EXPECT_EQ(key.zero, 0xffff);
  EXPECT_EQ(key.address[0], 0xff);
  EXPECT_EQ(key.address[1], 0xe0);
  EXPECT_EQ(key.address[2], 0x00);
  EXPECT_EQ(key.address[15], 0x00);
}

TEST(Entries, an_entry_reads_as_a_line) {
  EXPECT_EQ(to_string(neighbour("10.0.0.0/24")), "device 7: 10.0.0.0/24 → neighbour 02:00:00:00:00:0b");
  const Neighbour gateway{make_neighbour_key(IfIndex(7), Vid(30), prefix("fe80::1")),
                          make_neighbour_value(SEPAL_ANSWER_GATEWAY, kMac)};
  EXPECT_EQ(to_string(gateway), "device 7 vlan 30: fe80::1/128 → gateway 02:00:00:00:00:0b");
  const Neighbour silent{make_neighbour_key(IfIndex(7), Vid(), prefix("10.0.0.1")),
                         make_neighbour_value(SEPAL_ANSWER_SILENT, MacAddr{})};
  EXPECT_EQ(to_string(silent), "device 7: 10.0.0.1/32 → silent");
  const Neighbour guard{make_neighbour_key(IfIndex(7), Vid(), prefix("::/0")),
                        make_neighbour_value(SEPAL_ANSWER_GUARD, kMac)};
  EXPECT_EQ(to_string(guard), "device 7: ::/0 → guard 02:00:00:00:00:0b");
  EXPECT_EQ(guard.key.prefix_bits, uint32_t{SEPAL_NEIGHBOUR_DEVICE_BITS}) << "by which the program knows the port";
  const Neighbour own{make_neighbour_key(IfIndex(7), Vid(), prefix("10.0.0.0/24")),
                      make_neighbour_value(SEPAL_ANSWER_NEIGHBOUR, kMac, true)};
  EXPECT_EQ(to_string(own), "device 7: 10.0.0.0/24 → neighbour 02:00:00:00:00:0b, the port's own too");
  const Slice slice{make_slice_key(*IpAddr::parse("2001:db8::10"), 4096, 16), make_slice_value(3)};
  EXPECT_EQ(to_string(slice), "2001:db8::10 ports 4096 → slice 3");
}

TEST(Entries, changes_are_told_apart_whatever_the_order) {
  const auto changes = compare({neighbour("10.0.0.3"), neighbour("10.0.0.2", 0x99), neighbour("10.0.0.1")},
                               {neighbour("10.0.0.2"), neighbour("10.0.0.4"), neighbour("10.0.0.1")});
  ASSERT_TRUE(changes);
  EXPECT_EQ(changes->added, std::vector<Neighbour>{neighbour("10.0.0.3")});
  EXPECT_EQ(changes->changed, (std::vector<Neighbour>{neighbour("10.0.0.2", 0x99)}));
  EXPECT_EQ(changes->stale, std::vector<Neighbour>{neighbour("10.0.0.4")});
  EXPECT_EQ(changes->size(), 3U);
}

TEST(Entries, equal_sets_differ_in_nothing) {
  const auto changes =
      compare({neighbour("10.0.0.1"), neighbour("10.0.0.0/8")}, {neighbour("10.0.0.0/8"), neighbour("10.0.0.1")});
  ASSERT_TRUE(changes);
  EXPECT_TRUE(changes->empty());
}

TEST(Entries, one_key_with_two_values_names_both) {
  const auto changes = compare({neighbour("10.0.0.1", 1), neighbour("10.0.0.1", 2)}, {});
  ASSERT_FALSE(changes);
  EXPECT_NE(changes.error().doing.find("02:00:00:00:00:01"), std::string::npos);
  EXPECT_NE(changes.error().doing.find("02:00:00:00:00:02"), std::string::npos);
}

}  // namespace
}  // namespace sepal::bpf
