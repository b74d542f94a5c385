// Connections in the running kernel's conntrack, by zone.
#include "netlink/conntrack.hpp"

#include <netinet/in.h>

#include "real_kernel.hpp"

namespace sepal::netlink {
namespace {

class RealConntrack : public RealKernel {
 protected:
  void SetUp() override {
    RealKernel::SetUp();
    auto opened = open_transport({.protocol = NETLINK_NETFILTER});
    if (!opened) GTEST_SKIP() << "this kernel has no nfnetlink";
    netfilter_ = std::move(*opened);
    if (auto listed = list_connections(*netfilter_, Zone(0)); !listed) GTEST_SKIP() << listed.error().message();
    if (!run("conntrack -V")) GTEST_SKIP() << "no conntrack(8) to make entries with";
  }

  // One tenant's connections; equal in every zone.
  static void fill(const std::string& zone) {
    const std::string insert = "conntrack -I " + zone + " -t 300 ";
    ASSERT_TRUE(run(insert + "-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 5000 --dport 53"));
    ASSERT_TRUE(run(insert + "-s 10.0.0.1 -d 203.0.113.9 -r 203.0.113.9 -q 198.51.100.7 -p tcp --sport 1234 --dport 80"
                             " --reply-port-src 80 --reply-port-dst 1024 --state ESTABLISHED"));
    ASSERT_TRUE(run(insert + "-s 10.0.0.1 -d 10.0.0.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 513"));
    ASSERT_TRUE(run(insert + "-s fd00:100::1 -d fd00:200::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0"
                             " --icmpv6-id 4660"));
    ASSERT_TRUE(run(insert + "-s fd00:100::1 -d fd00:200::2 -p udp --sport 5000 --dport 53"));
  }
  static ConnectionPredicate in_zone(uint16_t zone) {
    return [zone](const Connection& connection) { return connection.zone == Zone(zone); };
  }
  size_t count(uint16_t zone) { return list_connections(*netfilter_, Zone(zone))->size(); }

  std::unique_ptr<Transport> netfilter_;
};

TEST_F(RealConntrack, deleting_one_tenants_connections_leaves_anothers_with_equal_tuples) {
  fill("-w 7");
  fill("-w 8");
  ASSERT_EQ(count(7), 5U);
  ASSERT_EQ(count(8), 5U);
  auto deleted = delete_connections(*netfilter_, in_zone(7));
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_EQ(*deleted, 5U);
  EXPECT_EQ(count(7), 0U);
  EXPECT_EQ(count(8), 5U);
  EXPECT_EQ(*delete_connections(*netfilter_, in_zone(8)), 5U);
}

TEST_F(RealConntrack, entries_whose_zone_holds_for_one_direction_are_deleted_too) {
  fill("--orig-zone 9");
  fill("--reply-zone 11");
  fill("-w 8");
  EXPECT_EQ(*delete_connections(*netfilter_, in_zone(9)), 5U);
  EXPECT_EQ(count(9), 0U);
  EXPECT_EQ(count(11), 5U);
  EXPECT_EQ(*delete_connections(*netfilter_, in_zone(11)), 5U);
  EXPECT_EQ(count(8), 5U);
  EXPECT_EQ(*delete_connections(*netfilter_, in_zone(8)), 5U);
}

TEST_F(RealConntrack, single_connections_can_be_chosen_by_what_they_are) {
  fill("-w 7");
  auto deleted = delete_connections(*netfilter_, [](const Connection& connection) {
    return connection.zone == Zone(7) && connection.original.protocol == IPPROTO_TCP;
  });
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_EQ(*deleted, 1U);
  auto left = list_connections(*netfilter_, Zone(7));
  ASSERT_TRUE(left);
  EXPECT_EQ(left->size(), 4U);
  for (const Connection& connection : *left) EXPECT_NE(connection.original.protocol, IPPROTO_TCP);
  EXPECT_EQ(*delete_connections(*netfilter_, in_zone(7)), 4U);
}

}  // namespace
}  // namespace sepal::netlink
