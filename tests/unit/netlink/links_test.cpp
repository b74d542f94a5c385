#include "netlink/links.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "netlink/message.hpp"
#include "tests/support/fake_kernel.hpp"

namespace sepal::netlink {
namespace {

using test::FakeKernel;

TEST(Links, what_the_kernel_shows_is_what_a_link_says) {
  FakeKernel kernel;
  const IfIndex uplink = kernel.add_link("uplink", "");
  const IfIndex vlan = kernel.add_link("uplink.2", "vlan");
  const IfIndex rep = kernel.add_link("pf0vf3", "");
  Link& changed = kernel.links[vlan];
  changed.lower = uplink;
  changed.vlan = Vid(2);
  changed.mtu = 9000;
  changed.up = changed.running = false;
  changed.alias = "storage";
  changed.master = rep;
  kernel.links[rep].phys_port_name = "pf0vf3";
  kernel.links[rep].phys_switch_id = {0xde, 0xad, 0x01};

  auto links = list_links(kernel);
  ASSERT_TRUE(links) << links.error().message();
  ASSERT_EQ(links->size(), 3U);
  const Link& first = (*links)[0];
  EXPECT_EQ(first.index, uplink);
  EXPECT_EQ(first.name, "uplink");
  EXPECT_EQ(first.mac, kernel.links[uplink].mac);
  EXPECT_EQ(first.mtu, 1500U);
  EXPECT_TRUE(first.up);
  EXPECT_TRUE(first.running);
  EXPECT_EQ(first.kind, "");
  EXPECT_EQ(first.vlan, std::nullopt);
  EXPECT_EQ(first.vxlan, std::nullopt);
  EXPECT_EQ(first.alias, "");
  EXPECT_TRUE(first.phys_switch_id.empty());
  const Link& second = (*links)[1];
  EXPECT_EQ(second.kind, "vlan");
  EXPECT_EQ(second.vlan, Vid(2));
  EXPECT_EQ(second.lower, uplink);
  EXPECT_EQ(second.master, rep);
  EXPECT_EQ(second.mtu, 9000U);
  EXPECT_EQ(second.alias, "storage");
  EXPECT_FALSE(second.up);
  const Link& third = (*links)[2];
  EXPECT_EQ(third.phys_port_name, "pf0vf3");
  EXPECT_EQ(third.phys_switch_id, (std::vector<uint8_t>{0xde, 0xad, 0x01}));
}

TEST(Links, an_interrupted_listing_is_repeated_and_nothing_is_shown_twice) {
  FakeKernel kernel;
  kernel.add_link("a");
  kernel.add_link("b");
  kernel.interrupt_dumps = 2;
  auto links = list_links(kernel);
  ASSERT_TRUE(links);
  EXPECT_EQ(links->size(), 2U);
  EXPECT_EQ(kernel.dumps, 3U);
}

TEST(Links, a_listing_that_never_holds_still_is_a_resync) {
  FakeKernel kernel;
  kernel.interrupt_dumps = 1000;
  EXPECT_EQ(list_links(kernel).error().code, Errc::resync);
  EXPECT_LT(kernel.dumps, 20U);
}

TEST(Links, a_device_that_is_not_there_is_not_found) {
  FakeKernel kernel;
  EXPECT_EQ(get_link(kernel, "nowhere").error().code, Errc::not_found);
}

TEST(Links, a_device_set_up_is_up) {
  FakeKernel kernel;
  const IfIndex device = kernel.add_link("a");
  kernel.links[device].up = false;
  ASSERT_TRUE(set_link_up(kernel, device));
  EXPECT_TRUE(kernel.links[device].up);
  EXPECT_EQ(set_link_up(kernel, IfIndex(77)).error().code, Errc::not_found);
}

TEST(Links, addresses_of_both_families_say_whether_they_can_be_used) {
  FakeKernel kernel;
  kernel.addresses = {{IfIndex(4), *IpAddr::parse("192.0.2.1"), 24, true},
                      {IfIndex(5), *IpAddr::parse("fd00::1"), 64, false}};
  auto addresses = list_addresses(kernel);
  ASSERT_TRUE(addresses);
  ASSERT_EQ(addresses->size(), 2U);
  EXPECT_EQ((*addresses)[0].address.to_string(), "192.0.2.1");
  EXPECT_EQ((*addresses)[0].device, IfIndex(4));
  EXPECT_EQ((*addresses)[0].prefix_length, 24);
  EXPECT_TRUE((*addresses)[0].usable);
  EXPECT_EQ((*addresses)[1].address.to_string(), "fd00::1");
  EXPECT_FALSE((*addresses)[1].usable);
}

TEST(Links, devices_with_clsact_are_listed) {
  FakeKernel kernel;
  kernel.clsact = {IfIndex(3), IfIndex(9)};
  EXPECT_EQ(*list_clsact(kernel), kernel.clsact);
}

TEST(Neighbours, a_neighbour_is_asked_for_then_resolved_then_known) {
  FakeKernel kernel;
  const IfIndex device = kernel.add_link("uplink");
  for (const char* text : {"198.51.100.1", "fd00::1"}) {
    const IpAddr gateway = *IpAddr::parse(text);
    auto found = find_neighbour(kernel, device, gateway);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(*found, std::nullopt);

    ASSERT_TRUE(resolve_neighbour(kernel, device, gateway));
    found = find_neighbour(kernel, device, gateway);
    ASSERT_TRUE(found && *found);
    EXPECT_FALSE((*found)->usable);

    const MacAddr mac = *MacAddr::parse("02:12:34:56:78:9a");
    kernel.neighbours[{device, gateway}] = {mac, true};
    found = find_neighbour(kernel, device, gateway);
    ASSERT_TRUE(found && *found);
    EXPECT_TRUE((*found)->usable);
    EXPECT_EQ((*found)->mac, mac);
  }
}

// --- the vxlan device

class Vxlan : public testing::Test {
 protected:
  Link& device() {
    for (auto& [index, link] : kernel_.links) {
      if (link.name == wanted_.name) return link;
    }
    ADD_FAILURE() << "no such device";
    static Link none;
    return none;
  }
  VxlanFinding check() { return check_vxlan(*list_links(kernel_), wanted_); }

