// A restart: what the last complete pass of the same program left is believed, when everything it tells of is as it
// was.
#include "agent/last_pass.hpp"

#include <fstream>

#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

class LastPassTest : public AgentTest {
 protected:
  // Whether a new process compiles and compares, which begins with the slow path's entries.
  bool compiles(const config::Config& config) {
    slow_path_.calls.clear();
    apply(config);
    return !slow_path_.calls.empty();
  }
};

TEST_F(LastPassTest, a_restart_with_everything_as_it_was_compiles_nothing_and_writes_nothing) {
  const PassReport first = apply(usual_config());
  const uint64_t writes = kernel_.writes();
  slow_path_.calls.clear();
  Reconciler again = reconciler();
  auto report = again.apply(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(slow_path_.calls.empty());
  EXPECT_EQ(kernel_.writes(), writes);
  EXPECT_EQ(report->rules, first.rules);
  EXPECT_FALSE(report->quiet) << "it is told as any start";
  auto look = again.look_again(usual_config(), {});
  ASSERT_TRUE(look);
  EXPECT_TRUE(look->quiet);
}

TEST_F(LastPassTest, its_report_tells_what_waits) {
  kernel_.links.erase(device_index("blue-app"));
  const PassReport first = apply(usual_config());
  ASSERT_FALSE(compiles(usual_config()));
  const PassReport again = apply(usual_config());
  EXPECT_EQ(again.waiting, first.waiting);
  EXPECT_EQ(again.waiting.size(), 1U);
  EXPECT_EQ(again.notes, first.notes);
}

TEST_F(LastPassTest, without_the_file_nothing_is_believed_and_nothing_is_lost) {
  apply(usual_config());
  std::filesystem::remove(paths_.last);
  const uint64_t writes = kernel_.writes();
  EXPECT_TRUE(compiles(usual_config()));
  EXPECT_EQ(kernel_.writes(), writes);
  EXPECT_FALSE(compiles(usual_config())) << "and the file is back";
}

TEST_F(LastPassTest, another_program_may_compile_other_rules_of_the_same_input) {
  apply(usual_config());
  auto last = load_last_pass(paths_.last);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->program, program_id());
  last->program[0] = last->program[0] == '0' ? '1' : '0';
  ASSERT_TRUE(save_last_pass(paths_.last, *last));
  EXPECT_TRUE(compiles(usual_config()));
}

TEST_F(LastPassTest, a_rule_that_somebody_took_away_comes_back) {
  apply(usual_config());
  const auto before = kernel_.filters;
  kernel_.filters.erase(kernel_.filters.lower_bound({device_index("blue-web"), 0xfffffff2U, 1, 0, 0}));
  EXPECT_TRUE(compiles(usual_config()));
  EXPECT_EQ(kernel_.filters.size(), before.size());
}

TEST_F(LastPassTest, a_changed_configuration_is_applied) {
  apply(usual_config());
  const config::Config less = read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute + kGreen);
  EXPECT_TRUE(compiles(less));
  EXPECT_FALSE(compiles(less));
  EXPECT_TRUE(compiles(usual_config()));
}

TEST_F(LastPassTest, a_program_of_the_slow_path_that_was_replaced_is_another_input) {
  apply(usual_config());
  slow_path_.loaded.answer_neighbour.tag[0] ^= 1U;
  EXPECT_TRUE(compiles(usual_config()));
}

TEST_F(LastPassTest, a_lost_state_file_is_written_again) {
  apply(usual_config());
  const SavedState saved = load_state(paths_.state);
  std::filesystem::remove(paths_.state);
  apply(usual_config());
  EXPECT_EQ(load_state(paths_.state), saved);
}

// Killed in the middle, the entries of the slow path may be those of a configuration that never came to stand.
TEST_F(LastPassTest, a_pass_that_did_not_end_leaves_nothing_to_believe) {
  apply(usual_config());
  ASSERT_TRUE(std::filesystem::exists(paths_.last));
  DyingTransport last_breath(kernel_, 3);
  Reconciler dying({last_breath, conntrack_, slow_path_}, paths_);
  EXPECT_FALSE(dying.apply(read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute), {}).has_value());
  EXPECT_FALSE(std::filesystem::exists(paths_.last));
}

TEST_F(LastPassTest, a_refused_rule_leaves_nothing_to_believe) {
  kernel_.refuse = [this](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto filter = tc::decode_filter(message);
    if (!filter || filter->rule.id.device != device_index("green-web") || filter->rule.id.prio != 1000)
      return std::nullopt;
    return test::FakeKernel::Refusal{EOPNOTSUPP, ""};
  };
  apply(usual_config());
  EXPECT_FALSE(std::filesystem::exists(paths_.last));
}

TEST_F(LastPassTest, a_damaged_file_is_none) {
  for (const std::string text : {"", "sepal-last-pass 1", "sepal-last-pass 1 ab 1 2", "sepal-last-pass 1 ab 1 2 x",
                                 "sepal-last-pass 2 ab 1 2 3", "sepal-last-pass 1 ab 1 2 3 4"}) {
    std::ofstream(paths_.last) << text << '\n';
    EXPECT_FALSE(load_last_pass(paths_.last).has_value()) << text;
  }
  const LastPass last{"ab12", 0xfedcba9876543210U, 7, 10384};
  ASSERT_TRUE(save_last_pass(paths_.last, last));
  EXPECT_EQ(load_last_pass(paths_.last), last);
}

TEST_F(LastPassTest, a_program_knows_its_build) {
  EXPECT_GE(program_id().size(), 16U) << "the linker adds no build id";
}

}  // namespace
}  // namespace sepal::agent
