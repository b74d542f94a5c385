// The file that remembers what a NIC was.
#include "agent/nic_record.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/fake_nic.hpp"

namespace sepal::agent {
namespace {

namespace fs = std::filesystem;

class Record : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sepal-record-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory_ = pattern;
    path_ = record_path(directory_ + "/sepal", "0000:3b:00.0");
  }
  void TearDown() override { fs::remove_all(directory_); }

  static NicRecord full() {
    NicRecord record;
    record.pci = "0000:3b:00.0";
    record.boot = "this-boot";
    record.count = 3;
    record.autoprobe = false;
    record.eswitch = {netlink::EswitchMode::switchdev, netlink::InlineMode::network, true};
    record.params = {{std::string(kSteeringParam), std::string("dmfs")}, {std::string(kMetadataParam), false}};
    record.uplink_up = true;
    record.uplink_offload = false;
    record.ready = true;
    record.fell_back = true;
    record.drivers = {{0, "mlx5_core"}, {1, ""}, {2, "vfio-pci"}};
    record.macs = {{2, MacAddr{{0x02, 0, 0, 0, 0, 7}}}};
    return record;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(Record, what_is_saved_is_loaded) {
  ASSERT_TRUE(save_record(path_, full()));
  auto loaded = load_record(path_, "this-boot");
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(**loaded, full());
  const NicRecord bare{.pci = "0000:3b:00.0", .boot = "this-boot"};
  ASSERT_TRUE(save_record(path_, bare));
  EXPECT_EQ(**load_record(path_, "this-boot"), bare);
  ASSERT_TRUE(remove_record(path_));
  EXPECT_EQ(*load_record(path_, "this-boot"), std::nullopt);
  EXPECT_TRUE(remove_record(path_));
}

TEST_F(Record, one_of_an_earlier_boot_is_none) {
  ASSERT_TRUE(save_record(path_, full()));
  EXPECT_EQ(*load_record(path_, "next-boot"), std::nullopt);
}

TEST_F(Record, a_damaged_one_is_refused_by_name_and_left_alone) {
  ASSERT_TRUE(save_record(path_, full()));
  for (const char* text : {"", "{", "{\"version\": 2}", "{\"version\": 1, \"pci\": 5}", "[]"}) {
    std::ofstream(path_, std::ios::trunc) << text;
    auto loaded = load_record(path_, "this-boot");
    ASSERT_FALSE(loaded) << text;
    EXPECT_NE(loaded.error().message().find(path_), std::string::npos);
    EXPECT_TRUE(fs::exists(path_));
  }
}

TEST_F(Record, a_save_that_fails_leaves_the_one_before) {
  ASSERT_TRUE(save_record(path_, full()));
  fs::create_directory(path_ + ".new");  // what the new one would be called
  EXPECT_FALSE(save_record(path_, NicRecord{}));
  EXPECT_EQ(**load_record(path_, "this-boot"), full());
}

TEST_F(Record, what_is_remembered_already_stays_and_new_vfs_of_ours_are_added) {
  test::FakeNic nic;
  nic.make_functions(3, true);
  NicWanted wanted;
  wanted.vfs = {0};
  const NicRecord first = remember(nic.state, wanted, "boot", nullptr);
  EXPECT_EQ(first.count, std::nullopt) << "the number of VFs is somebody else's";
  EXPECT_EQ(first.drivers, (std::map<uint16_t, std::string>{{0, "mlx5_core"}}));
  nic.enter_switchdev();
  nic.state.functions.at(0).driver = "";
  wanted.vfs = {0, 2};
  const NicRecord second = remember(nic.state, wanted, "boot", &first);
  EXPECT_EQ(second.eswitch.mode, netlink::EswitchMode::legacy);
  EXPECT_EQ(second.drivers, (std::map<uint16_t, std::string>{{0, "mlx5_core"}, {2, "mlx5_core"}}));
}

}  // namespace
}  // namespace sepal::agent