  FakeKernel kernel_;
  VxlanWanted wanted_{.name = "sepal-vxlan", .instance = "blue", .port = 4789, .mtu = 8950};
};

TEST_F(Vxlan, a_missing_device_is_made_complete) {
  kernel_.add_link("uplink");
  EXPECT_EQ(check().state, VxlanState::missing);
  auto index = ensure_vxlan(kernel_, wanted_);
  ASSERT_TRUE(index) << index.error().message();
  EXPECT_EQ(device().index, *index);
  EXPECT_EQ(device().kind, "vxlan");
  EXPECT_EQ(device().alias, "sepal:blue");
  EXPECT_EQ(device().mtu, 8950U);
  EXPECT_TRUE(device().up);
  EXPECT_EQ(device().vxlan, (VxlanAttrs{4789, true, false, true, true}));
  EXPECT_EQ(check().state, VxlanState::ours);
  EXPECT_EQ(check().index, *index);
}

TEST_F(Vxlan, a_right_device_is_not_written_to) {
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  const uint64_t before = kernel_.writes();
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  EXPECT_EQ(kernel_.writes(), before);
}

TEST_F(Vxlan, a_device_half_made_by_a_crash_is_finished) {
  kernel_.refuse_write[2] = {ENOMEM, ""};  // made, but never marked and set up
  ASSERT_FALSE(ensure_vxlan(kernel_, wanted_));
  EXPECT_EQ(device().alias, "");
  EXPECT_EQ(check().state, VxlanState::unfinished);
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  EXPECT_EQ(device().alias, "sepal:blue");
  EXPECT_TRUE(device().up);
}

TEST_F(Vxlan, an_mtu_or_a_state_that_was_changed_is_set_again) {
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  device().mtu = 1500;
  EXPECT_EQ(check().state, VxlanState::unfinished);
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  EXPECT_EQ(device().mtu, 8950U);
  device().up = false;
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  EXPECT_TRUE(device().up);
}

TEST_F(Vxlan, a_device_of_another_kind_under_our_name_is_a_conflict_and_stays) {
  const IfIndex other = kernel_.add_link("sepal-vxlan", "dummy");
  kernel_.links[other].alias = "sepal:blue";
  auto made = ensure_vxlan(kernel_, wanted_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::conflict);
  EXPECT_NE(made.error().doing.find("no vxlan device but dummy"), std::string::npos) << made.error().doing;
  EXPECT_EQ(kernel_.writes(), 0U);
  EXPECT_EQ(check().state, VxlanState::foreign);
}

TEST_F(Vxlan, another_instances_device_is_a_conflict_and_is_not_deleted) {
  VxlanWanted others = wanted_;
  others.instance = "green";
  ASSERT_TRUE(ensure_vxlan(kernel_, others));
  auto made = ensure_vxlan(kernel_, wanted_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::conflict);
  EXPECT_NE(made.error().doing.find("sepal:green"), std::string::npos) << made.error().doing;
  auto deleted = delete_vxlan(kernel_, wanted_.name, wanted_.instance);
  ASSERT_FALSE(deleted);
  EXPECT_EQ(deleted.error().code, Errc::conflict);
  EXPECT_EQ(device().alias, "sepal:green");
}

TEST_F(Vxlan, an_unmarked_device_in_use_by_someone_is_not_taken_for_half_made) {
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  device().alias.clear();  // up, and nobody's
  EXPECT_EQ(check().state, VxlanState::foreign);
  device().up = false;
  device().vxlan->port = 8472;  // down, but not as we make it
  EXPECT_EQ(check().state, VxlanState::foreign);
}

TEST_F(Vxlan, our_device_with_another_port_is_a_conflict_that_names_both) {
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  wanted_.port = 8472;
  auto made = ensure_vxlan(kernel_, wanted_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::conflict);
  EXPECT_NE(made.error().doing.find("UDP port 4789 instead of 8472"), std::string::npos) << made.error().doing;
  EXPECT_EQ(check().state, VxlanState::wrong);
}

TEST_F(Vxlan, a_device_without_external_tunnel_keys_or_with_learning_is_wrong) {
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  device().vxlan = VxlanAttrs{4789, false, true, false, true};
  const VxlanFinding finding = check();
  EXPECT_EQ(finding.state, VxlanState::wrong);
  for (const char* part : {"VNI of its own", "learning", "checksums"}) {
    EXPECT_NE(finding.remark.find(part), std::string::npos) << finding.remark;
  }
}

TEST_F(Vxlan, our_device_is_deleted_and_its_absence_is_no_failure) {
  ASSERT_TRUE(ensure_vxlan(kernel_, wanted_));
  EXPECT_TRUE(*delete_vxlan(kernel_, wanted_.name, wanted_.instance));
  EXPECT_TRUE(kernel_.links.empty());
  EXPECT_FALSE(*delete_vxlan(kernel_, wanted_.name, wanted_.instance));
}

TEST_F(Vxlan, a_name_the_kernel_cannot_hold_is_a_fault_of_the_config) {
  wanted_.name = "a-name-of-16-byt";
  EXPECT_EQ(ensure_vxlan(kernel_, wanted_).error().code, Errc::invalid_config);
  wanted_.name = "";
  EXPECT_EQ(ensure_vxlan(kernel_, wanted_).error().code, Errc::invalid_config);
  EXPECT_EQ(kernel_.writes(), 0U);
}

TEST_F(Vxlan, the_kernels_refusal_comes_through_with_its_words) {
  kernel_.refuse_write[1] = {EEXIST, "A VXLAN device with the specified VNI already exists"};
  auto made = ensure_vxlan(kernel_, wanted_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().ext_ack, "A VXLAN device with the specified VNI already exists");
  EXPECT_NE(made.error().doing.find("sepal-vxlan"), std::string::npos);
}

// --- representors

class Representors : public testing::Test {
 protected:
  Representors() : sysfs_(std::filesystem::path(testing::TempDir()) / ("sysfs-" + std::to_string(::getpid()))) {}
  ~Representors() override { std::filesystem::remove_all(sysfs_); }

