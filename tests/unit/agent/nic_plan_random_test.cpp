// What holds of every plan, whatever state a NIC is found in.
#include <algorithm>
#include <random>

#include "tests/unit/agent/nic_plan_fixture.hpp"

namespace sepal::agent {
namespace {

struct World {
  FakeNic nic;
  config::Config config;
};

// Any state a NIC can be found in, and any configuration for it.
World random_world(std::mt19937& random) {
  auto upto = [&random](unsigned n) { return std::uniform_int_distribution<unsigned>(0, n)(random); };
  auto chance = [&upto](unsigned percent) { return upto(99) < percent; };
  World world;
  FakeNic& nic = world.nic;
  nic.late = upto(2);
  nic.autoprobe_is_late = chance(30);
  nic.busy = upto(1);
  nic.make_functions(static_cast<uint16_t>(upto(4)), false);
  for (auto& [vf, function] : nic.state.functions) {
    if (chance(60)) (void)nic.perform(BindVf{vf});
  }
  nic.state.autoprobe = chance(70);
  if (chance(50)) nic.state.params[std::string(kSteeringParam)] = std::string("smfs");
  if (chance(30)) nic.state.params.erase(std::string(kSteeringParam));
  nic.state.params[std::string(kMetadataParam)] = chance(50);
  if (chance(50)) nic.enter_switchdev();
  while (*nic.wait({})) {
  }
  if (nic.state.switchdev()) {
    nic.state.eswitch.encap = chance(50);
    nic.state.eswitch.inline_mode = static_cast<InlineMode>(upto(3));
  }
  nic.state.uplink->device->up = chance(50);
  nic.state.uplink->device->offload.on = chance(50);
  for (auto& [vf, port] : nic.state.representors) {
    port.device->up = chance(50);
    port.device->offload = {chance(90), chance(50)};
    port.device->offload.on = port.device->offload.on && port.device->offload.possible;
    if (chance(50)) port.function_mac = vf == 0 ? kWebMac : kDbMac;
  }
  for (auto& [vf, function] : nic.state.functions) {
    if (chance(8)) nic.hand_to(vf, chance(50) ? "vfio-pci" : "mlx5_core");
  }
  nic.written.clear();
  nic.disturbed.clear();
  const uint16_t count = chance(50) ? nic.state.count : static_cast<uint16_t>(upto(5));
  world.config = config_of(std::max<uint16_t>(count, 1));
  if (nic.state.count > 1 && chance(30)) world.config = config_of(8, {0, 1});
  return world;
}

class Worlds : public Nic, public testing::WithParamInterface<unsigned> {};

TEST_P(Worlds, a_plan_carried_out_is_complete_and_disturbs_nobody) {
  std::mt19937 random(GetParam());
  World world = random_world(random);
  nic_ = world.nic;
  auto outcome = apply(world.config);
  EXPECT_EQ(nic_.disturbed, std::vector<std::string>{});
  if (!outcome) {
    EXPECT_EQ(outcome.error().code, Errc::conflict) << outcome.error().message();
    EXPECT_EQ(nic_.writes(), 0U);
    return;
  }
  EXPECT_TRUE(outcome->remarks.empty());
  const NicWanted wanted = wanted_nic(world.config, nic_.state, record_ ? &*record_ : nullptr);
  EXPECT_EQ(plan(world.config), Steps{});
  EXPECT_TRUE(nic_.state.switchdev());
  EXPECT_EQ(nic_.state.autoprobe, world.nic.state.autoprobe);
  for (const uint16_t vf : wanted.vfs) {
    EXPECT_TRUE(nic_.state.representors.at(vf).device->up);
    if (wanted.macs.contains(vf)) {
      EXPECT_EQ(nic_.state.representors.at(vf).function_mac, wanted.macs.at(vf));
    }
  }
  if (!record_) return;
  // Idle VFs have what was set for them, and going back ends where it began.
  for (const auto& [vf, mac] : nic_.guest_macs) {
    if (wanted.macs.contains(vf) && wanted.vfs.contains(vf) && !nic_.used.contains(vf)) {
      EXPECT_EQ(mac, nic_.state.representors.at(vf).function_mac) << "VF " << vf;
    }
  }
}

TEST_P(Worlds, stopped_anywhere_the_next_run_ends_in_the_same_state) {
  std::mt19937 random(GetParam());
  const World world = random_world(random);
  nic_ = world.nic;
  auto whole = apply(world.config);
  if (!whole) return;
  const NicWanted wanted = wanted_nic(world.config, nic_.state, record_ ? &*record_ : nullptr);
  const NicState end = essence(nic_.state, &wanted);
  const std::optional<NicRecord> record = record_;
  const uint64_t writes = nic_.writes();
  for (uint64_t at = 0; at < writes; ++at) {
    for (const bool after_effect : {false, true}) {
      nic_ = world.nic;
      record_.reset();
      nic_.killed_at = at;
      nic_.killed_after_effect = after_effect;
      EXPECT_FALSE(apply(world.config));
      nic_.killed_at.reset();
      auto again = apply(world.config);
      ASSERT_TRUE(again) << "stopped at write " << at << ": " << again.error().message();
      EXPECT_EQ(essence(nic_.state, &wanted), end) << "stopped at write " << at << (after_effect ? ", done" : "");
      EXPECT_EQ(record_, record) << "the record is of before the first change";
    }
  }
}

TEST_P(Worlds, going_back_ends_where_it_began_also_when_stopped) {
  std::mt19937 random(GetParam());
  const World world = random_world(random);
  nic_ = world.nic;
  if (!apply(world.config) || !record_) return;
  const FakeNic up = nic_;
  auto back = reset();
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(nic_.disturbed, std::vector<std::string>{});
  EXPECT_EQ(nic_.state.eswitch.mode, world.nic.state.eswitch.mode);
  EXPECT_EQ(nic_.state.count, world.nic.state.count);
  EXPECT_EQ(nic_.state.autoprobe, world.nic.state.autoprobe);
  EXPECT_EQ(nic_.state.uplink, world.nic.state.uplink);
  if (!world.nic.state.switchdev()) {
    EXPECT_EQ(nic_.state.params, world.nic.state.params);
  }
  // VFs made anew have what the kernel gives new ones.
  const bool same_functions = std::none_of(up.written.begin(), up.written.end(), [](const NicStep& step) {
    return std::holds_alternative<SetVfCount>(step);
  });
  if (same_functions) {
    for (const auto& [vf, function] : world.nic.state.functions) {
      EXPECT_EQ(nic_.state.functions.at(vf).driver, function.driver) << "VF " << vf;
    }
  }
  const NicState end = essence(nic_.state);
  const uint64_t writes = nic_.writes() - up.writes();
  for (uint64_t at = 0; at < writes; ++at) {
    nic_ = up;
    nic_.killed_at = up.writes() + at;
    nic_.killed_after_effect = at % 2 == 0;
    EXPECT_FALSE(reset());
    nic_.killed_at.reset();
    auto again = reset();
    ASSERT_TRUE(again) << "stopped at write " << at << ": " << again.error().message();
    EXPECT_EQ(essence(nic_.state), end) << "stopped at write " << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Random, Worlds, testing::Range(1U, 121U));

}  // namespace
}  // namespace sepal::agent
