// sepalctl's commands that need no kernel, as a shell would see them: output and exit status.
#include "agent/commands.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/exit_codes.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

class CommandsTest : public AgentTest {
 protected:
  struct Seen {
    int exit = -1;
    std::string out;
    std::string err;
    [[nodiscard]] json parsed() const { return json::parse(out, nullptr, false); }
  };
  Seen run(int (*command)(const Command&), bool as_json) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Seen seen;
    seen.exit = command({*Options::parse({}, {}), paths_, Output(as_json, false), directory_});
    seen.out = testing::internal::GetCapturedStdout();
    seen.err = testing::internal::GetCapturedStderr();
    return seen;
  }
  void write(const std::string& yaml) { std::ofstream(directory_ + "/sepal.yaml") << yaml; }
  void write_usual() { write(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute + kGreen); }
  void write_faulty() {
    write(kHostYaml + "---\napiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 0\ncolour: blue\n");
  }
};

TEST_F(CommandsTest, validate_counts_what_is_valid) {
  write_usual();
  const Seen seen = run(command_validate, false);
  EXPECT_EQ(seen.exit, kExitOk);
  EXPECT_EQ(seen.out, directory_ + ": valid: 2 tenants, 3 ports in 1 file\n");
  EXPECT_EQ(seen.err, "");
  const json out = run(command_validate, true).parsed();
  EXPECT_EQ(out["valid"], true);
  EXPECT_EQ(out["tenants"], 2);
  EXPECT_EQ(out["ports"], 3);
  EXPECT_TRUE(out["faults"].empty());
}

TEST_F(CommandsTest, validate_names_each_fault_at_the_start_of_a_line_and_ends_with_three) {
  write_faulty();
  const Seen seen = run(command_validate, false);
  EXPECT_EQ(seen.exit, kExitInvalid);
  EXPECT_EQ(seen.out.find("sepal.yaml:") != std::string::npos, true) << seen.out;
  EXPECT_NE(seen.err.find("nothing was changed"), std::string::npos) << seen.err;
  const json out = run(command_validate, true).parsed();
  EXPECT_EQ(out["valid"], false);
  ASSERT_GE(out["faults"].size(), 2U);
  for (const char* field : {"file", "line", "column", "what", "hint"})
    EXPECT_TRUE(out["faults"][0].contains(field)) << field;
}

TEST_F(CommandsTest, an_invalid_configuration_ends_every_command_that_needs_one_with_three) {
  write_faulty();
  for (auto* command : {command_validate, command_lint, command_plan, command_apply, command_verify})
    EXPECT_EQ(run(command, false).exit, kExitInvalid);
  EXPECT_FALSE(std::filesystem::exists(paths_.lock)) << "nothing was begun";
}

TEST_F(CommandsTest, lint_finds_nothing_in_what_we_compile) {
  write_usual();
  const Seen seen = run(command_lint, true);
  EXPECT_EQ(seen.exit, kExitOk) << seen.out;
  EXPECT_GT(seen.parsed()["rules"], 50);
  EXPECT_TRUE(seen.parsed()["findings"].empty()) << seen.out;
}

TEST_F(CommandsTest, reload_without_a_daemon_says_so) {
  const Seen seen = run(command_reload, false);
  EXPECT_EQ(seen.exit, kExitError);
  EXPECT_NE(seen.err.find("no sepald listens on " + paths_.socket), std::string::npos) << seen.err;
}

}  // namespace
}  // namespace sepal::agent
