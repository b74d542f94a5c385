// A directory read again and again: always what reading all of it would say, faults included.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/digest.hpp"
#include "config/directory.hpp"

namespace sepal::config {
namespace {

namespace fs = std::filesystem;

const std::string kHost =
    "apiVersion: sepal/v1\nkind: Host\nunderlay: {device: uplink, address: 192.0.2.1}\n"
    "public: {gateway: 198.51.100.1}\n";

class ReadAgain : public testing::Test {
 protected:
  ReadAgain() : path_(make_directory()), directory_(path_ + "/") {
    fs::create_directory(path_ + "/tenants.d");
    write("sepal.yaml", kHost);
  }
  ~ReadAgain() override { fs::remove_all(path_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(path_ + "/" + name) << text; }
  void remove(const std::string& name) { fs::remove(path_ + "/" + name); }

  // One tenant's file; `more` is added to it.
  void write_tenant(const std::string& name, int vni, const std::string& more = "") {
    write("tenants.d/" + name + ".yaml", "apiVersion: sepal/v1\nkind: Tenant\nname: " + name +
                                             "\nvni: " + std::to_string(vni) + "\nsubnets: [10.0.0.0/24]\n" + more);
  }
  static std::string port(const std::string& device, int host) {
    return "ports: [{name: web, device: " + device + ", mac: \"02:00:00:00:01:0" + std::to_string(host) +
           "\", addresses: [10.0.0." + std::to_string(host) + "]}]\n";
  }

  // Reads once more and compares with a reading of everything: the same values, in the same places, or the same faults.
  void expect_same() {
    const auto whole = read_directory(path_);
    const Config* before = directory_.config();
    const std::optional<Config> kept = before != nullptr ? std::optional(*before) : std::nullopt;
    const auto again = directory_.read();
    ASSERT_EQ(again.has_value(), whole.has_value());
    if (!whole) {
      EXPECT_EQ(again.error(), whole.error());
      ASSERT_EQ(directory_.config() != nullptr, kept.has_value());
      if (kept) {
        EXPECT_EQ(*directory_.config(), *kept) << "with faults, what was in force stays";
      }
      return;
    }
    ASSERT_NE(directory_.config(), nullptr);
    const Config& now = *directory_.config();
    EXPECT_EQ(now, *whole);
    for (size_t i = 0; i < now.tenants.size(); ++i) {
      const Location here = now.tenants[i].where;
      const Location there = whole->tenants[i].where;
      EXPECT_EQ(now.files.at(here.file), whole->files.at(there.file));
      EXPECT_EQ(std::pair(here.line, here.column), std::pair(there.line, there.column));
    }
  }

  static std::string make_directory() {
    std::string pattern = (fs::temp_directory_path() / "sepal-again-XXXXXX").string();
    return ::mkdtemp(pattern.data());
  }

  std::string path_;
  ConfigDirectory directory_;
};

TEST_F(ReadAgain, a_file_that_changes_comes_or_goes_is_noticed_and_nothing_else_is) {
  write_tenant("blue", 100, port("b0", 1));
  write_tenant("green", 200, port("g0", 1));
  expect_same();
  expect_same();
  write_tenant("blue", 100, port("b1", 2));
  expect_same();
  write_tenant("amber", 50, port("a0", 1));  // sorts first, by name and by VNI
  expect_same();
  remove("tenants.d/green.yaml");
  expect_same();
  write_tenant("green", 20);
  expect_same();
  write("tenants.d/green.yaml", "# moved down\n\napiVersion: sepal/v1\nkind: Tenant\nname: green\nvni: 20\n");
  expect_same();
}

TEST_F(ReadAgain, another_host_is_noticed) {
  write_tenant("blue", 100, port("b0", 1));
  expect_same();
  write("sepal.yaml", kHost + "limits: {arp_nd_per_second: 9}\n");
  expect_same();
  EXPECT_EQ(directory_.config()->host.limits.arp_nd_per_second, 9U);
  write("tenants.d/host.yaml", kHost);
  expect_same();
  remove("sepal.yaml");
  expect_same();
}

TEST_F(ReadAgain, a_host_that_moves_in_with_a_tenant_is_noticed) {
  write_tenant("blue", 100);
  expect_same();
  write("sepal.yaml", "");
  expect_same();
  write("tenants.d/blue.yaml", kHost);
  expect_same();
}

TEST_F(ReadAgain, every_fault_that_only_shows_between_tenants_is_told_as_ever) {
  write_tenant("blue", 100,
               port("b0", 1) + "peers: [green]\nroutes: [{to: 10.0.0.2/32, vni: 200, via: {port: web}}]\n");
  write_tenant("green", 200, port("g0", 2) + "peers: [blue]\n");
  write_tenant("red", 300,
               "nat: [{from: 10.0.0.0/24, address: 203.0.113.1, ports: 1024-2047}]\n"
               "routes: [{to: 0.0.0.0/0, via: public}]\nvlans: [{id: 7, gateway_mac: \"02:00:00:00:00:07\"}]\n");
  expect_same();
  const std::string good = "peers: [blue]\n";
  const std::vector<std::pair<int, std::string>> bad{
      {100, port("g0", 2) + good},  // blue's VNI
      {200, port("b0", 2) + good},  // blue's device
      {200, port("g0", 3) + good},  // blue leads to an address that is not there any more
      {200, good},                  // … to a port that is not
      {200, port("g0", 2)},         // not blue's peer any more
      {201, port("g0", 2) + good},  // blue leads into a VNI that is nobody's
      {200, port("g0", 2) + good + "vlans: [{id: 7, gateway_mac: \"02:00:00:00:00:08\"}]\n"},  // red's VLAN
      {200, port("g0", 2) + good + "nat: [{from: 10.0.0.0/24, address: 203.0.113.1, ports: 2000-3000}]\n"},  // red's
      {200, port("g0", 2) + good + "mtu: 9000\n"},                                 // its own fault
      {200, port("g0", 2) + good + "routes: [{to: 10.9.0.0/16, via: port x}]\n"},  // a type
      {200, port("g0", 2) + good + "colour: green\n"},                             // a key
      {200, port("g0", 2) + good + "---\n"},                                       // an empty document
      {200, ": ["},                                                                // no YAML
  };
  for (const auto& [vni, more] : bad) {
    SCOPED_TRACE(more);
    write_tenant("green", vni, more);
    EXPECT_FALSE(read_directory(path_).has_value());
    expect_same();
    expect_same();
    write_tenant("green", 200, port("g0", 2) + good);
    expect_same();
  }
  remove("tenants.d/green.yaml");
  EXPECT_FALSE(read_directory(path_).has_value());
  expect_same();
}

TEST_F(ReadAgain, faults_of_a_first_reading_are_told_until_they_are_gone) {
  write_tenant("blue", 0);
  expect_same();
  EXPECT_EQ(directory_.config(), nullptr);
  write_tenant("blue", 100);
  expect_same();
}

TEST_F(ReadAgain, a_file_that_cannot_be_read_is_told_and_forgiven_once_it_can) {
  write_tenant("blue", 100);
  expect_same();
  fs::create_directory(path_ + "/tenants.d/green.yaml");
  expect_same();
  fs::remove(path_ + "/tenants.d/green.yaml");
  expect_same();
}

TEST_F(ReadAgain, names_of_files_long_gone_do_not_pile_up) {
  write_tenant("blue", 100);
  for (int i = 0; i < 300; ++i) {
    write_tenant("t" + std::to_string(i), 200 + i);
    remove("tenants.d/t" + std::to_string(i - 1) + ".yaml");
    ASSERT_TRUE(directory_.read());
  }
  EXPECT_EQ(directory_.config()->tenants.size(), 2U);
  EXPECT_LT(directory_.config()->files.size(), 100U);
  expect_same();
}

TEST(ConfigDigest, what_a_tenant_means_changes_it_and_where_it_stands_does_not) {
  const std::string text =
      kHost +
      "---\napiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 100\nmtu: 1400\n"
      "subnets: [{cidr: 10.0.0.0/24, gateway: 10.0.0.254}]\n"
      "ports: [{name: web, device: b0, mac: \"02:00:00:00:01:01\", addresses: [10.0.0.1], prefixes: [172.16.0.0/16]}]\n"
      "vlans: [{id: 7, gateway_mac: \"02:00:00:00:00:07\"}]\n"
      "nat: [{from: 10.0.0.0/24, address: 203.0.113.1, ports: 1024-2047}]\n"
      "routes: [{to: 10.0.0.2/32, via: 192.0.2.2}, {to: 0.0.0.0/0, via: public}, {to: 10.9.0.0/16, via: blackhole}]\n";
  auto tenant = [](const std::string& yaml) {
    auto read = read_texts({{"a.yaml", yaml}});
    EXPECT_TRUE(read.has_value()) << (read ? "" : read.error().front().to_string());
    return read ? digest_of(read->tenants.at(0)) : 0;
  };
  const uint64_t digest = tenant(text);
  EXPECT_EQ(tenant("# below a comment\n" + text), digest);
  std::set<uint64_t> seen{digest};
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"name: blue", "name: glue"},
                                                        {"vni: 100", "vni: 101"},
                                                        {"mtu: 1400", "mtu: 1401"},
                                                        {"254}", "253}"},
                                                        {"device: b0", "device: b1"},
                                                        {"addresses: [10.0.0.1]", "addresses: [10.0.0.2]"},
                                                        {"prefixes: [172.16.0.0/16]", "prefixes: [172.17.0.0/16]"},
                                                        {"01:01", "01:02"},
                                                        {"id: 7", "id: 8"},
                                                        {"ports: 1024-2047", "ports: 1024-2046"},
                                                        {"203.0.113.1", "203.0.113.2"},
                                                        {"via: 192.0.2.2", "via: 192.0.2.3"},
                                                        {"via: blackhole", "via: 192.0.2.2"}}) {
    std::string other = text;
    other.replace(other.find(from), from.size(), to);
    if (from.starts_with("addresses")) other.replace(other.find("{to: 10.0.0.2/32, via: 192.0.2.2}, "), 35, "");
    EXPECT_TRUE(seen.insert(tenant(other)).second) << from;
  }
}

}  // namespace
}  // namespace sepal::config
