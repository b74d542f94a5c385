// Writes that are under way while others are encoded: what may overtake what, and what a refusal or a break means then.
#include <linux/rtnetlink.h>

#include <algorithm>
#include <deque>

#include "base/limits.hpp"
#include "netlink/message.hpp"
#include "tests/support/forwarding_transport.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

// Delivers a flight as late as it can, and those that are under way in the wrong order.
class LateTransport : public test::ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  Result<void> transact(netlink::Bytes& requests, const netlink::Answered& answered) override {
    EXPECT_TRUE(waiting_.empty()) << "a call beside flights";
    return kernel_.transact(requests, answered);
  }
  std::unique_ptr<netlink::Flight> start(netlink::Bytes requests) override {
    size_t messages = 0;
    EXPECT_TRUE(netlink::for_each_message(requests, [&messages](const nlmsghdr&, netlink::BytesView) -> Result<void> {
      ++messages;
      return {};
    }));
    sizes.push_back(messages);
    auto flight = std::make_unique<LateFlight>(*this, std::move(requests));
    waiting_.push_back(flight.get());
    most_under_way = std::max(most_under_way, waiting_.size());
    return flight;
  }

  size_t most_under_way = 0;
  std::vector<size_t> sizes;  // of all flights, in messages

 private:
  struct LateFlight : netlink::Flight {
    LateFlight(LateTransport& to, netlink::Bytes bytes) : transport(to), requests(std::move(bytes)) {}
    ~LateFlight() override { transport.deliver(); }
    Result<void> finish(const netlink::Answered& answered) override {
      transport.deliver();
      for (size_t i = 0; i < answers.size(); ++i) answered(i, answers[i]);
      return outcome;
    }
    LateTransport& transport;
    netlink::Bytes requests;
    std::vector<netlink::Answer> answers;
    Result<void> outcome;
  };
  void deliver() {
    while (!waiting_.empty()) {
      LateFlight& flight = *waiting_.back();
      waiting_.pop_back();
      flight.outcome = kernel_.transact(
          flight.requests, [&flight](size_t, const netlink::Answer& answer) { flight.answers.push_back(answer); });
    }
  }

  std::deque<LateFlight*> waiting_;
};

// Enough routes for several pieces in one layer.
config::Config many_routes() {
  std::string routes = "routes:\n";
  for (int i = 0; i < 700; ++i) {
    routes += "  - {to: 10.7." + std::to_string(i / 250) + "." + std::to_string(i % 250) + "/32, via: 192.0.2." +
              std::to_string(2 + i % 50) + "}\n";
  }
  return read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + routes);
}

class FlightsTest : public AgentTest {
 protected:
  Result<PassReport> apply_late(const config::Config& config) {
    Reconciler reconciler({late_, conntrack_, slow_path_}, paths_);
    return reconciler.apply(config, {});
  }
  LateTransport late_{kernel_};
};

TEST_F(FlightsTest, pieces_of_a_layer_are_under_way_together_and_the_result_is_the_same) {
  const config::Config config = many_routes();
  auto report = apply_late(config);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_GT(late_.most_under_way, 2U);
  EXPECT_EQ(report->outcome.added, report->rules);
  const uint64_t writes = kernel_.writes();
  apply(config);
  EXPECT_EQ(kernel_.writes(), writes);
}

// Else one socket would be busy alone for as long as the last piece takes.
TEST_F(FlightsTest, pieces_become_smaller_towards_a_layers_end_but_fill_a_send) {
  ASSERT_TRUE(apply_late(many_routes()));
  EXPECT_GT(late_.sizes.front(), 2UL * limits::kMessagesPerSend);
  EXPECT_GE(std::count(late_.sizes.begin(), late_.sizes.end(), limits::kMessagesPerSend), 3);
}

TEST_F(FlightsTest, no_jump_is_under_way_before_its_target_is_closed) {
  std::set<std::pair<IfIndex, uint32_t>> closed;
  size_t jumps = 0;
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    const auto header = netlink::read_nlmsghdr(message);
    if (!header || header->nlmsg_type != RTM_NEWTFILTER) return std::nullopt;
    auto filter = tc::decode_filter(message);
    EXPECT_TRUE(filter.has_value());
    for (const tc::Action& action : filter->rule.spec.actions) {
      const auto* gact = std::get_if<tc::Gact>(&action.kind);
      if (gact == nullptr || gact->verdict.control != tc::Control::goto_chain) continue;
      ++jumps;
      EXPECT_TRUE(closed.contains({filter->rule.id.device, gact->verdict.chain})) << tc::to_text(filter->rule);
    }
    if (filter->rule.id.prio >= 1000) closed.emplace(filter->rule.id.device, filter->rule.id.chain);
    return std::nullopt;
  };
  ASSERT_TRUE(apply_late(many_routes()));
  EXPECT_GT(jumps, 20U);
}

TEST_F(FlightsTest, a_refused_rule_is_the_right_one_and_no_other_is_lost) {
  size_t number = 0;
  std::set<uint32_t> refused;
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    const auto header = netlink::read_nlmsghdr(message);
    if (!header || header->nlmsg_type != RTM_NEWTFILTER) return std::nullopt;
    auto filter = tc::decode_filter(message);
    if (filter->rule.id.prio != 1 || filter->rule.id.chain >> 24U != 3 || ++number % 97 != 0) return std::nullopt;
    refused.insert(filter->rule.id.handle);
    return test::FakeKernel::Refusal{ENOMEM, ""};
  };
  auto report = apply_late(many_routes());
  ASSERT_TRUE(report);
  ASSERT_GT(refused.size(), 5U);
  std::set<uint32_t> told;
  for (const Refusal& refusal : report->outcome.refusals) told.insert(refusal.id.handle);
  EXPECT_EQ(told, refused);
  EXPECT_EQ(report->outcome.added + report->outcome.refusals.size(), report->rules);
}

TEST_F(FlightsTest, a_connection_that_breaks_among_them_is_repaired_within_the_pass) {
  kernel_.break_at_write = kernel_.writes() + 900;
  auto report = apply_late(many_routes());
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->outcome.refusals.empty());
  const uint64_t writes = kernel_.writes();
  apply(many_routes());
  EXPECT_EQ(kernel_.writes(), writes);
}

TEST_F(FlightsTest, a_stop_leaves_every_rule_in_place_or_not_at_all_and_the_next_pass_goes_on) {
  Reconciler reconciler({late_, conntrack_, slow_path_}, paths_);
  int pieces = 0;
  auto report = reconciler.apply(many_routes(), [&pieces] { return ++pieces < 2; });
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->outcome.stopped);
  EXPECT_LT(report->outcome.added, report->rules);
  const size_t standing = kernel_.filters.size();
  const PassReport rest = apply(many_routes());
  EXPECT_EQ(report->outcome.added + rest.outcome.added, rest.rules);
  EXPECT_GE(standing, report->outcome.added);
}

}  // namespace
}  // namespace sepal::agent
