// See invariants.hpp.
#include "tests/unit/agent/invariants.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "agent/reconciler.hpp"
#include "policy/network.hpp"
#include "tc/pipeline/lint.hpp"
#include "tests/unit/tc/pipeline/oracle.hpp"
#include "tests/unit/tc/pipeline/traffic.hpp"

namespace sepal::agent {
namespace {

constexpr unsigned kPackets = 30;

}  // namespace

void expect_invariants(Kernel kernel, const config::Config& config, const Paths& paths, uint64_t seed,
                       const InNic& in_nic, Ends& ends) {
  auto difference = find_difference(kernel, config, paths);
  ASSERT_TRUE(difference) << difference.error().message();
  EXPECT_FALSE(difference->any()) << "5: what is installed is what is wanted";
  const tc::RuleSet& rules = difference->wanted;
  for (const tc::LintFinding& finding :
       tc::lint(rules.rules, tc::lint_context(config, difference->world.facts, rules.zones)))
    EXPECT_TRUE(finding.informative) << to_string(finding);

  const auto held = [&](const tc::CompiledRule& rule) { return in_nic(rule, difference->world); };
  ends.in_hardware += static_cast<size_t>(std::count_if(rules.rules.begin(), rules.rules.end(), held));
  const tc::model::World world{config, difference->world.facts};
  tc::model::Judges judges;
  for (const policy::TenantPolicy& policy : policy::compile(config))
    judges.emplace(policy.vni, policy::Judge(policy.tables));
  const tc::model::Dataplane dataplane(rules, world.facts.vxlan, &judges);
  tc::model::Oracle oracle(world);
  tc::model::Traffic traffic(world, seed);
  tc::model::Conntrack conntrack;
  for (unsigned i = 0; i < kPackets && !testing::Test::HasFailure(); ++i) {
    const tc::model::Arrival arrival = traffic.next();
    tc::model::Conntrack beside = conntrack;
    const auto hardware = dataplane.hardware(
        arrival.device, arrival.packet, beside, [](const tc::model::Connection&) { return true; }, held);
    const auto software = dataplane.software(arrival.device, arrival.packet, conntrack);
    const auto story = [&] {
      return tc::model::to_string(arrival.packet) + "\nhardware: " + hardware.to_string() +
             "\nsoftware: " + software.to_string();
    };
    EXPECT_TRUE(same_end(hardware, software)) << "1: " << story();
    EXPECT_EQ(hardware.fault, "") << "2: " << story();
    EXPECT_EQ(tc::model::Oracle::difference(oracle.judge(arrival.device, arrival.packet, software), software), "")
        << "3, 4: " << story();
    traffic.seen(arrival, software);
    ends.ended_in_hardware += hardware.left_hardware ? 0 : 1;
  }
}

}  // namespace sepal::agent
