// The daemon over its socket: what it answers, what it heals, what it refuses. It runs in a thread, as it would in its
// process; clients are real.
#include "agent/daemon.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/control.hpp"
#include "agent/exit_codes.hpp"
#include "base/log.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

class DaemonTest : public AgentTest {
 protected:
  DaemonTest() : config_directory_(directory_ + "/config") {
    std::filesystem::create_directory(config_directory_);
    write_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute + kGreen);
    log::set_level(log::Level::error);
  }
  ~DaemonTest() override { stop(); }

  void write_config(const std::string& yaml) { std::ofstream(config_directory_ + "/sepal.yaml") << yaml; }

  void start() {
    auto events = Events::open(paths_.socket);
    ASSERT_TRUE(events) << events.error().message();
    events_ = std::move(*events);
    daemon_.emplace(kernel(), DaemonSettings{config_directory_, paths_, std::chrono::milliseconds(50)}, *events_, notifier_);
    thread_ = std::thread([this] { exit_ = daemon_->run(); });
    for (int i = 0; i < 500; ++i) {
      auto status = ask({{"do", "status"}});
      if (status.value("ok", false)) return;
    }
    FAIL() << "the daemon does not answer";
  }
  // `remove` is the one request that ends a daemon.
  void stop() {
    if (!thread_.joinable()) return;
    (void)ask({{"do", "remove"}});
    thread_.join();
  }
  json ask(const json& request) {
    auto reply = ask_daemon(paths_.socket, request, std::chrono::seconds(30));
    return reply ? *reply : json{{"ok", false}, {"error", reply.error().message()}};
  }

  std::string config_directory_;
  Notifier notifier_{""};
  std::unique_ptr<Events> events_;
  std::optional<Daemon> daemon_;
  std::thread thread_;
  int exit_ = -1;
};

TEST_F(DaemonTest, status_tells_what_is_in_place) {
  start();
  const json status = ask({{"do", "status"}});
  EXPECT_EQ(status["instance"], "default");
  EXPECT_EQ(status["tenants"], 2);
  EXPECT_EQ(status["config"], config_directory_);
  EXPECT_TRUE(status["faults"].empty());
  EXPECT_EQ(status["report"]["rules"], status["report"]["added"]);
}

TEST_F(DaemonTest, only_root_may_open_the_socket) {
  start();
  struct stat info {};
  ASSERT_EQ(::stat(paths_.socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(DaemonTest, a_reload_applies_what_is_new) {
  start();
  write_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute + kGreen);
  const json reply = ask({{"do", "reload"}});
  EXPECT_TRUE(reply["ok"]);
  EXPECT_GT(reply["report"]["added"], 0);
  EXPECT_EQ(reply["report"]["removed"], 0);
}

TEST_F(DaemonTest, an_invalid_configuration_is_refused_with_every_fault_and_the_old_one_stays_in_force) {
  start();
  const json before = ask({{"do", "status"}})["report"]["rules"];
  write_config(kHostYaml + "---\napiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 0\nsubnets: [10.0.0.0/33]\n");
  const json reply = ask({{"do", "reload"}});
  EXPECT_FALSE(reply["ok"]);
  EXPECT_EQ(reply["exit"], kExitInvalid);
  EXPECT_GE(reply["faults"].size(), 2U);
  const json status = ask({{"do", "status"}});
  EXPECT_EQ(status["report"]["rules"], before);
  EXPECT_FALSE(status["faults"].empty());
}

TEST_F(DaemonTest, apply_is_done_for_its_own_directory_and_refused_for_another) {
  start();
  EXPECT_TRUE(ask({{"do", "apply"}, {"directory", config_directory_ + "/../config"}})["ok"]);
  const json other = ask({{"do", "apply"}, {"directory", directory_}});
  EXPECT_FALSE(other["ok"]);
  EXPECT_EQ(other["exit"], kExitLocked);
  EXPECT_NE(other["error"].get<std::string>().find("sepald runs this instance from " + config_directory_), std::string::npos);
}

TEST_F(DaemonTest, nonsense_on_the_socket_is_answered_or_dropped_and_hurts_nobody) {
  start();
  EXPECT_FALSE(ask({{"do", "dance"}})["ok"]);
  EXPECT_FALSE(ask({{"do", 7}})["ok"]);
  EXPECT_FALSE(ask(json::object())["ok"]);
  for (const std::string& bytes : {std::string("\xff\xff\xff\xff", 4), std::string("\0\0\0\0", 4), std::string("\0\0\0\5[1]", 7),
                                  std::string("\0\0\0\4{{{{", 8)}) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    std::strncpy(un.sun_path, paths_.socket.c_str(), sizeof un.sun_path - 1);
    ASSERT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&un), sizeof un), 0);
    ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  EXPECT_TRUE(ask({{"do", "status"}})["ok"]);
}

TEST_F(DaemonTest, remove_takes_everything_out_and_ends_the_daemon) {
  start();
  const json reply = ask({{"do", "remove"}});
  thread_.join();
  EXPECT_TRUE(reply["ok"]);
  EXPECT_EQ(exit_, kExitOk);
  EXPECT_TRUE(kernel_.filters.empty());
  EXPECT_TRUE(kernel_.clsact.empty());
}

TEST_F(DaemonTest, looks_heal_what_others_deleted_without_being_asked) {
  start();
  // The kernel is the daemon's thread's alone: somebody else's hand moves inside one of its own requests.
  const size_t rules = ask({{"do", "status"}})["report"]["rules"];
  kernel_.before_each_write = [this, done = false]() mutable {
    if (done) return;
    done = true;
    const auto victim = kernel_.filters.lower_bound({device_index("green-web"), 0xfffffff2U, 1, 0, 0});
    kernel_.filters.erase(victim);
  };
  write_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute + kGreen);
  ASSERT_TRUE(ask({{"do", "reload"}})["ok"]);
  json status;
  for (int i = 0; i < 500; ++i) {
    status = ask({{"do", "status"}});
    if (status["report"]["added"] == 1) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(status["report"]["added"], 1) << status.dump(1);
  EXPECT_GT(status["report"]["rules"].get<size_t>(), rules);
  ASSERT_EQ(status["report"]["changes"].size(), 1U);
  EXPECT_NE(status["report"]["changes"][0].get<std::string>().find("tenant green"), std::string::npos);
}

TEST_F(DaemonTest, without_a_valid_configuration_it_does_not_start_and_changes_nothing) {
  write_config("apiVersion: sepal/v1\nkind: Host\n");
  auto events = Events::open(paths_.socket);
  ASSERT_TRUE(events);
  Daemon daemon(kernel(), {config_directory_, paths_, std::chrono::seconds(1)}, **events, notifier_);
  log::set_level(static_cast<log::Level>(0));
  EXPECT_EQ(daemon.run(), kExitInvalid);
  EXPECT_EQ(kernel_.writes(), 0U);
}

TEST(Control, asking_where_nobody_listens_is_told_apart_from_other_errors) {
  auto reply = ask_daemon("/nonexistent/sepal.sock", {{"do", "status"}}, std::chrono::seconds(1));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Errc::not_found);
}

}  // namespace
}  // namespace sepal::agent
