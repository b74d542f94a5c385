// Entries as Debian's 6.1 showed them (socket NETLINK_NETFILTER, IPCTNL_MSG_CT_GET dump, AF_UNSPEC), byte by byte, and
// deletion against a table as unforgiving as that kernel's.
#include "netlink/conntrack.hpp"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/unique_fd.hpp"
#include "netlink/connection_monitor.hpp"
#include "netlink/message.hpp"
#include "tests/support/fake_channel.hpp"
#include "tests/support/fake_conntrack.hpp"

namespace sepal::netlink {
namespace {

Bytes hex(std::string_view text) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

IpAddr ip(std::string_view text) { return *IpAddr::parse(text); }

// conntrack -I -w 7 -s 10.0.0.1 -d 203.0.113.9 -r 203.0.113.9 -q 198.51.100.7 -p tcp --sport 1234 --dport 80
//   --reply-port-src 80 --reply-port-dst 1024 -t 60 --state ESTABLISHED -m 3      (nf_conntrack_acct=1)
Bytes translated_tcp() {
  return hex(
      "30010000"
      "0001"
      "0200"
      "01000000"
      "87000000"  // nlmsghdr: 304 bytes, ctnetlink NEW, NLM_F_MULTI
      "02"
      "00"
      "0000"      // nfgenmsg: AF_INET
      "34000180"  // CTA_TUPLE_ORIG
      "14000180"
      "080001000a000001"
      "08000200cb007109"  // IP: 10.0.0.1 → 203.0.113.9
      "1c000280"
      "0500010006000000"
      "0600020004d20000"
      "0600030000500000"  // PROTO: tcp, 1234 → 80
      "34000280"          // CTA_TUPLE_REPLY
      "14000180"
      "08000100cb007109"
      "08000200c6336407"  // IP: 203.0.113.9 → 198.51.100.7
      "1c000280"
      "0500010006000000"
      "0600020000500000"
      "0600030004000000"  // PROTO: tcp, 80 → 1024
      "0600120000070000"  // CTA_ZONE 7: both directions
      "0800030000000008"  // CTA_STATUS: IPS_CONFIRMED
      "0800080000000003"  // CTA_MARK
      "08000c00fa3ca7ea"  // CTA_ID
      "08000b0000000001"  // CTA_USE
      "080007000000003b"  // CTA_TIMEOUT: 59 s
      "30000480"
      "2c000180"  // CTA_PROTOINFO { CTA_PROTOINFO_TCP
      "0500010003000000"
      "0500020000000000"
      "0500030000000000"  //   state ESTABLISHED, window scales
      "060004000a000000"
      "060005000a000000"  //   flags
      "1c000980"
      "0c0001000000000000000000"
      "0c0002000000000000000000"  // CTA_COUNTERS_ORIG
      "1c000a80"
      "0c0001000000000000000000"
      "0c0002000000000000000000"  // CTA_COUNTERS_REPLY
      "1c001880"
      "0800010000000000"
      "0800020000000000"
      "0800030000000000");  // CTA_SYNPROXY: unknown here
}

// conntrack -I -w 258 -s fd00:100::1 -d fd00:200::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 4660
Bytes ping6() {
  return hex(
      "e4000000"
      "0001"
      "0200"
      "01000000"
      "87000000"
      "0a"
      "00"
      "0000"      // nfgenmsg: AF_INET6
      "54000180"  // CTA_TUPLE_ORIG
      "2c000180"
      "14000300"
      "fd000100000000000000000000000001"
      "14000400"
      "fd000200000000000000000000000002"
      "24000280"
      "050001003a000000"
      "0600070012340000"
      "0500080080000000"
      "0500090000000000"  // id 0x1234, type 128
      "54000280"          // CTA_TUPLE_REPLY
      "2c000180"
      "14000300"
      "fd000200000000000000000000000002"
      "14000400"
      "fd000100000000000000000000000001"
      "24000280"
      "050001003a000000"
      "0600070012340000"
      "0500080081000000"
      "0500090000000000"  // type 129
      "0600120001020000"  // CTA_ZONE 258
      "0800030000000008"
      "0800080000000000"  // status, mark
      "08000c00fd42170c"
      "080007000000001d");  // CTA_ID, CTA_TIMEOUT
}

// conntrack -I --orig-zone 9 -s 10.0.0.1 -d 10.0.0.2 -p udp --sport 5000 --dport 53
Bytes zone_of_one_direction() {
  return hex(
      "a4000000"
      "0001"
      "0200"
      "01000000"
      "87000000"
      "02"
      "00"
      "0000"
      "3c000180"  // CTA_TUPLE_ORIG
      "14000180"
      "080001000a000001"
      "080002000a000002"
      "1c000280"
      "0500010011000000"
      "0600020013880000"
      "0600030000350000"
      "0600030000090000"  //   CTA_TUPLE_ZONE 9: this direction only
      "34000280"          // CTA_TUPLE_REPLY
      "14000180"
      "080001000a000002"
      "080002000a000001"
      "1c000280"
      "0500010011000000"
      "0600020000350000"
      "0600030013880000"
      "0800030000000008"
      "0800080000000000"
      "08000c008ac92447"
      "080007000000001d");
}

// conntrack -I --reply-zone 9 -s 10.0.0.1 -d 10.0.0.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 513
Bytes ping4_with_a_zone_in_its_reply() {
  return hex(
      "b4000000"
      "0001"
      "0200"
      "01000000"
      "87000000"
      "02"
      "00"
      "0000"
      "3c000180"  // CTA_TUPLE_ORIG
      "14000180"
      "080001000a000001"
      "080002000a000002"
      "24000280"
      "0500010001000000"
      "0600040002010000"
      "0500050008000000"
      "0500060000000000"  // id 513, type 8
      "44000280"          // CTA_TUPLE_REPLY
      "14000180"
      "080001000a000002"
      "080002000a000001"
      "24000280"
      "0500010001000000"
      "0600040002010000"
      "0500050000000000"
      "0500060000000000"
      "0600030000090000"  //   CTA_TUPLE_ZONE 9
      "0800030000000008"
      "0800080000000000"
      "08000c0000ed9bdb"
      "080007000000001d");
}

TEST(Conntrack, a_translated_tcp_connection_is_read_in_both_directions) {
  auto connection = decode_connection(translated_tcp());
  ASSERT_TRUE(connection) << connection.error().message();
  EXPECT_EQ(connection->original, (ConnectionTuple{.source = ip("10.0.0.1"),
                                                   .destination = ip("203.0.113.9"),
                                                   .protocol = IPPROTO_TCP,
                                                   .source_port = 1234,
                                                   .destination_port = 80}));
  EXPECT_EQ(connection->reply, (ConnectionTuple{.source = ip("203.0.113.9"),
                                                .destination = ip("198.51.100.7"),
                                                .protocol = IPPROTO_TCP,
                                                .source_port = 80,
                                                .destination_port = 1024}));
  EXPECT_EQ(connection->zone, Zone(7));
  EXPECT_EQ(connection->id, 0xfa3ca7eaU);
  EXPECT_EQ(connection->mark, 3U);
  EXPECT_EQ(connection->status, static_cast<uint32_t>(IPS_CONFIRMED));
  EXPECT_EQ(connection->timeout_s, 59U);
  EXPECT_EQ(connection->tcp_state, 3);  // TCP_CONNTRACK_ESTABLISHED
  EXPECT_EQ(connection->original_counters, ConnectionCounters{});
}

TEST(Conntrack, counters_are_read_as_big_endian_64_bits) {
  Bytes bytes = translated_tcp();
  const Bytes none = hex("0c0001000000000000000000");
  const auto at = std::search(bytes.begin(), bytes.end(), none.begin(), none.end());
  const Bytes some = hex("0c0001000000000100000203");
  std::copy(some.begin(), some.end(), at);
  EXPECT_EQ(decode_connection(bytes)->original_counters, (ConnectionCounters{0x100000203U, 0}));
}

TEST(Conntrack, an_icmpv6_echo_has_type_code_and_id_and_no_ports) {
  auto connection = decode_connection(ping6());
  ASSERT_TRUE(connection) << connection.error().message();
  EXPECT_EQ(connection->original, (ConnectionTuple{.source = ip("fd00:100::1"),
                                                   .destination = ip("fd00:200::2"),
                                                   .protocol = IPPROTO_ICMPV6,
                                                   .icmp_type = 128,
                                                   .icmp_id = 0x1234}));
  EXPECT_EQ(connection->reply.icmp_type, 129);
  EXPECT_EQ(connection->zone, Zone(258));
  EXPECT_EQ(connection->tcp_state, std::nullopt);
  EXPECT_EQ(connection->original_counters, std::nullopt);
}

TEST(Conntrack, a_zone_of_one_direction_stands_inside_its_tuple) {
  auto udp = decode_connection(zone_of_one_direction());
  ASSERT_TRUE(udp) << udp.error().message();
  EXPECT_EQ(udp->zone, Zone(9));
  auto ping = decode_connection(ping4_with_a_zone_in_its_reply());
  ASSERT_TRUE(ping) << ping.error().message();
  EXPECT_EQ(ping->zone, Zone(9));
  EXPECT_EQ(ping->original.icmp_id, 513);
  EXPECT_EQ(ping->original.icmp_type, 8);
}

TEST(Conntrack, every_prefix_of_an_entry_is_refused_without_harm) {
  const Bytes whole = translated_tcp();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_connection(BytesView(whole).first(size))) << size;
  }
}

