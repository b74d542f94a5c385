// What the doctor reads: texts as kernels and programs write them, files in a tree of the test's own, and the archive.
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "agent/doctor/bundle.hpp"
#include "agent/doctor/checks.hpp"
#include "agent/doctor/files.hpp"
#include "agent/doctor/gather.hpp"
#include "agent/doctor/parse.hpp"
#include "agent/doctor/tar.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent::doctor {
namespace {

namespace fs = std::filesystem;

TEST(DoctorParse, a_kernels_configuration_tells_what_is_built_in_and_what_is_a_module) {
  const auto settings = parse_kernel_config(
      "# Linux\nCONFIG_VXLAN=m\n# CONFIG_NET_TC_SKB_EXT is not set\nCONFIG_HZ=250\nCONFIG_NET_CLS_ACT=y\n"
      "CONFIG_LOCALVERSION=\"\"\nCONFIG_MLX5_TC_CT=y");
  EXPECT_EQ(settings, (std::map<std::string, char>{{"VXLAN", 'm'}, {"NET_CLS_ACT", 'y'}, {"MLX5_TC_CT", 'y'}}));
}

TEST(DoctorParse, listeners_to_tc_events_are_rtnetlink_sockets_with_its_group) {
  const char* text =
      "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
      "00000000eaa977d9 0   1234       00000008 0        0        0     2        0        4711\n"
      "00000000eaa977d8 0   -4096      000405ff 0        0        0     2        0        4712\n"
      "0000000064ca82c1 0   77         00000451 0        0        0     2        0        4713\n"
      "000000006a2d386c 16  78         00000008 0        0        0     2        0        4714\n";
  EXPECT_EQ(parse_tc_listeners(text), (std::vector<SocketEntry>{{1234, 4711}, {4294963200U, 4712}}));
}

TEST(DoctorParse, udp_sockets_of_both_families_by_port) {
  const char* v4 =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
      "drops\n"
      "  309: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 991 2 0000 0\n"
      "  310: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 992 2 0000 0\n";
  EXPECT_EQ(parse_udp(v4, 4789), (std::vector<SocketEntry>{{4789, 991}}));
  const char* v6 =
      "  309: 00000000000000000000000000000000:12B5 00000000000000000000000000000000:0000 07 00000000:00000000 "
      "00:00000000 "
      "00000000 0 0 0 2 0000 0\n";
  EXPECT_EQ(parse_udp(v6, 4789), (std::vector<SocketEntry>{{4789, 0}})) << "the kernel's own has no inode";
}

TEST(DoctorParse, a_value_of_an_ini_file) {
  EXPECT_EQ(parse_ini("[device]\nmanaged=true\nnm-owned=false\n", "managed"), "true");
  EXPECT_EQ(parse_ini("[device]\nunmanaged=1\n", "managed"), "");
}

// A tree that looks like /proc, /boot and /lib/modules, as far as it is read.
class Tree : public testing::Test {
 protected:
  Tree() {
    std::string pattern = (fs::temp_directory_path() / "sepal-doctor-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    places_ = {root_ / "proc", root_ / "sys", root_ / "run", root_ / "boot", root_ / "modules"};
    fs::create_directories(places_.proc);
  }
  ~Tree() override { fs::remove_all(root_); }
  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void process(const std::string& pid, const std::string& name, const std::vector<std::string>& descriptors = {}) {
    write(places_.proc / pid / "comm", name + "\n");
    fs::create_directories(places_.proc / pid / "fd");
    for (size_t i = 0; i < descriptors.size(); ++i)
      fs::create_symlink(descriptors[i], places_.proc / pid / "fd" / std::to_string(i));
  }
  fs::path root_;
  Places places_;
};

TEST_F(Tree, the_kernels_options_come_from_the_first_place_that_tells) {
  EXPECT_EQ(read_kernel_options(places_, "6.12").has("VXLAN"), std::nullopt);
  write(places_.proc / "kallsyms", "0 T tcf_classify\n");
  EXPECT_EQ(read_kernel_options(places_, "6.12").has("NET_TC_SKB_EXT"), false);
  write(places_.modules / "6.12" / "config", "CONFIG_VXLAN=m\n");
  EXPECT_EQ(read_kernel_options(places_, "6.12").source, places_.modules / "6.12" / "config");
  write(places_.boot / "config-6.12", "CONFIG_NET_TC_SKB_EXT=y\n");
  EXPECT_EQ(read_kernel_options(places_, "6.12").has("NET_TC_SKB_EXT"), true);
  EXPECT_EQ(read_kernel_options(places_, "6.13").has("NET_TC_SKB_EXT"), false) << "another kernel's file says nothing";
  gzFile file = ::gzopen((places_.proc / "config.gz").c_str(), "wb");
  ::gzputs(file, "CONFIG_NF_FLOW_TABLE=m\n");
  ::gzclose(file);
  const KernelOptions packed = read_kernel_options(places_, "6.12");
  EXPECT_EQ(packed.source, places_.proc / "config.gz");
  EXPECT_EQ(packed.has("NF_FLOW_TABLE"), true);
  EXPECT_EQ(packed.has("VXLAN"), false);
}

TEST_F(Tree, the_owner_of_a_socket_is_found_by_its_inode) {
  process("12", "tc", {"/dev/null", "socket:[4711]"});
  process("13", "sshd", {"socket:[4712]"});
  EXPECT_EQ(owners_of(places_, {4711}), (std::vector<Process>{{12, "tc"}}));
  EXPECT_EQ(owners_of(places_, {4711, 9999}), (std::vector<Process>{{12, "tc"}, {}})) << "one nobody here has";
  EXPECT_TRUE(owners_of(places_, {}).empty());
}

TEST_F(Tree, managers_are_found_by_the_name_of_their_process) {
  process("1", "systemd");
  process("40", "systemd-network");
  process("41", "ovs-vswitchd");
  EXPECT_EQ(running_managers(places_), (std::vector<std::string>{"ovs-vswitchd", "systemd-networkd"}));
}

// --- gathered from a kernel in memory

class Gathered : public AgentTest {
 protected:
  Gathered() {
    config_ = fs::path(directory_) / "config";
    fs::create_directories(config_ / "tenants.d");
    std::ofstream(config_ / "sepal.yaml") << kHostYaml;
    std::ofstream(config_ / "tenants.d/blue.yaml") << kBlueHead.substr(4) + kWebPort + kRemoteRoute;
    std::ofstream(config_ / "notes.txt") << "not configuration";
    std::ofstream(fs::path(directory_) / "unrelated.yaml") << "not here";
    places_ = {fs::path(directory_) / "proc", fs::path(directory_) / "sys", fs::path(directory_) / "runtime",
               fs::path(directory_) / "boot", fs::path(directory_) / "modules"};
  }
  Facts gather_all() {
    Kernel borrowed = kernel();
    return gather(borrowed, {config_.string(), paths_, places_});
  }
  static void put(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  fs::path config_;
  Places places_;
};

TEST_F(Gathered, ports_ways_settings_and_managers_of_their_devices) {
  put(places_.proc / "sys/net/netfilter/nf_conntrack_max", "262144\n");
  put(places_.proc / "sys/net/netfilter/nf_log_all_netns", "0\n");
  put(places_.run / "NetworkManager/devices" / std::to_string(device_index("blue-web").value()),
      "[device]\nmanaged=true\n");
  put(places_.run / "systemd/netif/links" / std::to_string(device_index("uplink").value()), "ADMIN_STATE=configured\n");
  const Facts facts = gather_all();
  EXPECT_TRUE(facts.config);
  EXPECT_EQ(facts.ports.size(), 1U);
  ASSERT_EQ(facts.ways.size(), 1U);
  EXPECT_EQ(facts.way_status.at(facts.ways[0].vtep).state, WayState::slow_path);
  EXPECT_EQ(facts.sysctls, (std::map<std::string, std::string>{{"nf_conntrack_max", "262144"}}));
  EXPECT_EQ(facts.managed, (std::vector<Managed>{{"blue-web", "NetworkManager"}})) << "the uplink may have a manager";
}

TEST_F(Gathered, without_a_valid_configuration_what_needs_none_is_still_looked_at) {
  std::ofstream(config_ / "sepal.yaml") << "kind: Nonsense\n";
  const Facts facts = gather_all();
  EXPECT_FALSE(facts.config);
  EXPECT_GT(facts.faults, 0U);
  EXPECT_FALSE(facts.links.empty());
  EXPECT_EQ(worst(examine(facts)), State::fail);
}

TEST_F(Gathered, the_archive_holds_the_configuration_and_rules_and_nothing_that_is_not_named) {
  apply(usual_config());
  ::setenv("SEPAL_TEST_SECRET", "hunter2", 1);
  const Facts facts = gather_all();
  const Findings findings = examine(facts);
  Kernel borrowed = kernel();
  const auto files = collect_bundle(borrowed, {&facts, &findings, paths_, "9.9.9"});
  std::map<std::string, std::string> by_name;
  for (const TarFile& file : files) {
    EXPECT_TRUE(file.name.starts_with("sepal-doctor/")) << file.name;
    by_name[file.name.substr(13)] = file.content;
    EXPECT_EQ(file.content.find("hunter2"), std::string::npos) << file.name;
    EXPECT_EQ(file.content.find("not configuration"), std::string::npos) << file.name;
  }
  EXPECT_EQ(by_name["config/sepal.yaml"], kHostYaml);
  EXPECT_TRUE(by_name.contains("config/tenants.d/blue.yaml"));
  EXPECT_FALSE(by_name.contains("config/notes.txt"));
  EXPECT_NE(by_name["rules/blue-web.txt"].find("ct zone"), std::string::npos) << by_name["rules/blue-web.txt"];
  EXPECT_NE(by_name["state.txt"].find("way 192.0.2.2"), std::string::npos);
  EXPECT_NE(by_name["doctor.txt"].find("next-hops"), std::string::npos);
  EXPECT_NE(by_name["README.txt"].find("9.9.9"), std::string::npos);
  for (const auto& [name, content] : by_name) EXPECT_FALSE(content.empty()) << name;
}

// --- tar

TEST(Tar, headers_are_as_posix_says_and_contents_stand_in_whole_blocks) {
  const auto archive = make_tar({{"a/b.txt", std::string(513, 'x')}, {"c", ""}}, 1'700'000'000);
  ASSERT_TRUE(archive);
  ASSERT_EQ(archive->size(), 512U * (1 + 2 + 1 + 2));
  const std::string header = archive->substr(0, 512);
  EXPECT_STREQ(header.c_str(), "a/b.txt");
  EXPECT_EQ(header.substr(124, 11), "00000001001");
  EXPECT_EQ(header.substr(257, 8), std::string("ustar\00000", 8));
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  EXPECT_EQ(std::stoul(header.substr(148, 6), nullptr, 8), sum);
  EXPECT_EQ(archive->substr(512, 513), std::string(513, 'x'));
  EXPECT_STREQ(archive->substr(512U * 3).c_str(), "c");
}

TEST(Tar, a_name_that_does_not_fit_or_leaves_the_archive_is_refused) {
  EXPECT_FALSE(make_tar({{std::string(100, 'a'), ""}}, 0));
  EXPECT_FALSE(make_tar({{"/etc/passwd", ""}}, 0));
}

}  // namespace
}  // namespace sepal::agent::doctor
