// netlink/ against the running kernel, in a namespace that holds nothing but what a test makes.
#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <map>
#include <set>

#include "base/unique_fd.hpp"
#include "netlink/channel.hpp"
#include "netlink/features.hpp"
#include "netlink/link_monitor.hpp"
#include "netlink/links.hpp"
#include "netlink/message.hpp"
#include "real_kernel.hpp"

namespace sepal::netlink {
namespace {

using std::chrono::milliseconds;

// --- transport

TEST_F(RealKernel, a_thousand_writes_are_answered_in_order_with_refusals_where_they_belong) {
  make_veth();
  const IfIndex device = index_of("a");
  Bytes requests;
  for (unsigned i = 0; i < 1000; ++i) {
    if (i % 100 == 63) {
      append_neighbour(requests, IfIndex(4'000'000), i);  // no such device
    } else if (i % 100 == 64) {
      append_neighbour(requests, device, i - 2);  // there already
    } else {
      append_neighbour(requests, device, i);
    }
  }
  std::vector<size_t> order;
  std::vector<std::pair<size_t, int>> refused;
  ASSERT_TRUE(route_->transact(requests, [&](size_t i, const Answer& answer) {
    order.push_back(i);
    if (!answer) refused.emplace_back(i, answer.error().sys_errno);
  }));
  ASSERT_EQ(order.size(), 1000U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  ASSERT_EQ(refused.size(), 20U);
  for (size_t i = 0; i < refused.size(); i += 2) {
    EXPECT_EQ(refused[i], std::pair(i / 2 * 100 + 63, ENODEV));
    EXPECT_EQ(refused[i + 1], std::pair(i / 2 * 100 + 64, EEXIST));
  }
  EXPECT_EQ(route_->writes(), 1000U);
  auto found = find_neighbour(*route_, device, *IpAddr::parse("10.1.3.231"));  // number 999
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->mac, *MacAddr::parse("02:00:00:00:03:e7"));
}

TEST_F(RealKernel, two_writers_at_once_write_everything) {
  make_veth();
  const IfIndex device = index_of("a");
  auto two = open_parallel_transport({.protocol = NETLINK_ROUTE}, 2);
  ASSERT_TRUE(two) << two.error().message();
  constexpr unsigned kCount = 2000;
  const std::vector<size_t> refused_ones = {123, 1234};  // one for each writer
  Bytes requests;
  for (unsigned i = 0; i < kCount; ++i) {
    const bool refused = std::find(refused_ones.begin(), refused_ones.end(), i) != refused_ones.end();
    append_neighbour(requests, refused ? IfIndex(4'000'000) : device, i);
  }
  size_t next = 0;
  std::vector<size_t> refused;
  auto done = (*two)->transact(requests, [&](size_t i, const Answer& answer) {
    EXPECT_EQ(i, next++);
    if (!answer) refused.push_back(i);
  });
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(next, kCount);
  EXPECT_EQ(refused, refused_ones);
  EXPECT_EQ((*two)->writes(), kCount);

  Bytes request;
  MessageBuilder message(request, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, ndmsg{});
  ASSERT_TRUE(message.finish());
  std::set<uint32_t> there;
  auto dumped = dump_whole(
      **two, request, [&there] { there.clear(); },
      [&](BytesView reply) -> Result<void> {
        ndmsg header{};
        auto attributes = read_fixed_header(reply, header);
        EXPECT_TRUE(attributes);
        if (header.ndm_ifindex != static_cast<int>(device.value()) || header.ndm_family != AF_INET) return {};
        return for_each_attr(*attributes, [&there](const Attr& attr) -> Result<void> {
          if (attr.type == NDA_DST) there.insert(attr.be32().value_or(0) - 0x0a010000U);
          return {};
        });
      });
  ASSERT_TRUE(dumped) << dumped.error().message();
  EXPECT_EQ(there.size(), kCount - refused_ones.size());
  for (const size_t number : refused_ones) EXPECT_FALSE(there.contains(static_cast<uint32_t>(number)));
}

TEST_F(RealKernel, a_refusal_brings_the_kernels_own_words) {
  make_veth();
  tcmsg header{};
  header.tcm_ifindex = static_cast<int>(index_of("a").value());
  header.tcm_parent = TC_H_ROOT;
  Bytes request;
  MessageBuilder message(request, RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_CREATE, header);
  message.put_string(TCA_KIND, "no-such-qdisc");
  ASSERT_TRUE(message.finish());
  auto answer = transact_one(*route_, std::move(request));
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().ext_ack.find("qdisc"), std::string::npos) << answer.error().message();
}

TEST_F(RealKernel, a_dump_of_many_datagrams_is_whole) {
  make_veth();
  const IfIndex device = index_of("a");
  Bytes requests = neighbours(device, 0, 3000);
  ASSERT_TRUE(route_->transact(requests, [](size_t, const Answer& answer) { EXPECT_TRUE(answer); }));
  Bytes request;
  MessageBuilder message(request, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, ndmsg{});
  ASSERT_TRUE(message.finish());
  size_t shown = 0;
  ASSERT_TRUE(dump_whole(
      *route_, request, [&shown] { shown = 0; },
      [&](BytesView reply) -> Result<void> {
        ndmsg header{};
        EXPECT_TRUE(read_fixed_header(reply, header));
        if (header.ndm_ifindex == static_cast<int>(device.value()) && header.ndm_family == AF_INET) ++shown;
        return {};
      }));
  EXPECT_EQ(shown, 3000U);
}

uint32_t port_of(int fd) {
  sockaddr_nl address{};
  socklen_t size = sizeof address;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  return address.nl_pid;
}

// What some other process could do to us.
void send_from_elsewhere(uint32_t port, const Bytes& datagram) {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const int bytes = 1 << 20;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  to.nl_pid = port;
  ASSERT_EQ(::sendto(fd.get(), datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to),
            static_cast<ssize_t>(datagram.size()))
      << errno;
}

TEST_F(RealKernel, a_datagram_of_a_process_bears_its_sender) {
  auto channel = open_channel(NETLINK_ROUTE);
  ASSERT_TRUE(channel);
  send_from_elsewhere(port_of((*channel)->fd()), Bytes(64, 0));
  auto datagram = (*channel)->receive(Clock::now() + milliseconds(1000));
  ASSERT_TRUE(datagram);
  EXPECT_NE(datagram->sender, 0U);
}

TEST_F(RealKernel, a_datagram_too_long_for_the_buffer_says_so_and_the_next_one_fits) {
  auto channel = open_channel(NETLINK_ROUTE);
  ASSERT_TRUE(channel);
  const size_t size = 100'000;
  for (const bool fits : {false, true}) {
    send_from_elsewhere(port_of((*channel)->fd()), Bytes(size, 0x7e));
    auto datagram = (*channel)->receive(Clock::now() + milliseconds(1000));
    ASSERT_TRUE(datagram);
    EXPECT_EQ(datagram->size, size);
    EXPECT_EQ(datagram->bytes.size() == size, fits);
  }
}

TEST_F(RealKernel, signals_neither_end_a_wait_nor_prolong_it) {
  auto channel = open_channel(NETLINK_ROUTE);
  ASSERT_TRUE(channel);
  static volatile std::sig_atomic_t alarms;
  alarms = 0;
  struct sigaction action{};
  action.sa_handler = [](int) { alarms = alarms + 1; };  // without SA_RESTART
  struct sigaction old{};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &old), 0);
  const itimerval every{{0, 20'000}, {0, 20'000}};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &every, nullptr), 0);

  const auto begin = Clock::now();
  auto datagram = (*channel)->receive(begin + milliseconds(300));
  const auto waited = Clock::now() - begin;

  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &old, nullptr);
  ASSERT_FALSE(datagram);
  EXPECT_EQ(datagram.error().sys_errno, ETIMEDOUT);
  EXPECT_GE(alarms, 2);
  EXPECT_GE(waited, milliseconds(295));
  EXPECT_LT(waited, milliseconds(5000));
}

