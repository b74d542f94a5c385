// The daemon over its socket: what it answers, what it heals, what it refuses. It runs in a thread, as it would in its
// process; clients are real.
#include "agent/daemon.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
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

  void start(std::chrono::milliseconds look_interval = std::chrono::milliseconds(50)) {
    ASSERT_NO_FATAL_FAILURE(begin(look_interval));
    const json status = ask({{"do", "status"}});
    ASSERT_TRUE(status.value("ok", false)) << status;
  }
  // Does not wait until it is up. A daemon that ends closes its socket, as its process would: nobody waits for it.
  void begin(std::chrono::milliseconds look_interval) {
    auto events = Events::open(paths_.socket);
    ASSERT_TRUE(events) << events.error().message();
    events_ = std::move(*events);
    // Devices of the fake kernel have the numbers of real ones: nothing may be sent.
    const auto nowhere = [](IfIndex, guest::FrameView) { return Result<void>(); };
    daemon_.emplace(kernel(), DaemonSettings{config_directory_, paths_, look_interval, nowhere}, *events_, notifier_);
    thread_ = std::thread([this] {
      exit_ = daemon_->run();
      events_.reset();
    });
  }
  // `remove` is the one request that ends a daemon.
  void stop() {
    if (!thread_.joinable()) return;
    (void)ask({{"do", "remove"}});
    thread_.join();
  }
  void expect_a_pass_that_works() {
    json status;
    for (int i = 0; i < 3000; ++i) {
      status = ask({{"do", "status"}});
      if (!status.contains("error")) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << status["error"];
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
  struct stat info{};
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
  EXPECT_NE(other["error"].get<std::string>().find("sepald runs this instance from " + config_directory_),
            std::string::npos);
}

TEST_F(DaemonTest, nonsense_on_the_socket_is_answered_or_dropped_and_hurts_nobody) {
  start();
  EXPECT_FALSE(ask({{"do", "dance"}})["ok"]);
  EXPECT_FALSE(ask({{"do", 7}})["ok"]);
  EXPECT_FALSE(ask(json::object())["ok"]);
  for (const std::string& bytes : {std::string("\xff\xff\xff\xff", 4), std::string("\0\0\0\0", 4),
                                   std::string("\0\0\0\5[1]", 7), std::string("\0\0\0\4{{{{", 8)}) {
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

TEST_F(DaemonTest, a_request_that_comes_while_a_pass_writes_does_not_wait_for_the_next_look) {
  UniqueFd client;
  kernel_.before_each_write = [&] {
    if (client.valid()) return;
    client.reset(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    std::strncpy(un.sun_path, paths_.socket.c_str(), sizeof un.sun_path - 1);
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&un), sizeof un), 0);
    const std::string request = frame({{"do", "status"}});
    ASSERT_EQ(::send(client.get(), request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  };
  begin(std::chrono::minutes(10));
  for (int i = 0; i < 3000 && ::access(paths_.state.c_str(), F_OK) != 0; ++i)  // until the first pass is done
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_TRUE(client.valid());
  pollfd answered{client.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&answered, 1, 5000), 1);
}

TEST_F(DaemonTest, a_refused_rule_is_told_with_its_next_try_and_in_the_exit_status) {
  kernel_.refuse = [this](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto filter = tc::decode_filter(message);
    const bool last = filter && filter->kind == "flower" && filter->rule.id.device == device_index("green-web") &&
                      filter->rule.id.chain == 0 && filter->rule.id.prio == 1000;
    if (!last) return std::nullopt;
    return test::FakeKernel::Refusal{EOPNOTSUPP, "driver: no such match"};
  };
  start(std::chrono::minutes(10));
  const json reload = ask({{"do", "reload"}});
  EXPECT_EQ(reload["exit"], kExitRefused);
  const json refused = ask({{"do", "status"}})["report"]["refused"];
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0]["error"]["kernel"], "driver: no such match");
  EXPECT_GE(refused[0]["attempts"], 2);  // the start's and the reload's
  EXPECT_LE(refused[0]["retry_in_ms"], 60'000);
}

TEST_F(DaemonTest, a_refused_rule_that_is_due_makes_no_failed_pass_follow_another) {
  const IfIndex refusing = device_index("green-web");
  kernel_.refuse = [refusing](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    auto filter = tc::decode_filter(message);
    if (!filter || filter->rule.id.device != refusing || filter->rule.id.prio != 1000) return std::nullopt;
    return test::FakeKernel::Refusal{EOPNOTSUPP, ""};
  };
  start(std::chrono::minutes(10));
  // From inside one of its requests the underlay device goes: every later pass fails.
  kernel_.before_each_write = [this] { kernel_.links.erase(device_index("uplink")); };
  (void)ask({{"do", "reload"}});
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // it is due two seconds after its second refusal
  EXPECT_TRUE(ask({{"do", "status"}}).contains("error"));
  stop();
  EXPECT_LT(kernel_.dumps, 300U);
}

TEST_F(DaemonTest, what_a_reload_says_of_the_flow_log_holds_from_the_first_pass_that_succeeds) {
  const std::string logging =
      kBlueHead + kWebPort + "security_groups:\n  web: {ingress: [{protocol: tcp, ports: 22, from: any, log: true}]}\n";
  write_config(kHostYaml + logging + kGreen);
  start(std::chrono::minutes(10));
  write_config(kHostYaml + "flow_log: {file: " + directory_ + "/flows.json}\n" + logging + kGreen);
  kernel_.interrupt_dumps = 300;  // enough for some passes
  EXPECT_FALSE(ask({{"do", "reload"}})["ok"]);
  expect_a_pass_that_works();
  stop();
  EXPECT_EQ(slow_path_.events_asked, 2U) << "at the start, and by the look that found nothing to do";
}

TEST_F(DaemonTest, what_a_reload_that_failed_wants_is_brought_about_by_the_next_pass_that_works) {
  start(std::chrono::minutes(10));
  write_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute + kGreen);
  kernel_.interrupt_dumps = 300;  // enough for some passes
  EXPECT_FALSE(ask({{"do", "reload"}})["ok"]);
  expect_a_pass_that_works();
  EXPECT_FALSE(filters_on("blue-app").empty());
  stop();
}

