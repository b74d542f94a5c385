#include "tc/codec/actions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/gen_stats.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_csum.h>
#include <linux/tc_act/tc_ct.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_pedit.h>
#include <linux/tc_act/tc_skbedit.h>
#include <linux/tc_act/tc_tunnel_key.h>
#include <linux/tc_act/tc_vlan.h>

#include <cstring>

#include "tc/rule/build.hpp"

namespace sepal::tc {
namespace {

using netlink::MessageBuilder;
using Fill = std::function<void(MessageBuilder&)>;

struct Decoded {
  std::vector<Action> actions;
  RuleState state;
};

// The inside of a TCA_FLOWER_ACT with one nest for each entry.
Result<Decoded> decode(const std::vector<std::pair<uint16_t, Fill>>& list) {
  std::vector<uint8_t> bytes;
  MessageBuilder message(bytes, RTM_NEWTFILTER, 0, tcmsg{});
  for (const auto& [number, fill] : list) {
    const auto nest = message.nest(number);
    fill(message);
  }
  EXPECT_TRUE(message.finish());
  Decoded out;
  auto decoded = decode_actions(std::span(bytes).subspan(sizeof(nlmsghdr) + sizeof(tcmsg)), out.actions, out.state);
  if (!decoded) return Unexpected(decoded.error());
  return out;
}

Fill action(std::string_view kind, const Fill& options, const Fill& beside = {}) {
  return [=](MessageBuilder& message) {
    message.put_string(TCA_ACT_KIND, kind);
    {
      const auto nest = message.nest(TCA_ACT_OPTIONS);
      options(message);
    }
    if (beside) beside(message);
  };
}

template <typename Parms>
Fill parms(uint16_t type, const Parms& parms) {
  return [=](MessageBuilder& message) { message.put_bytes(type, &parms, sizeof parms); };
}

tc_gact gact(int32_t verdict, uint32_t index = 0) {
  tc_gact out{};
  out.action = verdict;
  out.index = index;
  return out;
}

// The first action's kind as text, when all went well.
std::string kind_text(const Result<Decoded>& decoded) {
  return decoded ? to_text(decoded->actions.at(0)) : "error: " + decoded.error().doing;
}

TEST(Actions, are_read_in_the_order_of_their_numbers_up_to_the_first_gap) {
  const auto numbered = [](int32_t verdict) { return action("gact", parms(TCA_GACT_PARMS, gact(verdict))); };
  auto decoded = decode({{2, numbered(TC_ACT_SHOT)}, {1, numbered(TC_ACT_PIPE)}, {4, numbered(TC_ACT_OK)}});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->actions, (std::vector<Action>{{Gact{}}, drop()}));
  EXPECT_EQ(decoded->state.unknown_attributes, 1U) << "the fourth, which the kernel would not look at";
}

TEST(Actions, of_a_kind_that_is_not_known_keep_their_name) {
  auto decoded = decode({{1, action("sample", [](MessageBuilder& m) { m.put_u32(3, 100); })}});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->actions, (std::vector<Action>{{UnknownAction{"sample"}}}));
}

TEST(Actions, without_a_kind_are_malformed) {
  auto decoded = decode({{1, [](MessageBuilder& m) { m.put_u32(TCA_ACT_INDEX, 5); }}});
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Errc::protocol);
}

TEST(Actions, that_belong_to_their_filter_have_no_index) {
  const nla_bitfield32 own{TCA_ACT_FLAGS_NO_PERCPU_STATS, TCA_ACT_FLAGS_NO_PERCPU_STATS};
  const Fill options = parms(TCA_GACT_PARMS, gact(TC_ACT_PIPE, 17));
  auto decoded = decode({{1, action("gact", options, parms(TCA_ACT_FLAGS, own))}, {2, action("gact", options)}});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->actions[0].index, 0U);
  EXPECT_EQ(decoded->actions[1].index, 17U) << "no such flag: a shared one, or a foreign filter's";
}

TEST(Actions, a_cookie_counts_on_the_last_action_only) {
  const auto bytes = Cookie{}.bytes();
  const Fill options = parms(TCA_GACT_PARMS, gact(TC_ACT_PIPE));
  const Fill cookie = [&](MessageBuilder& m) { m.put_bytes(TCA_ACT_COOKIE, bytes.data(), bytes.size()); };
  const Fill foreign = [](MessageBuilder& m) { m.put_u32(TCA_ACT_COOKIE, 5); };
  EXPECT_TRUE(decode({{1, action("gact", options, cookie)}})->state.cookie);
  EXPECT_FALSE(decode({{1, action("gact", options, cookie)}, {2, action("gact", options)}})->state.cookie);
  EXPECT_FALSE(decode({{1, action("gact", options, foreign)}})->state.cookie);
}

gnet_stats_basic basic(uint64_t bytes, uint32_t packets) {
  gnet_stats_basic out{};
  out.bytes = bytes;
  out.packets = packets;
  return out;
}