// --- devices

TEST_F(RealKernel, devices_are_listed_as_ip_link_made_them) {
  ASSERT_TRUE(run("ip link add name a address 02:11:22:33:44:55 mtu 1400 type veth peer name b"));
  ASSERT_TRUE(run("ip link set dev b alias 'the other end'"));
  ASSERT_TRUE(run("ip link set dev b up"));
  const bool vlan = run("ip link add link a name a.5 type vlan id 5");
  std::map<std::string, Link> by_name;
  // That b has no carrier, for its peer is down, the kernel finds out from a work queue (net/core/link_watch.c).
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  do {
    auto links = list_links(*route_);
    ASSERT_TRUE(links) << links.error().message();
    for (const Link& link : *links) by_name[link.name] = link;
  } while (by_name["b"].running && std::chrono::steady_clock::now() < deadline);
  ASSERT_TRUE(by_name.contains("a") && by_name.contains("b") && by_name.contains("lo"));
  EXPECT_EQ(by_name["a"].kind, "veth");
  EXPECT_EQ(by_name["a"].mac, *MacAddr::parse("02:11:22:33:44:55"));
  EXPECT_EQ(by_name["a"].mtu, 1400U);
  EXPECT_FALSE(by_name["a"].up);
  EXPECT_TRUE(by_name["b"].up);
  EXPECT_FALSE(by_name["b"].running);
  EXPECT_EQ(by_name["b"].alias, "the other end");
  EXPECT_EQ(by_name["lo"].kind, "");
  if (vlan) {
    EXPECT_EQ(by_name["a.5"].vlan, Vid(5));
    EXPECT_EQ(by_name["a.5"].kind, "vlan");
    EXPECT_EQ(by_name["a.5"].lower, by_name["a"].index);
  }
  auto one = get_link(*route_, "a");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->index, by_name["a"].index);
  EXPECT_EQ(get_link(*route_, "nowhere").error().code, Errc::not_found);
}

