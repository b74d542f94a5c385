#include "agent/next_hops.hpp"

#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

IpAddr ip(const char* text) { return *IpAddr::parse(text); }
const IpAddr kVtep = ip("192.0.2.2");

netlink::Link device(uint32_t index, const std::string& name, const std::string& kind = "") {
  netlink::Link link;
  link.index = IfIndex(index);
  link.name = name;
  link.kind = kind;
  return link;
}

// --- which devices are the NIC's wire

TEST(WhyNotUplink, the_uplink_and_a_vlan_on_it_are_the_nics) {
  std::vector<netlink::Link> links{device(1, "p0"), device(2, "p0.7", "vlan"), device(3, "p0.7.8", "vlan")};
  links[1].lower = IfIndex(1);
  links[1].vlan = Vid(7);
  links[2].lower = IfIndex(2);
  links[2].vlan = Vid(8);
  EXPECT_EQ(why_not_uplink(IfIndex(1), IfIndex(1), links), "");
  EXPECT_EQ(why_not_uplink(IfIndex(2), IfIndex(1), links), "");
  EXPECT_NE(why_not_uplink(IfIndex(3), IfIndex(1), links), "") << "two tags do not fit into an encapsulation";
}

TEST(WhyNotUplink, another_device_is_named_with_the_one_it_should_be) {
  const std::vector<netlink::Link> links{device(1, "p0"), device(2, "eth1")};
  EXPECT_EQ(why_not_uplink(IfIndex(2), IfIndex(1), links),
            "leaves by eth1, which is neither the uplink p0 nor a VLAN or a bond on it");
  EXPECT_NE(why_not_uplink(IfIndex(77), IfIndex(1), links), "");
}

TEST(WhyNotUplink, a_bond_of_the_nics_own_ports_is_the_nics) {
  std::vector<netlink::Link> links{device(1, "p0"), device(2, "p1"), device(3, "bond0", "bond"),
                                   device(4, "bond0.7", "vlan")};
  links[0].phys_switch_id = links[1].phys_switch_id = {1, 2};
  links[0].master = links[1].master = IfIndex(3);
  links[3].lower = IfIndex(3);
  links[3].vlan = Vid(7);
  for (const uint32_t uplink : {1U, 3U}) {
    EXPECT_EQ(why_not_uplink(IfIndex(3), IfIndex(uplink), links), "") << uplink;
    EXPECT_EQ(why_not_uplink(IfIndex(4), IfIndex(uplink), links), "") << uplink;
  }
}

TEST(WhyNotUplink, a_bond_with_a_strangers_port_is_not) {
  std::vector<netlink::Link> links{device(1, "p0"), device(2, "eth1"), device(3, "bond0", "bond")};
  links[0].phys_switch_id = {1, 2};
  links[0].master = links[1].master = IfIndex(3);
  for (const uint32_t uplink : {1U, 3U})
    EXPECT_EQ(why_not_uplink(IfIndex(3), IfIndex(uplink), links),
              "leaves by bond0, whose eth1 is no port of the NIC that p0 is");
  links[1].phys_switch_id = {9, 9};
  EXPECT_NE(why_not_uplink(IfIndex(3), IfIndex(1), links), "");
}

TEST(WhyNotUplink, a_bond_of_plain_devices_is_as_good_as_they_are) {
  std::vector<netlink::Link> links{device(1, "veth0", "veth"), device(2, "veth1", "veth"), device(3, "bond0", "bond")};
  links[0].master = links[1].master = IfIndex(3);
  EXPECT_EQ(why_not_uplink(IfIndex(3), IfIndex(3), links), "");
}

// --- found in a kernel

class Ways : public AgentTest {};

TEST_F(Ways, a_next_hop_without_a_mac_address_is_the_slow_path) {
  const config::Config config = usual_config();
  auto links = netlink::list_links(kernel_);
  std::vector<std::string> problems;
  auto ways = find_ways(kernel_, config, *links, problems);
  ASSERT_TRUE(ways);
  ASSERT_EQ(ways->size(), 1U);
  EXPECT_EQ(find_status(kernel_, ways->front())->state, WayState::slow_path);
  const MacAddr mac{{2, 0, 0, 0, 0, 9}};
  kernel_.neighbours[{device_index("uplink"), kVtep}] = {mac, true};
  auto status = find_status(kernel_, ways->front());
  EXPECT_EQ(status->state, WayState::fast);
  EXPECT_EQ(status->mac, mac);
  ways->front().keep_out = "leaves by eth1";
  EXPECT_EQ(find_status(kernel_, ways->front())->state, WayState::kept_out);
}

}  // namespace
}  // namespace sepal::agent