TEST(Statistics, tell_all_packets_from_those_of_the_hardware) {
  gnet_stats_queue queue{};
  queue.drops = 9;
  queue.overlimits = 0x70;
  queue.requeues = 5;
  auto decoded = decode({{1, action("gact", parms(TCA_GACT_PARMS, gact(TC_ACT_SHOT)), [&](MessageBuilder& m) {
                            const auto stats = m.nest(TCA_ACT_STATS);
                            parms(TCA_STATS_BASIC, basic(0x123456789aULL, 0x1234))(m);
                            parms(TCA_STATS_BASIC_HW, basic(0x2345, 0x12))(m);
                            parms(TCA_STATS_QUEUE, queue)(m);
                          })}});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->state.stats, (std::vector<ActionStats>{{0x123456789aULL, 0x1234, 9, 0x70, 0x2345, 0x12}}));
}

// gen_stats.c: ___gnet_stats_copy_basic() adds TCA_STATS_PKT64 behind the 32-bit counter it corrects, once for each.
TEST(Statistics, of_more_packets_than_32_bits_are_taken_from_the_attribute_behind) {
  const uint64_t all = 0x500000001ULL;
  const uint64_t hw = 0x400000002ULL;
  auto decoded = decode({{1, action("gact", parms(TCA_GACT_PARMS, gact(TC_ACT_SHOT)), [&](MessageBuilder& m) {
                            const auto stats = m.nest(TCA_ACT_STATS);
                            parms(TCA_STATS_BASIC, basic(1, 1))(m);
                            parms(TCA_STATS_PKT64, all)(m);
                            parms(TCA_STATS_BASIC_HW, basic(2, 2))(m);
                            parms(TCA_STATS_PKT64, hw)(m);
                          })}});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->state.stats[0].packets, all);
  EXPECT_EQ(decoded->state.stats[0].hw_packets, hw);
}

TEST(Statistics, cut_short_are_malformed) {
  auto decoded = decode({{1, action("gact", parms(TCA_GACT_PARMS, gact(TC_ACT_SHOT)), [](MessageBuilder& m) {
                            const auto stats = m.nest(TCA_ACT_STATS);
                            m.put_u64(TCA_STATS_BASIC, 5);
                          })}});
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Errc::protocol);
}

// What our structs have no member for must not be shown, or compared, as if it were not there.
TEST(NotModelled, gact_with_a_probability) {
  EXPECT_EQ(kind_text(decode({{1, action("gact",
                                         [](MessageBuilder& m) {
                                           parms(TCA_GACT_PARMS, gact(TC_ACT_SHOT))(m);
                                           parms(TCA_GACT_PROB, tc_gact_p{})(m);
                                         })}})),
            "action gact (not shown)");
}

TEST(NotModelled, vlan_modify_that_keeps_the_priority) {
  tc_vlan vlan{};
  vlan.action = TC_ACT_PIPE;
  vlan.v_action = TCA_VLAN_ACT_MODIFY;
  const auto modify = [&](bool priority) {
    return kind_text(decode({{1, action("vlan", [&](MessageBuilder& m) {
                                parms(TCA_VLAN_PARMS, vlan)(m);
                                m.put_u16(TCA_VLAN_PUSH_VLAN_ID, 5);
                                if (priority) m.put_u8(TCA_VLAN_PUSH_VLAN_PRIORITY, 3);
                              })}}));
  };
  EXPECT_EQ(modify(false), "action vlan (not shown)");
  EXPECT_EQ(modify(true), "action vlan modify id 5 protocol 802.1Q priority 3");
}

TEST(NotModelled, vlan_push_of_a_whole_ethernet_header) {
  tc_vlan vlan{};
  vlan.v_action = TCA_VLAN_ACT_POP_ETH;
  EXPECT_EQ(kind_text(decode({{1, action("vlan", parms(TCA_VLAN_PARMS, vlan))}})), "action vlan (not shown)");
}

TEST(NotModelled, tunnel_key_with_options_or_without_an_id) {
  tc_tunnel_key tunnel{};
  tunnel.action = TC_ACT_PIPE;
  tunnel.t_action = TCA_TUNNEL_KEY_ACT_SET;
  const auto set = [&](const Fill& more) {
    return kind_text(decode({{1, action("tunnel_key", [&](MessageBuilder& m) {
                                parms(TCA_TUNNEL_KEY_PARMS, tunnel)(m);
                                m.put_be32(TCA_TUNNEL_KEY_ENC_IPV4_SRC, 0xc0000201);
                                m.put_be32(TCA_TUNNEL_KEY_ENC_IPV4_DST, 0xc0000202);
                                more(m);
                              })}}));
  };
  EXPECT_EQ(set([](MessageBuilder&) {}), "action tunnel_key (not shown)");
  EXPECT_EQ(set([](MessageBuilder& m) {
              m.put_be32(TCA_TUNNEL_KEY_ENC_KEY_ID, 5);
              const auto options = m.nest(TCA_TUNNEL_KEY_ENC_OPTS);
            }),
            "action tunnel_key (not shown)");
  EXPECT_EQ(set([](MessageBuilder& m) { m.put_be32(TCA_TUNNEL_KEY_ENC_KEY_ID, 5); }),
            "action tunnel_key set src_ip 192.0.2.1 dst_ip 192.0.2.2 id 5 csum");
}

