#include "tc/rule/match.hpp"

#include <gtest/gtest.h>

namespace sepal::tc {
namespace {

TEST(Match, keys_are_sorted_whatever_the_order_of_setting) {
  const Match a = Match().set(Key::ct_mark, 1).eth_type(kEthIpv4).set(Key::vlan_id, 5);
  const Match b = Match().set(Key::vlan_id, 5).set(Key::ct_mark, 1).eth_type(kEthIpv4);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.keys().front().key, Key::vlan_id);
  EXPECT_EQ(a.keys().back().key, Key::ct_mark);
}

TEST(Match, value_bits_outside_the_mask_are_cleared) {
  EXPECT_EQ(Match().set(Key::dst_port, 0x1234, 0xff00), Match().set(Key::dst_port, 0x12ff, 0xff00));
  EXPECT_EQ(Match().set(Key::dst_port, 0x1234, 0xff00).find(Key::dst_port)->value_u32(), 0x1200U);
}

TEST(Match, a_zero_mask_removes_the_key_because_to_the_kernel_it_would_match_nothing) {
  EXPECT_TRUE(Match().set(Key::ct_mark, 7, 0).empty());
  EXPECT_TRUE(Match().set(Key::ct_mark, 7).set(Key::ct_mark, 7, 0).empty());
  EXPECT_TRUE(Match().ip(Key::dst_ip4, *IpPrefix::parse("0.0.0.0/0")).empty());
  EXPECT_TRUE(Match().ip(Key::dst_ip4, *IpPrefix::parse("::/0")).empty());
}

TEST(Match, full_masks_are_as_wide_as_the_field) {
  EXPECT_EQ(Match().set(Key::vlan_id, 0xffff).find(Key::vlan_id)->mask_u32(), 0x0fffU);
  EXPECT_EQ(Match().set(Key::vlan_prio, 0xff).find(Key::vlan_prio)->value_u32(), 7U);
  EXPECT_EQ(Match().set(Key::ip_ttl, 0x1ff).find(Key::ip_ttl)->value_u32(), 0xffU);
}

TEST(Match, an_ipv6_prefix_chooses_the_ipv6_key) {
  const Match match = Match().ip(Key::enc_src_ip4, *IpPrefix::parse("2001:db8::/32"));
  ASSERT_NE(match.find(Key::enc_src_ip6), nullptr);
  EXPECT_EQ(match.find(Key::enc_src_ip4), nullptr);
}

TEST(Match, two_matches_overlap_unless_a_bit_both_look_at_differs) {
  const Match ten = Match().ip(Key::dst_ip4, *IpPrefix::parse("10.0.0.0/8"));
  const Match ten_one = Match().ip(Key::dst_ip4, *IpPrefix::parse("10.1.0.0/16"));
  const Match eleven = Match().ip(Key::dst_ip4, *IpPrefix::parse("11.0.0.0/8"));
  EXPECT_TRUE(ten.overlaps(ten_one));
  EXPECT_TRUE(ten_one.overlaps(ten));
  EXPECT_FALSE(ten.overlaps(eleven));
  EXPECT_TRUE(ten.overlaps(Match().set(Key::ct_zone, 1)));
  EXPECT_TRUE(Match().overlaps(eleven));
  EXPECT_FALSE(Match().ct_state(kCtTrk | kCtNew).overlaps(Match().ct_state(kCtTrk | kCtEst, kCtNew)));
}

TEST(Match, a_wider_match_covers_a_narrower_one_and_not_the_other_way_round) {
  const Match ten = Match().ip(Key::dst_ip4, *IpPrefix::parse("10.0.0.0/8"));
  const Match ten_one = Match().ip(Key::dst_ip4, *IpPrefix::parse("10.1.0.0/16")).set(Key::ct_zone, 4);
  EXPECT_TRUE(ten.covers(ten_one));
  EXPECT_FALSE(ten_one.covers(ten));
  EXPECT_TRUE(Match().covers(ten));
  EXPECT_FALSE(ten.covers(Match()));
  EXPECT_FALSE(ten.covers(Match().ip(Key::dst_ip4, *IpPrefix::parse("11.0.0.0/8"))));
}

TEST(Match, same_mask_compares_masks_and_not_values) {
  EXPECT_TRUE(Match().set(Key::ct_zone, 1).same_mask(Match().set(Key::ct_zone, 2)));
  EXPECT_FALSE(Match().set(Key::ct_zone, 1).same_mask(Match().set(Key::ct_zone, 1, 0xff)));
  EXPECT_FALSE(Match().set(Key::ct_zone, 1).same_mask(Match()));
}

}  // namespace
}  // namespace sepal::tc
