// A question about one port may compile its tenants alone: its block comes out as from the whole configuration.
#include "tc/pipeline/narrow.hpp"

#include "tc/pipeline/lint_words.hpp"
#include "worlds.hpp"

namespace sepal::tc::model {
namespace {

std::vector<CompiledRule> block_of(const RuleSet& rules, IfIndex device) {
  std::vector<CompiledRule> block;
  for (const CompiledRule& rule : rules.rules)
    if (rule.rule.id.device == device) block.push_back(rule);
  return block;
}

TEST(Narrow, a_ports_block_is_what_the_whole_configuration_makes_it) {
  for (const bool beyond_nic : {false, true}) {
    in_every_world(
        [](const Compiled& compiled, uint64_t) {
          for (const auto& [port, device] : compiled.world.facts.ports) {
            const Narrowed narrowed = narrow(compiled.world.config, compiled.world.facts, port.tenant);
            ASSERT_LE(narrowed.config.tenants.size(), compiled.world.config.tenants.size());
            const auto block = block_of(compile(narrowed.config, narrowed.facts), device);
            ASSERT_EQ(block, block_of(compiled.rules, device)) << port.tenant << "/" << port.port;
          }
        },
        beyond_nic, 40);
  }
}

TEST(Narrow, leaves_out_tenants_that_no_route_leads_to) {
  size_t left_out = 0;
  in_every_world(
      [&](const Compiled& compiled, uint64_t) {
        for (const config::Tenant& tenant : compiled.world.config.tenants)
          left_out += compiled.world.config.tenants.size() -
                      narrow(compiled.world.config, compiled.world.facts, tenant.name).config.tenants.size();
      },
      false, 40);
  EXPECT_GT(left_out, 40U);
}

TEST(LintWords, a_drivers_words_lead_to_the_rule_that_is_about_them) {
  EXPECT_EQ(lint_rule_about("mlx5_core: Unsupported key"), "L10");
  EXPECT_EQ(lint_rule_about("mlx5_core: Decap with goto isn't supported"), "L2");
  EXPECT_EQ(lint_rule_about("mlx5_core: can't forward from a VF to itself"), "L19");
  EXPECT_EQ(lint_rule_about("Action does not support offload"), "L14");
  EXPECT_EQ(lint_rule_about("mlx5_core: mlx5 tc ct offload isn't enabled."), "");
  EXPECT_EQ(lint_rule_about(""), "");
}

}  // namespace
}  // namespace sepal::tc::model
