// Actions that rules share: made before the rules, known by content, repaired, taken out, and never somebody else's.
#include "agent/shared_actions.hpp"

#include <linux/rtnetlink.h>

#include "agent/removal.hpp"
#include "netlink/message.hpp"
#include "tc/rule/build.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using test::ActionPlace;

class SharedActionsTest : public AgentTest {
 protected:
  [[nodiscard]] std::map<ActionPlace, int> references() const { return kernel_.bound(); }
  [[nodiscard]] size_t writes_of(uint16_t type) const {
    size_t count = 0;
    for (const netlink::Bytes& message : kernel_.written) {
      const auto header = netlink::read_nlmsghdr(message);
      count += header && header->nlmsg_type == type ? 1U : 0U;
    }
    return count;
  }
  // `tc actions add|replace …` by somebody.
  void put(const tc::Action& action, uint32_t index, tc::AddMode mode, const std::optional<tc::Cookie>& cookie = {}) {
    netlink::Bytes request;
    ASSERT_TRUE(tc::encode_action_add(request, {{action.kind, false}, index, cookie}, mode));
    ASSERT_TRUE(netlink::transact_one(kernel_, request));
  }
  [[nodiscard]] ActionPlace first_of(const std::string& kind) const {
    const auto found = kernel_.actions.lower_bound({kind, 0});
    return found == kernel_.actions.end() ? ActionPlace{} : found->first;
  }
};

TEST_F(SharedActionsTest, stand_before_the_first_rule_that_refers_to_them) {
  apply(usual_config());
  EXPECT_FALSE(kernel_.actions.empty());
  EXPECT_EQ(kernel_.made_by_filters, 0U) << "a rule came before its action";
  for (const auto& [place, count] : references()) {
    EXPECT_TRUE(kernel_.actions.contains(place)) << place.kind << place.index;
    EXPECT_GE(place.index, limits::kSharedActionFirst);
  }
  EXPECT_EQ(references().size(), kernel_.actions.size());
  EXPECT_GT(references().at(first_of("csum")), 1);
}

TEST_F(SharedActionsTest, a_restart_writes_nothing_whatever_their_numbers_are) {
  apply(usual_config());
  const uint64_t writes = kernel_.writes();
  apply(usual_config());
  EXPECT_EQ(kernel_.writes(), writes);
}

// A filter keeps its cookie over a change of numbers.
TEST_F(SharedActionsTest, a_rule_written_again_uses_the_object_that_is_there) {
  apply(usual_config());
  const auto before = kernel_.actions.size();
  auto victim = kernel_.filters.lower_bound({device_index("blue-web"), 0xfffffff2U, 3U << 24U | 100U, 0, 0});
  const auto standing = *victim;
  kernel_.filters.erase(victim);
  apply(usual_config());
  EXPECT_EQ(kernel_.filters.at(standing.first).attributes, standing.second.attributes);
  EXPECT_EQ(kernel_.actions.size(), before);
}

TEST_F(SharedActionsTest, a_number_that_others_have_is_passed_over) {
  put(tc::csum(tc::kCsumTcp), limits::kSharedActionFirst, tc::AddMode::create);
  const auto foreign = kernel_.actions.at({"csum", limits::kSharedActionFirst});
  apply(usual_config());
  EXPECT_EQ(kernel_.actions.at({"csum", limits::kSharedActionFirst}).options, foreign.options);
  EXPECT_FALSE(references().contains({"csum", limits::kSharedActionFirst}));
  EXPECT_TRUE(references().contains({"csum", limits::kSharedActionFirst + 1}));
}

TEST_F(SharedActionsTest, a_number_taken_between_our_look_and_our_request_is_passed_over) {
  bool taken = false;
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    const auto header = netlink::read_nlmsghdr(message);
    if (taken || !header || header->nlmsg_type != RTM_NEWACTION) return std::nullopt;
    taken = true;
    return test::FakeKernel::Refusal{EEXIST, ""};
  };
  const PassReport report = apply(usual_config());
  EXPECT_TRUE(taken);
  EXPECT_TRUE(report.outcome.refusals.empty());
  EXPECT_EQ(kernel_.made_by_filters, 0U);
}

TEST_F(SharedActionsTest, a_refused_action_refuses_the_rules_that_need_it_and_no_others) {
  kernel_.refuse = [](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    const auto header = netlink::read_nlmsghdr(message);
    if (!header || header->nlmsg_type != RTM_NEWACTION) return std::nullopt;
    return test::FakeKernel::Refusal{ENOMEM, "no room for actions"};
  };
  const PassReport report = apply(usual_config());
  EXPECT_GT(report.outcome.refusals.size(), 0U);
  EXPECT_EQ(report.outcome.added + report.outcome.refusals.size(), report.rules);
  size_t told = 0;
  for (const Refusal& refusal : report.outcome.refusals)
    told += refusal.error.ext_ack == "no room for actions" ? 1U : 0U;
  EXPECT_GT(told, 0U);
  EXPECT_TRUE(references().empty());
  kernel_.refuse = nullptr;
  EXPECT_TRUE(apply(usual_config()).outcome.refusals.empty());
}

