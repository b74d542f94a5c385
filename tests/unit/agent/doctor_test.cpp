// Every verdict of the doctor, over facts made up.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/doctor/bundle.hpp"
#include "agent/doctor/checks.hpp"
#include "agent/exit_codes.hpp"
#include "config/read.hpp"

namespace sepal::agent::doctor {
namespace {

using netlink::FirewallChain;
using netlink::VxlanState;

config::Config read(const std::string& yaml) {
  auto read = config::read_texts({{"sepal.yaml", yaml}});
  if (read) return std::move(*read);
  for (const auto& fault : read.error()) ADD_FAILURE() << fault.to_string();
  return {};
}

const std::string kTenant =
    "---\napiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 100\nsubnets: [10.0.0.0/24]\nports:\n"
    "  - {name: web, PLACE, mac: \"02:00:00:00:01:01\", addresses: [10.0.0.1]}\n"
    "routes:\n  - {to: 10.0.0.2/32, via: 192.0.2.2}\n";

std::string tenant_at(const std::string& place) {
  std::string text = kTenant;
  return text.replace(text.find("PLACE"), 5, place);
}

netlink::Link link(uint32_t index, const std::string& name, uint32_t mtu) {
  netlink::Link made;
  made.index = IfIndex(index);
  made.name = name;
  made.mtu = mtu;
  made.up = made.running = true;
  return made;
}

NicDevice device(uint32_t index, const std::string& name) { return {IfIndex(index), name, true, {true, true}}; }

// A host where all is well: a ConnectX in switchdev mode on a kernel that offloads.
Facts good() {
  Facts facts;
  facts.kernel = "6.12.9";
  facts.options.source = "/boot/config-6.12.9";
  for (const char* option : {"NET_SCH_INGRESS",    "NET_CLS_FLOWER",       "NET_CLS_ACT",
                             "NET_ACT_GACT",       "NET_ACT_MIRRED",       "NET_ACT_PEDIT",
                             "NET_ACT_CSUM",       "NET_ACT_CT",           "NET_ACT_TUNNEL_KEY",
                             "NET_ACT_VLAN",       "NET_ACT_POLICE",       "NET_ACT_SKBEDIT",
                             "NET_ACT_BPF",        "BPF_SYSCALL",          "NF_CONNTRACK",
                             "NF_CONNTRACK_ZONES", "NF_CONNTRACK_MARK",    "NF_NAT",
                             "NF_FLOW_TABLE",      "NF_FLOW_TABLE_PROCFS", "VXLAN",
                             "NET_TC_SKB_EXT",     "MLX5_ESWITCH",         "MLX5_CLS_ACT",
                             "MLX5_TC_CT"})
    facts.options.settings[option] = 'y';
  facts.directory = "/etc/sepal";
  facts.config = read(
      "apiVersion: sepal/v1\nkind: Host\nnic: {pci: \"0000:3b:00.0\", vfs: 2}\n"
      "underlay: {device: uplink, address: 192.0.2.1, mtu: 1600}\n" +
      tenant_at("vf: 0"));
  NicState card;
  card.pci = "0000:3b:00.0";
  card.driver = "mlx5_core";
  card.firmware = "22.41.1000";
  card.total = 16;
  card.count = 2;
  card.eswitch = {netlink::EswitchMode::switchdev, netlink::InlineMode::none, true};
  card.params.emplace(kSteeringParam, std::string("smfs"));
  card.params.emplace(kMetadataParam, true);
  card.uplink = NicPort{1, device(2, "uplink"), {}};
  card.representors.emplace(0, NicPort{2, device(4, "rep0"), {}});
  card.representors.emplace(1, NicPort{3, device(5, "rep1"), {}});
  facts.card = card;
  facts.links = {link(2, "uplink", 1600), link(3, "sepal-vxlan", 1550), link(4, "rep0", 1550), link(5, "rep1", 1550)};
  facts.links[1].kind = "vxlan";
  facts.links[1].vxlan = netlink::VxlanAttrs{4789, true, false, true, true};
  facts.ports[{"blue", "web"}] = IfIndex(4);
  facts.vxlan = {VxlanState::ours, IfIndex(3), ""};
  const IpAddr vtep = *IpAddr::parse("192.0.2.2");
  facts.ways = {{vtep, NextHop{IfIndex(2), vtep, {}}, "uplink", 0, {}}};
  facts.way_status[vtep] = {WayState::fast, MacAddr{{2, 0, 0, 0, 0, 2}}};
  facts.sysctls = {{"nf_conntrack_max", "262144"},      {"nf_conntrack_buckets", "262144"},
                   {"nf_flowtable_tcp_timeout", "30"},  {"nf_flowtable_udp_timeout", "30"},
                   {"nf_conntrack_acct", "0"},          {"nf_conntrack_tcp_timeout_established", "432000"},
                   {"nf_conntrack_tcp_be_liberal", "0"}};
  facts.connections = 1000;
  facts.tracked_tunnels = 0;
  facts.firewall.emplace();
  return facts;
}

// What is not ok; the text of each: state, check, what.
std::vector<std::string> complaints(const Facts& facts) {
  std::vector<std::string> lines;
  for (const Finding& finding : examine(facts))
    if (finding.state != State::ok)
      lines.push_back(std::string(to_string(finding.state)) + " " + finding.check + ": " + finding.what);
  return lines;
}

// Exactly one complaint, of that state and check, whose text holds `part`, and a cure (unless unknown).
testing::AssertionResult complains(const Facts& facts, State state, const std::string& check, const std::string& part) {
  std::vector<Finding> found;
  for (const Finding& finding : examine(facts))
    if (finding.state != State::ok) found.push_back(finding);
  auto result = testing::AssertionFailure();
  for (const std::string& line : complaints(facts)) result << line << "\n";
  if (found.size() != 1 || found[0].state != state || found[0].check != check) return result << "(count or kind)";
  if (found[0].what.find(part) == std::string::npos) return result << "(text)";
  if (found[0].cure.empty() && state != State::unknown && state != State::warn) return result << "(no cure)";
  return testing::AssertionSuccess();
}

TEST(Doctor, a_host_where_all_is_well_gives_no_complaint_and_status_zero) {
  const Findings findings = examine(good());
  EXPECT_EQ(complaints(good()), std::vector<std::string>());
  EXPECT_GE(findings.size(), 12U) << "each check says what it saw";
  EXPECT_EQ(exit_status(findings), kExitOk);
}

TEST(Doctor, its_status_is_that_of_the_worst_finding_and_unknown_is_no_fault) {
  EXPECT_EQ(exit_status({{"a", State::unknown, "", ""}}), kExitOk);
  EXPECT_EQ(exit_status({{"a", State::warn, "", ""}, {"b", State::ok, "", ""}}), kExitDifference);
  EXPECT_EQ(exit_status({{"a", State::fail, "", ""}, {"b", State::warn, "", ""}}), kExitUnfit);
}

TEST(DoctorConfig, an_invalid_configuration_is_named_and_the_rest_goes_on) {
  Facts facts = good();
  facts.config.reset();
  facts.faults = 3;
  EXPECT_TRUE(complains(facts, State::fail, "config", "3 faults"));
  facts = good();
  facts.problems = {"list devices: Operation not permitted"};
  EXPECT_TRUE(complains(facts, State::unknown, "gathering", "not permitted"));
}

TEST(DoctorKernel, what_forwarding_needs_is_asked_for_option_by_option) {
  Facts facts = good();
  facts.options.settings.erase("NET_ACT_CT");
  EXPECT_TRUE(complains(facts, State::fail, "kernel", "NET_ACT_CT, which is needed for connections"));
}

TEST(DoctorKernel, without_recirculation_it_says_why_nothing_is_offloaded) {
  Facts facts = good();
  facts.options.settings.erase("NET_TC_SKB_EXT");
  EXPECT_TRUE(complains(facts, State::fail, "kernel", "without mlx5's tc offload"));
  facts.kernel = "6.1.0-31-amd64";
  EXPECT_TRUE(complains(facts, State::fail, "kernel", "begins anew in software"));
}

TEST(DoctorKernel, without_the_drivers_parts_it_names_them) {
  for (const char* option : {"MLX5_ESWITCH", "MLX5_CLS_ACT", "MLX5_TC_CT"}) {
    Facts facts = good();
    facts.options.settings.erase(option);
    EXPECT_TRUE(complains(facts, State::fail, "kernel", option));
  }
  Facts facts = good();
  facts.options.settings.erase("NF_FLOW_TABLE_PROCFS");
  EXPECT_TRUE(complains(facts, State::warn, "kernel", "NF_FLOW_TABLE_PROCFS"));
}

TEST(DoctorKernel, another_drivers_options_and_a_host_without_a_nic_are_not_judged) {
  Facts facts = good();
  facts.options.settings.erase("MLX5_CLS_ACT");
  facts.card->driver = "eswitch_sim";
  EXPECT_TRUE(complains(facts, State::unknown, "nic", "eswitch_sim"));
  facts = good();
  facts.options.settings.erase("NET_TC_SKB_EXT");
  facts.config = read("apiVersion: sepal/v1\nkind: Host\nunderlay: {device: uplink, address: 192.0.2.1, mtu: 1600}\n" +
                      tenant_at("device: rep0"));
  facts.card.reset();
  EXPECT_EQ(complaints(facts), std::vector<std::string>());
}

TEST(DoctorKernel, without_its_configuration_the_kernels_symbols_are_asked) {
  Facts facts = good();
  facts.options = {};
  facts.options.evidence = {{"NET_TC_SKB_EXT", false}};
  const auto lines = complaints(facts);
  const auto has = [&](const std::string& part) {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const std::string& l) { return l.find(part) != std::string::npos; });
  };
  EXPECT_TRUE(has("unknown kernel: 6.12.9: how it was built is not told"));
  EXPECT_TRUE(has("fail kernel: this kernel cannot offload"));
  EXPECT_TRUE(has("unknown kernel: MLX5_CLS_ACT: not told"));
  facts.options.evidence.clear();
  const auto less = complaints(facts);
  EXPECT_NE(std::find(less.begin(), less.end(),
                      "unknown kernel: NET_TC_SKB_EXT, without which nothing is offloaded: not told"),
            less.end());
}

