// Every example validates, and what the documentation says of keys is what the reader knows.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "config/keys.hpp"
#include "config/read.hpp"

namespace sepal::config {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = SEPAL_SOURCE_DIR;

std::string slurp(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Directories that hold a sepal.yaml.
std::vector<fs::path> examples() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "config" / "examples")) {
    if (entry.path().filename() == "sepal.yaml") found.push_back(entry.path().parent_path());
  }
  return found;
}

TEST(Examples, all_validate) {
  EXPECT_GE(examples().size(), 4U);
  for (const fs::path& example : examples()) {
    auto result = read_directory(example.string());
    if (result) continue;
    for (const Fault& fault : result.error()) ADD_FAILURE() << fault.to_string();
  }
}

TEST(Examples, the_full_one_shows_every_key) {
  std::string text =
      slurp(kSource / "config/examples/full/sepal.yaml") + slurp(kSource / "config/examples/full/tenants.d/blue.yaml");
  for (const KeyTable* table : tables::kAll) {
    for (const Key& key : table->keys) {
      if (!key.missing.empty()) continue;
      EXPECT_NE(text.find(std::string(key.name) + ":"), std::string::npos) << table->path << "." << key.name;
    }
  }
}

TEST(Examples, tenants_of_the_lab_share_addresses_but_no_slice) {
  auto h1 = read_directory((kSource / "config/examples/lab/h1").string());
  auto h2 = read_directory((kSource / "config/examples/lab/h2").string());
  ASSERT_TRUE(h1 && h2);
  ASSERT_EQ(h1->tenants.size(), 2U);
  EXPECT_EQ(h1->tenants[0].ports[0].addresses, h1->tenants[1].ports[0].addresses);
  std::set<std::string> slices;
  for (const Config* config : {&*h1, &*h2}) {
    for (const Tenant& tenant : config->tenants) {
      for (const Nat& nat : tenant.nat)
        EXPECT_TRUE(slices.insert(nat.address.to_string() + nat.ports->to_string()).second);
    }
  }
  EXPECT_EQ(slices.size(), 8U);
}

// The reference has a heading "## `PATH`" per map and a row "| `key` |" per key.
TEST(Reference, has_a_row_for_every_key_and_no_other) {
  std::set<std::string> documented;
  std::string path;
  std::istringstream text(slurp(kSource / "docs/reference/config.md"));
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("#")) {
      size_t begin = line.find('`');
      path = begin == std::string::npos ? "" : line.substr(begin + 1, line.find('`', begin + 1) - begin - 1);
    }
    if (line.starts_with("| `") && !path.empty()) documented.insert(path + "." + line.substr(3, line.find('`', 3) - 3));
  }
  std::set<std::string> known;
  for (const KeyTable* table : tables::kAll) {
    for (const Key& key : table->keys) {
      if (key.missing.empty()) known.insert(std::string(table->path) + "." + std::string(key.name));
    }
  }
  EXPECT_EQ(documented, known);
}

TEST(Reference, names_what_is_not_built_yet) {
  std::string text = slurp(kSource / "docs/reference/config.md");
  for (const KeyTable* table : tables::kAll) {
    for (const Key& key : table->keys) {
      if (key.missing.empty()) continue;
      EXPECT_NE(text.find("`" + std::string(key.name) + "`"), std::string::npos) << key.name;
    }
  }
}

}  // namespace
}  // namespace sepal::config