TEST_F(DaemonTest, a_ring_of_guests_questions_that_cannot_be_read_is_opened_anew_by_a_later_pass) {
  log::set_level(static_cast<log::Level>(0));
  const UniqueFd readable(::eventfd(1, EFD_CLOEXEC));
  FakeQuestions::Queue queue{{IfIndex(4000), {}}};  // from a device that is no port's
  std::atomic<bool> broken = true;
  std::atomic<unsigned> opened = 0;
  slow_path_.open_questions = [&]() -> Result<std::unique_ptr<Questions>> {
    ++opened;
    return std::make_unique<FakeQuestions>(queue, readable.get(), &broken);
  };
  const auto comes = [](const std::function<bool()>& what) {
    for (int i = 0; i < 500 && !what(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return what();
  };
  start();
  EXPECT_TRUE(comes([&] { return opened >= 2; }));
  broken = false;
  EXPECT_TRUE(comes([&] { return ask({{"do", "status"}})["guests"]["from_no_port"] == 1; }));
  EXPECT_EQ(ask({{"do", "status"}})["guests"]["hears"], true);
  stop();
}

// Of a guest at 02:00:00:00:00:09 that has 10.0.0.1.
std::vector<uint8_t> arp() {
  std::vector<uint8_t> frame(42);
  frame[6] = 0x02, frame[11] = 9;
  frame[12] = 0x08, frame[13] = 0x06;
  frame[15] = 1, frame[16] = 0x08, frame[18] = 6, frame[19] = 4, frame[21] = 1;
  frame[22] = 0x02, frame[27] = 9;
  frame[28] = 10, frame[31] = 1;
  return frame;
}

TEST_F(DaemonTest, a_mac_address_that_a_guest_showed_gets_rules_and_is_kept_over_a_restart) {
  write_config(kHostYaml + kBlueHead + "  - {name: web, device: blue-web, addresses: [10.0.0.1]}\n" + kAppPort);
  const UniqueFd readable(::eventfd(1, EFD_CLOEXEC));
  FakeQuestions::Queue queue{{device_index("blue-web"), arp()}};
  slow_path_.open_questions = [&]() -> Result<std::unique_ptr<Questions>> {
    return std::make_unique<FakeQuestions>(queue, readable.get());
  };
  const auto wait_for = [&](const std::function<bool()>& what) {
    for (int i = 0; i < 500 && !what(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return what();
  };
  const auto unknown = [&] {
    return ask({{"do", "status"}})["report"]["notes"].dump().find("MAC address is not known") != std::string::npos;
  };
  begin(std::chrono::milliseconds(3'600'000));
  EXPECT_TRUE(wait_for([&] { return ask({{"do", "status"}})["guests"]["learnt"] == 1 && !unknown(); }));
  const size_t rules = filters_on("blue-web").size();
  const auto saved = load_state(paths_.state).tenants.at(Vni(100)).macs;
  EXPECT_EQ(saved, (std::map<std::string, MacAddr>{{"blue-web", {{2, 0, 0, 0, 0, 9}}}}));
  EXPECT_TRUE(queue.empty());

  // Another process, of whom nobody asks anything.
  const config::Config open = *config::read_directory(config_directory_);
  EXPECT_TRUE(open.tenants[0].ports[0].mac.is_zero());
  config::Config filled = open;
  LearntMacs learnt = learnt_macs(load_state(paths_.state));
  fill_in(filled, learnt);
  EXPECT_EQ(filled.tenants[0].ports[0].mac, (MacAddr{{2, 0, 0, 0, 0, 9}}));
  Kernel borrowed = kernel();
  const auto difference = find_difference(borrowed, filled, paths_);
  ASSERT_TRUE(difference);
  EXPECT_FALSE(difference->any());
  EXPECT_EQ(filters_on("blue-web").size(), rules);
  stop();  // while what it reads from is there
}

TEST_F(DaemonTest, a_mac_address_of_another_port_is_not_learnt) {
  write_config(kHostYaml + kBlueHead + "  - {name: web, device: blue-web, addresses: [10.0.0.1]}\n" +
               "  - {name: app, device: blue-app, mac: \"02:00:00:00:00:09\", addresses: [10.0.0.3]}\n");
  const UniqueFd readable(::eventfd(1, EFD_CLOEXEC));
  FakeQuestions::Queue queue{{device_index("blue-web"), arp()}};
  std::atomic<bool> broken = true;
  slow_path_.open_questions = [&]() -> Result<std::unique_ptr<Questions>> {
    return std::make_unique<FakeQuestions>(queue, readable.get(), &broken);
  };
  start();
  broken = false;
  for (int i = 0; i < 500 && ask({{"do", "status"}})["guests"]["hears"] != true; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(ask({{"do", "status"}})["guests"]["learnt"], 0);
  stop();
  EXPECT_TRUE(queue.empty());
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