TEST(DoctorCard, a_card_that_is_not_there_or_has_no_driver_fails) {
  Facts facts = good();
  facts.card.reset();
  facts.card_error = "PCI function 0000:3b:00.0 does not exist";
  EXPECT_TRUE(complains(facts, State::fail, "nic", "does not exist"));
  facts = good();
  facts.card->driver.clear();
  facts.card->eswitch = {};
  facts.card->uplink.reset();
  facts.card->representors.clear();
  EXPECT_TRUE(complains(facts, State::fail, "nic", "no driver"));
}

TEST(DoctorCard, its_driver_firmware_and_vfs) {
  Facts facts = good();
  facts.card->firmware.clear();
  EXPECT_TRUE(complains(facts, State::unknown, "nic", "firmware"));
  facts = good();
  facts.card->count = 1;
  EXPECT_TRUE(complains(facts, State::fail, "nic", "has 1 VFs, nic.vfs asks for 2"));
  facts.card->total = 1;
  EXPECT_TRUE(complains(facts, State::fail, "nic", "firmware allows 1"));
}

TEST(DoctorCard, the_eswitchs_modes) {
  Facts facts = good();
  facts.card->eswitch.mode.reset();
  EXPECT_TRUE(complains(facts, State::fail, "eswitch", "no eSwitch"));
  facts = good();
  facts.card->eswitch.mode = netlink::EswitchMode::legacy;
  EXPECT_TRUE(complains(facts, State::fail, "eswitch", "legacy mode"));
  facts = good();
  facts.card->eswitch.inline_mode = netlink::InlineMode::link;
  EXPECT_TRUE(complains(facts, State::fail, "eswitch", "inline mode"));
  facts = good();
  facts.card->eswitch.encap = false;
  EXPECT_TRUE(complains(facts, State::fail, "eswitch", "encap mode is none"));
  facts = good();
  facts.card->params.find(kSteeringParam)->second = std::string("dmfs");
  EXPECT_TRUE(complains(facts, State::warn, "eswitch", "dmfs"));
  facts = good();
  facts.card->params.find(kMetadataParam)->second = false;
  EXPECT_TRUE(complains(facts, State::warn, "eswitch", "port metadata is off"));
}

