// Passes from memory: at the cost of what changed, with the result of a pass that looks, and never against what
// somebody else did meanwhile.
#include <linux/rtnetlink.h>

#include <algorithm>
#include <fstream>

#include "agent/filters.hpp"
#include "agent/removal.hpp"
#include "tests/unit/agent/follow_fixture.hpp"

namespace sepal::agent {
namespace {

TEST_F(FollowTest, one_more_port_is_written_without_reading_a_filter) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const uint64_t dumps = kernel_.dumps;
  const auto before = kernel_.filters;
  const PassReport report = followed(reconciler, blue(kWebPort + kAppPort));
  EXPECT_EQ(kernel_.dumps, dumps);
  const size_t own = filters_on("blue-app").size();
  // A route and a delivery in each other block of its tenant: the other port's, the overlay's.
  EXPECT_EQ(report.outcome.added, own + 2 * 2);
  EXPECT_EQ(report.outcome.replaced + report.outcome.removed, 0U);
  for (const auto& [place, filter] : before) EXPECT_EQ(kernel_.filters.at(place).attributes, filter.attributes);
  ASSERT_FALSE(report.changes.empty());
  EXPECT_NE(report.changes.front().find("tenant blue: + port app"), std::string::npos) << report.changes.front();
  EXPECT_EQ(writes_of_a_look(blue(kWebPort + kAppPort)), 0U);
}

TEST_F(FollowTest, its_report_is_of_the_whole) {
  Reconciler reconciler = listening();
  add_foreign("blue-web", 0, 60000, "bpf");
  kernel_.links.erase(device_index("green-web"));
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const PassReport report = followed(reconciler, blue(kWebPort + kAppPort));
  EXPECT_EQ(report.foreign, 1U);
  EXPECT_EQ(report.waiting, (std::vector<tc::PortKey>{{"green", "web"}}));
  EXPECT_EQ(report.rules, apply(blue(kWebPort + kAppPort)).rules);
}

TEST_F(FollowTest, nothing_new_is_quiet_and_costs_the_kernel_nothing) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  const uint64_t dumps = kernel_.dumps;
  const uint64_t writes = kernel_.writes();
  EXPECT_TRUE(followed(reconciler, usual_config()).quiet);
  EXPECT_EQ(kernel_.dumps, dumps);
  EXPECT_EQ(kernel_.writes(), writes);
}

TEST_F(FollowTest, a_tenant_that_leaves_takes_its_rules_its_clsact_and_its_entries_along) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const config::Config without = read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute);
  const PassReport report = followed(reconciler, without);
  EXPECT_GT(report.outcome.removed, 0U);
  EXPECT_FALSE(kernel_.clsact.contains(device_index("green-web")));
  for (const auto& [place, filter] : kernel_.filters) EXPECT_NE(tc::parse_chain(place.chain).vni, Vni(200));
  for (const auto& entry : slow_path_.neighbours) EXPECT_NE(entry.device, device_index("green-web"));
  EXPECT_FALSE(load_state(paths_.state).tenants.contains(Vni(200)));
  for (const std::string& change : report.changes) EXPECT_EQ(change.find("sepal-vxlan"), std::string::npos) << change;
  EXPECT_EQ(writes_of_a_look(without), 0U);
}

// On the way out of a chain that stays: the rules of others behind it must not make the leaving tenant's last jump wait
// for what it jumps to.
TEST_F(FollowTest, a_leaving_tenants_jumps_go_before_the_chains_they_lead_to) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const IfIndex overlay = device_index("sepal-vxlan");
  bool jumps_gone = false;
  size_t removed = 0;
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    nlmsghdr header{};
    std::memcpy(&header, message.data(), sizeof header);
    auto filter = tc::decode_filter(message);
    if (header.nlmsg_type != RTM_DELTFILTER || !filter || filter->rule.id.device != overlay) return std::nullopt;
    ++removed;
    if (filter->rule.id.chain != 0) jumps_gone = true;
    EXPECT_FALSE(filter->rule.id.chain == 0 && jumps_gone) << "a jump outlives what it leads to";
    return std::nullopt;
  };
  followed(reconciler, read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute));
  EXPECT_GT(removed, 6U);
}

TEST_F(FollowTest, a_port_whose_device_comes_follows_without_reading_a_filter) {
  kernel_.links.erase(device_index("blue-app"));
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  const IfIndex come = add_device("blue-app");
  const uint64_t dumps = kernel_.dumps;
  EXPECT_TRUE(*reconciler.devices_changed(usual_config()));
  const PassReport report = followed(reconciler, usual_config());
  EXPECT_EQ(kernel_.dumps, dumps);
  EXPECT_TRUE(report.waiting.empty());
  EXPECT_TRUE(kernel_.clsact.contains(come));
  EXPECT_EQ(writes_of_a_look(usual_config()), 0U);
}

