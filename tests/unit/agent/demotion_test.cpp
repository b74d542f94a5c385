// What happens when the NIC refuses a rule that the kernel took: the unit leaves hardware at once, and comes back when
// its cause allows it.
#include "agent/placement.hpp"
#include "tests/unit/agent/nic_fixture.hpp"

namespace sepal::agent {
namespace {

class DemotionTest : public NicTest {};

TEST_F(DemotionTest, with_a_nic_that_takes_everything_no_rule_is_missing_and_a_second_look_is_quiet) {
  Reconciler reconciler = patient();
  const PassReport report = pass(reconciler, usual_config());
  EXPECT_EQ(missing(), 0U);
  EXPECT_GT(in_hardware("blue-web"), 5U);
  EXPECT_TRUE(report.software.empty());
  EXPECT_TRUE(look(reconciler, usual_config()).quiet);
}

TEST_F(DemotionTest, a_port_with_a_refused_rule_leaves_hardware_whole_and_no_other_does) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  const PassReport report = pass(reconciler, usual_config());
  EXPECT_EQ(in_hardware("blue-web"), 0U);
  EXPECT_EQ(missing(), 0U) << "every rule is in hardware or kept out of it by us";
  EXPECT_GT(in_hardware("blue-app"), 5U);
  EXPECT_GT(in_hardware("green-web"), 5U);
  EXPECT_EQ(trial_rules(), 0U);
  ASSERT_EQ(report.software.size(), 1U);
  const SoftwareUnit& unit = report.software.front();
  EXPECT_EQ(unit.name, "tenant blue, port web");
  EXPECT_EQ(unit.refusal.cause, RefusalCause::unsupported);
  EXPECT_EQ(unit.refusal.sys_errno, EOPNOTSUPP);
  EXPECT_EQ(unit.refusal.words, "mlx5_core: Unsupported key");
  EXPECT_FALSE(unit.next_try.has_value());
  ASSERT_EQ(report.moves.size(), 1U);
  EXPECT_TRUE(report.moves.front().out);
  EXPECT_NE(report.moves.front().text.find("tenant blue, port web goes to software: the NIC cannot: Operation not "
                                           "supported: the NIC says: mlx5_core: Unsupported key; rule: blue-web chain"),
            std::string::npos)
      << report.moves.front().text;
  EXPECT_TRUE(look(reconciler, usual_config()).quiet);
}

TEST_F(DemotionTest, of_the_tunnel_one_tenant_leaves_and_hardware_leads_its_packets_into_software) {
  Reconciler first = patient();
  pass(first, usual_config());
  const IfIndex tunnel = device_index("sepal-vxlan");
  const uint32_t routes = tc::chain_number(tc::Lane::guest, tc::Group::encap, Vni(100));
  pass(first, read_config(kHostYaml + kGreen));
  refuse([&](const tc::Rule& rule) { return rule.id.device == tunnel && rule.id.chain == routes; });
  Reconciler reconciler = patient();
  const PassReport report = pass(reconciler, usual_config());
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_EQ(report.software.front().name, "tenant blue, overlay");
  EXPECT_TRUE(report.software.front().punted);
  EXPECT_EQ(report.software.front().refusal.sys_errno, 0) << "the tunnel's driver never tells";
  EXPECT_EQ(report.software.front().refusal.words, "mlx5_core: Unsupported key");
  EXPECT_EQ(missing(), 0U);
  size_t entrances = 0;
  size_t greens = 0;
  for (const Filter& filter : filters_on("sepal-vxlan")) {
    const Vni vni = tc::parse_chain(filter.rule.id.chain).vni;
    if (filter.state.in_hw) {
      EXPECT_NE(vni, Vni(100)) << tc::to_text(filter.rule);
      greens += vni == Vni(200) ? 1 : 0;
    }
    const tc::KeyMatch* key = filter.rule.spec.match.find(tc::Key::enc_key_id);
    if (filter.rule.id.chain != 0 || key == nullptr || key->value_u32() != 100) continue;
    ++entrances;
    EXPECT_TRUE(filter.state.in_hw);
    const auto* jump = std::get_if<tc::Gact>(&filter.rule.spec.actions.back().kind);
    ASSERT_TRUE(jump != nullptr);
    EXPECT_EQ(tc::parse_chain(jump->verdict.chain).group, tc::Group::punted);
    EXPECT_EQ(filter.rule.spec.actions.size(), 1U);
  }
  EXPECT_EQ(entrances, 6U);
  EXPECT_GT(greens, 3U);
}

TEST_F(DemotionTest, where_even_its_punts_have_no_place_a_tenant_leaves_the_tunnel_with_the_drop_that_all_share) {
  Reconciler first = patient();
  pass(first, usual_config());
  const IfIndex tunnel = device_index("sepal-vxlan");
  pass(first, read_config(kHostYaml + kGreen));
  refuse([&](const tc::Rule& rule) {
    const tc::KeyMatch* key = rule.spec.match.find(tc::Key::enc_key_id);
    return rule.id.device == tunnel && key != nullptr && key->value_u32() == 100;
  });
  Reconciler reconciler = patient();
  const PassReport report = pass(reconciler, usual_config());
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_FALSE(report.software.front().punted);
  EXPECT_EQ(missing(), 0U);
  for (const Filter& filter : filters_on("sepal-vxlan")) {
    const tc::KeyMatch* key = filter.rule.spec.match.find(tc::Key::enc_key_id);
    if (key != nullptr && key->value_u32() == 200 && !filter.rule.spec.skip_hw) {
      EXPECT_TRUE(filter.state.in_hw);
    }
    if (key == nullptr || key->value_u32() == 100) {
      EXPECT_FALSE(filter.state.in_hw) << tc::to_text(filter.rule);
    }
  }
}

TEST_F(DemotionTest, a_refused_drop_that_nothing_worse_meets_takes_nobody_out) {
  refuse([](const tc::Rule& rule) {
    return rule.id.chain == 0 && rule.spec.match.find(tc::Key::enc_key_id) == nullptr &&
           rule.spec.match.find(tc::Key::enc_dst_port) != nullptr;
  });
  Reconciler reconciler = patient();
  PassReport report = pass(reconciler, usual_config());
  EXPECT_TRUE(report.software.empty());
  EXPECT_EQ(missing(), 1U);
  ASSERT_EQ(report.moves.size(), 1U);
  EXPECT_NE(report.moves.front().text.find("does no harm"), std::string::npos) << report.moves.front().text;
  EXPECT_EQ(reconciler.hardware().refusals.size(), 1U);
  EXPECT_TRUE(look(reconciler, usual_config()).quiet);
}

TEST_F(DemotionTest, a_busy_nic_is_asked_again_after_one_second_then_two_and_takes_the_port_back) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); },
         {EBUSY, ""});
  Reconciler reconciler = patient();
  PassReport report = pass(reconciler, usual_config());
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_EQ(report.software.front().refusal.cause, RefusalCause::busy);
  ASSERT_TRUE(reconciler.next_retry().has_value());
  EXPECT_EQ(*reconciler.next_retry() - now_, std::chrono::seconds(1));
  std::vector<int> tries;
  for (int tenths = 1; tenths <= 40; ++tenths) {
    const unsigned before = refused_;
    now_ += std::chrono::milliseconds(100);
    look(reconciler, usual_config());
    if (refused_ != before) tries.push_back(tenths);
  }
  EXPECT_EQ(tries, (std::vector<int>{10, 30}));
  EXPECT_EQ(in_hardware("blue-web"), 0U) << "a trial writes nothing but the trial";

  kernel_.refuse_in_hardware = nullptr;
  now_ += std::chrono::seconds(4);
  report = look(reconciler, usual_config());
  EXPECT_TRUE(report.software.empty());
  EXPECT_GT(in_hardware("blue-web"), 5U);
  EXPECT_EQ(missing(), 0U);
  ASSERT_FALSE(report.moves.empty());
  EXPECT_EQ(report.moves.back().text, "tenant blue, port web is back in hardware");
  EXPECT_FALSE(reconciler.next_retry().has_value());
}