TEST(NotModelled, ct_with_labels) {
  EXPECT_EQ(kind_text(decode({{1, action("ct",
                                         [](MessageBuilder& m) {
                                           parms(TCA_CT_PARMS, tc_ct{})(m);
                                           parms(TCA_CT_LABELS, std::array<uint8_t, 16>{})(m);
                                         })}})),
            "action ct (not shown)");
}

TEST(NotModelled, skbedit_of_something_else_than_the_mark) {
  EXPECT_EQ(kind_text(decode({{1, action("skbedit",
                                         [](MessageBuilder& m) {
                                           parms(TCA_SKBEDIT_PARMS, tc_skbedit{})(m);
                                           m.put_u32(TCA_SKBEDIT_MARK, 1);
                                           m.put_u32(TCA_SKBEDIT_PRIORITY, 1);
                                         })}})),
            "action skbedit (not shown)");
}

TEST(NotModelled, mirred_in_a_way_this_code_does_not_know) {
  tc_mirred mirred{};
  mirred.eaction = 9;
  EXPECT_EQ(kind_text(decode({{1, action("mirred", parms(TCA_MIRRED_PARMS, mirred))}})), "action mirred (not shown)");
}

TEST(Pedit, without_the_extended_header_its_words_count_from_the_network_header) {
  struct {
    tc_pedit_sel sel;
    tc_pedit_key key;
  } pedit{};
  pedit.sel.action = TC_ACT_PIPE;
  pedit.sel.nkeys = 1;
  pedit.key.mask = 0xffffff00;  // keeps all but the first byte in memory
  pedit.key.val = 0x12;
  pedit.key.off = 8;
  EXPECT_EQ(kind_text(decode({{1, action("pedit", parms(TCA_PEDIT_PARMS, pedit))}})),
            "action pedit ex munge network offset 8 set 0x12000000/0xff000000");
}

TEST(Pedit, with_fewer_words_than_it_says_is_malformed) {
  tc_pedit_sel sel{};
  sel.nkeys = 2;
  auto decoded = decode({{1, action("pedit", parms(TCA_PEDIT_PARMS_EX, sel))}});
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, Errc::protocol);
}

TEST(Actions, with_options_of_a_wrong_size_are_malformed) {
  const Fill half = [](MessageBuilder& m) { m.put_u32(2, 5); };
  for (const std::string_view kind : {"gact", "mirred", "tunnel_key", "pedit", "skbedit", "bpf"}) {
    auto decoded = decode({{1, action(kind, half)}});
    ASSERT_FALSE(decoded) << kind;
    EXPECT_THAT(decoded.error().doing, testing::HasSubstr(std::string(kind)));
  }
}

TEST(Actions, a_foreign_verdict_is_kept_only_where_it_is_unusual) {
  tc_csum csum{};
  csum.update_flags = kCsumIpv4Header;
  csum.action = TC_ACT_OK;
  EXPECT_EQ(kind_text(decode({{1, action("csum", parms(TCA_CSUM_PARMS, csum))}})), "action csum ip4h pass");
  csum.action = TC_ACT_PIPE;
  EXPECT_EQ(kind_text(decode({{1, action("csum", parms(TCA_CSUM_PARMS, csum))}})), "action csum ip4h");
  tc_mirred mirred{};
  mirred.eaction = TCA_EGRESS_REDIR;
  mirred.ifindex = 7;
  mirred.action = TC_ACT_STOLEN;
  EXPECT_EQ(kind_text(decode({{1, action("mirred", parms(TCA_MIRRED_PARMS, mirred))}})),
            "action mirred egress redirect dev 7");
  mirred.action = TC_ACT_PIPE;
  EXPECT_EQ(kind_text(decode({{1, action("mirred", parms(TCA_MIRRED_PARMS, mirred))}})),
            "action mirred egress redirect dev 7 pipe");
}

TEST(Verdict, every_number_of_the_kernel_survives) {
  for (int32_t action = -1; action <= TC_ACT_VALUE_MAX; ++action) {
    EXPECT_EQ(verdict_to_wire(verdict_from_wire(action)), action);
  }
  const int32_t chain = TC_ACT_GOTO_CHAIN | 0x8234567;
  EXPECT_EQ(verdict_from_wire(chain), (Verdict{Control::goto_chain, 0x8234567}));
  EXPECT_EQ(verdict_to_wire(verdict_from_wire(chain)), chain);
  EXPECT_EQ(verdict_to_wire(verdict_from_wire(TC_ACT_JUMP | 3)), TC_ACT_JUMP | 3);
}

}  // namespace
}  // namespace sepal::tc
