// The programs where they will work: as act_bpf in flower filters on a veth, with the resolver of a real kernel as the
// one who asks. Needs flower and act_bpf, so it is a program of its own, for suite vm.
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_gact.h>
#include <net/if.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "tests/bpf/bed.hpp"

namespace sepal::test {
namespace {

using bpf::make_neighbour_key;
using bpf::make_neighbour_value;

constexpr const char* kNeighbourMac = "02:00:00:00:00:0b";
constexpr const char* kGatewayMac = "02:00:5e:00:00:01";

struct Output {
  int status = 0;
  std::string text;  // stdout and stderr
};
Output shell(const std::string& command) {
  Output output;
  FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
  std::array<char, 4096> part{};
  while (const size_t size = std::fread(part.data(), 1, part.size(), pipe)) output.text.append(part.data(), size);
  output.status = ::pclose(pipe);
  return output;
}

// Adds to `device`'s ingress, chain 1: flower hash `hash`, action drop. iproute2 knows no such key.
int add_hash_filter(uint32_t device, uint32_t hash) {
  std::array<char, 1024> buffer{};
  nlmsghdr* message = ::mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = RTM_NEWTFILTER;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  message->nlmsg_seq = 1;
  auto* tc = static_cast<tcmsg*>(::mnl_nlmsg_put_extra_header(message, sizeof(tcmsg)));
  tc->tcm_ifindex = static_cast<int>(device);
  tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  tc->tcm_info = TC_H_MAKE(1U << 16U, htobe16(ETH_P_IP));
  ::mnl_attr_put_u32(message, TCA_CHAIN, 1);
  ::mnl_attr_put_strz(message, TCA_KIND, "flower");
  nlattr* options = ::mnl_attr_nest_start(message, TCA_OPTIONS);
  ::mnl_attr_put_u16(message, TCA_FLOWER_KEY_ETH_TYPE, htobe16(ETH_P_IP));
  ::mnl_attr_put_u32(message, TCA_FLOWER_KEY_HASH, hash);
  ::mnl_attr_put_u32(message, TCA_FLOWER_KEY_HASH_MASK, 0xffffffff);
  ::mnl_attr_put_u32(message, TCA_FLOWER_FLAGS, TCA_CLS_FLAGS_SKIP_HW);
  nlattr* actions = ::mnl_attr_nest_start(message, TCA_FLOWER_ACT);
  nlattr* first = ::mnl_attr_nest_start(message, 1);
  ::mnl_attr_put_strz(message, TCA_ACT_KIND, "gact");
  nlattr* gact_options = ::mnl_attr_nest_start(message, TCA_ACT_OPTIONS);
  tc_gact gact{};
  gact.action = TC_ACT_SHOT;
  ::mnl_attr_put(message, TCA_GACT_PARMS, sizeof gact, &gact);
  ::mnl_attr_nest_end(message, gact_options);
  ::mnl_attr_nest_end(message, first);
  ::mnl_attr_nest_end(message, actions);
  ::mnl_attr_nest_end(message, options);

  mnl_socket* socket = ::mnl_socket_open(NETLINK_ROUTE);
  int err = -1;
  if (::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
      ::mnl_socket_sendto(socket, message, message->nlmsg_len) > 0 &&
      ::mnl_socket_recvfrom(socket, buffer.data(), buffer.size()) > 0) {
    err = static_cast<const nlmsgerr*>(::mnl_nlmsg_get_payload(message))->error;
  }
  ::mnl_socket_close(socket);
  return err;
}

// A port with clsact here, its guest end in a network namespace of its own.
class Resolver : public BedTest {
 protected:
  void SetUp() override {
    BedTest::SetUp();
    if (IsSkipped()) return;
    guest_ = ::fork();
    if (guest_ == 0) {
      ::execlp("unshare", "unshare", "--net", "sleep", "300", nullptr);
      ::_exit(127);
    }
    ASSERT_TRUE(eventually([this] {
      return shell("readlink /proc/" + std::to_string(guest_) + "/ns/net").text !=
             shell("readlink /proc/self/ns/net").text;
    }));
    run_here("ip link add port type veth peer name guest address 02:00:00:00:00:0a netns " + std::to_string(guest_));
    run_here("echo 1 >/proc/sys/net/ipv6/conf/port/disable_ipv6; ip link set port up; tc qdisc add dev port clsact");
    bpffs_.emplace();
    auto loaded = bpf::SlowPath::load(bpffs_->place());
    ASSERT_TRUE(loaded) << loaded.error().message();
    slow_path_.emplace(std::move(*loaded));
    auto pinned = slow_path_->pin();
    ASSERT_TRUE(pinned) << pinned.error().message();
    const Output probe =
        shell("tc filter add dev port ingress prio 99 protocol ip flower skip_hw dst_ip 192.0.2.1 action " +
              act_bpf("sepal_neigh", "drop"));
    ASSERT_EQ(probe.status, 0) << "this kernel has no flower or no act_bpf: " << probe.text;
  }
  void TearDown() override {
    if (guest_ > 0) {
      ::kill(guest_, SIGKILL);
      ::waitpid(guest_, nullptr, 0);
    }
    if (bed_missing().empty()) shell("ip link del port");
  }

