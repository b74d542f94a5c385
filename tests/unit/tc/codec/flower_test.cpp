#include "tc/codec/flower.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "netlink/message.hpp"
#include "tc/codec/flower_keys.hpp"
#include "tc/rule/build.hpp"
#include "tests/unit/tc/codec/rule_generator.hpp"

namespace sepal::tc {
namespace {

using Bytes = std::vector<uint8_t>;

const Bpf kProgram{"sepal_test", {1, 2, 3, 4, 5, 6, 7, 8}, {}};

EncodeContext context() {
  EncodeContext out;
  out.program_fd = [](const Bpf&) { return 42; };
  return out;
}

Bytes encoded(const Rule& rule, const Cookie& cookie = {}) {
  Bytes out;
  auto added = encode_add(out, rule, cookie, AddMode::create, context());
  EXPECT_TRUE(added) << added.error().message();
  return out;
}

Rule simple_rule() {
  Rule rule;
  rule.id = {IfIndex(0x1234), 0x2000064, 0x1357, kEthAll, 0x2468};
  rule.spec.match.eth_type(kEthIpv4);
  rule.spec.actions = {drop()};
  return rule;
}

// Why encode_add refuses a rule; empty when it does not.
std::string refusal(const Rule& rule) {
  Bytes out = {1, 2, 3, 4};
  auto added = encode_add(out, rule, {}, AddMode::create, context());
  EXPECT_TRUE(added || added.error().code == Errc::internal);
  EXPECT_TRUE(added || out == Bytes({1, 2, 3, 4})) << "a refused rule leaves the buffer as it was";
  return added ? "" : added.error().doing;
}
std::string refusal(const Match& match, uint16_t protocol = kEthAll) {
  Rule rule = simple_rule();
  rule.id.protocol = protocol;
  rule.spec.match = match;
  return refusal(rule);
}
std::string refusal(std::vector<Action> actions) {
  Rule rule = simple_rule();
  rule.spec.actions = std::move(actions);
  return refusal(rule);
}

TEST(Flower, decodes_what_it_encoded_for_every_key_and_action) {
  GeneratorOptions options;
  options.programs = {kProgram};
  RuleGenerator generator(options);
  std::array<unsigned, kKeyCount> keys_seen{};
  std::array<unsigned, std::variant_size_v<ActionKind>> actions_seen{};
  for (int i = 0; i < 5000; ++i) {
    Rule rule = generator.rule();
    const Cookie cookie = generator.cookie();
    auto decoded = decode_filter(encoded(rule, cookie));
    ASSERT_TRUE(decoded) << decoded.error().message();
    for (Action& action : rule.spec.actions) {  // a request names a program by descriptor: its tag is not in it
      if (auto* bpf = std::get_if<Bpf>(&action.kind)) bpf->tag = {};
    }
    ASSERT_EQ(decoded->rule, rule) << to_text(rule) << "\n" << to_text(decoded->rule);
    ASSERT_EQ(decoded->state.cookie, cookie);
    ASSERT_EQ(decoded->state.unknown_attributes, 0U);
    ASSERT_EQ(decoded->state.skip_hw, rule.spec.skip_hw);
    for (const KeyMatch& key : rule.spec.match.keys()) ++keys_seen[static_cast<size_t>(key.key)];
    for (const Action& action : rule.spec.actions) ++actions_seen[action.kind.index()];
  }
  for (size_t i = 0; i < kKeyCount; ++i) {
    EXPECT_GT(keys_seen[i], 30U) << "the generator hardly makes " << key_name(static_cast<Key>(i));
  }
  for (size_t i = 0; i + 1 < actions_seen.size(); ++i) EXPECT_GT(actions_seen[i], 30U) << "action kind " << i;
}

TEST(Flower, a_message_is_a_request_with_the_place_in_its_header) {
  const Bytes bytes = encoded(simple_rule());
  nlmsghdr header{};
  tcmsg tcm{};
  std::memcpy(&header, bytes.data(), sizeof header);
  std::memcpy(&tcm, bytes.data() + sizeof header, sizeof tcm);
  EXPECT_EQ(header.nlmsg_len, bytes.size());
  EXPECT_EQ(header.nlmsg_type, RTM_NEWTFILTER);
  EXPECT_EQ(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
  EXPECT_EQ(tcm.tcm_ifindex, 0x1234);
  EXPECT_EQ(tcm.tcm_parent, 0xfffffff2U);
  EXPECT_EQ(tcm.tcm_handle, 0x2468U);
  EXPECT_EQ(tcm.tcm_info, 0x13570300U);  // ETH_P_ALL, 0x0003, in network order
}

TEST(Flower, replace_and_echo_are_flags_of_the_message) {
  Bytes out;
  EncodeContext with_echo = context();
  with_echo.echo = true;
  ASSERT_TRUE(encode_add(out, simple_rule(), {}, AddMode::replace, with_echo));
  EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ECHO);
}

TEST(Flower, messages_are_laid_end_to_end_in_one_buffer) {
  Bytes out;
  RuleGenerator generator({});
  std::vector<Rule> rules;
  for (int i = 0; i < 64; ++i) {
    rules.push_back(generator.rule());
    ASSERT_TRUE(encode_add(out, rules.back(), {}, AddMode::create, context()));
  }
  size_t at = 0;
  ASSERT_TRUE(netlink::for_each_message(out, [&](const nlmsghdr&, std::span<const uint8_t> message) -> Result<void> {
    EXPECT_EQ(decode_filter(message)->rule, rules[at++]);
    return {};
  }));
  EXPECT_EQ(at, rules.size());
}

TEST(Flower, an_encoder_with_a_reused_buffer_does_not_allocate_for_attributes) {
  RuleGenerator generator({});
  const Rule rule = generator.rule();
  Bytes out;
  ASSERT_TRUE(encode_add(out, rule, {}, AddMode::create, context()));
  const auto* data = out.data();
  const size_t capacity = out.capacity();
  out.clear();
  ASSERT_TRUE(encode_add(out, rule, {}, AddMode::create, context()));
  EXPECT_EQ(out.data(), data);
  EXPECT_EQ(out.capacity(), capacity);
}

TEST(Flower, refuses_keys_the_kernel_would_silently_ignore) {
  const Match ip4 = Match().eth_type(kEthIpv4);
  const Match ip6 = Match().eth_type(kEthIpv6);
  const char* ignored = "the kernel ignores";
  EXPECT_THAT(refusal(Match().set(Key::ip_proto, kProtoTcp)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match().set(Key::ip_ttl, 1)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match().eth_type(kEthArp).set(Key::ip_tos, 1)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match(ip4).set(Key::dst_port, 80)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match(ip4).set(Key::ip_proto, 47).set(Key::src_port, 80)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match(ip4).set(Key::ip_proto, kProtoUdp).set(Key::tcp_flags, 2)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match(ip6).set(Key::ip_proto, kProtoIcmp).set(Key::icmp_type, 8)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match(ip4).set(Key::ip_proto, kProtoIcmpv6).set(Key::icmp_code, 1)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match(ip4).set(Key::arp_op, 1)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match(ip4).set(Key::vlan_id, 5)), testing::HasSubstr(ignored));
  EXPECT_THAT(refusal(Match().eth_type(kEthVlan).set(Key::ip_ttl, 1), kEthVlan), testing::HasSubstr(ignored));
  EXPECT_EQ(refusal(Match().eth_type(kEthVlan).set(Key::vlan_eth_type, kEthIpv4).set(Key::ip_ttl, 1), kEthVlan), "");
}

TEST(Flower, refuses_masks_where_the_kernel_has_none) {
  const char* none = "the kernel has no mask for";
  EXPECT_THAT(refusal(Match().set(Key::eth_type, 0x0800, 0xff00)), testing::HasSubstr(none));
  EXPECT_THAT(refusal(Match().eth_type(kEthIpv4).set(Key::ip_proto, 6, 0x0f)), testing::HasSubstr(none));
  EXPECT_THAT(refusal(Match().set(Key::enc_key_id, 100, 0xffffff)), testing::HasSubstr(none));
  EXPECT_THAT(refusal(Match().eth_type(kEthVlan).set(Key::vlan_id, 5, 0xff), kEthVlan), testing::HasSubstr(none));
  EXPECT_THAT(refusal(Match().eth_type(kEthVlan).set(Key::vlan_prio, 5, 4), kEthVlan), testing::HasSubstr(none));
}

TEST(Flower, refuses_what_a_dump_could_not_give_back) {
  const IpPrefix v4 = *IpPrefix::parse("192.0.2.0/24");
  const IpPrefix v6 = *IpPrefix::parse("2001:db8::/32");
  EXPECT_THAT(refusal(Match().ip(Key::dst_ip4, v4).ip(Key::src_ip4, v6)), testing::HasSubstr("both families"));
  EXPECT_THAT(refusal(Match().ip(Key::enc_dst_ip4, v4).ip(Key::enc_src_ip4, v6)), testing::HasSubstr("both families"));
  EXPECT_THAT(refusal(Match().eth_type(kEthVlan), kEthAll), testing::HasSubstr("VLAN protocol"));
  EXPECT_THAT(refusal(Match(), kEthQinq), testing::HasSubstr("VLAN protocol"));
  EXPECT_THAT(refusal(Match().set(Key::ip_flags, 4, 4)), testing::HasSubstr("ip_flags"));
}

TEST(Flower, refuses_action_lists_that_cannot_hold_the_cookie) {
  EXPECT_THAT(refusal(std::vector<Action>{}), testing::HasSubstr("1 to 32 actions"));
  EXPECT_THAT(refusal(std::vector<Action>(33, vlan_pop())), testing::HasSubstr("1 to 32 actions"));
  EXPECT_EQ(refusal(std::vector<Action>(32, vlan_pop())), "");
  Action shared = drop();
  shared.index = 5;
  EXPECT_THAT(refusal({vlan_pop(), shared}), testing::HasSubstr("last action is shared"));
  EXPECT_EQ(refusal({shared, drop()}), "");
}

TEST(Flower, refuses_actions_that_contradict_themselves) {
  EXPECT_NE(refusal({redirect(IfIndex(0))}), "");
  EXPECT_NE(refusal({goto_chain(1U << 28U)}), "");
  EXPECT_EQ(refusal({goto_chain((1U << 28U) - 1)}), "");
  EXPECT_NE(refusal({vlan_push(Vid(4095))}), "");
  EXPECT_NE(refusal({Action{VlanAction{VlanAction::Kind::push, Vid(5), 0, 0}}}), "");
  EXPECT_NE(refusal({tunnel_set(IpAddr::v4(1, 2, 3, 4), *IpAddr::parse("::1"), Vni(5), 4789)}), "");
  EXPECT_NE(refusal({Action{Pedit{}}}), "");
  EXPECT_NE(refusal({Action{Pedit{{{PeditKey::Header::eth, PeditKey::Command::set, 2, 0, 0xff}}}}}), "");
  EXPECT_NE(refusal({Action{Pedit{{{PeditKey::Header::eth, PeditKey::Command::set, 4, 0x100, 0xff}}}}}), "");
  EXPECT_NE(refusal({Action{Police{}}}), "");
  EXPECT_NE(refusal({Action{UnknownAction{"sample"}}}), "");
  Ct ct;
  ct.clear = true;
  ct.zone = Zone(5);
  EXPECT_NE(refusal({Action{ct}}), "");
  ct = {};
  ct.nat_ports = PortRange{1, 2};
  EXPECT_NE(refusal({Action{ct}}), "");
  Action twice = drop();
  twice.unusual_verdict = Verdict{};
  EXPECT_NE(refusal({twice}), "");
}

TEST(Flower, a_program_that_is_not_loaded_is_not_found) {
  Rule rule = simple_rule();
  rule.spec.actions = {bpf("absent", {}, Control::drop)};
  Bytes out;
  EncodeContext none;
  auto added = encode_add(out, rule, {}, AddMode::create, none);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Errc::not_found);
  EXPECT_THAT(added.error().doing, testing::HasSubstr("\"absent\" is not loaded"));
  EXPECT_TRUE(out.empty());
}

TEST(Flower, delete_and_get_name_the_kind_so_that_the_kernel_needs_no_rtnl) {
  const RuleId id = simple_rule().id;
  for (const auto& [encode, type] :
       {std::pair{&encode_delete, RTM_DELTFILTER}, std::pair{&encode_get, RTM_GETTFILTER}}) {
    Bytes out;
    ASSERT_TRUE(encode(out, id));
    tcmsg tcm{};
    auto region = netlink::read_fixed_header(out, tcm);
    auto attrs = netlink::AttrTable::parse(*region, TCA_MAX);
    EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_type, type);
    EXPECT_EQ(attrs->find(TCA_KIND)->string(), "flower");
    EXPECT_EQ(attrs->find(TCA_CHAIN)->u32(), id.chain);
    EXPECT_EQ(tcm.tcm_handle, id.handle);
  }
}