TEST_F(DemotionTest, a_nic_that_is_busy_for_one_rule_keeps_its_port) {
  bool once = false;
  refuse([&](const tc::Rule& rule) {
    if (!is_remote_route(rule) || rule.id.device != device_index("blue-web")) return false;
    return !std::exchange(once, true);
  });
  Reconciler reconciler = patient();
  const PassReport report = pass(reconciler, usual_config());
  EXPECT_TRUE(once);
  EXPECT_TRUE(report.software.empty());
  EXPECT_EQ(missing(), 0U);
}

TEST_F(DemotionTest, what_the_nic_cannot_do_is_not_tried_by_the_clock_but_by_a_reload_which_writes_a_trial_only) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  pass(reconciler, usual_config());
  const uint64_t writes = kernel_.writes();
  for (int hour = 0; hour < 48; ++hour) {
    now_ += std::chrono::hours(1);
    EXPECT_TRUE(look(reconciler, usual_config()).quiet);
  }
  EXPECT_EQ(kernel_.writes(), writes);

  reconciler.forget_back_off();
  PassReport report = pass(reconciler, usual_config());
  EXPECT_EQ(kernel_.writes(), writes + 1) << "the trial was refused, so nothing is to be taken out";
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_FALSE(reconciler.next_retry().has_value());

  kernel_.refuse_in_hardware = nullptr;
  reconciler.forget_back_off();
  report = pass(reconciler, usual_config());
  EXPECT_TRUE(report.software.empty());
  EXPECT_EQ(trial_rules(), 0U);
  EXPECT_EQ(missing(), 0U);
  EXPECT_GT(in_hardware("blue-web"), 5U);
}