// Somebody's `tc actions replace` keeps our cookie: only the content tells.
TEST_F(SharedActionsTest, what_others_changed_is_put_right_in_place_and_named) {
  Reconciler reconciler = this->reconciler();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  const ActionPlace place = first_of("tunnel_key");
  const auto before = kernel_.actions.at(place);
  const auto rules = kernel_.filters;
  put(tc::tunnel_set(IpAddr::v4(192, 0, 2, 66), IpAddr::v4(192, 0, 2, 67), Vni(6666), 4789), place.index,
      tc::AddMode::replace);
  ASSERT_NE(kernel_.actions.at(place).options, before.options);
  ASSERT_EQ(kernel_.actions.at(place).cookie, before.cookie);
  const size_t filters = writes_of(RTM_NEWTFILTER);

  auto report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->quiet);
  EXPECT_TRUE(report->others_changed);
  ASSERT_EQ(report->changes.size(), 1U);
  EXPECT_NE(report->changes.front().find("tunnel_key set"), std::string::npos) << report->changes.front();
  EXPECT_EQ(kernel_.actions.at(place).options, before.options);
  EXPECT_EQ(writes_of(RTM_NEWTFILTER), filters) << "the rules are as they were";
  report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->quiet);
}

TEST_F(SharedActionsTest, a_plan_names_what_others_changed) {
  apply(usual_config());
  const ActionPlace place = first_of("csum");
  put(tc::csum(tc::kCsumUdp), place.index, tc::AddMode::replace);
  Kernel kernel = this->kernel();
  auto difference = find_difference(kernel, usual_config(), paths_);
  ASSERT_TRUE(difference);
  ASSERT_EQ(difference->to_make.size(), 1U);
  EXPECT_EQ(difference->to_make.front(), "shared action csum 0x40000000 anew: others changed it");
}

TEST_F(SharedActionsTest, those_no_rule_refers_to_any_more_go) {
  apply(usual_config());
  const auto before = kernel_.actions.size();
  apply(read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute));
  EXPECT_LT(kernel_.actions.size(), before);
  EXPECT_EQ(references().size(), kernel_.actions.size());
}

// The kernel lets go of a deleted filter's actions later than it answers the delete.
TEST_F(SharedActionsTest, one_that_cannot_go_yet_goes_with_the_next_look) {
  Reconciler reconciler = this->reconciler();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  kernel_.refuse = [](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    const auto header = netlink::read_nlmsghdr(message);
    if (!header || header->nlmsg_type != RTM_DELACTION) return std::nullopt;
    return test::FakeKernel::Refusal{EPERM, "Failed to delete TC action"};
  };
  const config::Config smaller = read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute);
  auto report = reconciler.apply(smaller, {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->problems.empty());
  EXPECT_GT(kernel_.actions.size(), references().size());
  kernel_.refuse = nullptr;
  report = reconciler.look_again(smaller, {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->quiet) << "no rule was looked at again for that";
  EXPECT_EQ(kernel_.actions.size(), references().size());
}

// Dead between the actions and their rules: what is left is used by the next pass.
TEST_F(SharedActionsTest, a_pass_killed_after_making_them_leaves_nothing_behind) {
  for (uint64_t writes = 1; writes < 120; writes += 4) {
    DyingTransport dying(kernel_, writes);
    Kernel kernel{dying, conntrack_, slow_path_};
    Reconciler reconciler(kernel, paths_);
    (void)reconciler.apply(usual_config(), {});
    kernel_.break_at_write = 0;
    apply(usual_config());
    EXPECT_EQ(references().size(), kernel_.actions.size()) << writes;
    EXPECT_EQ(kernel_.made_by_filters, 0U);
    Kernel whole = this->kernel();
    ASSERT_TRUE(remove_everything(whole, paths_, {}));
    EXPECT_TRUE(kernel_.actions.empty()) << writes;
  }
}

TEST_F(SharedActionsTest, removal_takes_ours_and_leaves_those_of_others_and_of_another_instance) {
  put(tc::csum(tc::kCsumTcp), 7, tc::AddMode::create);
  tc::Cookie other;
  other.instance = tc::instance_hash("other");
  other.content = tc::content_hash(tc::SharedAction{tc::csum(tc::kCsumUdp).kind, false});
  put(tc::csum(tc::kCsumUdp), 8, tc::AddMode::create, other);
  const auto before = kernel_.actions;
  apply(usual_config());
  EXPECT_GT(kernel_.actions.size(), before.size());
  Kernel kernel = this->kernel();
  auto report = remove_everything(kernel, paths_, {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->problems.empty());
  ASSERT_EQ(kernel_.actions.size(), before.size());
  for (const auto& [place, action] : before) EXPECT_EQ(kernel_.actions.at(place).options, action.options);
}

// An object serves filters in hardware or filters out of it, never both (the fake refuses as the kernel does).
TEST_F(SharedActionsTest, rules_in_and_out_of_hardware_have_objects_of_their_own) {
  tc::Rule rule;
  rule.spec.actions = {tc::csum(tc::kCsumIpv4Header), tc::drop()};
  rule.spec.actions.front().shared = true;
  SharedActions shared(1);
  ASSERT_TRUE(shared.look(kernel_));
  shared.want(rule.spec);
  tc::RuleSpec software = rule.spec;
  software.skip_hw = true;
  shared.want(software);
  ASSERT_TRUE(shared.ready(kernel_));
  EXPECT_EQ(kernel_.actions.size(), 2U);
  const auto in = shared.reference(rule.spec.actions.front(), false);
  const auto out = shared.reference(rule.spec.actions.front(), true);
  ASSERT_FALSE(in.empty());
  EXPECT_FALSE(std::equal(in.begin(), in.end(), out.begin(), out.end()));
}

}  // namespace
}  // namespace sepal::agent