TEST(Flower, a_dump_is_of_one_device_and_of_one_chain_when_named) {
  Bytes all;
  Bytes one;
  ASSERT_TRUE(encode_dump(all, IfIndex(5), std::nullopt, false));
  ASSERT_TRUE(encode_dump(one, IfIndex(5), 0, true));
  tcmsg tcm{};
  auto no_attrs = netlink::read_fixed_header(all, tcm);
  EXPECT_TRUE(no_attrs->empty());
  auto attrs = netlink::AttrTable::parse(*netlink::read_fixed_header(one, tcm), TCA_MAX);
  EXPECT_EQ(attrs->find(TCA_CHAIN)->u32(), 0U) << "chain 0 is a chain, not the absence of one";
  nla_bitfield32 flags{};
  std::memcpy(&flags, attrs->find(TCA_DUMP_FLAGS)->payload.data(), sizeof flags);
  EXPECT_EQ(flags.value, TCA_DUMP_FLAGS_TERSE);
  EXPECT_EQ(flags.selector, TCA_DUMP_FLAGS_TERSE);
  EXPECT_EQ(tcm.tcm_ifindex, 5);
}

// --- replies, built as the kernel builds them ---

class Reply {
 public:
  explicit Reply(const RuleId& id, std::string_view kind = "flower") : message_(bytes_, RTM_NEWTFILTER, 0, header(id)) {
    message_.put_string(TCA_KIND, kind);
    message_.put_u32(TCA_CHAIN, id.chain);
  }
  netlink::MessageBuilder& operator*() { return message_; }
  netlink::MessageBuilder* operator->() { return &message_; }
  Result<DecodedFilter> decode() {
    EXPECT_TRUE(message_.finish());
    return decode_filter(bytes_);
  }

