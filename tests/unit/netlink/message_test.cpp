#include "netlink/message.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "base/limits.hpp"

namespace sepal::netlink {
namespace {

struct Fixed {
  uint32_t one = 0x01020304;
  uint16_t two = 0x0506;
  uint16_t three = 0x0708;
};

using Bytes = std::vector<uint8_t>;
constexpr size_t kHeaders = sizeof(nlmsghdr) + sizeof(Fixed);

Bytes attributes_of(const Bytes& message) { return {message.begin() + kHeaders, message.end()}; }

template <typename Fill>
Bytes build(Fill fill) {
  Bytes out;
  MessageBuilder message(out, 0x1234, 0x0005, Fixed{});
  fill(message);
  EXPECT_TRUE(message.finish());
  return out;
}

Result<size_t> count_attrs(const Bytes& region) {
  size_t count = 0;
  auto read = for_each_attr(region, [&count](const Attr&) -> Result<void> {
    ++count;
    return {};
  });
  if (!read) return Unexpected(read.error());
  return count;
}

TEST(MessageBuilder, lays_out_header_fixed_header_and_attributes_as_the_kernel_reads_them) {
  const Bytes out = build([](MessageBuilder& message) {
    message.put_u16(0x0102, 0xabcd);
    message.put_be32(3, 0x11223344);
    message.put_string(4, "eth");
  });
  const Bytes expected = {
      0x30, 0, 0,    0,    0x34, 0x12, 0x05, 0,
      0,    0, 0,    0,    0,    0,    0,    0,     // nlmsghdr: 48 bytes, type, flags, seq 0, pid 0
      4,    3, 2,    1,    6,    5,    8,    7,     // the fixed header, host order
      6,    0, 0x02, 0x01, 0xcd, 0xab, 0,    0,     // nla_len 6, padded to 8
      8,    0, 3,    0,    0x11, 0x22, 0x33, 0x44,  // big-endian
      8,    0, 4,    0,    'e',  't',  'h',  0,     // with its zero
  };
  EXPECT_EQ(out, expected);
}

TEST(MessageBuilder, nests_carry_the_nested_flag_and_the_length_of_what_is_inside) {
  const Bytes out = build([](MessageBuilder& message) {
    auto outer = message.nest(2);
    message.put_u8(1, 0x7f);
    auto inner = message.nest(9);
    message.put_flag(5);
  });
  EXPECT_EQ(attributes_of(out), (Bytes{20, 0, 2, 0x80,                    // outer: itself, the number, the inner nest
                                       5,  0, 1, 0,    0x7f, 0, 0, 0,     //
                                       8,  0, 9, 0x80, 4,    0, 5, 0}));  // inner with an empty attribute
}

TEST(MessageBuilder, messages_stand_end_to_end_in_one_buffer) {
  Bytes out;
  for (uint8_t i = 1; i <= 3; ++i) {
    MessageBuilder message(out, i, 0, Fixed{});
    message.put_bytes(1, "x", 1);
    ASSERT_TRUE(message.finish());
  }
  std::vector<uint16_t> types;
  ASSERT_TRUE(for_each_message(out, [&types](const nlmsghdr& header, std::span<const uint8_t> message) -> Result<void> {
    EXPECT_EQ(message.size(), kHeaders + 8);
    types.push_back(header.nlmsg_type);
    return {};
  }));
  EXPECT_EQ(types, (std::vector<uint16_t>{1, 2, 3}));
}

TEST(MessageBuilder, a_put_that_does_not_fit_is_an_error_and_leaves_earlier_messages_alone) {
  Bytes out = build([](MessageBuilder& message) { message.put_u32(1, 7); });
  const Bytes before = out;
  {
    MessageBuilder message(out, 1, 0, Fixed{});
    const Bytes big(limits::kMessageBytesMax);
    message.put_bytes(1, big.data(), big.size());
    message.put_u8(2, 1);  // would fit by itself; a message with a hole is no better
    auto finished = message.finish();
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().code, Errc::internal);
  }
  EXPECT_EQ(out, before);
}

TEST(MessageBuilder, the_last_byte_that_fits_fits) {
  const size_t room = limits::kMessageBytesMax - kHeaders - sizeof(nlattr);
  for (const size_t over : {0U, 1U}) {
    Bytes out;
    MessageBuilder message(out, 1, 0, Fixed{});
    const Bytes payload(room + over);
    message.put_bytes(1, payload.data(), payload.size());
    EXPECT_EQ(message.finish().has_value(), over == 0);
    EXPECT_EQ(out.size(), over == 0 ? limits::kMessageBytesMax : 0U);
  }
}

TEST(MessageBuilder, an_overflow_inside_a_nest_does_not_touch_memory_and_fails_the_message) {
  Bytes out;
  MessageBuilder message(out, 1, 0, Fixed{});
  for (int i = 0; i < 5000; ++i) {
    auto nest = message.nest(1);
    message.put_u64(2, 0);
  }
  EXPECT_FALSE(message.finish());
  EXPECT_TRUE(out.empty());
}

TEST(MessageBuilder, an_encoder_that_gives_up_leaves_nothing_behind) {
  Bytes out;
  {
    MessageBuilder message(out, 1, 0, Fixed{});
    message.put_u32(1, 1);
  }
  EXPECT_TRUE(out.empty());
}

TEST(MessageBuilder, finishing_inside_an_open_nest_is_refused) {
  Bytes out;
  MessageBuilder message(out, 1, 0, Fixed{});
  auto nest = message.nest(1);
  EXPECT_FALSE(message.finish());
  EXPECT_TRUE(out.empty());
}

TEST(MessageBuilder, a_failed_message_does_not_cut_off_its_successor) {
  Bytes out;
  {
    MessageBuilder failed(out, 1, 0, Fixed{});
    const Bytes big(limits::kMessageBytesMax);
    failed.put_bytes(1, big.data(), big.size());
    ASSERT_FALSE(failed.finish());
    MessageBuilder next(out, 2, 0, Fixed{});
    ASSERT_TRUE(next.finish());
  }
  EXPECT_EQ(out.size(), kHeaders);
}

TEST(Attr, integers_of_the_wrong_size_are_not_read) {
  const Bytes four = {0x12, 0x34, 0x56, 0x78};
  const Attr attr{1, four};
  EXPECT_EQ(attr.be32(), 0x12345678U);
  EXPECT_EQ(attr.u32(), 0x78563412U);
  EXPECT_EQ(attr.u8(), std::nullopt);
  EXPECT_EQ(attr.be16(), std::nullopt);
  EXPECT_EQ(attr.u64(), std::nullopt);
  EXPECT_EQ((Attr{1, std::span(four).first(2)}.be16()), 0x1234);
}

TEST(Attr, a_string_ends_at_its_zero_or_at_its_attribute) {
  const Bytes terminated = {'a', 'b', 0, 'c'};
  const Bytes open = {'a', 'b'};
  EXPECT_EQ((Attr{1, terminated}.string()), "ab");
  EXPECT_EQ((Attr{1, open}.string()), "ab");
  EXPECT_EQ((Attr{1, {}}.string()), "");
}

TEST(AttrReader, flag_bits_are_not_part_of_the_type) {
  const Bytes region = {4, 0, 7, 0xc0};  // NLA_F_NESTED | NLA_F_NET_BYTEORDER | 7
  auto table = AttrTable::parse(region, 7);
  ASSERT_TRUE(table);
  ASSERT_NE(table->find(7), nullptr);
  EXPECT_TRUE(table->find(7)->payload.empty());
  EXPECT_EQ(table->find(6), nullptr);
}

TEST(AttrReader, attributes_beyond_the_known_ones_are_counted_and_the_last_of_a_type_wins) {
  const Bytes region = {5, 0, 1, 0, 0xaa, 0, 0, 0, 4, 0, 9, 0, 4, 0, 0xff, 0x3f, 5, 0, 1, 0, 0xbb, 0, 0, 0};
  auto table = AttrTable::parse(region, 8);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->unknown(), 2U);
  EXPECT_EQ(table->find(1)->u8(), 0xbb);
  EXPECT_EQ(table->find(9), nullptr);
}