TEST(DoctorOffload, the_uplink_and_each_representor_of_ours_is_asked_for) {
  Facts facts = good();
  facts.card->uplink->device->offload.on = false;
  EXPECT_TRUE(complains(facts, State::fail, "hw-tc-offload", "uplink uplink: hw-tc-offload is off"));
  facts = good();
  facts.card->representors.at(1).device->offload = {};
  EXPECT_TRUE(complains(facts, State::fail, "hw-tc-offload", "rep1 cannot hand rules"));
  facts = good();
  facts.card->representors.at(0).device->up = false;
  EXPECT_TRUE(complains(facts, State::fail, "nic", "rep0 is down"));
  facts = good();
  facts.card->representors.at(1).device->offload = {};
  facts.config->host.nic.only = {0};
  EXPECT_EQ(complaints(facts), std::vector<std::string>()) << "VF 1 is somebody else's";
}

TEST(DoctorConntrack, room_and_buckets) {
  Facts facts = good();
  facts.connections = 200'000;
  EXPECT_TRUE(complains(facts, State::warn, "conntrack", "200000 connections of at most 262144"));
  facts.connections = 260'000;
  EXPECT_TRUE(complains(facts, State::fail, "conntrack", "new ones are dropped"));
  facts = good();
  facts.sysctls["nf_conntrack_buckets"] = "16384";
  EXPECT_TRUE(complains(facts, State::warn, "conntrack", "16384 hash buckets"));
  facts = good();
  facts.sysctls.clear();
  EXPECT_TRUE(complains(facts, State::unknown, "conntrack", "not loaded"));
}

