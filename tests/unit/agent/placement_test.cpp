// Where a rule is and why: each finding on its own, with devices, kernels and refusals made up.
#include "agent/placement.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <sstream>

#include "tc/rule/build.hpp"

namespace sepal::agent {
namespace {

constexpr IfIndex kPort{5};
constexpr IfIndex kUplink{2};
constexpr IfIndex kVxlan{3};

HardwareView nic() {
  HardwareView view;
  view.nic_named = true;
  view.uplink = kUplink;
  view.vxlan = kVxlan;
  view.devices[kPort] = {"pf0vf0", true, {true, true}};
  view.devices[kUplink] = {"uplink", true, {true, true}};
  view.devices[kVxlan] = {"sepal-vxlan", false, {}};
  return view;
}

tc::Rule rule_on(IfIndex device) {
  tc::Rule rule;
  rule.id = {device, 0, 1, tc::kEthIpv4, 7};
  rule.spec.match.eth_type(tc::kEthIpv4);
  rule.spec.actions = {tc::goto_chain(0x2000064)};
  return rule;
}

tc::Rule tracking_rule() {
  tc::Rule rule = rule_on(kPort);
  rule.spec.match.ct_state(tc::kCtTrk | tc::kCtEst);
  return rule;
}

tc::RuleState state(bool in_hw, uint32_t count = 0) {
  tc::RuleState state;
  state.in_hw = in_hw;
  state.in_hw_count = count;
  state.cookie = tc::Cookie{tc::Cookie::kLayout, 1, Zone(1), 99};
  return state;
}

Placed placed(const tc::Rule& rule, const tc::RuleState& state, const HardwareView& view) {
  return place(rule, &state, view);
}

TEST(Placement, a_rule_the_nic_holds_is_in_hardware_and_needs_no_reason) {
  const Placed found = placed(rule_on(kPort), state(true, 1), nic());
  EXPECT_EQ(found.placement, Placement::hardware);
  EXPECT_TRUE(found.wanted && found.as_wanted());
  EXPECT_EQ(found.held, 1U);
  EXPECT_EQ(found.expected, 1U);
  EXPECT_EQ(found.why, "");
}

TEST(Placement, a_rule_kept_out_by_design_has_the_pipelines_reason_and_is_as_wanted) {
  tc::Rule rule = rule_on(kPort);
  rule.id.chain = tc::chain_number(tc::Lane::guest, tc::Group::fresh, Vni(100));
  rule.spec.skip_hw = true;
  const Placed found = placed(rule, state(false), nic());
  EXPECT_EQ(found.placement, Placement::software_only);
  EXPECT_EQ(found.cause, Cause::by_design);
  EXPECT_EQ(found.why, "new connections are decided in software");
  EXPECT_TRUE(found.as_wanted() && !found.wanted);
  EXPECT_EQ(found.expected, 0U);
}

TEST(Placement, on_veth_without_a_nic_hardware_is_not_wanted) {
  HardwareView view = nic();
  view.nic_named = false;
  view.devices[kPort] = {"blue-web", false, {}};
  const Placed found = placed(rule_on(kPort), state(false), view);
  EXPECT_EQ(found.placement, Placement::software);
  EXPECT_EQ(found.cause, Cause::no_nic);
  EXPECT_EQ(found.why, "no NIC: blue-web is no port of an eSwitch");
  EXPECT_TRUE(found.as_wanted());
}

TEST(Placement, with_representors_named_by_hand_the_device_tells_what_is_wanted) {
  HardwareView view = nic();
  view.nic_named = false;
  EXPECT_TRUE(placed(rule_on(kPort), state(false), view).wanted);
}

TEST(Placement, a_nic_that_is_not_in_switchdev_mode_is_named_as_the_reason) {
  HardwareView view = nic();
  view.devices[kPort] = {"eth4", false, {true, true}};
  const Placed found = placed(rule_on(kPort), state(false), view);
  EXPECT_EQ(found.cause, Cause::no_port);
  EXPECT_FALSE(found.as_wanted());
  EXPECT_NE(found.why.find("switchdev"), std::string::npos) << found.why;
}

TEST(Placement, offload_switched_off_comes_with_its_cure) {
  HardwareView view = nic();
  view.devices[kPort].offload.on = false;
  const Placed found = placed(rule_on(kPort), state(false), view);
  EXPECT_EQ(found.cause, Cause::offload_off);
  EXPECT_NE(found.why.find("ethtool -K pf0vf0 hw-tc-offload on"), std::string::npos) << found.why;
}

TEST(Placement, a_driver_without_tc_offload_blames_the_kernel_only_when_the_kernel_lacks_its_part) {
  HardwareView view = nic();
  view.devices[kPort].offload = {};
  view.kernel = [] { return KernelParts{true, std::nullopt, std::nullopt}; };
  EXPECT_EQ(placed(rule_on(kPort), state(false), view).why, "the driver of pf0vf0 has no tc offload");
  view.kernel = [] { return KernelParts{false, std::nullopt, std::nullopt}; };
  const Placed found = placed(rule_on(kPort), state(false), view);
  EXPECT_EQ(found.cause, Cause::no_offload);
  EXPECT_NE(found.why.find("NET_TC_SKB_EXT"), std::string::npos) << found.why;
}

TEST(Placement, the_drivers_own_words_come_before_any_guess) {
  HardwareView view = nic();
  view.kernel = [] { return KernelParts{false, std::nullopt, std::nullopt}; };
  view.refusal = [](const tc::RuleId& id, uint64_t content) -> std::optional<DriverRefusal> {
    if (id.handle != 7 || content != 99) return std::nullopt;
    return DriverRefusal{EOPNOTSUPP, "mlx5_core: Unsupported key"};
  };
  const Placed found = placed(tracking_rule(), state(false), view);
  EXPECT_EQ(found.cause, Cause::refused);
  EXPECT_EQ(found.why, "the NIC refused it: Operation not supported: \"mlx5_core: Unsupported key\"");
  ASSERT_TRUE(found.refusal);
  EXPECT_EQ(found.refusal->error, EOPNOTSUPP);
}

TEST(Placement, what_was_said_of_another_content_is_not_said_of_this_one) {
  HardwareView view = nic();
  view.refusal = [](const tc::RuleId&, uint64_t content) -> std::optional<DriverRefusal> {
    return content == 99 ? std::nullopt : std::optional(DriverRefusal{ENOSPC, ""});
  };
  EXPECT_EQ(placed(rule_on(kPort), state(false), view).cause, Cause::untold);
}

TEST(Placement, only_rules_that_track_connections_blame_a_kernel_that_cannot_offload_those) {
  HardwareView view = nic();
  view.kernel = [] { return KernelParts{false, std::nullopt, std::nullopt}; };
  EXPECT_EQ(placed(tracking_rule(), state(false), view).cause, Cause::kernel);
  EXPECT_EQ(placed(rule_on(kPort), state(false), view).cause, Cause::untold);
  view.kernel = [] { return KernelParts{true, true, false}; };
  EXPECT_NE(placed(tracking_rule(), state(false), view).why.find("MLX5_TC_CT"), std::string::npos);
  view.kernel = [] { return KernelParts{true, true, true}; };
  EXPECT_EQ(placed(tracking_rule(), state(false), view).cause, Cause::untold);
}

TEST(Placement, the_kernel_is_not_asked_about_what_is_in_hardware) {
  HardwareView view = nic();
  view.kernel = []() -> KernelParts {
    ADD_FAILURE() << "it is a large file to read";
    return {};
  };
  (void)placed(tracking_rule(), state(true, 1), view);
}

TEST(Placement, a_tunnel_to_an_unresolved_neighbour_is_in_hardware_but_slow) {
  HardwareView view = nic();
  tc::Rule rule = rule_on(kPort);
  rule.spec.actions = {{tc::TunnelSet{IpAddr::v4(192, 0, 2, 1), IpAddr::v4(192, 0, 2, 2), 100, 4789}},
                       {tc::Mirred{kVxlan}}};
  view.unresolved[IpAddr::v4(192, 0, 2, 3)] = "somebody else's neighbour";
  EXPECT_EQ(placed(rule, state(true, 1), view).placement, Placement::hardware);
  view.unresolved[IpAddr::v4(192, 0, 2, 2)] = "192.0.2.2 is not resolved on uplink";
  const Placed found = placed(rule, state(true, 1), view);
  EXPECT_EQ(found.placement, Placement::slow_path);
  EXPECT_EQ(found.cause, Cause::neighbour);
  EXPECT_EQ(found.why, "192.0.2.2 is not resolved on uplink");
  EXPECT_FALSE(found.as_wanted());
}

TEST(Placement, the_tunnels_rules_are_the_uplinks_nics_to_hold) {
  HardwareView view = nic();
  EXPECT_EQ(placed(rule_on(kVxlan), state(true, 2), view).placement, Placement::hardware);
  view.devices[kUplink].offload.on = false;
  EXPECT_NE(placed(rule_on(kVxlan), state(false), view).why.find("hw-tc-offload of uplink is off"), std::string::npos);
}

TEST(Placement, a_rule_that_is_not_there_is_missing_whatever_the_device_is) {
  const Placed found = place(rule_on(kPort), nullptr, nic());
  EXPECT_EQ(found.placement, Placement::missing);
  EXPECT_TRUE(found.wanted && !found.as_wanted());
}

TEST(Placement, every_word_and_every_cause_is_spelled) {
  std::set<std::string_view> words;
  for (int i = 0; i <= static_cast<int>(Placement::other); ++i) words.insert(to_string(static_cast<Placement>(i)));
  EXPECT_EQ(words.size(), static_cast<size_t>(Placement::other) + 1);
  std::set<std::string_view> causes;
  for (int i = 0; i <= static_cast<int>(Cause::absent); ++i) causes.insert(to_string(static_cast<Cause>(i)));
  EXPECT_EQ(causes.size(), static_cast<size_t>(Cause::absent) + 1);
}

TEST(KernelParts, are_told_by_the_functions_of_the_running_kernel) {
  std::istringstream full(
      "0000000000000000 T tc_skb_ext_tc_enable\n0000000000000000 t mlx5e_configure_flower\t[mlx5_core]\n"
      "0000000000000000 t mlx5_tc_ct_init\t[mlx5_core]\n");
  EXPECT_EQ(read_kernel_parts(full), (KernelParts{true, true, true}));
  std::istringstream debian("0000000000000000 T tcf_classify\n0000000000000000 t mlx5e_open\t[mlx5_core]\n");
  EXPECT_EQ(read_kernel_parts(debian), (KernelParts{false, false, false}));
  std::istringstream no_mlx5("ffffffff81000000 T tcf_classify\nffffffff81000000 T tc_skb_ext_tc_enable\n");
  EXPECT_EQ(read_kernel_parts(no_mlx5), (KernelParts{true, std::nullopt, std::nullopt}));
  std::istringstream nothing("");
  EXPECT_EQ(read_kernel_parts(nothing), KernelParts{});
}

}  // namespace
}  // namespace sepal::agent