TEST_F(DemotionTest, on_its_way_in_a_port_is_not_entered_before_everything_behind_it_is_there) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); },
         {EBUSY, ""});
  Reconciler reconciler = patient();
  pass(reconciler, usual_config());
  // The trial passes, the rule in its own chain does not.
  refuse([this](const tc::Rule& rule) {
    return is_remote_route(rule) && rule.id.device == device_index("blue-web") && rule.id.chain != kSpareChain;
  });
  size_t entered = 0;
  kernel_.before_each_write = [&] {
    for (const auto& [place, filter] : kernel_.filters)
      if (place.device == device_index("blue-web") && place.chain == 0 && filter.hardware != 0) ++entered;
  };
  now_ += std::chrono::seconds(2);
  const PassReport report = look(reconciler, usual_config());
  EXPECT_EQ(entered, 0U);
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_EQ(report.software.front().refusal.cause, RefusalCause::busy) << "refused there, taken in the spare chain";
  EXPECT_EQ(in_hardware("blue-web"), 0U);
  EXPECT_EQ(missing(), 0U);
}

TEST_F(DemotionTest, a_restart_finds_units_in_software_as_they_were_and_writes_nothing) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  {
    Reconciler reconciler = patient();
    pass(reconciler, usual_config());
  }
  const uint64_t writes = kernel_.writes();
  Reconciler again = patient();
  const PassReport report = pass(again, usual_config());
  EXPECT_EQ(kernel_.writes(), writes);
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_EQ(report.software.front().refusal.words, "mlx5_core: Unsupported key");
  Kernel now = kernel();
  auto difference = find_difference(now, usual_config(), paths_);
  ASSERT_TRUE(difference);
  EXPECT_FALSE(difference->any()) << "`sepalctl plan` agrees";
}

TEST_F(DemotionTest, a_lost_file_costs_another_try_and_nothing_else) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  {
    Reconciler reconciler = patient();
    pass(reconciler, usual_config());
  }
  std::filesystem::remove(paths_.hardware);
  Reconciler again = patient();
  const PassReport report = pass(again, usual_config());
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_EQ(in_hardware("blue-web"), 0U);
  EXPECT_EQ(missing(), 0U);
}

TEST_F(DemotionTest, another_card_is_offered_everything) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  pass(reconciler, usual_config());
  kernel_.refuse_in_hardware = nullptr;
  for (auto& [index, link] : kernel_.links)
    if (!link.phys_switch_id.empty()) link.phys_switch_id = {0x5e, 0x77};
  const PassReport report = look(reconciler, usual_config());
  EXPECT_TRUE(report.software.empty());
  EXPECT_GT(in_hardware("blue-web"), 5U);
  EXPECT_EQ(missing(), 0U);
}

TEST_F(DemotionTest, offload_that_is_switched_on_late_is_no_refusal_and_used_as_soon_as_it_is_heard_of) {
  bool on = false;
  kernel_.refuse_in_hardware = [&on](netlink::BytesView) {
    return on ? std::nullopt : std::optional(Refusal{EOPNOTSUPP, "TC offload is disabled on net device"});
  };
  Kernel kernel = this->kernel();
  kernel.offload = [&on](IfIndex) { return netlink::TcOffload{true, on}; };
  Reconciler reconciler(kernel, paths_);
  const PassReport before = pass(reconciler, usual_config());
  EXPECT_EQ(in_hardware(), 0U);
  EXPECT_TRUE(before.software.empty());
  EXPECT_TRUE(look(reconciler, usual_config()).quiet) << "nothing is offered that cannot be taken";
  EXPECT_FALSE(*reconciler.devices_changed(usual_config()));
  on = true;
  EXPECT_TRUE(*reconciler.devices_changed(usual_config()));
  const auto after = reconciler.follow(usual_config(), {});
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_EQ(missing(), 0U);
  EXPECT_GT(in_hardware(), 20U);
  EXPECT_TRUE(after->software.empty());
  EXPECT_TRUE(look(reconciler, usual_config()).quiet);
}

