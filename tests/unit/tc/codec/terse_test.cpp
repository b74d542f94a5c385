// The quick reader of dumps says what the whole one says.
#include "tc/codec/terse.hpp"

#include <gtest/gtest.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "netlink/message.hpp"
#include "tc/codec/flower.hpp"
#include "tc/rule/build.hpp"
#include "tests/unit/tc/codec/rule_generator.hpp"

namespace sepal::tc {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes encoded(const Rule& rule, const Cookie& cookie) {
  Bytes out;
  EXPECT_TRUE(encode_add(out, rule, cookie, AddMode::create, {}));
  return out;
}

TEST(Terse, reads_place_cookie_and_skip_hw_as_the_whole_decoder_does) {
  RuleGenerator generator({.seed = 5});
  for (int i = 0; i < 2000; ++i) {
    const Rule rule = generator.rule();
    const Cookie cookie = generator.cookie();
    const Bytes message = encoded(rule, cookie);
    const auto whole = decode_filter(message);
    const auto terse = decode_terse(message);
    ASSERT_TRUE(whole);
    ASSERT_TRUE(terse) << terse.error().message();
    EXPECT_EQ(terse->id, rule.id);
    EXPECT_EQ(terse->kind, "flower");
    EXPECT_EQ(terse->cookie, cookie);
    EXPECT_EQ(terse->skip_hw, whole->state.skip_hw);
    EXPECT_FALSE(terse->is_head());
  }
}

TEST(Terse, a_cookie_counts_on_the_last_action_only) {
  const Cookie cookie{1, 2, Zone(3), 4};
  const auto bytes = cookie.bytes();
  Bytes message;
  netlink::MessageBuilder builder(message, RTM_NEWTFILTER, 0, tcmsg{});
  builder.put_string(TCA_KIND, "flower");
  {
    const auto options = builder.nest(TCA_OPTIONS);
    const auto actions = builder.nest(TCA_FLOWER_ACT);
    {
      const auto first = builder.nest(1);
      builder.put_bytes(TCA_ACT_COOKIE, bytes.data(), bytes.size());
    }
    const auto second = builder.nest(2);
    builder.put_string(TCA_ACT_KIND, "gact");
  }
  ASSERT_TRUE(builder.finish());
  EXPECT_EQ(decode_terse(message)->cookie, std::nullopt);
}

TEST(Terse, tells_whether_hardware_took_a_rule_and_what_its_last_action_counted) {
  for (const bool in_hw : {false, true}) {
    Bytes message;
    netlink::MessageBuilder builder(message, RTM_NEWTFILTER, 0, tcmsg{});
    builder.put_string(TCA_KIND, "flower");
    {
      const auto options = builder.nest(TCA_OPTIONS);
      builder.put_u32(TCA_FLOWER_FLAGS, in_hw ? TCA_CLS_FLAGS_IN_HW : TCA_CLS_FLAGS_NOT_IN_HW);
      const auto actions = builder.nest(TCA_FLOWER_ACT);
      for (uint32_t number = 1; number <= 2; ++number) {
        const auto action = builder.nest(static_cast<uint16_t>(number));
        const auto stats = builder.nest(TCA_ACT_STATS);
        const gnet_stats_basic basic{0x1234, 0x100 * number};
        builder.put_bytes(TCA_STATS_BASIC, &basic, sizeof basic);
      }
    }
    ASSERT_TRUE(builder.finish());
    const auto terse = decode_terse(message);
    ASSERT_TRUE(terse) << terse.error().message();
    EXPECT_EQ(terse->in_hw, in_hw);
    EXPECT_EQ(terse->packets, 0x200U);
  }
}

TEST(Terse, of_another_kind_only_place_and_kind_are_told) {
  Bytes message;
  tcmsg place{};
  place.tcm_ifindex = 0x1234;
  place.tcm_handle = 0x77;
  netlink::MessageBuilder builder(message, RTM_NEWTFILTER, 0, place);
  builder.put_string(TCA_KIND, "bpf");
  builder.put_u32(TCA_CHAIN, 0x5678);
  builder.put_u32(TCA_OPTIONS, 0xffffffff);  // no attributes of flower's
  ASSERT_TRUE(builder.finish());
  const auto terse = decode_terse(message);
  ASSERT_TRUE(terse) << terse.error().message();
  EXPECT_EQ(terse->kind, "bpf");
  EXPECT_EQ(terse->id.device, IfIndex(0x1234));
  EXPECT_EQ(terse->id.chain, 0x5678U);
  EXPECT_EQ(terse->cookie, std::nullopt);
}

TEST(Terse, a_message_cut_anywhere_is_refused_and_a_wrong_length_is_not_followed) {
  RuleGenerator generator({.seed = 6});
  const Bytes message = encoded(generator.rule(), generator.cookie());
  for (size_t size = 0; size < message.size(); ++size) {
    const Bytes cut(message.begin(), message.begin() + static_cast<ptrdiff_t>(size));
    const auto terse = decode_terse(cut);
    ASSERT_FALSE(terse) << size;
    EXPECT_EQ(terse.error().code, Errc::protocol);
  }
  for (size_t at = sizeof(nlmsghdr) + sizeof(tcmsg); at < message.size(); ++at) {
    Bytes bent = message;
    bent[at] = static_cast<uint8_t>(~bent[at]);
    (void)decode_terse(bent);  // whatever it says, the sanitizers watch what it reads
  }
}

}  // namespace
}  // namespace sepal::tc
