// What happens when the kernel says no: to one rule, for a while, or to a rule others depend on.
#include <cerrno>

#include "agent/report.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

class RefusalTest : public AgentTest {
 protected:
  RefusalTest() : now_(Clock::now()) {}

  Reconciler patient() {
    Reconciler made = reconciler();
    made.set_clock([this] { return now_; });
    return made;
  }

  // Refuses rules that `chosen` picks, with a driver's words.
  void refuse_rules(std::function<bool(const tc::Rule&)> chosen) {
    kernel_.refuse =
        [this, chosen = std::move(chosen)](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
      auto filter = tc::decode_filter(message);
      if (!filter || filter->kind != "flower" || !chosen(filter->rule)) return std::nullopt;
      ++asked_;
      return test::FakeKernel::Refusal{EOPNOTSUPP, "driver: no such match"};
    };
  }

  Clock::time_point now_;
  unsigned asked_ = 0;
};

bool is_remote_route(const tc::Rule& rule) {
  const tc::KeyMatch* destination = rule.spec.match.find(tc::Key::dst_ip4);
  return tc::parse_chain(rule.id.chain).group == tc::Group::encap && destination != nullptr &&
         destination->value_u32() == 0x0a000002;
}

TEST_F(RefusalTest, a_refused_rule_stops_no_other_and_is_named_with_the_kernels_words) {
  refuse_rules(
      [this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  auto report = reconciler.apply(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome.added, report->rules - 1);
  ASSERT_EQ(reconciler.troubles().size(), 1U);
  const std::string line = to_line(reconciler.troubles().begin()->second);
  EXPECT_NE(line.find("tenant blue, route 10.0.0.2/32 via 192.0.2.2 (sepal.yaml:"), std::string::npos) << line;
  EXPECT_NE(line.find("kernel says: driver: no such match"), std::string::npos) << line;
  EXPECT_NE(line.find("dev blue-web"), std::string::npos) << line;
}

TEST_F(RefusalTest, a_refused_rule_is_tried_again_after_one_second_then_two_then_four) {
  refuse_rules(
      [this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  EXPECT_EQ(asked_, 1U);
  std::vector<int> tries;
  for (int tenths = 0; tenths < 80; ++tenths) {
    const unsigned before = asked_;
    now_ += std::chrono::milliseconds(100);
    ASSERT_TRUE(reconciler.look_again(usual_config(), {}));
    if (asked_ != before) tries.push_back(tenths + 1);
  }
  EXPECT_EQ(tries, (std::vector<int>{10, 30, 70}));
}

TEST_F(RefusalTest, a_rule_accepted_at_last_is_forgotten) {
  refuse_rules(
      [this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  kernel_.refuse = nullptr;
  now_ += std::chrono::seconds(2);
  auto report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome.added, 1U);
  EXPECT_FALSE(report->others_changed) << "nobody's hand but ours";
  EXPECT_TRUE(reconciler.troubles().empty());
  EXPECT_FALSE(reconciler.next_retry().has_value());
}

TEST_F(RefusalTest, attempts_are_those_the_kernel_saw_however_long_a_pass_takes) {
  refuse_rules(
      [this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = this->reconciler();
  // Every look at the clock takes long: the rule may become due between the steps of one pass.
  reconciler.set_clock([this] { return now_ += std::chrono::milliseconds(700); });
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  ASSERT_EQ(reconciler.troubles().size(), 1U);
  EXPECT_GT(asked_, 1U);
  EXPECT_EQ(reconciler.troubles().begin()->second.attempts, asked_);
}

TEST_F(RefusalTest, a_reload_tries_refused_rules_at_once) {
  refuse_rules(
      [this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  EXPECT_EQ(asked_, 1U) << "an apply alone does not wear the kernel down";
  reconciler.forget_back_off();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  EXPECT_EQ(asked_, 2U);
}

TEST_F(RefusalTest, looks_stay_quiet_while_a_refused_rule_waits) {
  refuse_rules(
      [this](const tc::Rule& rule) { return is_remote_route(rule) && rule.id.device == device_index("blue-web"); });
  Reconciler reconciler = patient();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  auto report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->quiet);
}

TEST_F(RefusalTest, no_rule_jumps_to_a_chain_whose_last_rule_was_refused) {
  const uint32_t routes = tc::chain_number(tc::Lane::guest, tc::Group::encap, Vni(100));
  refuse_rules([&](const tc::Rule& rule) {
    return rule.id.device == device_index("blue-web") && rule.id.chain == routes && rule.id.prio >= 1000;
  });
  Reconciler reconciler = patient();
  auto report = reconciler.apply(usual_config(), {});
  ASSERT_TRUE(report);
  size_t held = 0;
  for (const Refusal& refusal : report->outcome.refusals) held += refusal.held ? 1 : 0;
  EXPECT_GT(held, 0U);
  for (const auto& [key, trouble] : reconciler.troubles())
    EXPECT_EQ(trouble.attempts, trouble.refusal.held ? 0U : 1U) << to_line(trouble);
  for (const Filter& filter : filters_on("blue-web")) {
    for (const tc::Action& action : filter.rule.spec.actions) {
      const auto* gact = std::get_if<tc::Gact>(&action.kind);
      EXPECT_TRUE(gact == nullptr || gact->verdict.chain != routes) << tc::to_text(filter.rule);
    }
  }

  kernel_.refuse = nullptr;
  now_ += std::chrono::seconds(2);
  report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(reconciler.troubles().empty()) << "what was held back follows";
}

TEST_F(RefusalTest, the_last_rules_of_a_device_stay_while_a_jump_there_cannot_be_removed) {
  apply(usual_config());
  const IfIndex device = device_index("green-web");
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto filter = tc::decode_filter(message);
    nlmsghdr header{};
    std::memcpy(&header, message.data(), sizeof header);
    if (header.nlmsg_type != RTM_DELTFILTER || !filter || filter->rule.id.device != device ||
        filter->rule.id.chain != 0)
      return std::nullopt;
    return test::FakeKernel::Refusal{EBUSY, ""};
  };
  const PassReport report = apply(read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute));
  EXPECT_FALSE(report.outcome.not_removed.empty());
  std::set<uint32_t> closed;
  for (const Filter& filter : filters_on("green-web"))
    if (filter.rule.id.prio >= 1000) closed.insert(filter.rule.id.chain);
  EXPECT_TRUE(closed.contains(tc::chain_number(tc::Lane::guest, tc::Group::nat, Vni(200))));
  EXPECT_TRUE(closed.contains(tc::chain_number(tc::Lane::guest, tc::Group::encap, Vni(200))));

  kernel_.refuse = nullptr;
  apply(read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute));
  EXPECT_FALSE(kernel_.clsact.contains(device));
}

// The old jump stays with the chain it leads to: what a pass left so is not taken for somebody else's doing.
TEST_F(RefusalTest, a_replacement_that_is_refused_keeps_the_old_chain_closed_and_accuses_nobody) {
  Reconciler reconciler = patient();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  const IfIndex device = device_index("green-web");
  // green leaves its device to blue's third port: every rule there changes.
  const std::string third = "  - {name: web2, device: green-web, mac: \"02:00:00:00:01:07\", addresses: [10.0.0.7]}\n";
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto filter = tc::decode_filter(message);
    nlmsghdr header{};
    std::memcpy(&header, message.data(), sizeof header);
    const bool replaces = header.nlmsg_type == RTM_NEWTFILTER && (header.nlmsg_flags & NLM_F_EXCL) == 0;
    if (!filter || !replaces || filter->rule.id.device != device) return std::nullopt;
    return test::FakeKernel::Refusal{EBUSY, ""};
  };
  const config::Config next = read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + third + kRemoteRoute);
  auto report = reconciler.apply(next, {});
  ASSERT_TRUE(report);
  ASSERT_GT(report->outcome.kept, 0U);
  report = reconciler.look_again(next, {});
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->others_changed);

  kernel_.refuse = nullptr;
  now_ += std::chrono::seconds(2);
  report = reconciler.look_again(next, {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome.kept, 0U);
  EXPECT_TRUE(reconciler.troubles().empty());
  for (const Filter& filter : filters_on("green-web")) EXPECT_NE(tc::parse_chain(filter.rule.id.chain).vni, Vni(200));
}

TEST_F(RefusalTest, a_device_that_leaves_in_mid_pass_ends_as_waiting) {
  bool left = false;
  kernel_.before_each_write = [&] {
    if (left || kernel_.writes() < 30) return;
    left = true;
    const IfIndex device = device_index("blue-app");
    kernel_.links.erase(device);
    kernel_.clsact.erase(device);
    std::erase_if(kernel_.filters, [&](const auto& entry) { return entry.first.device == device; });
  };
  Reconciler reconciler = patient();
  auto report = reconciler.apply(usual_config(), {});
  ASSERT_TRUE(report) << report.error().message();
  ASSERT_TRUE(left);
  EXPECT_EQ(report->waiting, (std::vector<tc::PortKey>{{"blue", "app"}}));
  EXPECT_TRUE(reconciler.troubles().empty());
}

}  // namespace
}  // namespace sepal::agent
