// Bring-up of a NIC, planned and carried out on a model: every order, every refusal, every interruption.
#include "agent/nic_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "agent/nic_run.hpp"
#include "tests/support/fake_nic.hpp"

namespace sepal::agent {
namespace {

using netlink::EswitchMode;
using netlink::InlineMode;
using test::FakeNic;
using Steps = std::vector<NicStep>;

const MacAddr kWebMac{{0x02, 0, 0, 0, 0, 0x0a}};
const MacAddr kDbMac{{0x02, 0, 0, 0, 0, 0x0b}};
const NicRunOptions kQuick{
    std::chrono::milliseconds(500), std::chrono::milliseconds(500), std::chrono::milliseconds(300), {}};

// nic: {pci, vfs: COUNT, only: …} and two ports.
config::Config config_of(uint16_t count, std::vector<uint16_t> only = {}) {
  config::Config config;
  config.host.nic.manual_representors = false;
  config.host.nic.pci = "0000:3b:00.0";
  config.host.nic.vfs = count;
  config.host.nic.only = std::move(only);
  config::Tenant tenant;
  tenant.ports = {{.name = "web", .vf = 0, .device = {}, .mac = kWebMac, .addresses = {}, .prefixes = {}, .where = {}},
                  {.name = "db", .vf = 1, .device = {}, .mac = kDbMac, .addresses = {}, .prefixes = {}, .where = {}}};
  config.tenants = {tenant};
  return config;
}

// What survives of a NIC's state when names, indexes and MACs nobody asked for are left out.
NicState essence(NicState state, const NicWanted* wanted = nullptr) {
  if (state.uplink && state.uplink->device) state.uplink->device->index = IfIndex();
  for (auto& [vf, function] : state.functions) function.devices.clear();
  for (auto& [vf, port] : state.representors) {
    if (port.device) {
      port.device->index = IfIndex();
      port.device->name.clear();
    }
    if (wanted == nullptr || !wanted->macs.contains(vf)) port.function_mac.reset();
  }
  return state;
}

class Nic : public testing::Test {
 protected:
  // As `sepalctl nic apply`: the record first, then the run.
  Result<NicOutcome> apply(const config::Config& config) {
    auto now = look_at_rest(nic_, std::chrono::milliseconds(0));
    const NicWanted wanted = wanted_nic(config, *now, record_ ? &*record_ : nullptr);
    auto steps = plan_nic(wanted, *now);
    if (!steps) return Unexpected(steps.error());
    if (!steps->empty()) record_ = remember(*now, wanted, "boot", record_ ? &*record_ : nullptr);
    return run_nic(
        nic_,
        [&](const NicState& state) {
          return plan_nic(wanted_nic(config, state, record_ ? &*record_ : nullptr), state);
        },
        kQuick);
  }
  Result<NicOutcome> reset() {
    return run_nic(nic_, [&](const NicState& state) { return plan_nic_reset(*record_, state); }, kQuick);
  }
  Steps plan(const config::Config& config) {
    auto steps = plan_nic(wanted_nic(config, nic_.state, record_ ? &*record_ : nullptr), nic_.state);
    EXPECT_TRUE(steps) << steps.error().message();
    return steps ? *steps : Steps{};
  }
  Error refusal(const config::Config& config) {
    auto steps = plan_nic(wanted_nic(config, nic_.state, record_ ? &*record_ : nullptr), nic_.state);
    EXPECT_FALSE(steps);
    return steps ? Error{} : steps.error();
  }
  void expect_brought_up(uint16_t count) {
    EXPECT_TRUE(nic_.state.switchdev());
    EXPECT_EQ(nic_.state.count, count);
    EXPECT_EQ(nic_.state.functions.size(), count);
    EXPECT_EQ(nic_.state.representors.size(), count);
    EXPECT_TRUE(nic_.state.uplink->device->up && nic_.state.uplink->device->offload.on);
    for (const auto& [vf, port] : nic_.state.representors) {
      EXPECT_TRUE(port.device && port.device->up && port.device->offload.on) << "VF " << vf;
      EXPECT_EQ(nic_.state.functions.at(vf).driver, "mlx5_core") << "VF " << vf;
    }
    EXPECT_EQ(nic_.state.representors.at(0).function_mac, kWebMac);
    EXPECT_EQ(nic_.guest_macs.at(1), kDbMac) << "the driver bound before the MAC was there";
    EXPECT_EQ(nic_.disturbed, std::vector<std::string>{});
  }