 private:
  static tcmsg header(const RuleId& id) {
    tcmsg tcm{};
    tcm.tcm_ifindex = static_cast<int>(id.device.value());
    tcm.tcm_handle = id.handle;
    tcm.tcm_info = static_cast<uint32_t>(id.prio) << 16U | __builtin_bswap16(id.protocol);
    return tcm;
  }
  Bytes bytes_;
  netlink::MessageBuilder message_;
};

TEST(Flower, another_kind_of_filter_is_known_by_its_place_and_kind) {
  const RuleId id = simple_rule().id;
  Reply reply(id, "matchall");
  {
    const auto options = reply->nest(TCA_OPTIONS);
    reply->put_u32(2, 7);
  }
  auto decoded = reply.decode();
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->kind, "matchall");
  EXPECT_EQ(decoded->rule.id, id);
  EXPECT_EQ(decoded->rule.spec, RuleSpec{});
  EXPECT_FALSE(decoded->state.cookie);
}

TEST(Flower, the_head_of_a_priority_is_told_from_its_filters) {
  RuleId id = simple_rule().id;
  id.handle = 0;
  EXPECT_TRUE(Reply(id).decode()->is_head());
  EXPECT_FALSE(Reply(simple_rule().id).decode()->is_head());
}

TEST(Flower, attributes_it_does_not_know_are_counted_and_harm_nothing) {
  Reply reply(simple_rule().id);
  {
    const auto options = reply->nest(TCA_OPTIONS);
    reply->put_be16(TCA_FLOWER_KEY_ETH_TYPE, kEthIpv4);
    reply->put_u8(TCA_FLOWER_KEY_NUM_OF_VLANS, 1);
    reply->put_u32(TCA_FLOWER_CLASSID, 1);
    reply->put_u32(1000, 1);
  }
  auto decoded = reply.decode();
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->rule.spec.match, Match().eth_type(kEthIpv4));
  EXPECT_EQ(decoded->state.unknown_attributes, 3U);
}

