#include <gtest/gtest.h>

#include "tc/rule/rule.hpp"

namespace sepal::tc {
namespace {

const Cookie kCookie{Cookie::kLayout, 0x1234, Zone(0x5678), 0x0123456789abcdefULL};

TEST(Cookie, has_its_bytes_in_network_order) {
  const std::array<uint8_t, 16> expected = {'S',  'P',  'L',  1,    0x12, 0x34, 0x56, 0x78,
                                            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
  EXPECT_EQ(kCookie.bytes(), expected);
}

TEST(Cookie, is_read_as_it_was_written) {
  const auto bytes = kCookie.bytes();
  EXPECT_EQ(Cookie::parse(bytes.data(), bytes.size()), kCookie);
}

TEST(Cookie, of_another_layout_is_still_ours_and_says_so) {
  auto bytes = kCookie.bytes();
  bytes[3] = 2;
  ASSERT_TRUE(Cookie::parse(bytes.data(), bytes.size()));
  EXPECT_EQ(Cookie::parse(bytes.data(), bytes.size())->layout, 2);
}

TEST(Cookie, of_somebody_else_is_not_ours) {
  auto bytes = kCookie.bytes();
  EXPECT_FALSE(Cookie::parse(bytes.data(), bytes.size() - 1));
  EXPECT_FALSE(Cookie::parse(bytes.data(), 0));
  bytes[2] = 'M';
  EXPECT_FALSE(Cookie::parse(bytes.data(), bytes.size()));
}

}  // namespace
}  // namespace sepal::tc