  FakeNic nic_;
  std::optional<NicRecord> record_;
};

TEST_F(Nic, the_steps_of_a_bare_nic_are_in_the_drivers_order) {
  const Steps wanted{SetParam{std::string(kSteeringParam), std::string("smfs")},
                     SetAutoprobe{false},
                     SetVfCount{2},
                     SetMode{EswitchMode::switchdev},
                     SetVfMac{0, kWebMac},
                     SetVfMac{1, kDbMac},
                     SetTcOffload{std::nullopt, true},
                     SetPortUp{std::nullopt, true},
                     SetTcOffload{0, true},
                     SetPortUp{0, true},
                     SetTcOffload{1, true},
                     SetPortUp{1, true},
                     SetAutoprobe{true},
                     BindVf{0},
                     BindVf{1}};
  EXPECT_EQ(plan(config_of(2)), wanted);
  ASSERT_TRUE(apply(config_of(2)));
  expect_brought_up(2);
}

TEST_F(Nic, vfs_first_and_switchdev_first_end_alike) {
  std::vector<NicState> ends;
  for (const bool vfs_first : {false, true}) {
    for (const bool switchdev_first : {false, true}) {
      FakeNic fresh;
      nic_ = fresh;
      record_.reset();
      if (vfs_first) nic_.make_functions(4, true);
      if (switchdev_first) {
        for (auto& [vf, function] : nic_.state.functions) function.driver.clear();
        nic_.enter_switchdev();
        nic_.state.params[std::string(kSteeringParam)] = std::string("smfs");
      }
      auto outcome = apply(config_of(4));
      ASSERT_TRUE(outcome) << outcome.error().message();
      expect_brought_up(4);
      const NicWanted wanted = wanted_nic(config_of(4), nic_.state, nullptr);
      ends.push_back(essence(nic_.state, &wanted));
    }
  }
  for (const NicState& end : ends) EXPECT_EQ(end, ends.front());
}

TEST_F(Nic, as_wanted_already_is_no_write) {
  ASSERT_TRUE(apply(config_of(3)));
  const uint64_t before = nic_.writes();
  auto again = apply(config_of(3));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(nic_.writes(), before);
}

TEST_F(Nic, another_number_of_vfs_goes_through_none) {
  nic_.make_functions(3, true);
  const Steps steps = plan(config_of(5));
  const auto zero = std::find(steps.begin(), steps.end(), NicStep(SetVfCount{0}));
  const auto five = std::find(steps.begin(), steps.end(), NicStep(SetVfCount{5}));
  ASSERT_NE(five, steps.end());
  EXPECT_LT(zero, five);
  ASSERT_TRUE(apply(config_of(5)));
  expect_brought_up(5);
}

TEST_F(Nic, representors_that_come_late_are_waited_for) {
  nic_.late = 3;
  nic_.autoprobe_is_late = true;
  auto outcome = apply(config_of(4));
  ASSERT_TRUE(outcome) << outcome.error().message();
  expect_brought_up(4);
}

TEST_F(Nic, representors_that_never_come_are_an_error_that_says_so) {
  nic_.late = 1'000'000'000;
  nic_.make_functions(2, false);
  struct Endless : FakeNic {
    Result<bool> wait(Clock::time_point until) override { return Clock::now() < until; }
  } endless;
  static_cast<FakeNic&>(endless) = nic_;
  auto outcome =
      run_nic(endless, [&](const NicState& state) { return plan_nic(wanted_nic(config_of(2), state, nullptr), state); },
              {std::chrono::milliseconds(0), std::chrono::milliseconds(50), std::chrono::milliseconds(50), {}});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::transient);
  EXPECT_NE(outcome.error().message().find("did not come within"), std::string::npos);
}

TEST_F(Nic, a_busy_eswitch_gets_time_and_then_its_own_words_are_told) {
  nic_.busy = 2;
  ASSERT_TRUE(apply(config_of(2)));
  FakeNic fresh;
  nic_ = fresh;
  nic_.busy = 1'000'000'000;
  auto outcome = apply(config_of(2));
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error().message().find("kernel says: mlx5_core: Can't change mode, E-Switch is busy"),
            std::string::npos)
      << outcome.error().message();
}