TEST(Flower, a_key_without_its_mask_matches_all_its_bits) {
  Reply reply(simple_rule().id);
  {
    const auto options = reply->nest(TCA_OPTIONS);
    reply->put_be32(TCA_FLOWER_KEY_IPV4_DST, 0xc0000201);
  }
  EXPECT_EQ(reply.decode()->rule.spec.match, Match().ip(Key::dst_ip4, *IpPrefix::parse("192.0.2.1/32")));
}

TEST(Flower, a_port_of_the_wrong_protocol_is_no_key) {
  Reply reply(simple_rule().id);
  {
    const auto options = reply->nest(TCA_OPTIONS);
    reply->put_be16(TCA_FLOWER_KEY_ETH_TYPE, kEthIpv4);
    reply->put_u8(TCA_FLOWER_KEY_IP_PROTO, kProtoUdp);
    reply->put_be16(TCA_FLOWER_KEY_TCP_DST, 80);
  }
  auto decoded = reply.decode();
  EXPECT_EQ(decoded->rule.spec.match, Match().eth_type(kEthIpv4).set(Key::ip_proto, kProtoUdp));
  EXPECT_EQ(decoded->state.unknown_attributes, 1U);
}

// cls_flower.c: fl_set_key stores the inner type in basic.n_proto, and fl_dump_key shows that as eth_type.
TEST(Flower, the_eth_type_of_a_vlan_filter_is_its_protocol_whatever_the_kernel_shows) {
  RuleId id = simple_rule().id;
  id.protocol = kEthQinq;
  Reply with_inner(id);
  {
    const auto options = with_inner->nest(TCA_OPTIONS);
    with_inner->put_be16(TCA_FLOWER_KEY_ETH_TYPE, kEthIpv6);
    with_inner->put_u16(TCA_FLOWER_KEY_VLAN_ID, 0x123);
    with_inner->put_be16(TCA_FLOWER_KEY_VLAN_ETH_TYPE, kEthIpv6);
  }
  EXPECT_EQ(with_inner.decode()->rule.spec.match,
            Match().eth_type(kEthQinq).set(Key::vlan_id, 0x123).set(Key::vlan_eth_type, kEthIpv6));
  Reply without(id);
  {
    const auto options = without->nest(TCA_OPTIONS);
  }
  EXPECT_EQ(without.decode()->rule.spec.match, Match().eth_type(kEthQinq));
}

