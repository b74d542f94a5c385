#include "tc/codec/qdisc.hpp"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include "netlink/message.hpp"

namespace sepal::tc {
namespace {

TEST(Qdisc, clsact_is_created_exclusively_so_that_the_answer_tells_whose_it_is) {
  std::vector<uint8_t> out;
  ASSERT_TRUE(encode_clsact_add(out, IfIndex(0x1234)));
  EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_type, RTM_NEWQDISC);
  EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
  auto decoded = decode_qdisc(out);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, (DecodedQdisc{IfIndex(0x1234), 0xffff0000, 0xfffffff1, "clsact"}));
  EXPECT_TRUE(decoded->is_clsact());
}

TEST(Qdisc, delete_get_and_dump_are_what_they_say) {
  std::vector<uint8_t> out;
  ASSERT_TRUE(encode_clsact_delete(out, IfIndex(5)));
  EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_type, RTM_DELQDISC);
  EXPECT_EQ(decode_qdisc(out)->parent, 0xfffffff1U);
  out.clear();
  ASSERT_TRUE(encode_clsact_get(out, IfIndex(5)));
  EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_type, RTM_GETQDISC);
  EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_flags, NLM_F_REQUEST | NLM_F_ECHO)
      << "else the kernel tells everyone but us";
  out.clear();
  ASSERT_TRUE(encode_qdisc_dump(out));
  EXPECT_EQ(netlink::read_nlmsghdr(out)->nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
}

TEST(Qdisc, something_else_is_refused) {
  std::vector<uint8_t> out;
  ASSERT_TRUE(encode_clsact_get(out, IfIndex(5)));
  EXPECT_FALSE(decode_qdisc(out)) << "a request for a qdisc is none";
  EXPECT_FALSE(decode_qdisc({}));
}

}  // namespace
}  // namespace sepal::tc