TEST(DoctorConntrack, timeouts_and_accounting) {
  for (const char* name : {"nf_flowtable_tcp_timeout", "nf_flowtable_udp_timeout"}) {
    Facts facts = good();
    facts.sysctls[name] = "2";
    EXPECT_TRUE(complains(facts, State::warn, "conntrack", name));
  }
  Facts facts = good();
  facts.sysctls["nf_conntrack_tcp_timeout_established"] = "60";
  EXPECT_TRUE(complains(facts, State::warn, "conntrack", "forgotten after 60 s"));
  facts = good();
  facts.sysctls["nf_conntrack_acct"] = "1";
  EXPECT_TRUE(complains(facts, State::warn, "conntrack", "two counters"));
  facts = good();
  facts.sysctls["nf_conntrack_tcp_be_liberal"] = "1";
  EXPECT_EQ(complaints(facts), std::vector<std::string>());
}

TEST(DoctorMtu, every_link_of_the_chain_is_measured_against_the_next) {
  Facts facts = good();
  facts.links[0].mtu = 1500;
  EXPECT_TRUE(complains(facts, State::fail, "mtu", "uplink has MTU 1500, underlay.mtu says 1600"));
  facts = good();
  facts.links[1].mtu = 1450;
  EXPECT_TRUE(complains(facts, State::warn, "mtu", "sepal-vxlan has MTU 1450 instead of 1550"));
  facts = good();
  facts.links[2].mtu = 1500;
  EXPECT_FALSE(complains(facts, State::fail, "mtu", "rep0")) << "nobody named an MTU for guests";
  facts.config->tenants[0].mtu = 1550;
  EXPECT_TRUE(complains(facts, State::fail, "mtu", "rep0 has MTU 1500, its guest may send 1550"));
  facts.config->tenants[0].mtu = 1500;
  EXPECT_EQ(complaints(facts), std::vector<std::string>()) << "the tenant says so itself";
  facts = good();
  facts.ways[0].mtu = 1500;
  EXPECT_TRUE(complains(facts, State::warn, "mtu", "the route to VTEP 192.0.2.2 has MTU 1500"));
}

TEST(DoctorMtu, the_vlan_device_under_the_tunnel_counts_too) {
  Facts facts = good();
  facts.links.push_back(link(9, "uplink.7", 1500));
  facts.ways[0].hop->device = IfIndex(9);
  EXPECT_TRUE(complains(facts, State::fail, "mtu", "uplink.7 has MTU 1500"));
}

TEST(DoctorWays, unresolved_next_hops_other_devices_and_no_way_at_all) {
  Facts facts = good();
  facts.way_status.begin()->second = {WayState::slow_path, {}};
  EXPECT_TRUE(complains(facts, State::warn, "next-hops", "192.0.2.2: the next hop has no MAC address yet"));
  facts = good();
  facts.ways[0].keep_out = "leaves by eth1";
  EXPECT_TRUE(complains(facts, State::warn, "next-hops", "192.0.2.2: leaves by eth1"));
  facts.ways[0].keep_out = "has no way there: no route";
  EXPECT_TRUE(complains(facts, State::fail, "next-hops", "no route"));
}

TEST(DoctorWays, many_of_a_kind_are_one_line) {
  Facts facts = good();
  for (uint8_t i = 10; i < 30; ++i)
    facts.ways.push_back({IpAddr::v4(192, 0, 2, i), {}, {}, 0, "has no way there: no route"});
  EXPECT_TRUE(complains(facts, State::fail, "next-hops", "192.0.2.10, 192.0.2.11, 192.0.2.12 and 17 more"));
}

