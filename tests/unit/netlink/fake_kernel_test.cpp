// What the agent's tests rely on: the fake kernel refuses what the real one refuses. The errors and their words are
// those of net/sched/cls_api.c and sch_api.c.
#include "tests/support/fake_kernel.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include <cerrno>

#include "netlink/message.hpp"

namespace sepal::test {
namespace {

using netlink::Answer;
using netlink::Attr;
using netlink::AttrTable;
using netlink::Bytes;
using netlink::BytesView;
using netlink::MessageBuilder;

constexpr uint32_t kIngress = 0xfffffff2;

struct Filter {
  uint16_t prio = 1;
  uint32_t handle = 1;
  uint32_t chain = 0;
  uint16_t protocol = 0x0003;
  std::string kind = "flower";
};

class FakeFilters : public testing::Test {
 protected:
  FakeFilters() : device_(kernel_.add_link("veth0")) { kernel_.clsact.insert(device_); }

  [[nodiscard]] Bytes message(uint16_t type, unsigned flags, const Filter& filter, bool terse = false) const {
    tcmsg header{};
    header.tcm_ifindex = static_cast<int>(device_.value());
    header.tcm_parent = kIngress;
    header.tcm_handle = filter.handle;
    header.tcm_info = static_cast<uint32_t>(filter.prio) << 16U | htons(filter.protocol);
    Bytes bytes;
    MessageBuilder builder(bytes, type, static_cast<uint16_t>(NLM_F_REQUEST | flags), header);
    if (type == RTM_GETTFILTER && (flags & NLM_F_DUMP) == NLM_F_DUMP) {
      const nla_bitfield32 dump_flags{TCA_DUMP_FLAGS_TERSE, TCA_DUMP_FLAGS_TERSE};
      if (terse) builder.put_bytes(TCA_DUMP_FLAGS, &dump_flags, sizeof dump_flags);
    } else {
      if (!filter.kind.empty()) builder.put_string(TCA_KIND, filter.kind);
      builder.put_u32(TCA_CHAIN, filter.chain);
      auto options = builder.nest(TCA_OPTIONS);
      builder.put_be16(TCA_FLOWER_KEY_ETH_TYPE, 0x0800);
      builder.put_u32(TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_SKIP_HW);
      auto actions = builder.nest(TCA_FLOWER_ACT);
      auto action = builder.nest(1);
      builder.put_string(TCA_ACT_KIND, "gact");
      builder.put_bytes(TCA_ACT_COOKIE, "cookie", 6);
      auto inside = builder.nest(TCA_ACT_OPTIONS);
      builder.put_u32(2, 0x1234);
    }
    EXPECT_TRUE(builder.finish());
    return bytes;
  }

  Answer write(const Bytes& request) { return netlink::transact_one(kernel_, request); }
  Answer add(const Filter& filter) { return write(message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, filter)); }
  Answer remove(const Filter& filter) { return write(message(RTM_DELTFILTER, 0, filter)); }

  std::vector<Bytes> dump(bool terse) {
    std::vector<Bytes> shown;
    EXPECT_TRUE(kernel_.dump(message(RTM_GETTFILTER, NLM_F_DUMP, {.prio = 0, .handle = 0}, terse),
                             [&shown](BytesView filter) -> Result<void> {
                               shown.emplace_back(filter.begin(), filter.end());
                               return {};
                             }));
    return shown;
  }

  FakeKernel kernel_;
  IfIndex device_;
};

TEST_F(FakeFilters, a_filter_added_is_shown_with_its_place_and_its_options_as_sent) {
  ASSERT_TRUE(add({.prio = 3, .handle = 0x1234, .chain = 0x2000064}));
  const auto shown = dump(false);
  ASSERT_EQ(shown.size(), 1U);
  tcmsg header{};
  auto attributes = netlink::read_fixed_header(shown[0], header);
  ASSERT_TRUE(attributes);
  EXPECT_EQ(header.tcm_handle, 0x1234U);
  EXPECT_EQ(header.tcm_info, 3U << 16U | htons(0x0003));
  auto table = AttrTable::parse(*attributes, TCA_MAX);
  EXPECT_EQ(table->find(TCA_KIND)->string(), "flower");
  EXPECT_EQ(table->find(TCA_CHAIN)->u32(), 0x2000064U);
  auto options = AttrTable::parse(table->find(TCA_OPTIONS)->payload, TCA_FLOWER_MAX);
  EXPECT_NE(options->find(TCA_FLOWER_KEY_ETH_TYPE), nullptr);
}

TEST_F(FakeFilters, a_terse_dump_keeps_flags_kinds_and_cookies_and_leaves_the_rest_out) {
  ASSERT_TRUE(add({}));
  const auto shown = dump(true);
  ASSERT_EQ(shown.size(), 1U);
  tcmsg header{};
  auto table = AttrTable::parse(*netlink::read_fixed_header(shown[0], header), TCA_MAX);
  auto options = AttrTable::parse(table->find(TCA_OPTIONS)->payload, TCA_FLOWER_MAX);
  EXPECT_EQ(options->find(TCA_FLOWER_KEY_ETH_TYPE), nullptr);
  EXPECT_EQ(options->find(TCA_FLOWER_FLAGS)->u32(), static_cast<uint32_t>(TCA_CLS_FLAGS_SKIP_HW));
  auto actions = AttrTable::parse(options->find(TCA_FLOWER_ACT)->payload, 1);
  auto action = AttrTable::parse(actions->find(1)->payload, TCA_ACT_MAX);
  EXPECT_EQ(action->find(TCA_ACT_KIND)->string(), "gact");
  EXPECT_EQ(action->find(TCA_ACT_COOKIE)->string(), "cookie");
  EXPECT_EQ(action->find(TCA_ACT_OPTIONS), nullptr);
}

TEST_F(FakeFilters, adding_twice_exists_and_replacing_replaces) {
  ASSERT_TRUE(add({}));
  EXPECT_EQ(add({}).error().code, Errc::exists);
  EXPECT_TRUE(write(message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, {})));
  EXPECT_EQ(kernel_.filters.size(), 1U);
}