  static void run_here(const std::string& command) {
    const Output output = shell(command);
    ASSERT_EQ(output.status, 0) << command << ": " << output.text;
  }
  Output in_guest(const std::string& command) {
    return shell("nsenter -t " + std::to_string(guest_) + " -n sh -c '" + command + "'");
  }
  void run_in_guest(const std::string& command) {
    const Output output = in_guest(command);
    ASSERT_EQ(output.status, 0) << command << ": " << output.text;
  }
  [[nodiscard]] std::string act_bpf(const std::string& program, const std::string& unspec) const {
    return "bpf object-pinned " + bpffs_->path() + "/sepal/lab/" + program + " " + unspec;
  }
  // The rule of group 6.
  void answer_on_port() {
    run_here("tc filter add dev port ingress prio 1 protocol all flower skip_hw action " +
             act_bpf("sepal_neigh", "drop") + " action mirred egress redirect dev port");
  }
  void know(const char* target, sepal_answer answer, const char* who, uint16_t vlan = 0) {
    entries_.push_back(
        {make_neighbour_key(IfIndex(::if_nametoindex("port")), Vid(vlan), *IpPrefix::parse_lenient(target)),
         make_neighbour_value(answer, mac(who))});
    auto written = slow_path_->sync_neighbours(entries_);
    ASSERT_TRUE(written) << written.error().message();
  }
  template <typename Condition>
  static bool eventually(const Condition& condition) {
    for (int i = 0; i < 100; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }
  // Packets that the filter with this priority in chain 1 dropped.
  static std::string dropped_in_chain_1(int priority) {
    return shell("tc -s filter show dev port ingress chain 1 prio " + std::to_string(priority) +
                 " | grep -o '[0-9]* pkt' | head -n 1")
        .text;
  }

  pid_t guest_ = -1;
  std::optional<Bpffs> bpffs_;
  std::optional<bpf::SlowPath> slow_path_;
  std::vector<bpf::Neighbour> entries_;
};

TEST_F(Resolver, a_guests_kernel_resolves_neighbours_and_gateway_in_both_families) {
  answer_on_port();
  know("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbourMac);
  know("10.0.0.254", SEPAL_ANSWER_GATEWAY, kGatewayMac);
  know("fd00:100::/64", SEPAL_ANSWER_NEIGHBOUR, kNeighbourMac);
  know("fd00:100::fe", SEPAL_ANSWER_GATEWAY, kGatewayMac);
  run_in_guest("ip link set guest up; ip addr add 10.0.0.1/24 dev guest; ip addr add fd00:100::1/64 dev guest nodad");
  for (const char* target : {"10.0.0.2", "10.0.0.254", "fd00:100::2", "fd00:100::fe"}) {
    in_guest(std::string("ping -c 1 -W 1 ") + target);
  }
  const auto neighbour = [this](const char* target) {
    return in_guest(std::string("ip neigh get dev guest ") + target).text;
  };
  EXPECT_NE(neighbour("10.0.0.2").find(kNeighbourMac), std::string::npos) << neighbour("10.0.0.2");
  EXPECT_NE(neighbour("10.0.0.254").find(kGatewayMac), std::string::npos) << neighbour("10.0.0.254");
  EXPECT_NE(neighbour("fd00:100::2").find(kNeighbourMac), std::string::npos) << neighbour("fd00:100::2");
  EXPECT_EQ(neighbour("fd00:100::2").find("router"), std::string::npos) << "a neighbour is no router";
  EXPECT_NE(neighbour("fd00:100::fe").find(std::string(kGatewayMac) + " router"), std::string::npos)
      << neighbour("fd00:100::fe");
  // And later, when the guest asks again whether its neighbour is still there.
  EXPECT_TRUE(eventually([&] {
    in_guest("ip neigh change fd00:100::2 dev guest lladdr 02:00:00:00:00:0b nud probe");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return neighbour("fd00:100::2").find("REACHABLE") != std::string::npos;
  })) << neighbour("fd00:100::2");
}

TEST_F(Resolver, duplicate_detection_fails_for_a_neighbours_address_and_passes_for_the_guests_own) {
  answer_on_port();
  know("fd00:100::/64", SEPAL_ANSWER_NEIGHBOUR, kNeighbourMac);
  know("fd00:100::1", SEPAL_ANSWER_SILENT, "00:00:00:00:00:00");
  run_in_guest("ip link set guest up; ip addr add fd00:100::1/64 dev guest; ip addr add fd00:100::2/64 dev guest");
  const auto address = [this](const char* flag) {
    return in_guest(std::string("ip -6 addr show dev guest ") + flag).text;
  };
  EXPECT_TRUE(eventually([&] { return address("dadfailed").find("fd00:100::2/64") != std::string::npos; }))
      << address("");
  EXPECT_TRUE(eventually([&] { return address("-tentative").find("fd00:100::1/64") != std::string::npos; }))
      << address("");
  EXPECT_EQ(address("dadfailed").find("fd00:100::1/64"), std::string::npos);
}

TEST_F(Resolver, a_tagged_question_gets_a_tagged_answer) {
  answer_on_port();
  know("10.0.0.0/24", SEPAL_ANSWER_GATEWAY, kGatewayMac, 30);
  know("fd00:100::/64", SEPAL_ANSWER_GATEWAY, kGatewayMac, 30);
  run_in_guest(
      "ip link set guest up; ip link add link guest name tagged type vlan id 30; ip link set tagged up; "
      "ip addr add 10.0.0.1/24 dev tagged; ip addr add fd00:100::1/64 dev tagged nodad");
  for (const char* target : {"10.0.0.2", "fd00:100::2"}) {
    in_guest(std::string("ping -c 1 -W 1 ") + target);
    const std::string neighbour = in_guest(std::string("ip neigh get dev tagged ") + target).text;
    EXPECT_NE(neighbour.find(kGatewayMac), std::string::npos) << neighbour;
  }
}

TEST_F(Resolver, what_the_program_does_not_answer_meets_the_rules_own_verdict) {
  run_here("tc filter add dev port ingress prio 1 protocol arp flower skip_hw action " +
           act_bpf("sepal_neigh", "pass") + " action mirred egress redirect dev port");
  run_here("ip addr add 10.0.0.7/24 dev port; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter");
  know("10.0.0.2", SEPAL_ANSWER_NEIGHBOUR, kNeighbourMac);
  run_in_guest("ip link set guest up; ip addr add 10.0.0.1/24 dev guest");
  in_guest("ping -c 1 -W 1 10.0.0.7");
  const std::string host = shell("ip -br link show port | awk '{print $3}'").text.substr(0, 17);
  EXPECT_NE(in_guest("ip neigh get dev guest 10.0.0.7").text.find(host), std::string::npos)
      << "the host answers for itself where the verdict is pass";
}

TEST_F(Resolver, flowers_hash_key_in_the_next_chain_sees_the_slice_that_was_chosen) {
  const auto address = *IpAddr::parse("203.0.113.10");
  ASSERT_TRUE(slow_path_->sync_slices({{bpf::make_slice_key(address, 1024, 6), bpf::make_slice_value(7)},
                                       {bpf::make_slice_key(address, 2048, 6), bpf::make_slice_value(0x80000009)}}));
  const uint32_t device = ::if_nametoindex("port");
  run_here("tc filter add dev port ingress chain 1 prio 3 protocol ip flower skip_hw action drop");
  ASSERT_EQ(add_hash_filter(device, 7), 0);
  run_here("tc filter add dev port ingress prio 1 protocol ip flower skip_hw ip_proto icmp action " +
           act_bpf("sepal_slice", "drop") + " action goto chain 1");
  run_in_guest(
      "ip link set guest up; ip addr add 198.51.100.1/24 dev guest; ip route add default via 198.51.100.254; "
      "ip neigh add 198.51.100.254 dev guest lladdr 02:00:5e:00:00:01");
  for (const char* id : {"1234", "1235", "2100", "5000"})
    in_guest(std::string("ping -c 1 -W 1 -e ") + id + " 203.0.113.10");
  EXPECT_EQ(dropped_in_chain_1(1), "2 pkt\n") << "ids 1234 and 1235: slice 7";
  EXPECT_EQ(dropped_in_chain_1(3), "1 pkt\n") << "id 2100: another slice; id 5000 never comes here";
}

}  // namespace
}  // namespace sepal::test