TEST_F(FollowTest, a_device_made_anew_is_not_taken_for_the_old_one) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  remove_device(device_index("blue-web"));
  const IfIndex anew = add_device("blue-web");
  followed(reconciler, blue(kWebPort));
  EXPECT_FALSE(filters_on("blue-web").empty());
  EXPECT_TRUE(kernel_.clsact.contains(anew));
  EXPECT_EQ(writes_of_a_look(blue(kWebPort)), 0U);
}

// Moved to another namespace and back: the same number, but nothing of what stood on it.
TEST_F(FollowTest, a_device_that_left_and_came_back_under_its_number_gets_its_rules_again) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const IfIndex device = device_index("blue-web");
  remove_filters(device);
  heard_.devices.insert(device);
  heard_.gone.insert(device);
  EXPECT_TRUE(*reconciler.devices_changed(blue(kWebPort)));
  followed(reconciler, blue(kWebPort));
  EXPECT_FALSE(filters_on("blue-web").empty());
}

TEST_F(FollowTest, lost_events_end_in_a_look) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const IfIndex device = device_index("blue-web");
  remove_filters(device);
  heard_.overrun = true;
  followed(reconciler, blue(kWebPort));
  EXPECT_FALSE(filters_on("blue-web").empty());
}

TEST_F(FollowTest, without_events_of_devices_every_change_takes_a_look) {
  Reconciler reconciler = this->reconciler();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const uint64_t dumps = kernel_.dumps;
  followed(reconciler, blue(kWebPort + kAppPort));
  EXPECT_GT(kernel_.dumps, dumps + 2);
}

TEST_F(FollowTest, a_rule_of_ours_that_is_not_where_it_was_left_ends_in_a_look_that_heals_everything) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  // One of green's, which the change does not concern, and all of one of blue's chains that the change takes out.
  kernel_.filters.erase(kernel_.filters.lower_bound({device_index("green-web"), 0xfffffff2U, 1, 0, 0}));
  const uint32_t delivery = tc::chain_number(tc::Lane::guest, tc::Group::egress, Vni(100));
  std::erase_if(kernel_.filters, [&](const auto& entry) {
    return entry.first.device == device_index("blue-web") && entry.first.chain == delivery && entry.first.prio == 1;
  });
  const PassReport report = followed(reconciler, blue(kWebPort));
  EXPECT_GT(report.outcome.removed, 0U);
  EXPECT_EQ(report.outcome.added, 1U) << "green's";
  EXPECT_EQ(writes_of_a_look(blue(kWebPort)), 0U);
}

TEST_F(FollowTest, a_clsact_that_somebody_took_away_comes_back_with_the_change_that_meets_it) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  remove_filters(device_index("blue-web"));
  const PassReport report = followed(reconciler, blue(kWebPort + kAppPort));
  EXPECT_TRUE(report.outcome.refusals.empty());
  EXPECT_TRUE(reconciler.troubles().empty());
  EXPECT_EQ(writes_of_a_look(blue(kWebPort + kAppPort)), 0U);
}

TEST_F(FollowTest, a_clsact_that_somebody_made_meanwhile_is_used_and_stays_theirs) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  kernel_.clsact.insert(device_index("blue-app"));
  const PassReport report = followed(reconciler, blue(kWebPort + kAppPort));
  EXPECT_TRUE(reconciler.troubles().empty());
  EXPECT_FALSE(filters_on("blue-app").empty());
  followed(reconciler, blue(kWebPort));
  EXPECT_TRUE(kernel_.clsact.contains(device_index("blue-app")));
  EXPECT_EQ(report.problems.size(), 0U);
}

TEST_F(FollowTest, a_filter_of_others_in_the_way_is_named_and_left_alone) {
  apply(blue(kWebPort + kAppPort));
  const auto wanted = kernel_.filters.lower_bound({device_index("blue-app"), 0xfffffff2U, 0, 0, 0})->first;
  Kernel kernel = this->kernel();
  ASSERT_TRUE(remove_everything(kernel, paths_, {}));
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  const auto place = add_foreign("blue-app", 0, wanted.prio, "basic");
  followed(reconciler, blue(kWebPort + kAppPort));
  ASSERT_FALSE(reconciler.troubles().empty());
  EXPECT_EQ(kernel_.filters.at(place).kind, "basic");
  EXPECT_NE(reconciler.troubles().begin()->second.refusal.error.message().find("taken by a filter of others"),
            std::string::npos);
}