TEST_F(RealKernel, a_device_is_set_up) {
  ASSERT_TRUE(run("ip link add name a type veth peer name b"));
  ASSERT_TRUE(set_link_up(*route_, index_of("a")));
  EXPECT_TRUE(get_link(*route_, "a")->up);
  ASSERT_TRUE(set_link_down(*route_, index_of("a")));
  EXPECT_FALSE(get_link(*route_, "a")->up);
  ASSERT_TRUE(set_link_up(*route_, index_of("a")));
  EXPECT_TRUE(get_link(*route_, "a")->up);
  EXPECT_EQ(set_link_up(*route_, IfIndex(4'000'000)).error().code, Errc::not_found);
}

TEST_F(RealKernel, addresses_are_found_on_their_devices) {
  make_veth();
  ASSERT_TRUE(run("ip addr add 192.0.2.1/24 dev a"));
  ASSERT_TRUE(run("ip addr add 198.51.100.1 peer 198.51.100.2/32 dev b"));
  const bool ipv6 = run("ip -6 addr add fd00:1::1/64 dev a nodad");
  auto addresses = list_addresses(*route_);
  ASSERT_TRUE(addresses) << addresses.error().message();
  auto device_of = [&addresses](std::string_view text) {
    for (const Address& address : *addresses) {
      if (address.address == *IpAddr::parse(text)) return address.usable ? address.device : IfIndex(0xffff);
    }
    return IfIndex{};
  };
  EXPECT_EQ(device_of("192.0.2.1"), index_of("a"));
  EXPECT_EQ(device_of("198.51.100.1"), index_of("b"));
  EXPECT_EQ(device_of("198.51.100.2"), IfIndex{});  // the peer's is not ours
  if (ipv6) {
    EXPECT_EQ(device_of("fd00:1::1"), index_of("a"));
  }
}

TEST_F(RealKernel, devices_with_clsact_are_told_from_those_with_other_qdiscs) {
  make_veth();
  EXPECT_TRUE(list_clsact(*route_)->empty());
  if (!run("tc qdisc add dev a clsact")) GTEST_SKIP() << "this kernel has no clsact";
  ASSERT_TRUE(run("tc qdisc add dev b ingress"));
  auto devices = list_clsact(*route_);
  ASSERT_TRUE(devices);
  EXPECT_EQ(*devices, (std::set<IfIndex>{index_of("a")}));
}

