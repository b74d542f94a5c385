// The running kernel, in a namespace that holds nothing but what a test makes.
#pragma once

#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "netlink/links.hpp"
#include "netlink/message.hpp"

namespace sepal::netlink {

// Its words are shown only when they tell why a test failed or was skipped: in the log of a run under --verbose.
inline bool run(const std::string& command) { return std::system((command + " >/dev/null").c_str()) == 0; }

// Every test begins with an empty namespace: its loopback and what it makes itself.
class RealKernel : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = open_transport({.protocol = NETLINK_ROUTE});
    ASSERT_TRUE(opened) << opened.error().message();
    route_ = std::move(*opened);
  }
  void TearDown() override {
    if (!route_) return;
    auto links = list_links(*route_);
    ASSERT_TRUE(links);
    for (const Link& link : *links) {
      if (link.name != "lo") (void)run("ip link del dev " + link.name);
    }
  }

  // A veth pair a–b, both up.
  void make_veth() {
    ASSERT_TRUE(run("ip link add name a type veth peer name b"));
    ASSERT_TRUE(run("ip link set dev a up"));
    ASSERT_TRUE(run("ip link set dev b up"));
  }
  IfIndex index_of(std::string_view name) {
    auto link = get_link(*route_, name);
    EXPECT_TRUE(link) << link.error().message();
    return link ? link->index : IfIndex{};
  }

  // Permanent neighbours 10.1.x.y on `device`: writes that are cheap and can be refused one by one.
  static Bytes neighbours(IfIndex device, unsigned first, unsigned count) {
    Bytes requests;
    for (unsigned i = first; i < first + count; ++i) append_neighbour(requests, device, i);
    return requests;
  }
  static void append_neighbour(Bytes& requests, IfIndex device, unsigned number) {
    ndmsg header{};
    header.ndm_family = AF_INET;
    header.ndm_ifindex = static_cast<int>(device.value());
    header.ndm_state = NUD_PERMANENT;
    MessageBuilder message(requests, RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, header);
    message.put_be32(NDA_DST, 0x0a010000 + number);
    const MacAddr mac{{2, 0, 0, 0, static_cast<uint8_t>(number >> 8U), static_cast<uint8_t>(number)}};
    message.put_bytes(NDA_LLADDR, mac.bytes.data(), mac.bytes.size());
    ASSERT_TRUE(message.finish());
  }

  std::unique_ptr<Transport> route_;
};

}  // namespace sepal::netlink