TEST_F(Nic, what_it_can_do_without_is_a_remark) {
  nic_.make_functions(2, false);
  nic_.enter_switchdev();
  nic_.state.eswitch.encap = false;
  nic_.encap_refused = true;
  auto outcome = apply(config_of(2));
  ASSERT_TRUE(outcome) << outcome.error().message();
  ASSERT_EQ(outcome->remarks.size(), 1U);
  EXPECT_EQ(outcome->remarks[0].step, NicStep(SetEncap{true}));
  EXPECT_EQ(outcome->remarks[0].error.ext_ack, "mlx5_core: Can't set encapsulation when flows are configured");
}

TEST_F(Nic, a_nic_that_agrees_and_does_nothing_is_caught) {
  nic_.deaf_uplink = true;
  auto outcome = apply(config_of(2));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message(), "NIC 0000:3b:00.0 did not do what it agreed to: set the uplink up");
}

TEST_F(Nic, inline_mode_is_raised_only_where_the_nic_has_a_minimum) {
  nic_.make_functions(1, false);
  nic_.enter_switchdev();
  EXPECT_EQ(nic_.state.eswitch.inline_mode, InlineMode::none);
  Steps steps = plan(config_of(1));
  EXPECT_TRUE(
      std::none_of(steps.begin(), steps.end(), [](const auto& s) { return std::holds_alternative<SetInline>(s); }));
  nic_.state.eswitch.inline_mode = InlineMode::link;
  steps = plan(config_of(1));
  EXPECT_EQ(std::count(steps.begin(), steps.end(), NicStep(SetInline{InlineMode::transport})), 1);
}

TEST_F(Nic, a_newer_steering_mode_stays) {
  nic_.state.params[std::string(kSteeringParam)] = std::string("hmfs");
  const Steps steps = plan(config_of(1));
  EXPECT_FALSE(std::holds_alternative<SetParam>(steps.front())) << to_string(steps.front());
}

TEST_F(Nic, vfs_that_were_found_without_driver_stay_without_where_the_host_probes_none) {
  nic_.state.autoprobe = false;
  ASSERT_TRUE(apply(config_of(2)));
  EXPECT_FALSE(nic_.state.autoprobe);
  EXPECT_EQ(nic_.state.functions.at(0).driver, "");
  EXPECT_TRUE(nic_.state.representors.at(0).device->up);
}

TEST_F(Nic, vfs_that_had_a_driver_get_it_back_where_the_host_probes_none) {
  nic_.make_functions(3, true);
  nic_.state.functions.at(2).driver.clear();
  nic_.state.functions.at(2).devices.clear();
  nic_.state.autoprobe = false;
  ASSERT_TRUE(apply(config_of(3)));
  EXPECT_FALSE(nic_.state.autoprobe);
  EXPECT_EQ(nic_.state.functions.at(1).driver, "mlx5_core");
  EXPECT_EQ(nic_.state.functions.at(2).driver, "");
}

// --- refusals

TEST_F(Nic, every_vf_in_use_is_named_with_its_user_and_nothing_is_touched) {
  nic_.make_functions(6, true);
  nic_.hand_to(1, "vfio-pci");
  nic_.hand_to(2, "mlx5_core");  // its netdev is in a guest's namespace
  nic_.state.functions.at(3).devices[0].up = true;
  nic_.state.functions.at(4).devices[0].enslaved = true;
  nic_.state.functions.at(5).devices[0].has_address = true;
  const std::string up = nic_.state.functions.at(3).devices[0].name;
  const std::string slave = nic_.state.functions.at(4).devices[0].name;
  const std::string addressed = nic_.state.functions.at(5).devices[0].name;
  const Error error = refusal(config_of(6));
  EXPECT_EQ(error.code, Errc::conflict);
  EXPECT_EQ(error.message(),
            "NIC 0000:3b:00.0 must be free to change its mode: VF 1 (0000:3b:00.3) is bound to vfio-pci; "
            "VF 2 (0000:3b:00.4) is in another network namespace (its driver is bound, and no netdev of it is here); "
            "VF 3 (0000:3b:00.5) is in use: " +
                up +
                " is up; "
                "VF 4 (0000:3b:00.6) is in use: " +
                slave +
                " belongs to a bridge or bond; "
                "VF 5 (0000:3b:00.7) is in use: " +
                addressed +
                " has an address; "
                "stop who uses them, or take a moment when nobody does");
  EXPECT_FALSE(apply(config_of(6)));
  EXPECT_EQ(nic_.writes(), 0U);
}