TEST_F(FakeFilters, changing_what_is_not_there_is_not_found) {
  EXPECT_EQ(write(message(RTM_NEWTFILTER, 0, {})).error().code, Errc::not_found);
  EXPECT_EQ(remove({}).error().code, Errc::not_found);
  EXPECT_TRUE(kernel_.filters.empty());
}

TEST_F(FakeFilters, two_protocols_or_kinds_at_one_priority_are_refused) {
  ASSERT_TRUE(add({.handle = 1}));
  EXPECT_EQ(add({.handle = 2, .protocol = 0x0800}).error().sys_errno, EINVAL);
  EXPECT_EQ(add({.handle = 2, .kind = "bpf"}).error().sys_errno, EINVAL);
  EXPECT_TRUE(add({.handle = 2, .chain = 1, .protocol = 0x0800}));
}

TEST_F(FakeFilters, a_filter_needs_its_device_its_clsact_and_a_kind) {
  EXPECT_EQ(add({.kind = ""}).error().sys_errno, EINVAL);
  kernel_.clsact.clear();
  EXPECT_EQ(add({}).error().ext_ack, "Parent Qdisc doesn't exists");
  kernel_.links.clear();
  EXPECT_EQ(add({}).error().sys_errno, ENODEV);
}

TEST_F(FakeFilters, removal_by_handle_by_priority_and_by_chain) {
  for (uint32_t handle = 1; handle <= 3; ++handle) ASSERT_TRUE(add({.handle = handle}));
  ASSERT_TRUE(add({.prio = 2}));
  ASSERT_TRUE(add({.chain = 5}));
  ASSERT_TRUE(remove({.handle = 2}));
  EXPECT_EQ(kernel_.filters.size(), 4U);
  ASSERT_TRUE(remove({.prio = 1, .handle = 0}));
  EXPECT_EQ(kernel_.filters.size(), 2U);
  ASSERT_TRUE(remove({.prio = 0, .handle = 0}));
  ASSERT_EQ(kernel_.filters.size(), 1U);
  EXPECT_EQ(kernel_.filters.begin()->first.chain, 5U);
}

TEST_F(FakeFilters, filters_go_with_their_clsact_and_with_their_device) {
  ASSERT_TRUE(add({}));
  Bytes request;
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(device_.value());
  header.tcm_parent = TC_H_CLSACT;
  MessageBuilder builder(request, RTM_DELQDISC, NLM_F_REQUEST, header);
  builder.put_string(TCA_KIND, "clsact");
  ASSERT_TRUE(builder.finish());
  ASSERT_TRUE(write(request));
  EXPECT_TRUE(kernel_.filters.empty());
  EXPECT_EQ(write(request).error().code, Errc::not_found);
}

TEST_F(FakeFilters, the_nth_write_can_be_refused_and_changes_nothing) {
  kernel_.refuse_write[2] = {EOPNOTSUPP, "not in this kernel"};
  ASSERT_TRUE(add({.handle = 1}));
  const Answer refused = add({.handle = 2});
  EXPECT_EQ(refused.error().code, Errc::unsupported);
  EXPECT_EQ(refused.error().ext_ack, "not in this kernel");
  EXPECT_TRUE(add({.handle = 3}));
  EXPECT_EQ(kernel_.filters.size(), 2U);
  EXPECT_EQ(kernel_.writes(), 3U);
}

TEST_F(FakeFilters, a_connection_can_break_in_the_middle_of_a_batch) {
  Bytes batch;
  for (uint32_t handle = 1; handle <= 5; ++handle) {
    const Bytes one = message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, {.handle = handle});
    batch.insert(batch.end(), one.begin(), one.end());
  }
  kernel_.break_at_write = 3;
  size_t answered = 0;
  auto done = kernel_.transact(batch, [&answered](size_t, const Answer&) { ++answered; });
  EXPECT_EQ(done.error().code, Errc::resync);
  EXPECT_EQ(answered, 2U);
  EXPECT_EQ(kernel_.filters.size(), 2U);
  EXPECT_TRUE(add({.handle = 9}));  // and works again afterwards
}

TEST_F(FakeFilters, one_filter_can_be_asked_for) {
  ASSERT_TRUE(add({.handle = 7}));
  size_t shown = 0;
  auto count = [&shown](BytesView) -> Result<void> {
    ++shown;
    return {};
  };
  EXPECT_TRUE(kernel_.get(message(RTM_GETTFILTER, 0, {.handle = 7}), count));
  EXPECT_EQ(kernel_.get(message(RTM_GETTFILTER, 0, {.handle = 8}), count).error().code, Errc::not_found);
  EXPECT_EQ(shown, 1U);
}

}  // namespace
}  // namespace sepal::test
