// The agent's small parts: names of instances, the lock, the state file, command lines, the service manager's protocol.
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>

#include "agent/lock.hpp"
#include "agent/notify.hpp"
#include "agent/options.hpp"
#include "agent/output.hpp"
#include "agent/state.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using FilesTest = AgentTest;

TEST(InstanceName, must_be_a_plain_file_name) {
  for (const char* good : {"default", "h1", "a-b_c", "9"}) EXPECT_TRUE(Paths::make(good)) << good;
  for (const char* bad : {"", "..", "a/b", "-x", "_x", "a b", "a.b"}) EXPECT_FALSE(Paths::make(bad)) << bad;
  EXPECT_FALSE(Paths::make(std::string(64, 'a')));
}

TEST_F(FilesTest, a_second_writer_is_refused_and_told_the_pid_of_the_first) {
  auto first = WriterLock::take(paths_.lock);
  ASSERT_TRUE(first);
  auto second = WriterLock::take(paths_.lock);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::conflict);
  EXPECT_NE(second.error().message().find("pid " + std::to_string(::getpid())), std::string::npos)
      << second.error().message();
}

TEST_F(FilesTest, a_lock_ends_with_its_owner_even_a_killed_one) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto lock = WriterLock::take(paths_.lock);
    ::kill(::getpid(), SIGKILL);
    ::_exit(lock ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(WriterLock::take(paths_.lock));
}

TEST_F(FilesTest, a_lock_file_removed_by_its_owner_can_be_taken_anew) {
  auto first = WriterLock::take(paths_.lock);
  ASSERT_TRUE(first);
  first->remove_file();
  EXPECT_FALSE(std::filesystem::exists(paths_.lock));
  EXPECT_TRUE(WriterLock::take(paths_.lock));
}

TEST_F(FilesTest, what_was_saved_is_loaded) {
  SavedState state;
  state.tenants[Vni(100)] = {
      Zone(3),
      {{*IpPrefix::parse("10.0.0.1/32"), "vf3"}, {*IpPrefix::parse("fd00::/64"), ""}},
      {{"vf3", *MacAddr::parse("02:00:00:00:00:0a")}, {"web", *MacAddr::parse("02:00:00:00:00:0b")}},
      0xfedcba9876543210};
  state.tenants[Vni(200)] = {Zone(4), {}, {}, 0};
  state.gateways[*IpAddr::parse("198.51.100.1")] = *MacAddr::parse("02:00:00:00:00:01");
  ASSERT_TRUE(save_state(paths_.state, state));
  EXPECT_EQ(load_state(paths_.state), state);
}

TEST_F(FilesTest, a_damaged_state_file_is_an_empty_state) {
  for (const char* text :
       {"", "sepal-state 3\n", "sepal-state 2\ntenant 100\n", "sepal-state 2\nserved 100 10.0.0.1/32\n",
        "sepal-state 2\ntenant 0 1\n", "sepal-state 2\ntenant 100 70000\n", "sepal-state 2\nnonsense a b\n",
        "sepal-state 2\ngateway 198.51.100.1 xx\n", "sepal-state 2\ntenant 100 1\nmac 100 02:00:00:00:00:0a\n",
        "sepal-state 2\nmac 100 02:00:00:00:00:0a vf3\n", "sepal-state 2\ntenant 100 1\nmac 100 02:00 vf3\n"}) {
    std::ofstream(paths_.state) << text;
    EXPECT_EQ(load_state(paths_.state), SavedState()) << text;
  }
}

TEST_F(FilesTest, a_state_file_of_version_1_named_the_port_beside_its_seat) {
  std::ofstream(paths_.state)
      << "sepal-state 1\ntenant 100 3\nserved 100 10.0.0.1/32 web-0@vf3\nserved 100 fd00::/64\n";
  const SavedState state = load_state(paths_.state);
  ASSERT_TRUE(state.tenants.contains(Vni(100)));
  EXPECT_EQ(state.tenants.at(Vni(100)).served.at(*IpPrefix::parse("10.0.0.1/32")), "vf3");
  EXPECT_EQ(state.tenants.at(Vni(100)).served.at(*IpPrefix::parse("fd00::/64")), "");
}