TEST_F(Nic, a_vf_in_use_does_not_hinder_what_leaves_it_alone) {
  ASSERT_TRUE(apply(config_of(3)));
  nic_.hand_to(0, "vfio-pci");
  nic_.hand_to(2, "mlx5_core");
  nic_.state.representors.at(1).device->up = false;
  nic_.state.uplink->device->offload.on = false;
  EXPECT_EQ(plan(config_of(3)), (Steps{SetTcOffload{std::nullopt, true}, SetPortUp{1, true}}));
}

// --- back into service

TEST_F(Nic, that_fell_back_to_legacy_mode_comes_back_with_its_vfs_in_their_guests_hands) {
  ASSERT_TRUE(apply(config_of(3)));
  record_->ready = true;
  nic_.hand_to(0, "vfio-pci");
  nic_.hand_to(2, "mlx5_core");
  nic_.fall_back();
  const Steps steps = plan(config_of(3));
  EXPECT_NE(std::find(steps.begin(), steps.end(), NicStep(SetMode{EswitchMode::switchdev})), steps.end());
  for (const NicStep& step : steps) {
    if (const auto* unbind = std::get_if<UnbindVf>(&step)) {
      EXPECT_EQ(unbind->vf, 1) << "the one that nobody uses";
    }
  }
  ASSERT_TRUE(apply(config_of(3)));
  EXPECT_TRUE(nic_.state.switchdev());
  EXPECT_EQ(nic_.state.functions.at(0).driver, "vfio-pci");
  EXPECT_EQ(nic_.guest_macs.at(1), kDbMac);
  for (const auto& [vf, port] : nic_.state.representors) EXPECT_TRUE(port.device && port.device->up) << "VF " << vf;
}

TEST_F(Nic, that_fell_back_and_was_interrupted_is_brought_back_by_the_next_run) {
  ASSERT_TRUE(apply(config_of(3)));
  record_->ready = true;
  nic_.hand_to(0, "vfio-pci");
  nic_.fall_back();
  nic_.killed_at = nic_.writes() + 1;  // the mode is back, the VFs' MACs are not
  nic_.killed_after_effect = true;
  ASSERT_FALSE(apply(config_of(3)));
  nic_.killed_at.reset();
  ASSERT_TRUE(apply(config_of(3)));
  EXPECT_TRUE(nic_.state.switchdev());
  EXPECT_EQ(nic_.state.functions.at(0).driver, "vfio-pci");
  EXPECT_EQ(nic_.state.representors.at(0).function_mac, kWebMac);
}

TEST_F(Nic, whose_bring_up_was_never_complete_did_not_fall_back) {
  nic_.make_functions(3, true);
  ASSERT_TRUE(apply(config_of(3)));
  nic_.hand_to(0, "vfio-pci");
  nic_.fall_back();
  EXPECT_NE(refusal(config_of(3)).message().find("to change its mode: VF 0"), std::string::npos);
}

TEST_F(Nic, that_fell_back_does_not_get_another_number_of_vfs_under_a_guest) {
  ASSERT_TRUE(apply(config_of(3)));
  record_->ready = true;
  nic_.hand_to(0, "vfio-pci");
  nic_.fall_back();
  EXPECT_NE(refusal(config_of(4)).message().find("to change its number of VFs from 3: VF 0"), std::string::npos);
}

TEST_F(Nic, the_number_of_vfs_is_not_changed_under_a_guest) {
  ASSERT_TRUE(apply(config_of(3)));
  nic_.hand_to(0, "vfio-pci");
  EXPECT_NE(refusal(config_of(4)).message().find("to change its number of VFs from 3: VF 0"), std::string::npos);
}