  void pci_function(const std::string& pci, std::initializer_list<const char*> netdevs) {
    for (const char* name : netdevs)
      std::filesystem::create_directories(sysfs_ / "bus/pci/devices" / pci / "net" / name);
    std::filesystem::create_directories(sysfs_ / "bus/pci/devices" / pci);
  }
  void port(const std::string& name, const std::string& port_name, std::vector<uint8_t> eswitch) {
    Link link;
    link.index = IfIndex(static_cast<uint32_t>(links_.size()) + 1);
    link.name = name;
    link.phys_port_name = port_name;
    link.phys_switch_id = std::move(eswitch);
    links_.push_back(link);
  }

  std::filesystem::path sysfs_;
  std::vector<Link> links_;
};

TEST_F(Representors, are_the_vf_ports_of_the_functions_own_eswitch) {
  pci_function("0000:3b:00.0", {"enp59s0f0np0"});
  port("enp59s0f0np0", "p0", {1, 2});
  port("eth0", "pf0vf0", {1, 2});
  port("eth1", "pf0vf12", {1, 2});
  port("eth2", "pf0vf1", {9, 9});  // another NIC's
  port("eth3", "pf1vf2", {1, 2});  // the other port of the same NIC
  port("eth4", "pf0", {1, 2});     // the host's own function, not a VF
  port("eth5", "", {});
  auto found = find_representors(links_, "0000:3b:00.0", sysfs_);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(*found, (std::map<uint16_t, IfIndex>{{0, IfIndex(2)}, {12, IfIndex(3)}}));
}

TEST_F(Representors, a_controllers_prefix_is_allowed) {
  pci_function("0000:03:00.1", {"p1"});
  port("p1", "p1", {1});
  port("rep", "c1pf1vf7", {1});
  EXPECT_EQ(*find_representors(links_, "0000:03:00.1", sysfs_), (std::map<uint16_t, IfIndex>{{7, IfIndex(2)}}));
}

TEST_F(Representors, representors_beside_the_uplink_in_sysfs_do_not_confuse) {
  pci_function("0000:3b:00.0", {"rep0", "up"});
  port("rep0", "pf0vf0", {1});
  port("up", "p0", {1});
  EXPECT_EQ(*find_representors(links_, "0000:3b:00.0", sysfs_), (std::map<uint16_t, IfIndex>{{0, IfIndex(1)}}));
}

TEST_F(Representors, names_that_only_look_like_vf_ports_are_passed_over) {
  pci_function("0000:3b:00.0", {"up"});
  port("up", "p0", {1});
  for (const char* name : {"pf0vf", "pf0vf1x", "pfvf1", "xpf0vf1", "pf0sf1", "pf0vf99999", "pf0vf-1", "cpf0vf1"}) {
    port(std::string("e") + name, name, {1});
  }
  EXPECT_TRUE(find_representors(links_, "0000:3b:00.0", sysfs_)->empty());
}

TEST_F(Representors, a_function_in_legacy_mode_is_unsupported_and_the_error_says_what_to_do) {
  pci_function("0000:3b:00.0", {"up"});
  port("up", "", {});
  auto found = find_representors(links_, "0000:3b:00.0", sysfs_);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::unsupported);
  EXPECT_NE(found.error().doing.find("devlink dev eswitch set pci/0000:3b:00.0 mode switchdev"), std::string::npos);
}

TEST_F(Representors, a_function_that_is_not_there_or_has_no_netdev_is_not_found) {
  EXPECT_EQ(find_representors(links_, "0000:3b:00.0", sysfs_).error().code, Errc::not_found);
  pci_function("0000:3b:00.0", {"elsewhere"});
  EXPECT_EQ(find_representors(links_, "0000:3b:00.0", sysfs_).error().code, Errc::not_found);
  EXPECT_EQ(find_representors(links_, "../../..", sysfs_).error().code, Errc::not_found);
}

}  // namespace
}  // namespace sepal::netlink
