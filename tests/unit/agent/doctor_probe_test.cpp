// Shapes of rules, tried on a kernel in memory that refuses what it is told to.
#include "agent/doctor/probe.hpp"
#include "agent/explain.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent::doctor {
namespace {

class Probes : public AgentTest {
 protected:
  Probes() {
    for (auto& [index, link] : kernel_.links) link.phys_switch_id = {0x5e, 0x01};
  }

  std::vector<Shape> shapes() {
    Kernel borrowed = kernel();
    auto ground = survey(borrowed, usual_config(), paths_);
    EXPECT_TRUE(ground);
    std::vector<Shape> here;
    for (Shape& shape : shapes_of(tc::compile(usual_config(), ground->facts))) {
      // The tunnel's block can only be asked whether it is in hardware, which a kernel in memory has none of.
      if (shape.block != tc::BlockKind::vxlan) here.push_back(std::move(shape));
      kernel_.clsact.insert(here.empty() ? IfIndex(1) : here.back().rule.id.device);
    }
    return here;
  }
  std::vector<ProbeOutcome> probed() {
    Kernel borrowed = kernel();
    auto outcomes = probe(borrowed, shapes());
    EXPECT_TRUE(outcomes) << (outcomes ? "" : outcomes.error().message());
    return outcomes ? *outcomes : std::vector<ProbeOutcome>();
  }
};

TEST_F(Probes, there_is_one_of_each_kind_of_rule_that_may_be_in_hardware) {
  const auto all = shapes();
  EXPECT_GT(all.size(), 10U);
  EXPECT_LT(all.size(), 60U) << "not one for each rule";
  std::set<std::string> actions;
  for (const Shape& shape : all) {
    EXPECT_FALSE(shape.rule.spec.skip_hw) << shape.name;
    EXPECT_EQ(shape.rule.id.chain, kProbeChain) << shape.name;
    EXPECT_EQ(shape.name.find("commit"), std::string::npos) << shape.name;
    actions.insert(shape.name.substr(shape.name.find("→")));
  }
  for (const char* part : {"→ police, goto", "→ ct, goto", "→ pedit, csum, tunnel set, mirred", "→ drop", "→ goto"})
    EXPECT_TRUE(std::any_of(actions.begin(), actions.end(), [&](const std::string& a) {
      return a.find(part) != std::string::npos;
    })) << part;
}

TEST_F(Probes, all_that_are_taken_is_one_good_finding_and_nothing_is_left) {
  const auto outcomes = probed();
  EXPECT_TRUE(kernel_.filters.empty());
  const Findings findings = judge_probes(outcomes);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].state, State::ok) << findings[0].what;
  EXPECT_EQ(findings[0].what, "the NIC takes all " + std::to_string(outcomes.size()) + " shapes of rules");
}

TEST_F(Probes, a_refused_shape_is_named_with_the_drivers_words) {
  kernel_.refuse = [](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto decoded = tc::decode_filter(message);
    if (!decoded || netlink::read_nlmsghdr(message)->nlmsg_type != RTM_NEWTFILTER) return std::nullopt;
    for (const tc::Action& action : decoded->rule.spec.actions)
      if (std::holds_alternative<tc::Police>(action.kind))
        return test::FakeKernel::Refusal{EOPNOTSUPP, "mlx5_core: no meters here"};
    return std::nullopt;
  };
  const Findings findings = judge_probes(probed());
  ASSERT_FALSE(findings.empty());
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.state, State::fail);
    EXPECT_NE(finding.what.find("→ police, goto"), std::string::npos) << finding.what;
    EXPECT_NE(finding.what.find("no meters here"), std::string::npos) << finding.what;
    EXPECT_FALSE(finding.cure.empty());
  }
  EXPECT_TRUE(kernel_.filters.empty());
}

TEST_F(Probes, an_agent_does_not_take_a_probe_for_its_own_rule) {
  kernel_.before_each_write = [this, first = true]() mutable {
    if (kernel_.filters.empty() || !std::exchange(first, false)) return;
    Kernel borrowed = kernel();
    auto world = look(borrowed, {nullptr, "default", nullptr});
    ASSERT_TRUE(world);
    EXPECT_TRUE(world->observed.empty());
    EXPECT_EQ(world->foreign.size(), 1U);
    EXPECT_TRUE(world->facts.zones.empty());
  };
  EXPECT_FALSE(probed().empty());
}

TEST_F(Probes, what_a_killed_doctor_left_is_cleared_and_others_filters_stay) {
  const auto all = shapes();
  Kernel borrowed = kernel();
  DyingTransport dying(kernel_, 2);  // added, and never removed
  Kernel dies{dying, conntrack_, slow_path_};
  EXPECT_FALSE(probe(dies, all));
  ASSERT_EQ(kernel_.filters.size(), 1U);
  const test::FilterPlace left = kernel_.filters.begin()->first;
  add_foreign("blue-web", kProbeChain, 9, "flower");
  EXPECT_EQ(*clear_probes(borrowed, {left.device, device_index("blue-web")}), 1U);
  ASSERT_EQ(kernel_.filters.size(), 1U);
  EXPECT_EQ(kernel_.filters.begin()->first.prio, 9);
}

TEST_F(Probes, a_probe_that_cannot_be_removed_is_an_error_not_a_finding) {
  kernel_.refuse = [](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    if (netlink::read_nlmsghdr(message)->nlmsg_type != RTM_DELTFILTER) return std::nullopt;
    return test::FakeKernel::Refusal{EBUSY, ""};
  };
  Kernel borrowed = kernel();
  auto outcomes = probe(borrowed, shapes());
  ASSERT_FALSE(outcomes);
  EXPECT_NE(outcomes.error().message().find("take a trial rule out"), std::string::npos);
}

TEST_F(Probes, nothing_to_try_is_not_known) {
  const Findings findings = judge_probes({});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].state, State::unknown);
}

}  // namespace
}  // namespace sepal::agent::doctor