TEST(Flower, flags_tell_where_the_filter_runs) {
  Reply reply(simple_rule().id);
  {
    const auto options = reply->nest(TCA_OPTIONS);
    reply->put_u32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_IN_HW);
    reply->put_u32(TCA_FLOWER_IN_HW_COUNT, 3);
  }
  auto decoded = reply.decode();
  EXPECT_TRUE(decoded->state.in_hw);
  EXPECT_FALSE(decoded->state.skip_hw);
  EXPECT_EQ(decoded->state.in_hw_count, 3U);
}

TEST(Flower, a_terse_dump_gives_place_flags_cookie_and_the_kinds_of_actions) {
  const Cookie cookie{Cookie::kLayout, 0x1234, Zone(0x5678), 0x0123456789abcdef};
  Reply reply(simple_rule().id);
  {
    const auto options = reply->nest(TCA_OPTIONS);
    reply->put_u32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_SKIP_HW | TCA_CLS_FLAGS_NOT_IN_HW);
    const auto actions = reply->nest(TCA_FLOWER_ACT);
    {
      const auto action = reply->nest(1);
      reply->put_string(TCA_ACT_KIND, "pedit");
    }
    const auto action = reply->nest(2);
    reply->put_string(TCA_ACT_KIND, "gact");
    const auto bytes = cookie.bytes();
    reply->put_bytes(TCA_ACT_COOKIE, bytes.data(), bytes.size());
  }
  auto decoded = reply.decode();
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->state.cookie, cookie);
  EXPECT_TRUE(decoded->rule.spec.skip_hw);
  EXPECT_EQ(decoded->rule.spec.actions, (std::vector<Action>{{UnknownAction{"pedit"}}, {UnknownAction{"gact"}}}));
  EXPECT_EQ(decoded->state.unknown_attributes, 0U);
}