// It may be another tenant's whose match has the same hash.
TEST_F(FollowTest, a_rule_of_ours_where_none_is_remembered_is_not_overwritten_unseen) {
  apply(usual_config());
  const uint32_t delivery = tc::chain_number(tc::Lane::guest, tc::Group::egress, Vni(100));
  const auto found = kernel_.filters.lower_bound({device_index("blue-web"), 0xfffffff2U, delivery, 1, 0});
  auto [place, filter] = *found;
  ASSERT_EQ(place.chain, delivery);
  ASSERT_EQ(place.prio, 1U);
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  ASSERT_FALSE(kernel_.filters.contains(place));
  const std::string mark{'S', 'P', 'L', '\1'};
  auto cookie = std::search(filter.attributes.begin(), filter.attributes.end(), mark.begin(), mark.end());
  ASSERT_NE(cookie, filter.attributes.end());
  cookie[15] ^= 1U;  // the last byte of the hash of its content
  kernel_.filters[place] = filter;

  const uint64_t dumps = kernel_.dumps;
  size_t overwritten = 0;
  kernel_.refuse = [&, at = place](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    nlmsghdr header{};
    std::memcpy(&header, message.data(), sizeof header);
    auto written = tc::decode_filter(message);
    if (header.nlmsg_type != RTM_NEWTFILTER || !written || (header.nlmsg_flags & NLM_F_EXCL) != 0) return std::nullopt;
    if (written->rule.id.device != at.device || written->rule.id.chain != at.chain) return std::nullopt;
    ++overwritten;
    EXPECT_GT(kernel_.dumps, dumps) << "overwritten before anybody looked";
    return std::nullopt;
  };
  followed(reconciler, usual_config());
  EXPECT_EQ(overwritten, 1U);
  kernel_.refuse = nullptr;
  EXPECT_EQ(writes_of_a_look(usual_config()), 0U);
}

TEST_F(FollowTest, a_refusal_is_remembered_as_any_and_the_next_change_looks) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto filter = tc::decode_filter(message);
    if (!filter || filter->kind != "flower" || filter->rule.id.device != device_index("blue-app") ||
        filter->rule.id.chain != 0 || filter->rule.id.prio != 1)
      return std::nullopt;
    return test::FakeKernel::Refusal{EOPNOTSUPP, "driver: no such match"};
  };
  followed(reconciler, blue(kWebPort + kAppPort));
  ASSERT_EQ(reconciler.troubles().size(), 1U);
  kernel_.refuse = nullptr;
  reconciler.forget_back_off();
  followed(reconciler, usual_config());
  EXPECT_TRUE(reconciler.troubles().empty());
  EXPECT_EQ(writes_of_a_look(usual_config()), 0U);
}

TEST_F(FollowTest, a_stop_in_the_middle_is_completed_by_the_next_pass) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  auto report = reconciler.follow(blue(kWebPort + kAppPort), [] { return false; });
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->outcome.stopped);
  followed(reconciler, blue(kWebPort + kAppPort));
  EXPECT_EQ(writes_of_a_look(blue(kWebPort + kAppPort)), 0U);
}

TEST_F(FollowTest, a_broken_connection_in_the_middle_is_repaired_within_the_pass) {
  for (const uint64_t at : {1U, 2U, 5U, 30U}) {
    Reconciler reconciler = listening();
    ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
    kernel_.break_at_write = kernel_.writes() + at;
    followed(reconciler, blue(kWebPort + kAppPort));
    EXPECT_EQ(kernel_.break_at_write, 0U) << "it did break";
    EXPECT_EQ(writes_of_a_look(blue(kWebPort + kAppPort)), 0U) << "at write " << at;
  }
}

// A restart that compiled nothing remembers a digest only.
TEST_F(FollowTest, after_a_restart_the_first_quiet_look_learns_what_changes_are_compared_with) {
  apply(blue(kWebPort));
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(blue(kWebPort), {}));
  auto look = reconciler.look_again(blue(kWebPort), {});
  ASSERT_TRUE(look);
  ASSERT_TRUE(look->quiet);
  const uint64_t dumps = kernel_.dumps;
  EXPECT_GT(followed(reconciler, blue(kWebPort + kAppPort)).outcome.added, 0U);
  EXPECT_EQ(kernel_.dumps, dumps);
  EXPECT_EQ(writes_of_a_look(blue(kWebPort + kAppPort)), 0U);
}

TEST_F(FollowTest, another_host_takes_a_look) {
  Reconciler reconciler = listening();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  config::Config other = usual_config();
  other.host.limits.arp_nd_per_second = 7;
  const uint64_t dumps = kernel_.dumps;
  EXPECT_GT(followed(reconciler, other).outcome.replaced, 0U);
  EXPECT_GT(kernel_.dumps, dumps);
  EXPECT_EQ(writes_of_a_look(other), 0U);
}

}  // namespace
}  // namespace sepal::agent
