// The tables against the plain model, over random networks and connections.
#include <gtest/gtest.h>

#include "plain_model.hpp"
#include "random_network.hpp"

namespace sepal::policy::model {
namespace {

constexpr uint64_t kNetworks = 1000;
constexpr unsigned kFlowsPerNetwork = 100;

TEST(Differential, the_tables_say_of_100000_connections_what_a_walk_over_the_rules_says) {
  unsigned allowed = 0;
  unsigned denied = 0;
  unsigned audited = 0;
  unsigned by_rule = 0;
  for (uint64_t seed = 1; seed <= kNetworks && !testing::Test::HasFailure(); ++seed) {
    Chance chance(seed);
    const Network network = random_network(chance);
    const TenantPolicy policy = compile(network);
    const Judge judge_of(policy.tables);
    for (unsigned i = 0; i < kFlowsPerNetwork && !testing::Test::HasFailure(); ++i) {
      const Flow flow = random_flow(chance, network);
      const Judgement expected = judge(network, flow);
      const Verdict verdict = judge_of.judge(flow);
      EXPECT_EQ(in_words(policy, verdict), expected) << "seed " << seed << ": " << to_string(flow) << "\n"
                                                     << to_string(network);
      EXPECT_EQ(verdict.allowed, expected.allowed());
      ++(verdict.allowed ? allowed : denied);
      if (verdict.egress.audited() || verdict.ingress.audited()) ++audited;
      if (expected.egress.line != 0 || expected.ingress.line != 0) ++by_rule;
    }
  }
  if (testing::Test::HasFailure()) return;
  EXPECT_GT(allowed, 10'000U);
  EXPECT_GT(denied, 10'000U);
  EXPECT_GT(audited, 1'000U);
  EXPECT_GT(by_rule, 10'000U);
}

}  // namespace
}  // namespace sepal::policy::model
