// What is not in hardware: found in a look, named, kept in a file.
#include "agent/hardware.hpp"

#include <linux/pkt_cls.h>

#include <cerrno>
#include <fstream>

#include "agent/hardware_question.hpp"
#include "tc/rule/build.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

class HardwareTest : public AgentTest {
 protected:
  // The devices become ports of one eSwitch.
  void make_nic() {
    for (auto& [index, link] : kernel_.links)
      if (link.kind != "vxlan") link.phys_switch_id = {0x5e, 0x01};
  }
  World look_now(const config::Config& config) {
    Kernel now = kernel();
    auto world = look(now, {&config, paths_.instance});
    EXPECT_TRUE(world.has_value()) << world.error().message();
    return std::move(*world);
  }
};

TEST(Trial, shares_nothing_may_be_in_hardware_and_jumps_forward_as_every_nic_can) {
  tc::Rule rule;
  rule.id.chain = 100;
  rule.spec = {tc::Match(), {tc::csum(1), tc::goto_chain(200)}, true};
  rule.spec.actions.front().shared = true;
  const tc::Rule trial = trial_of(rule, kSpareChain);
  EXPECT_EQ(trial.id.chain, kSpareChain);
  EXPECT_FALSE(trial.spec.skip_hw);
  EXPECT_EQ(trial.spec.actions, (std::vector<tc::Action>{tc::csum(1), tc::goto_chain(kSpareChain + 1)}));
}

TEST_F(HardwareTest, on_plain_devices_nothing_is_missed) {
  const config::Config config = usual_config();
  apply(config);
  const World world = look_now(config);
  EXPECT_TRUE(world.offload.empty());
  EXPECT_TRUE(not_in_hardware(world).empty());
  EXPECT_EQ(world.card, "");
}

TEST_F(HardwareTest, a_port_of_another_eswitch_is_a_plain_device) {
  make_nic();
  kernel_.links.at(device_index("green-web")).phys_switch_id = {0x5e, 0x02};
  const config::Config config = usual_config();
  apply(config);
  const World world = look_now(config);
  EXPECT_TRUE(world.offload.contains(device_index("blue-web")));
  EXPECT_TRUE(world.offload.contains(world.facts.vxlan));
  EXPECT_FALSE(world.offload.contains(device_index("green-web")));
  EXPECT_NE(world.card, "");
}

TEST_F(HardwareTest, a_rule_the_nic_refused_is_found_by_a_look_and_those_kept_out_by_us_are_not) {
  make_nic();
  const IfIndex device = device_index("blue-web");
  const uint32_t routes = tc::chain_number(tc::Lane::guest, tc::Group::encap, Vni(100));
  const config::Config config = usual_config();
  apply(config);
  for (auto& [place, filter] : kernel_.filters)
    if (place.device == device && place.chain == routes && filter.hardware != 0)
      filter.hardware = TCA_CLS_FLAGS_NOT_IN_HW;
  const World world = look_now(config);
  size_t in_hardware = 0;
  for (const tc::Observed& rule : world.observed) in_hardware += rule.in_hw ? 1 : 0;
  EXPECT_GT(in_hardware, 10U);
  EXPECT_FALSE(not_in_hardware(world).empty());
  for (const size_t index : not_in_hardware(world)) {
    EXPECT_EQ(world.observed[index].id.device, device);
    EXPECT_EQ(world.observed[index].id.chain, routes);
  }
}

TEST_F(HardwareTest, a_rule_leaves_hardware_with_its_ports_block_or_with_its_tenants_part_of_a_wire) {
  const uint32_t chain = tc::chain_number(tc::Lane::guest, tc::Group::nat, Vni(7));
  const tc::RuleId deep{IfIndex(5), chain, 1, 1, 1};
  const tc::RuleId first{IfIndex(5), 0, 1, 1, 1};
  EXPECT_EQ(unit_of(deep, {tc::BlockKind::port, tc::Group::nat, Vni(7)}), (tc::HardwareUnit{IfIndex(5), Vni()}));
  EXPECT_EQ(unit_of(deep, {tc::BlockKind::vxlan, tc::Group::nat, Vni(7)}), (tc::HardwareUnit{IfIndex(5), Vni(7)}));
  EXPECT_EQ(unit_of(first, {tc::BlockKind::uplink, tc::Group::decap, Vni(7)}), (tc::HardwareUnit{IfIndex(5), Vni(7)}));
  EXPECT_EQ(unit_of(first, {tc::BlockKind::uplink, tc::Group::decap, Vni()}), (tc::HardwareUnit{IfIndex(5), Vni()}));
}

HardwareState some_state() {
  HardwareState state;
  state.card = "5e01/2/6.12.0";
  state.capacity = 4321;
  const HardwareRefusal refusal{{IfIndex(0x12), 0x3000064, 7, 0x0800, 0x77},
                                0xfedcba9876543210U,
                                RefusalCause::unsupported,
                                EOPNOTSUPP,
                                "mlx5_core: Unsupported key  (twice)"};
  state.refusals[refusal.id] = refusal;
  state.refusals[{IfIndex(3), 0, 1, 3, 4}] = {{IfIndex(3), 0, 1, 3, 4}, 9, RefusalCause::unclear, 0, ""};
  state.units[{IfIndex(0x12), Vni(100)}] = {tc::Demotion::punted, refusal,
                                            std::chrono::system_clock::time_point(std::chrono::seconds(1'700'000'000)),
                                            3, 120};
  state.refusals.begin()->second.harmless = true;
  return state;
}

TEST_F(HardwareTest, the_file_gives_back_what_was_saved) {
  const HardwareState state = some_state();
  ASSERT_TRUE(save_hardware(paths_.hardware, state));
  EXPECT_TRUE(load_hardware(paths_.hardware) == state);
}

TEST_F(HardwareTest, a_missing_or_damaged_file_is_an_empty_state) {
  EXPECT_TRUE(load_hardware(paths_.hardware) == HardwareState());
  ASSERT_TRUE(save_hardware(paths_.hardware, some_state()));
  std::ifstream in(paths_.hardware);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  for (size_t size = 0; size + 40 < whole.size(); size += 7) {
    std::ofstream(paths_.hardware, std::ios::trunc) << whole.substr(0, size);
    const HardwareState read = load_hardware(paths_.hardware);
    EXPECT_LE(read.units.size(), 1U);  // and the sanitizers are content
  }
  std::ofstream(paths_.hardware, std::ios::trunc) << "sepal-hardware 1\nunit 1 2 9 0 0 1 0 1 1 1 1 0 0 \n";
  EXPECT_TRUE(load_hardware(paths_.hardware) == HardwareState());
}

TEST(Hardware, an_errno_tells_what_would_help) {
  EXPECT_EQ(cause_of(EBUSY), RefusalCause::busy);
  EXPECT_EQ(cause_of(ENOSPC), RefusalCause::full);
  EXPECT_EQ(cause_of(EOPNOTSUPP), RefusalCause::unsupported);
  EXPECT_EQ(cause_of(EINVAL), RefusalCause::unsupported);
  EXPECT_EQ(cause_of(0), RefusalCause::unclear);
}

}  // namespace
}  // namespace sepal::agent
