// Bring-up of a NIC, planned and carried out on a model: every order, every refusal, every interruption.
#include "tests/unit/agent/nic_plan_fixture.hpp"

namespace sepal::agent {
namespace {

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

}  // namespace
}  // namespace sepal::agent