TEST(Conntrack, an_entry_without_tuples_or_of_another_type_is_refused) {
  Bytes bytes;
  MessageBuilder message(bytes, (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW, 0, nfgenmsg{AF_INET, 0, 0});
  message.put_be32(CTA_ID, 5);
  ASSERT_TRUE(message.finish());
  EXPECT_EQ(decode_connection(bytes).error().code, Errc::protocol);
  Bytes other = translated_tcp();
  other[4] = IPCTNL_MSG_CT_DELETE;
  EXPECT_TRUE(decode_connection(other)) << "how the kernel tells of one that ended";
  other[4] = IPCTNL_MSG_CT_GET_STATS;
  EXPECT_EQ(decode_connection(other).error().code, Errc::protocol);
}

TEST(Conntrack, the_deletion_names_the_entry_by_its_own_tuple_zone_and_id) {
  Bytes request;
  ASSERT_TRUE(append_connection_delete(request, translated_tcp()));
  EXPECT_EQ(request, hex("58000000"
                         "0201"
                         "0100"
                         "00000000"
                         "00000000"  // ctnetlink DELETE, NLM_F_REQUEST
                         "02000000"  // AF_INET, NFNETLINK_V0
                         "34000180"  // CTA_TUPLE_ORIG as shown
                         "14000180"
                         "080001000a000001"
                         "08000200cb007109"
                         "1c000280"
                         "0500010006000000"
                         "0600020004d20000"
                         "0600030000500000"
                         "0600120000070000"     // CTA_ZONE
                         "08000c00fa3ca7ea"));  // CTA_ID
}

TEST(Conntrack, the_deletion_keeps_a_zone_inside_the_tuple_and_adds_none_on_top) {
  Bytes request;
  ASSERT_TRUE(append_connection_delete(request, zone_of_one_direction()));
  auto table = AttrTable::parse(BytesView(request).subspan(20), CTA_MAX);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->find(CTA_ZONE), nullptr);
  auto tuple = AttrTable::parse(table->find(CTA_TUPLE_ORIG)->payload, CTA_TUPLE_MAX);
  ASSERT_NE(tuple->find(CTA_TUPLE_ZONE), nullptr);
  EXPECT_EQ(tuple->find(CTA_TUPLE_ZONE)->be16(), 9);
}

