// Which files of a directory are read, and what stands in for those that cannot be.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/limits.hpp"
#include "config/read.hpp"

namespace sepal::config {
namespace {

namespace fs = std::filesystem;

const std::string kHost = "apiVersion: sepal/v1\nkind: Host\nunderlay: {device: uplink, address: 192.0.2.1}\n";

std::string tenant(const std::string& name, int vni) {
  return "apiVersion: sepal/v1\nkind: Tenant\nname: " + name + "\nvni: " + std::to_string(vni) + "\n";
}

// A directory of its own for each test, gone afterwards.
class Directory : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sepal-config-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
    fs::create_directory(path_ + "/tenants.d");
  }
  void TearDown() override { fs::remove_all(path_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(path_ + "/" + name) << text; }

  std::vector<std::string> tenants() {
    auto result = read_directory(path_ + "/");
    std::vector<std::string> names;
    if (!result) {
      for (const Fault& fault : result.error()) ADD_FAILURE() << fault.to_string();
      return names;
    }
    for (const Tenant& t : result->tenants) names.push_back(t.name);
    return names;
  }

  // Fault lines, with the directory's own path written as DIR.
  std::vector<std::string> faults() {
    auto result = read_directory(path_);
    std::vector<std::string> lines;
    if (result) return lines;
    for (const Fault& fault : result.error()) {
      std::string line = fault.to_string();
      for (size_t at = line.find(path_); at != std::string::npos; at = line.find(path_))
        line.replace(at, path_.size(), "DIR");
      lines.push_back(line);
    }
    return lines;
  }

  std::string path_;
};

using Lines = std::vector<std::string>;

TEST_F(Directory, reads_the_host_first_and_tenants_by_name) {
  write("sepal.yaml", kHost);
  write("extra.yml", tenant("a", 1));
  write("tenants.d/b.yaml", tenant("b", 2));
  EXPECT_EQ(tenants(), (Lines{"a", "b"}));
  auto files = read_directory(path_)->files;
  EXPECT_EQ(files, (Lines{path_ + "/sepal.yaml", path_ + "/extra.yml", path_ + "/tenants.d/b.yaml"}));
}

TEST_F(Directory, leaves_alone_what_is_not_configuration) {
  write("sepal.yaml", kHost);
  for (const char* name :
       {"tenants.d/b.yaml~", "tenants.d/.b.yaml", "tenants.d/b.yaml.bak", "README", "tenants.d/#b.yaml#"}) {
    write(name, "not: [ yaml");
  }
  EXPECT_EQ(tenants(), Lines{});
}

TEST_F(Directory, follows_symbolic_links_to_files) {
  write("sepal.yaml", kHost);
  fs::create_directory(path_ + "/..data");
  write("..data/b.yaml", tenant("b", 2));
  fs::create_symlink("../..data/b.yaml", path_ + "/tenants.d/b.yaml");
  EXPECT_EQ(tenants(), (Lines{"b"}));
}

TEST_F(Directory, without_tenants_d_is_a_host_without_tenants_there) {
  fs::remove(path_ + "/tenants.d");
  write("sepal.yaml", kHost);
  EXPECT_EQ(tenants(), Lines{});
}

TEST_F(Directory, that_is_empty_is_one_fault) {
  EXPECT_EQ(faults(), (Lines{"DIR: no .yaml file in it; name the directory that holds sepal.yaml"}));
}

TEST_F(Directory, that_is_not_there_is_one_fault) {
  path_ += "-gone";
  EXPECT_EQ(faults(),
            (Lines{"DIR: cannot be read: No such file or directory; name the directory that holds sepal.yaml"}));
}

TEST_F(Directory, that_is_a_file_is_one_fault) {
  write("sepal.yaml", kHost);
  path_ += "/sepal.yaml";
  EXPECT_EQ(faults(), (Lines{"DIR: cannot be read: Not a directory; name the directory that holds sepal.yaml"}));
  path_ = fs::path(path_).parent_path().string();
}

TEST_F(Directory, without_a_host_is_a_fault_of_the_directory) {
  write("tenants.d/b.yaml", tenant("b", 2));
  EXPECT_EQ(faults(), (Lines{"DIR: no document of kind Host; add one that describes this hypervisor: kind: Host, "
                             "underlay: {device: …, address: …}"}));
}

TEST_F(Directory, names_each_file_that_cannot_be_read_and_reads_the_others) {
  write("sepal.yaml", kHost + "colour: red\n");
  fs::create_symlink("nowhere", path_ + "/tenants.d/a.yaml");
  fs::create_directory(path_ + "/tenants.d/b.yaml");
  ASSERT_EQ(::mkfifo((path_ + "/tenants.d/c.yaml").c_str(), 0600), 0);
  write("tenants.d/d.yaml", "");
  fs::resize_file(path_ + "/tenants.d/d.yaml", 100UL << 20U);
  EXPECT_EQ(
      faults(),
      (Lines{"DIR/sepal.yaml:4:1: host: unknown key 'colour'; keys here are: apiVersion, kind, nic, underlay, "
             "vxlan, public, gateway_mac, limits, guests, flow_log",
             "DIR/tenants.d/a.yaml: cannot be read: No such file or directory; repair or remove it",
             "DIR/tenants.d/b.yaml: is not a regular file; remove or rename it; only .yaml and .yml files are read",
             "DIR/tenants.d/c.yaml: is not a regular file; remove or rename it; only .yaml and .yml files are read",
             "DIR/tenants.d/d.yaml: larger than 16 MiB; split it, or remove what is not configuration"}));
}

TEST_F(Directory, of_too_many_files_is_refused) {
  write("sepal.yaml", kHost);
  for (size_t i = 0; i < limits::kConfigFilesMax; ++i) write("tenants.d/" + std::to_string(i) + ".yaml", "");
  Lines lines = faults();
  EXPECT_EQ(lines.back(), "… and 3896 more; correct those above first");
}

}  // namespace
}  // namespace sepal::config