TEST_F(RealKernel, a_neighbour_is_unknown_then_being_resolved_then_known) {
  make_veth();
  ASSERT_TRUE(run("ip addr add 192.0.2.1/24 dev a"));
  const IfIndex device = index_of("a");
  const IpAddr gateway = IpAddr::v4(192, 0, 2, 254);
  auto found = find_neighbour(*route_, device, gateway);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(*found, std::nullopt);

  ASSERT_TRUE(resolve_neighbour(*route_, device, gateway));
  found = find_neighbour(*route_, device, gateway);
  ASSERT_TRUE(found && *found);
  EXPECT_FALSE((*found)->usable);

  ASSERT_TRUE(run("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev a nud reachable"));
  found = find_neighbour(*route_, device, gateway);
  ASSERT_TRUE(found && *found);
  EXPECT_TRUE((*found)->usable);
  EXPECT_EQ((*found)->mac, *MacAddr::parse("02:00:00:00:00:fe"));
}

// --- events

bool readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, 2000) == 1;
}

TEST_F(RealKernel, a_device_that_comes_changes_and_goes_is_told) {
  auto monitor = LinkMonitor::open({.neighbours = true});
  ASSERT_TRUE(monitor) << monitor.error().message();
  EXPECT_TRUE(monitor->drain()->empty());
  make_veth();
  const IfIndex a = index_of("a");
  ASSERT_TRUE(readable(monitor->fd()));
  auto changes = monitor->drain();
  ASSERT_TRUE(changes);
  EXPECT_TRUE(changes->devices.contains(a));
  EXPECT_TRUE(changes->devices.contains(index_of("b")));

  ASSERT_TRUE(run("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev a nud permanent"));
  ASSERT_TRUE(readable(monitor->fd()));
  EXPECT_TRUE(monitor->drain()->devices.contains(a));
  ASSERT_TRUE(run("ip addr add 192.0.2.1/24 dev a"));
  ASSERT_TRUE(readable(monitor->fd()));
  EXPECT_TRUE(monitor->drain()->devices.contains(a));
  ASSERT_TRUE(run("ip link del dev a"));
  ASSERT_TRUE(readable(monitor->fd()));
  EXPECT_TRUE(monitor->drain()->devices.contains(a));
}

TEST_F(RealKernel, more_events_than_fit_are_told_as_an_overrun) {
  auto monitor = LinkMonitor::open({});
  ASSERT_TRUE(monitor);
  const int tiny = 4096;
  ASSERT_EQ(::setsockopt(monitor->fd(), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny), 0);
  make_veth();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(run("ip link set dev a down"));
    ASSERT_TRUE(run("ip link set dev a up"));
  }
  auto changes = monitor->drain();
  ASSERT_TRUE(changes);
  EXPECT_TRUE(changes->overrun);
  EXPECT_FALSE(monitor->drain()->overrun);  // told once
}

// --- generic netlink

TEST_F(RealKernel, a_loopback_has_no_tc_offload_and_says_so) {
  auto generic = open_transport({.protocol = NETLINK_GENERIC});
  ASSERT_TRUE(generic) << generic.error().message();
  auto ethtool = find_family(**generic, "ethtool");
  ASSERT_TRUE(ethtool) << ethtool.error().message();
  EXPECT_FALSE(ethtool->groups.empty());
  auto offload = get_tc_offload(**generic, *ethtool, index_of("lo"));
  ASSERT_TRUE(offload) << offload.error().message();
  EXPECT_EQ(*offload, (TcOffload{false, false}));
  EXPECT_EQ(get_tc_offload(**generic, *ethtool, IfIndex(4711)).error().code, Errc::not_found);
}

TEST_F(RealKernel, a_family_nobody_has_is_unsupported) {
  auto generic = open_transport({.protocol = NETLINK_GENERIC});
  ASSERT_TRUE(generic);
  EXPECT_EQ(find_family(**generic, "no-such-family").error().code, Errc::unsupported);
}

}  // namespace
}  // namespace sepal::netlink