TEST(Conntrack, an_entry_without_a_tuple_never_becomes_a_deletion) {
  Bytes bytes;
  MessageBuilder message(bytes, (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW, 0, nfgenmsg{AF_INET, 0, 0});
  message.put_be16(CTA_ZONE, 7);
  message.put_be32(CTA_ID, 5);
  ASSERT_TRUE(message.finish());
  Bytes requests;
  EXPECT_FALSE(append_connection_delete(requests, bytes));
  EXPECT_TRUE(requests.empty());
}

// --- deletion against a table

Connection connection(uint16_t zone, uint16_t port, uint32_t id) {
  Connection made;
  made.original = {.source = ip("10.0.0.1"),
                   .destination = ip("10.0.0.2"),
                   .protocol = IPPROTO_UDP,
                   .source_port = port,
                   .destination_port = 53};
  made.reply = {.source = ip("10.0.0.2"),
                .destination = ip("10.0.0.1"),
                .protocol = IPPROTO_UDP,
                .source_port = 53,
                .destination_port = port};
  made.zone = Zone(zone);
  made.id = id;
  return made;
}

ConnectionPredicate in_zone(uint16_t zone) {
  return [zone](const Connection& candidate) { return candidate.zone == Zone(zone); };
}

TEST(ConntrackTable, deleting_one_zones_connections_leaves_another_zones_with_equal_tuples) {
  test::FakeConntrack kernel;
  for (uint16_t i = 0; i < 100; ++i) {
    kernel.table.push_back(connection(7, 1000 + i, i));
    kernel.table.push_back(connection(8, 1000 + i, 500U + i));
  }
  auto deleted = delete_connections(kernel, in_zone(7));
  ASSERT_TRUE(deleted);
  EXPECT_EQ(*deleted, 100U);
  EXPECT_EQ(kernel.writes(), 100U);
  ASSERT_EQ(kernel.table.size(), 100U);
  for (const Connection& left : kernel.table) EXPECT_EQ(left.zone, Zone(8));
}

TEST(ConntrackTable, nothing_to_delete_sends_nothing) {
  test::FakeConntrack kernel;
  kernel.table.push_back(connection(8, 1, 1));
  EXPECT_EQ(*delete_connections(kernel, in_zone(7)), 0U);
  EXPECT_EQ(kernel.writes(), 0U);
}

TEST(ConntrackTable, entries_that_ended_by_themselves_are_no_failure_and_not_counted) {
  test::FakeConntrack kernel;
  kernel.table.push_back(connection(7, 1, 1));
  kernel.vanishing = true;
  auto deleted = delete_connections(kernel, in_zone(7));
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_EQ(*deleted, 0U);
}

TEST(ConntrackTable, a_table_larger_than_one_pass_is_emptied_all_the_same) {
  test::FakeConntrack kernel;
  // The fake looks for an entry from the front: in this order it finds each at once.
  for (uint32_t i = 0; i < 16'500; ++i) kernel.table.push_back(connection(7, static_cast<uint16_t>(i), i));
  kernel.table.push_back(connection(8, 1, 1));
  EXPECT_EQ(*delete_connections(kernel, in_zone(7)), 16'500U);
  EXPECT_EQ(kernel.table.size(), 1U);
}

TEST(ConntrackTable, a_refusal_is_an_error) {
  test::FakeConntrack kernel;
  kernel.table.push_back(connection(7, 1, 1));
  kernel.allowed = false;
  auto deleted = delete_connections(kernel, in_zone(7));
  ASSERT_FALSE(deleted);
  EXPECT_EQ(deleted.error().sys_errno, EPERM);
}

TEST(ConntrackTable, a_kernel_without_ctnetlink_is_unsupported) {
  test::FakeConntrack kernel;
  kernel.supported = false;
  EXPECT_EQ(list_connections(kernel, Zone(7)).error().code, Errc::unsupported);
}

TEST(ConntrackTable, listing_a_zone_shows_that_zone) {
  test::FakeConntrack kernel;
  kernel.table = {connection(7, 1, 1), connection(8, 1, 2), connection(7, 2, 3)};
  auto listed = list_connections(kernel, Zone(7));
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->size(), 2U);
  EXPECT_EQ(listed->back().id, 3U);
}

// As net/netfilter/nf_conntrack_netlink.c tells of an end: the same entry in another message.
Bytes as_end(Bytes entry) {
  entry[4] = IPCTNL_MSG_CT_DELETE;
  return entry;
}

TEST(ConnectionMonitor, tells_what_began_and_what_ended) {
  auto channel = std::make_unique<test::FakeChannel>();
  channel->push(translated_tcp());
  channel->push(as_end(translated_tcp()));
  channel->push(translated_tcp(), 4711);  // another process: not believed
  ConnectionMonitor monitor(std::move(channel));
  std::vector<ConnectionEvent> events;
  const auto lost = monitor.drain([&](const ConnectionEvent& event) { events.push_back(event); });
  ASSERT_TRUE(lost);
  EXPECT_EQ(*lost, 0U);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, ConnectionEvent::Kind::began);
  EXPECT_EQ(events[1].kind, ConnectionEvent::Kind::ended);
  EXPECT_EQ(events[1].connection.zone, Zone(7));
  EXPECT_EQ(events[1].connection.reply.destination, ip("198.51.100.7"));
}

TEST(ConnectionMonitor, counts_what_the_kernel_dropped_and_goes_on) {
  auto channel = std::make_unique<test::FakeChannel>();
  channel->push_overrun();
  channel->push(translated_tcp());
  channel->push_overrun();
  ConnectionMonitor monitor(std::move(channel));
  size_t events = 0;
  const auto lost = monitor.drain([&](const ConnectionEvent& /*event*/) { ++events; });
  ASSERT_TRUE(lost);
  EXPECT_EQ(*lost, 2U);
  EXPECT_EQ(events, 1U);
}

// A real socket behind the channel, whose counter of drops the kernel keeps.
class CountingChannel : public test::FakeChannel {
 public:
  explicit CountingChannel(int borrowed) : fd_(borrowed) {}
  [[nodiscard]] int fd() const override { return fd_; }

 private:
  int fd_;
};

TEST(ConnectionMonitor, counts_what_was_dropped_without_a_word) {
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int small = 1;  // the kernel takes its own least
  (void)::setsockopt(udp.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  sockaddr_in self{};
  self.sin_family = AF_INET;
  self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof self;
  auto* address = reinterpret_cast<sockaddr*>(&self);
  ASSERT_EQ(::bind(udp.get(), address, size), 0) << std::strerror(errno);
  ASSERT_EQ(::getsockname(udp.get(), address, &size), 0);
  ConnectionMonitor monitor(std::make_unique<CountingChannel>(udp.get()));
  const auto lost = [&monitor] {
    return monitor.drain([](const ConnectionEvent& /*event*/) {}).value_or(UINT64_MAX);  // without any ENOBUFS
  };
  const auto flood = [&] {
    const std::array<char, 1000> payload{};
    for (int i = 0; i < 100; ++i) (void)::sendto(udp.get(), payload.data(), payload.size(), 0, address, size);
  };
  const auto dropped = [&udp] {
    std::array<uint32_t, SK_MEMINFO_VARS> info{};
    socklen_t bytes = sizeof info;
    (void)::getsockopt(udp.get(), SOL_SOCKET, SO_MEMINFO, info.data(), &bytes);
    return uint64_t{info[SK_MEMINFO_DROPS]};
  };
  EXPECT_EQ(lost(), 0U);
  flood();
  const uint64_t first = dropped();
  ASSERT_GT(first, 0U) << "what is sent to 127.0.0.1 does not arrive";
  uint64_t told = lost();
  EXPECT_GE(told, first);
  flood();
  told += lost();
  EXPECT_GT(told, first);
  EXPECT_LE(told, dropped()) << "none is told twice";
}

TEST(ConnectionMonitor, takes_no_more_in_one_turn_than_its_bound) {
  auto channel = std::make_unique<test::FakeChannel>();
  for (size_t i = 0; i < ConnectionMonitor::kDatagramsMax + 3; ++i) channel->push(translated_tcp());
  ConnectionMonitor monitor(std::move(channel));
  size_t events = 0;
  const auto count = [&](const ConnectionEvent& /*event*/) { ++events; };
  ASSERT_TRUE(monitor.drain(count));
  EXPECT_EQ(events, ConnectionMonitor::kDatagramsMax);
  ASSERT_TRUE(monitor.drain(count));
  EXPECT_EQ(events, ConnectionMonitor::kDatagramsMax + 3);
}

}  // namespace
}  // namespace sepal::netlink
