// A NIC with too little room: who stays, who comes back for whom, and that nothing flaps.
#include <linux/pkt_cls.h>

#include "agent/hardware_budget.hpp"
#include "tests/unit/agent/nic_fixture.hpp"

namespace sepal::agent {
namespace {

using tc::HardwareUnit;

HardwareUnit unit(uint32_t device) { return {IfIndex(device), Vni()}; }

std::vector<uint32_t> devices(const std::vector<Claim>& claims) {
  std::vector<uint32_t> found;
  for (const Claim& claim : claims) found.push_back(claim.unit.device.value());
  return found;
}

TEST(Budget, the_least_busy_leave_first_and_no_more_than_needed) {
  const std::vector<Claim> inside{{unit(1), Vni(1), 100, 50}, {unit(2), Vni(1), 100, 5}, {unit(3), Vni(2), 100, 20}};
  EXPECT_EQ(devices(leave_first(inside, {}, 1)), (std::vector<uint32_t>{2}));
  EXPECT_EQ(devices(leave_first(inside, {}, 101)), (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(devices(leave_first(inside, {}, 10'000)), (std::vector<uint32_t>{2, 3, 1}));
}

TEST(Budget, a_tenant_beyond_its_budget_leaves_first_however_busy_until_it_is_within) {
  const std::vector<Claim> inside{{unit(1), Vni(1), 100, 900}, {unit(2), Vni(1), 100, 800}, {unit(3), Vni(2), 100, 1}};
  const Budgets budgets{{Vni(1), 150}};
  EXPECT_EQ(devices(leave_first(inside, budgets, 1)), (std::vector<uint32_t>{2}));
  EXPECT_EQ(devices(leave_first(inside, budgets, 101)), (std::vector<uint32_t>{2, 3}));
}

TEST(Budget, with_room_the_busiest_comes_back_and_nobody_leaves) {
  const std::vector<Claim> outside{{unit(1), Vni(1), 100, 5}, {unit(2), Vni(2), 100, 50}};
  EXPECT_EQ(worth_it({}, outside, {}, 200), (Exchange{unit(2), {}}));
  EXPECT_EQ(worth_it({}, outside, {}, 104), std::nullopt) << "a table filled to its last entry is refused again soon";
}

TEST(Budget, an_exchange_is_worth_it_for_one_more_than_twice_as_busy) {
  const std::vector<Claim> inside{{unit(3), Vni(2), 200, 10}};
  EXPECT_EQ(worth_it(inside, {{unit(1), Vni(1), 100, 20}}, {}, 0), std::nullopt);
  EXPECT_EQ(worth_it(inside, {{unit(1), Vni(1), 100, 21}}, {}, 0), (Exchange{unit(1), {unit(3)}}));
  EXPECT_EQ(worth_it(inside, {{unit(1), Vni(1), 300, 500}}, {}, 0), std::nullopt) << "not even all of it suffices";
  EXPECT_EQ(worth_it({{unit(3), Vni(2), 200, 0}}, {{unit(1), Vni(1), 100, 0.5}}, {}, 0), std::nullopt)
      << "nobody is worth writes for a packet in two seconds";
}

TEST(Budget, who_is_within_its_budget_takes_the_place_of_who_is_not_but_not_the_other_way_round) {
  const Budgets budgets{{Vni(1), 100}, {Vni(2), 150}};
  const std::vector<Claim> beyond{{unit(3), Vni(2), 200, 1000}};
  EXPECT_EQ(worth_it(beyond, {{unit(1), Vni(1), 100, 2}}, budgets, 0), (Exchange{unit(1), {unit(3)}}));
  const std::vector<Claim> within{{unit(1), Vni(1), 100, 2}};
  EXPECT_EQ(worth_it(within, {{unit(3), Vni(2), 80, 3}}, budgets, 0), std::nullopt);
  EXPECT_EQ(worth_it(within, {{unit(3), Vni(2), 80, 4000}}, budgets, 0), (Exchange{unit(3), {unit(1)}}))
      << "within its own, too, and so much busier";
  EXPECT_EQ(worth_it(within, {{unit(3), Vni(2), 160, 4000}}, budgets, 100), std::nullopt) << "beyond its own";
}

TEST(Activity, is_packets_per_second_over_half_a_minute_and_survives_a_rewritten_rule) {
  Activity activity;
  std::chrono::steady_clock::time_point now{};
  uint64_t packets = 1'000'000;
  for (int look = 0; look < 20; ++look) {
    activity.observe({{unit(1), {1, 1, packets}}}, now);
    now += std::chrono::seconds(10);
    packets += 1000;
  }
  EXPECT_NEAR(activity.rate(unit(1)), 100, 1);
  packets = 500;  // counts from nothing again
  activity.observe({{unit(1), {1, 1, packets}}}, now);
  EXPECT_GT(activity.rate(unit(1)), 70);
  EXPECT_LT(activity.rate(unit(1)), 101);
  EXPECT_EQ(activity.rate(unit(2)), 0);
}

class FullNicTest : public NicTest {
 protected:
  // Looks every ten seconds while packets come in at these ports.
  void live(Reconciler& reconciler, const config::Config& config, int looks,
            const std::map<std::string, uint32_t>& packets_per_look) {
    for (int i = 0; i < looks; ++i) {
      for (const auto& [device, packets] : packets_per_look) count_at(device, packets);
      now_ += std::chrono::seconds(10);
      const PassReport report = look(reconciler, config);
      const std::vector<HardwareMove> moves = report.quiet ? std::vector<HardwareMove>() : report.moves;
      for (const HardwareMove& move : moves) moves_ += "\n" + std::to_string(i) + ": " + move.text;
      EXPECT_EQ(missing(), 0U) << "look " << i;
    }
  }
  // The tunnel's tenants, who have no traffic here, and one port must leave.
  size_t room_for_all_but_one_port(const config::Config& config) {
    Reconciler first = patient();
    pass(first, config);
    const size_t all = in_hardware() - in_hardware("sepal-vxlan");
    Kernel now = kernel();
    EXPECT_TRUE(remove_everything(now, paths_, {}));
    return all - 5;
  }
  std::string moves_;
};

TEST_F(FullNicTest, the_busier_tenant_is_in_hardware_in_the_end_and_stays_there) {
  const config::Config config = usual_config();
  limit_room(room_for_all_but_one_port(config));
  Reconciler reconciler = patient();
  PassReport report = pass(reconciler, config);
  ASSERT_FALSE(report.software.empty());
  EXPECT_EQ(report.software.front().refusal.cause, RefusalCause::full);
  EXPECT_EQ(missing(), 0U);

  const std::map<std::string, uint32_t> traffic{{"blue-web", 5000}, {"blue-app", 4000}, {"green-web", 20}};
  live(reconciler, config, 40, traffic);
  EXPECT_GT(in_hardware("blue-web"), 0U);
  EXPECT_GT(in_hardware("blue-app"), 0U);
  EXPECT_EQ(in_hardware("green-web"), 0U);
  moves_.clear();
  const uint64_t writes = kernel_.writes();
  live(reconciler, config, 100, traffic);
  EXPECT_EQ(moves_, "") << "nothing flaps";
  EXPECT_LT(kernel_.writes() - writes, 40U) << "but for a trial now and then";

  // The tables turn, and each goes once.
  live(reconciler, config, 60, {{"blue-web", 5000}, {"blue-app", 10}, {"green-web", 9000}});
  EXPECT_GT(in_hardware("green-web"), 0U);
  EXPECT_EQ(in_hardware("blue-app"), 0U);
  moves_.clear();
  live(reconciler, config, 100, {{"blue-web", 5000}, {"blue-app", 10}, {"green-web", 9000}});
  EXPECT_EQ(moves_, "");
}

TEST_F(FullNicTest, tenants_that_are_equally_busy_do_not_take_turns) {
  const config::Config config = usual_config();
  limit_room(room_for_all_but_one_port(config));
  Reconciler reconciler = patient();
  pass(reconciler, config);
  live(reconciler, config, 20, {{"blue-web", 1000}, {"blue-app", 1000}, {"green-web", 1000}});
  moves_.clear();
  for (int turn = 0; turn < 30; ++turn) {
    // Each is a little ahead for a while.
    live(reconciler, config, 3, {{"blue-web", 1000}, {"blue-app", turn % 2 == 0 ? 1500U : 900U}, {"green-web", 1100}});
  }
  EXPECT_EQ(moves_, "");
}

TEST_F(FullNicTest, a_tenant_beyond_its_budget_gives_way_to_one_within_however_busy_it_is) {
  const std::string green_within = kGreen + "limits: {hardware_rules: 100000}\n";
  const config::Config config = read_config(kHostYaml + "limits: {hardware_rules: 10}\n" + kBlueHead + kWebPort +
                                            kAppPort + kRemoteRoute + green_within);
  limit_room(room_for_all_but_one_port(config));
  Reconciler reconciler = patient();
  pass(reconciler, config);
  live(reconciler, config, 40, {{"blue-web", 5000}, {"blue-app", 4000}, {"green-web", 20}});
  EXPECT_GT(in_hardware("green-web"), 0U);
  EXPECT_EQ(in_hardware("blue-app"), 0U);
  moves_.clear();
  live(reconciler, config, 60, {{"blue-web", 5000}, {"blue-app", 4000}, {"green-web", 20}});
  EXPECT_EQ(moves_, "");
}

TEST_F(FullNicTest, when_room_appears_who_was_out_comes_back) {
  const config::Config config = usual_config();
  limit_room(room_for_all_but_one_port(config));
  Reconciler reconciler = patient();
  pass(reconciler, config);
  const std::map<std::string, uint32_t> traffic{{"blue-web", 5000}, {"blue-app", 4000}, {"green-web", 20}};
  live(reconciler, config, 40, traffic);
  ASSERT_EQ(in_hardware("green-web"), 0U);
  const config::Config less = read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute + kGreen);
  pass(reconciler, less);
  live(reconciler, less, 20, traffic);
  EXPECT_GT(in_hardware("green-web"), 0U);
  EXPECT_TRUE(look(reconciler, less).software.empty());
}

}  // namespace
}  // namespace sepal::agent
