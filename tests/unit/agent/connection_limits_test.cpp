// How many connections a tenant may begin: counted, told to the program, and counted again when it matters.
#include "agent/connection_limits.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/log.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using Clock = ConnectionLimits::Clock;
using std::chrono::seconds;

constexpr Vni kBlueVni{100};
constexpr Vni kGreenVni{200};

class ConnectionLimitsTest : public AgentTest {
 protected:
  ConnectionLimitsTest() {
    log::set_level(log::Level::error);
    served_.tenants[kBlueVni].zone = Zone(1);
    served_.tenants[kGreenVni].zone = Zone(2);
  }

  void follow(const std::string& host_limits, const std::string& blue_limits = "") {
    config_ = read_config(kHostYaml + host_limits + kBlueHead + kWebPort + blue_limits + kGreen);
    limits_.follow(config_, served_, now_);
  }
  void have(Zone zone, size_t connections) {
    std::erase_if(conntrack_.table, [zone](const netlink::Connection& entry) { return entry.zone == zone; });
    for (size_t i = 0; i < connections; ++i) {
      netlink::Connection entry;
      entry.original = {IpAddr::v4(10, 0, 0, 1), IpAddr::v4(10, 0, 0, 2), 17, static_cast<uint16_t>(1000 + i), 53};
      entry.reply = {IpAddr::v4(10, 0, 0, 2), IpAddr::v4(10, 0, 0, 1), 17, 53, static_cast<uint16_t>(1000 + i)};
      entry.zone = zone;
      entry.id = static_cast<uint32_t>(zone.value() * 10'000U + i);
      conntrack_.table.push_back(entry);
    }
  }
  void later() {
    now_ = *limits_.next();
    limits_.look(now_);
  }
  [[nodiscard]] uint64_t begun_max(Vni vni) const { return slow_path_.bounds.at(vni).begun_max; }
  [[nodiscard]] bool full(size_t tenant) const { return limits_.to_json()[tenant].at("full").get<bool>(); }

  Clock::time_point now_ = Clock::now();
  config::Config config_;
  SavedState served_;
  ConnectionLimits limits_{kernel()};
};

TEST_F(ConnectionLimitsTest, nobody_is_bounded_unless_the_configuration_says_so) {
  follow("");
  EXPECT_FALSE(limits_.next());
  EXPECT_TRUE(slow_path_.bounds.empty());
}

TEST_F(ConnectionLimitsTest, a_tenants_own_bound_goes_before_the_hosts) {
  have(Zone(1), 30);
  have(Zone(2), 5);
  slow_path_.begun_by[kBlueVni] = 1000;
  follow("limits: {connections: 10}\n", "limits: {connections: 100}\n");
  EXPECT_EQ(begun_max(kBlueVni), 1000U + 70) << "room for 70 more than it has begun, ever";
  EXPECT_EQ(begun_max(kGreenVni), 5U);
  EXPECT_GT(slow_path_.bounds.at(kBlueVni).until, now_ + seconds(30));
}

TEST_F(ConnectionLimitsTest, counts_again_only_when_half_of_the_room_may_be_used_up) {
  have(Zone(1), 20);
  follow("", "limits: {connections: 100}\n");
  const size_t dumps = conntrack_.dumps;
  slow_path_.begun_by[kBlueVni] = 39;
  later();
  EXPECT_EQ(conntrack_.dumps, dumps);
  EXPECT_EQ(begun_max(kBlueVni), 80U);
  EXPECT_GT(slow_path_.bounds.at(kBlueVni).until, now_ + seconds(30)) << "said anew";
  slow_path_.begun_by[kBlueVni] = 40;
  have(Zone(1), 45);  // of the 60, 15 have ended
  later();
  EXPECT_EQ(conntrack_.dumps, dumps + 1);
  EXPECT_EQ(begun_max(kBlueVni), 40U + 55);
}

TEST_F(ConnectionLimitsTest, who_has_as_many_as_it_may_begins_none_until_some_end) {
  have(Zone(1), 99);
  follow("", "limits: {connections: 100}\n");
  EXPECT_FALSE(full(0));
  slow_path_.begun_by[kBlueVni] = 1;
  have(Zone(1), 100);
  later();
  EXPECT_TRUE(full(0));
  EXPECT_EQ(begun_max(kBlueVni), 1U);
  have(Zone(1), 95);
  later();
  EXPECT_EQ(begun_max(kBlueVni), 1U + 5) << "there is room";
  EXPECT_TRUE(full(0)) << "but not so much that it would be news";
  have(Zone(1), 90);
  later();
  EXPECT_FALSE(full(0));
}

TEST_F(ConnectionLimitsTest, more_than_the_bound_is_no_room) {
  have(Zone(1), 150);
  slow_path_.begun_by[kBlueVni] = 7;
  follow("", "limits: {connections: 100}\n");
  EXPECT_EQ(begun_max(kBlueVni), 7U);
}

TEST_F(ConnectionLimitsTest, another_bound_holds_at_once_and_none_lets_go) {
  have(Zone(1), 10);
  follow("", "limits: {connections: 100}\n");
  follow("", "limits: {connections: 20}\n");
  EXPECT_EQ(begun_max(kBlueVni), 10U);
  follow("");
  EXPECT_TRUE(slow_path_.bounds.empty());
  EXPECT_FALSE(limits_.next());
}

TEST_F(ConnectionLimitsTest, a_count_that_fails_is_tried_again) {
  conntrack_.supported = false;
  follow("", "limits: {connections: 100}\n");
  EXPECT_TRUE(slow_path_.bounds.empty());
  ASSERT_TRUE(limits_.next());
  conntrack_.supported = true;
  later();
  EXPECT_EQ(begun_max(kBlueVni), 100U);
}

}  // namespace
}  // namespace sepal::agent