TEST_F(Nic, a_guest_with_another_mac_is_named_and_an_idle_vf_is_bound_anew) {
  ASSERT_TRUE(apply(config_of(2)));
  nic_.state.representors.at(0).function_mac = kDbMac;
  EXPECT_EQ(plan(config_of(2)), (Steps{UnbindVf{0, "mlx5_core"}, SetVfMac{0, kWebMac}, BindVf{0}}));
  nic_.hand_to(0, "vfio-pci");
  const std::string text = refusal(config_of(2)).message();
  EXPECT_NE(text.find("VF 0 (0000:3b:00.2) is bound to vfio-pci and its MAC is not 02:00:00:00:00:0a"),
            std::string::npos)
      << text;
}

TEST_F(Nic, more_vfs_than_the_firmware_allows_are_unsupported) {
  const Error error = refusal(config_of(9));
  EXPECT_EQ(error.code, Errc::unsupported);
  EXPECT_NE(error.message().find("at most 8 VFs"), std::string::npos);
}

TEST_F(Nic, a_function_without_driver_or_eswitch_is_refused) {
  nic_.state.eswitch.mode.reset();
  EXPECT_EQ(refusal(config_of(2)).code, Errc::unsupported);
  nic_.state.driver.clear();
  EXPECT_EQ(refusal(config_of(2)).code, Errc::not_found);
}

// --- a NIC that is shared

TEST_F(Nic, only_the_vfs_given_are_touched) {
  nic_.make_functions(4, false);
  nic_.enter_switchdev();
  for (const uint16_t vf : std::set<uint16_t>{2, 3}) (void)nic_.perform(BindVf{vf});
  nic_.written.clear();
  nic_.used = {2, 3};
  const NicState before = nic_.state;
  ASSERT_TRUE(apply(config_of(8, {0, 1})));
  EXPECT_EQ(nic_.state.count, 4);
  for (const uint16_t vf : std::set<uint16_t>{2, 3}) {
    EXPECT_EQ(nic_.state.functions.at(vf), before.functions.at(vf));
    EXPECT_EQ(nic_.state.representors.at(vf), before.representors.at(vf));
  }
  EXPECT_EQ(nic_.state.functions.at(0).driver, "mlx5_core");
  EXPECT_TRUE(nic_.state.representors.at(1).device->up);
  EXPECT_EQ(nic_.disturbed, std::vector<std::string>{});
  ASSERT_TRUE(reset());
  EXPECT_EQ(nic_.state.functions.at(0).driver, "");
  EXPECT_EQ(nic_.state.functions.at(3), before.functions.at(3));
  EXPECT_EQ(nic_.disturbed, std::vector<std::string>{});
}

TEST_F(Nic, the_mode_is_not_changed_under_others_vfs) {
  nic_.make_functions(4, true);
  const std::string text = refusal(config_of(8, {0, 1})).message();
  EXPECT_NE(text.find("VF 2 (0000:3b:00.4) is not ours (nic.only), and bound to mlx5_core"), std::string::npos) << text;
  EXPECT_EQ(text.find("VF 0 "), std::string::npos) << "idle VFs of ours are no obstacle: " << text;
}

TEST_F(Nic, vfs_that_others_did_not_make_are_missed) {
  nic_.make_functions(2, false);
  EXPECT_EQ(refusal(config_of(8, {1, 2})).code, Errc::not_found);
}

// --- back

TEST_F(Nic, reset_puts_back_what_was_found) {
  nic_.make_functions(2, true);
  const NicState before = nic_.state;
  ASSERT_TRUE(apply(config_of(6)));
  expect_brought_up(6);
  auto outcome = reset();
  ASSERT_TRUE(outcome) << outcome.error().message();
  EXPECT_EQ(essence(nic_.state), essence(before));
  EXPECT_EQ(nic_.disturbed, std::vector<std::string>{});
}

TEST_F(Nic, reset_does_not_take_a_vf_from_a_guest) {
  ASSERT_TRUE(apply(config_of(2)));
  nic_.hand_to(1, "vfio-pci");
  auto outcome = reset();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::conflict);
  EXPECT_NE(outcome.error().message().find("VF 1 (0000:3b:00.3) is bound to vfio-pci"), std::string::npos);
}

// --- properties

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