TEST(Options, of_every_form_are_understood) {
  auto options = Options::parse({"show", "--json", "--tenant", "blue", "--group=3", "--", "--word"},
                                {{"--json"}, {"--tenant", true}, {"--group", true}});
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->has("--json"));
  EXPECT_EQ(options->value("--tenant", ""), "blue");
  EXPECT_EQ(options->words(), (std::vector<std::string>{"show", "--word"}));
  EXPECT_EQ(**options->number("--group", 0, 7), 3);
  EXPECT_FALSE(options->number("--tenant", 0, 7)) << "a word is no number";
  EXPECT_FALSE(options->number("--group", 4, 7)) << "out of range";
}

TEST(Options, that_are_wrong_are_named) {
  const std::vector<OptionSpec> known{{"--json"}, {"--tenant", true}};
  EXPECT_EQ(Options::parse({"--jsno"}, known).error().message(), "unknown option --jsno");
  EXPECT_EQ(Options::parse({"--tenant"}, known).error().message(), "option --tenant needs a value");
  EXPECT_EQ(Options::parse({"--json=1"}, known).error().message(), "option --json takes no value");
  EXPECT_EQ(Options::parse({"--json", "--json"}, known).error().message(), "option --json is given twice");
}

class NotifyTest : public AgentTest {
 protected:
  NotifyTest() : address_(directory_ + "/notify"), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    std::strncpy(un.sun_path, address_.c_str(), sizeof un.sun_path - 1);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&un), sizeof un), 0);
  }
  std::string received() {
    std::array<char, 256> text{};
    const ssize_t size = ::recv(socket_.get(), text.data(), text.size(), 0);
    return size < 0 ? "" : std::string(text.data(), static_cast<size_t>(size));
  }
  std::string address_;
  UniqueFd socket_;
};

TEST_F(NotifyTest, the_service_manager_hears_each_state_in_its_own_words) {
  Notifier notifier(address_);
  notifier.ready("12 rules\nin place");
  EXPECT_EQ(received(), "READY=1\nSTATUS=12 rules in place") << "a line break would end the variable";
  notifier.status("x");
  EXPECT_EQ(received(), "STATUS=x");
  notifier.reloading();
  const std::string reloading = received();
  EXPECT_EQ(reloading.rfind("RELOADING=1\nMONOTONIC_USEC=", 0), 0U) << reloading;
  notifier.alive();
  EXPECT_EQ(received(), "WATCHDOG=1");
  notifier.stopping();
  EXPECT_EQ(received(), "STOPPING=1");
}

TEST_F(NotifyTest, the_watchdog_is_fed_twice_as_often_as_the_manager_asks) {
  ::setenv("NOTIFY_SOCKET", address_.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "60000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  Notifier notifier = Notifier::from_environment();
  EXPECT_EQ(notifier.watchdog_period(), std::chrono::seconds(30));
  EXPECT_EQ(::getenv("NOTIFY_SOCKET"), nullptr) << "children must not speak for us";
  ::setenv("WATCHDOG_USEC", "60000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_FALSE(Notifier::from_environment().watchdog_period()) << "meant for another process";
}

TEST(Notifier, without_a_manager_says_nothing_and_fails_nowhere) {
  Notifier notifier("");
  notifier.ready("");
  EXPECT_FALSE(notifier.watchdog_period());
}

TEST(Output, colours_count_no_columns) {
  EXPECT_EQ(display_width("→ g2"), 4U);
  EXPECT_EQ(display_width(Output(false, true).paint(Paint::red, "abc")), 3U);
  EXPECT_EQ(Output(false, false).paint(Paint::red, "abc"), "abc");
}

TEST(Output, columns_line_up) {
  testing::internal::CaptureStdout();
  Output(false, false).table({{"a", ">1", "x"}, {"long", ">100", ""}}, 2);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "  a       1  x\n  long  100\n");
}

}  // namespace
}  // namespace sepal::agent