TEST(Flower, truncated_or_damaged_messages_are_refused_or_decoded_but_never_read_beyond_their_end) {
  GeneratorOptions options;
  options.programs = {kProgram};
  RuleGenerator generator(options);
  std::mt19937 random(7);
  unsigned refused = 0;
  for (int i = 0; i < 100; ++i) {
    const Bytes whole = encoded(generator.rule(), generator.cookie());
    for (size_t size = 0; size < whole.size(); size += 1 + size / 16) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));  // exact, for the sanitizer
      EXPECT_FALSE(decode_filter(cut));
      Bytes shorter = cut;  // the same with a header that agrees
      if (size >= 4) std::memcpy(shorter.data(), std::array{static_cast<uint32_t>(size)}.data(), 4);
      (void)decode_filter(shorter);
    }
    for (int flips = 0; flips < 50; ++flips) {
      Bytes damaged = whole;
      for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] ^= static_cast<uint8_t>(1U << random() % 8);
      auto decoded = decode_filter(damaged);
      if (decoded) {
        (void)to_text(decoded->rule);
      } else {
        ++refused;
        EXPECT_EQ(decoded.error().code, Errc::protocol);
      }
    }
  }
  EXPECT_GT(refused, 300U) << "damage hardly ever shows: does the decoder check anything?";
}

TEST(FlowerKeys, every_key_has_a_row_and_no_attribute_has_two) {
  std::array<unsigned, kKeyCount> rows{};
  std::vector<uint16_t> attrs;
  for (const KeyRow& row : kFlowerKeys) {
    ++rows[static_cast<size_t>(row.key)];
    attrs.push_back(row.attr);
    if (row.mask_attr != TCA_FLOWER_UNSPEC) attrs.push_back(row.mask_attr);
  }
  for (size_t i = 0; i < kKeyCount; ++i) EXPECT_GT(rows[i], 0U) << key_name(static_cast<Key>(i));
  std::sort(attrs.begin(), attrs.end());
  EXPECT_EQ(std::adjacent_find(attrs.begin(), attrs.end()), attrs.end());
}

}  // namespace
}  // namespace sepal::tc
