// SR-IOV's sysfs files, in a tree of our own.
#include "netlink/sriov.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

namespace sepal::netlink {
namespace {

namespace fs = std::filesystem;

class SriovTree : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sepal-sysfs-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    root_ = pattern;
    write("bus/pci/devices/0000:3b:00.0/sriov_totalvfs", "16\n");
    write("bus/pci/devices/0000:3b:00.0/sriov_numvfs", "2\n");
    write("bus/pci/devices/0000:3b:00.0/sriov_drivers_autoprobe", "1\n");
    fs::create_directories(root_ / "bus/pci/devices/0000:3b:00.0/net/uplink");
    for (const char* driver : {"mlx5_core", "vfio-pci"})
      write(std::string("bus/pci/drivers/") + driver + "/unbind", "");
    write("bus/pci/drivers_probe", "");
    driver("0000:3b:00.0", "mlx5_core");
    virtual_function(0, "0000:3b:00.2");
    virtual_function(1, "0000:3b:00.3");
    driver("0000:3b:00.2", "mlx5_core");
    driver("0000:3b:00.3", "vfio-pci");
    fs::create_directories(root_ / "bus/pci/devices/0000:3b:00.2/net/eth7");
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& file, std::string_view text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::string content(const std::string& file) {
    std::ifstream in(root_ / file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void driver(const std::string& pci, const std::string& name) {
    fs::create_symlink(fs::path("../../../bus/pci/drivers") / name, root_ / "bus/pci/devices" / pci / "driver");
  }
  void virtual_function(int number, const std::string& pci) {
    fs::create_directories(root_ / "bus/pci/devices" / pci);
    fs::create_symlink(fs::path("..") / pci,
                       root_ / "bus/pci/devices/0000:3b:00.0" / ("virtfn" + std::to_string(number)));
    fs::create_symlink("../0000:3b:00.0", root_ / "bus/pci/devices" / pci / "physfn");
  }

  fs::path root_;
};

TEST_F(SriovTree, a_function_is_read_with_its_virtual_functions) {
  auto sriov = PciTree(root_).read("0000:3b:00.0");
  ASSERT_TRUE(sriov) << sriov.error().message();
  const Sriov wanted{
      .driver = "mlx5_core",
      .netdevs = {"uplink"},
      .total = 16,
      .count = 2,
      .autoprobe = true,
      .functions = {{0, {"0000:3b:00.2", "mlx5_core", {"eth7"}}}, {1, {"0000:3b:00.3", "vfio-pci", {}}}}};
  EXPECT_EQ(*sriov, wanted);
}

TEST_F(SriovTree, virtual_functions_beyond_nine_keep_their_number) {
  virtual_function(12, "0000:3b:01.6");
  EXPECT_EQ(PciTree(root_).read("0000:3b:00.0")->functions.at(12).pci, "0000:3b:01.6");
}

TEST_F(SriovTree, a_function_without_sriov_has_none) {
  fs::create_directories(root_ / "bus/pci/devices/0000:01:00.0");
  auto sriov = PciTree(root_).read("0000:01:00.0");
  ASSERT_TRUE(sriov) << sriov.error().message();
  EXPECT_EQ(*sriov, Sriov{});
}

TEST_F(SriovTree, what_is_no_physical_function_is_refused_by_name) {
  EXPECT_EQ(PciTree(root_).read("0000:ff:00.0").error().code, Errc::not_found);
  EXPECT_EQ(PciTree(root_).read("../devices/0000:3b:00.0").error().code, Errc::not_found);
  auto virtual_one = PciTree(root_).read("0000:3b:00.2");
  ASSERT_FALSE(virtual_one);
  EXPECT_EQ(virtual_one.error().code, Errc::conflict);
  EXPECT_EQ(virtual_one.error().message(), "PCI function 0000:3b:00.2 is a virtual one of 0000:3b:00.0");
}

TEST_F(SriovTree, each_change_is_one_write_to_its_file) {
  PciTree tree(root_);
  // Real files are as long as they were, where sysfs takes each write as a whole: all were written empty or shorter.
  write("bus/pci/devices/0000:3b:00.0/sriov_numvfs", "");
  write("bus/pci/devices/0000:3b:00.0/sriov_drivers_autoprobe", "");
  ASSERT_TRUE(tree.set_count("0000:3b:00.0", 12));
  ASSERT_TRUE(tree.set_autoprobe("0000:3b:00.0", false));
  ASSERT_TRUE(tree.probe("0000:3b:00.2"));
  ASSERT_TRUE(tree.unbind("0000:3b:00.3", "vfio-pci"));
  EXPECT_EQ(content("bus/pci/devices/0000:3b:00.0/sriov_numvfs"), "12");
  EXPECT_EQ(content("bus/pci/devices/0000:3b:00.0/sriov_drivers_autoprobe"), "0");
  EXPECT_EQ(content("bus/pci/drivers_probe"), "0000:3b:00.2");
  EXPECT_EQ(content("bus/pci/drivers/vfio-pci/unbind"), "0000:3b:00.3");
  EXPECT_EQ(tree.writes(), 4U);
}

TEST_F(SriovTree, a_failed_write_names_value_and_file) {
  auto failed = PciTree(root_).set_count("0000:01:00.0", 4);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().sys_errno, ENOENT);
  EXPECT_NE(failed.error().message().find("write 4 to " + root_.string()), std::string::npos);
  EXPECT_FALSE(PciTree(root_).unbind("0000:3b:00.2", ""));
}

}  // namespace
}  // namespace sepal::netlink