// Not one filter is read by such a pass, unless the NIC refuses something of it.
TEST_F(DemotionTest, a_change_that_is_followed_from_memory_demotes_as_well_and_leaves_other_units_where_they_are) {
  const config::Config without = read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kGreen);
  refuse([this](const tc::Rule& rule) { return rule.id.device == device_index("green-web") && rule.id.chain != 0; });
  Reconciler reconciler = patient();
  reconciler.set_device_events([]() -> Result<netlink::LinkChanges> { return netlink::LinkChanges{}; });
  EXPECT_EQ(pass(reconciler, without).software.size(), 1U);
  EXPECT_TRUE(look(reconciler, without).quiet);
  const auto unit = *reconciler.hardware().units.begin();

  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  const auto followed = reconciler.follow(usual_config(), {});
  ASSERT_TRUE(followed) << followed.error().message();
  EXPECT_EQ(missing(), 0U);
  EXPECT_EQ(in_hardware("blue-web"), 0U);
  EXPECT_EQ(in_hardware("green-web"), 0U);
  ASSERT_EQ(followed->software.size(), 2U);
  EXPECT_EQ(reconciler.hardware().units.at(unit.first), unit.second);
  EXPECT_TRUE(look(reconciler, usual_config()).quiet);
}

TEST_F(DemotionTest, rules_that_fall_out_of_hardware_between_looks_are_offered_again_then_their_unit_leaves) {
  Reconciler reconciler = patient();
  pass(reconciler, usual_config());
  for (auto& [place, filter] : kernel_.filters)
    if (place.device == device_index("blue-web") && filter.hardware != 0) filter.hardware = TCA_CLS_FLAGS_NOT_IN_HW;
  PassReport report = look(reconciler, usual_config());
  EXPECT_TRUE(report.software.empty());
  EXPECT_EQ(missing(), 0U);

  for (auto& [place, filter] : kernel_.filters)
    if (place.device == device_index("blue-web") && filter.hardware != 0) filter.hardware = TCA_CLS_FLAGS_NOT_IN_HW;
  refuse([this](const tc::Rule& rule) { return rule.id.device == device_index("blue-web"); },
         {EOPNOTSUPP, "TC offload is disabled on net device"});
  report = look(reconciler, usual_config());
  ASSERT_EQ(report.software.size(), 1U);
  EXPECT_EQ(report.software.front().refusal.words, "TC offload is disabled on net device");
  EXPECT_EQ(missing(), 0U);
}

TEST_F(DemotionTest, a_rule_that_is_out_with_its_port_is_told_so_and_one_that_is_software_by_design_is_not) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  pass(reconciler, usual_config());
  Kernel now = kernel();
  auto difference = find_difference(now, usual_config(), paths_);
  ASSERT_TRUE(difference);
  const auto out =
      rules_kept_out(usual_config(), difference->world, difference->wanted, load_hardware(paths_.hardware));
  ASSERT_FALSE(out.empty());
  HardwareView view;
  view.nic_named = true;
  view.demoted = out;
  size_t by_design = 0;
  for (const tc::CompiledRule& rule : difference->wanted.rules) {
    tc::RuleState state;
    state.cookie = rule.cookie;
    state.in_hw = !rule.rule.spec.skip_hw;
    const Placed placed = place(rule.rule, &state, view);
    by_design += placed.cause == Cause::by_design ? 1 : 0;
    EXPECT_EQ(placed.cause == Cause::demoted, out.contains(rule.rule.id));
    if (placed.cause != Cause::demoted) continue;
    EXPECT_EQ(rule.rule.id.device, device_index("blue-web"));
    EXPECT_TRUE(placed.wanted && !placed.as_wanted());
    EXPECT_EQ(placed.why,
              "in software with all of tenant blue, port web: Operation not supported: the NIC says: "
              "mlx5_core: Unsupported key");
  }
  EXPECT_GT(by_design, 10U);
}

TEST_F(DemotionTest, removal_takes_the_file_along) {
  refuse([this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  pass(reconciler, usual_config());
  ASSERT_TRUE(std::filesystem::exists(paths_.hardware));
  Kernel now = kernel();
  ASSERT_TRUE(remove_everything(now, paths_, {}));
  EXPECT_FALSE(std::filesystem::exists(paths_.hardware));
}

}  // namespace
}  // namespace sepal::agent