TEST(DoctorPort, a_second_vxlan_device_or_a_process_on_the_port) {
  Facts facts = good();
  netlink::Link flannel = link(20, "flannel.1", 1450);
  flannel.kind = "vxlan";
  flannel.vxlan = netlink::VxlanAttrs{4789, false, false, false, false};
  facts.links.push_back(flannel);
  EXPECT_TRUE(complains(facts, State::warn, "vxlan-port", "flannel.1"));
  facts.vxlan = {VxlanState::missing, IfIndex(), ""};
  facts.links.erase(facts.links.begin() + 1);
  EXPECT_TRUE(complains(facts, State::fail, "vxlan-port", "ours cannot come up"));
  facts.links.back().vxlan->port = 8472;
  EXPECT_EQ(complaints(facts), std::vector<std::string>()) << "another port is nobody's concern";
  facts = good();
  facts.port_owners = {{0, ""}};
  EXPECT_FALSE(complains(facts, State::fail, "vxlan-port", "held by")) << "the kernel's own";
  facts.port_owners = {{77, "socat"}};
  EXPECT_TRUE(complains(facts, State::fail, "vxlan-port", "socat (pid 77)"));
  facts = good();
  facts.vxlan = {VxlanState::foreign, IfIndex(3), "sepal-vxlan is no vxlan device but dummy"};
  EXPECT_TRUE(complains(facts, State::fail, "vxlan-port", "dummy"));
}

FirewallChain input_chain() {
  return {"inet", "filter", "input", FirewallChain::Hook::input, true, false, false, false};
}

TEST(DoctorFirewall, a_dropping_policy_without_a_rule_for_the_port_or_a_rule_that_drops_it) {
  Facts facts = good();
  facts.firewall = {input_chain()};
  EXPECT_TRUE(complains(facts, State::warn, "firewall", "inet filter input drops by policy"));
  facts.firewall->front().accepts_port = true;
  EXPECT_EQ(complaints(facts), std::vector<std::string>());
  facts.firewall->front().drops_port = true;
  EXPECT_TRUE(complains(facts, State::warn, "firewall", "drops udp dport 4789"));
}

TEST(DoctorFirewall, a_set_old_tables_or_no_answer_is_not_known) {
  Facts facts = good();
  facts.firewall = {input_chain()};
  facts.firewall->front().decides_by_set = true;
  EXPECT_TRUE(complains(facts, State::unknown, "firewall", "set"));
  facts = good();
  facts.legacy_firewall = true;
  EXPECT_TRUE(complains(facts, State::unknown, "firewall", "legacy iptables"));
  facts = good();
  facts.firewall.reset();
  EXPECT_TRUE(complains(facts, State::unknown, "firewall", "cannot be read"));
}

TEST(DoctorFirewall, chains_for_other_packets_are_no_concern) {
  Facts facts = good();
  facts.firewall = {input_chain()};
  facts.firewall->front().hook = FirewallChain::Hook::other;
  EXPECT_EQ(complaints(facts), std::vector<std::string>());
}

TEST(DoctorTracking, tracked_outer_packets_get_the_advice_of_notrack) {
  Facts facts = good();
  facts.tracked_tunnels = 12;
  EXPECT_TRUE(complains(facts, State::warn, "outer-tracking", "12 outer connections"));
  const Findings findings = examine(facts);
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(), [](const Finding& f) {
    return f.check == "outer-tracking" && f.cure.find("udp dport 4789 notrack") != std::string::npos;
  }));
}

TEST(DoctorListeners, they_are_named) {
  Facts facts = good();
  facts.tc_listeners = {{12, "tc"}, {}};
  EXPECT_TRUE(complains(facts, State::warn, "tc-listeners", "tc (pid 12), a process that cannot be seen from here"));
}

TEST(DoctorManagers, who_else_has_the_devices) {
  Facts facts = good();
  facts.managed = {{"rep0", "NetworkManager"}};
  EXPECT_TRUE(complains(facts, State::warn, "managers", "rep0 is managed by NetworkManager"));
  facts.managed = {{"rep0", "systemd-networkd"}};
  EXPECT_TRUE(complains(facts, State::warn, "managers", "systemd-networkd"));
  facts.managed = {{"rep0", "Open vSwitch"}};
  EXPECT_TRUE(complains(facts, State::fail, "managers", "packets go to its bridge"));
  facts = good();
  facts.managers = {"NetworkManager", "ovs-vswitchd"};
  EXPECT_TRUE(complains(facts, State::warn, "managers", "ovs-vswitchd runs"));
}

TEST(DoctorReport, lines_align_and_each_cure_stands_under_its_finding) {
  const Findings findings{{"mtu", State::ok, "fine", ""}, {"next-hops", State::fail, "none", "make one"}};
  EXPECT_EQ(to_lines(findings), (std::vector<std::string>{"ok       mtu        fine", "fail     next-hops  none",
                                                          "                    → make one"}));
  EXPECT_EQ(summary(findings), "1 fail, 0 warn, 0 unknown, 1 ok");
}

}  // namespace
}  // namespace sepal::agent::doctor