TEST(AttrReader, an_attribute_longer_than_its_region_is_malformed) {
  auto read = count_attrs({8, 0, 1, 0, 0, 0, 0});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::protocol);
}

TEST(AttrReader, an_attribute_shorter_than_its_own_header_is_malformed_and_does_not_loop) {
  EXPECT_FALSE(count_attrs({0, 0, 1, 0}));
  EXPECT_FALSE(count_attrs({3, 0, 1, 0}));
}

TEST(AttrReader, a_last_attribute_without_padding_is_whole) {
  auto read = count_attrs({5, 0, 1, 0, 0xaa});
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, 1U);
}

TEST(AttrReader, bytes_behind_the_last_attribute_may_be_padding_and_nothing_else) {
  EXPECT_TRUE(count_attrs({4, 0, 1, 0, 0, 0, 0}));
  EXPECT_FALSE(count_attrs({4, 0, 1, 0, 0, 1, 0}));
}

TEST(AttrReader, an_error_of_the_visitor_ends_the_walk) {
  int visits = 0;
  const Bytes region = {4, 0, 1, 0, 4, 0, 2, 0};
  auto read = for_each_attr(region, [&visits](const Attr&) -> Result<void> {
    ++visits;
    return fail(Errc::conflict, "enough");
  });
  EXPECT_EQ(read.error().code, Errc::conflict);
  EXPECT_EQ(visits, 1);
}

TEST(MessageReader, half_a_message_is_malformed) {
  Bytes out = build([](MessageBuilder& message) { message.put_u32(1, 7); });
  auto ignore = [](const nlmsghdr&, std::span<const uint8_t>) -> Result<void> { return {}; };
  for (size_t size = 1; size < out.size(); ++size) {
    auto read = for_each_message(std::span(out).first(size), ignore);
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().code, Errc::protocol);
  }
  EXPECT_TRUE(for_each_message(out, ignore));
}

TEST(MessageReader, a_message_shorter_than_its_header_is_malformed_and_does_not_loop) {
  Bytes out = build([](MessageBuilder&) {});
  const uint32_t length = 4;
  std::memcpy(out.data(), &length, sizeof length);
  EXPECT_FALSE(for_each_message(out, [](const nlmsghdr&, std::span<const uint8_t>) -> Result<void> { return {}; }));
}

TEST(MessageReader, the_fixed_header_is_copied_and_the_attributes_follow) {
  const Bytes out = build([](MessageBuilder& message) { message.put_u8(1, 0x55); });
  Fixed fixed{0, 0, 0};
  auto region = read_fixed_header(out, fixed);
  ASSERT_TRUE(region);
  EXPECT_EQ(fixed.one, 0x01020304U);
  EXPECT_EQ(fixed.three, 0x0708);
  EXPECT_EQ(Bytes(region->begin(), region->end()), (Bytes{5, 0, 1, 0, 0x55, 0, 0, 0}));
}

TEST(MessageReader, a_message_too_short_for_its_fixed_header_is_malformed) {
  Bytes out;
  MessageBuilder message(out, 1, 0, uint32_t{1});
  ASSERT_TRUE(message.finish());
  Fixed fixed;
  EXPECT_FALSE(read_fixed_header(out, fixed));
}

}  // namespace
}  // namespace sepal::netlink
