// What sepald does about a NIC that falls out of service: it notices, and asks those who may act, again and again but
// ever more rarely.
#include "agent/nic_watch.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace sepal::agent {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class Watch : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sepal-watch-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory_ = pattern;
    file_ = directory_ / "default.nic-lost";
    fs::create_directories(directory_ / "sys/bus/pci/devices/0000:3b:00.0/net/up");
    config_.host.nic.manual_representors = false;
    config_.host.nic.pci = "0000:3b:00.0";
    config_.host.nic.vfs = 4;
    config::Tenant tenant;
    tenant.name = "blue";
    config::Port port;
    port.name = "web";
    port.vf = 2;
    tenant.ports = {port};
    config_.tenants = {tenant};
  }
  void TearDown() override { fs::remove_all(directory_); }

  void link(const std::string& name, const std::string& port_name, std::vector<uint8_t> eswitch) {
    netlink::Link link;
    link.index = IfIndex(static_cast<uint32_t>(links_.size()) + 1);
    link.name = name;
    link.phys_port_name = port_name;
    link.phys_switch_id = std::move(eswitch);
    links_.push_back(link);
  }
  std::optional<std::string> loss() { return nic_loss(links_, config_, directory_ / "sys"); }
  // Whether it was written since the last question.
  bool written() { return fs::remove(file_); }

  fs::path directory_;
  fs::path file_;
  config::Config config_;
  std::vector<netlink::Link> links_;
  NicWatch::Clock::time_point now_;
};

TEST_F(Watch, a_nic_in_legacy_mode_is_lost) {
  link("up", "", {});
  EXPECT_EQ(loss(), "NIC 0000:3b:00.0 is not in switchdev mode");
}

TEST_F(Watch, a_representor_that_a_port_needs_and_that_is_not_there_is_a_loss_and_names_the_port) {
  link("up", "p0", {1});
  link("r0", "pf0vf0", {1});
  EXPECT_EQ(loss(), "NIC 0000:3b:00.0 has no representor of VF 2 (tenant blue, port web)");
  link("r2", "pf0vf2", {1});
  EXPECT_EQ(loss(), std::nullopt);
}

TEST_F(Watch, a_nic_that_is_not_there_at_all_or_not_asked_for_is_nobodys_loss) {
  link("other", "", {});
  EXPECT_EQ(loss(), std::nullopt) << "its netdev is on its way";
  fs::remove_all(directory_ / "sys/bus/pci/devices/0000:3b:00.0");
  EXPECT_EQ(loss(), std::nullopt);
  config_.host.nic.manual_representors = true;
  EXPECT_EQ(loss(), std::nullopt);
}

TEST_F(Watch, the_call_for_bring_up_comes_at_once_and_then_ever_more_rarely) {
  NicWatch watch(*Paths::make("default", directory_.string()));
  EXPECT_EQ(watch.next(), std::nullopt);
  watch.take("it is gone", now_);
  EXPECT_TRUE(written());
  watch.take("it is gone", now_ + 9s);
  EXPECT_FALSE(written());
  EXPECT_EQ(*watch.next(), now_ + 10s);
  now_ += 10s;
  watch.take("it is gone", now_);
  EXPECT_TRUE(written());
  EXPECT_EQ(*watch.next(), now_ + 20s);
  for (int n = 0; n < 20; ++n) watch.take("it is gone", now_ = *watch.next());
  EXPECT_EQ(*watch.next(), now_ + 300s);
}

TEST_F(Watch, another_reason_does_not_make_it_call_sooner) {
  NicWatch watch(*Paths::make("default", directory_.string()));
  watch.take("not in switchdev mode", now_);
  EXPECT_TRUE(written());
  watch.take("no representor", now_ + 1s);
  EXPECT_FALSE(written());
}

TEST_F(Watch, when_it_is_back_the_file_goes_and_the_next_loss_is_called_at_once) {
  NicWatch watch(*Paths::make("default", directory_.string()));
  watch.take("it is gone", now_);
  watch.take(std::nullopt, now_ + 1s);
  EXPECT_FALSE(fs::exists(file_));
  EXPECT_EQ(watch.next(), std::nullopt);
  watch.take("it is gone", now_ + 2s);
  EXPECT_TRUE(written());
}

}  // namespace
}  // namespace sepal::agent
