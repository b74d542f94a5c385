// A directory that is read again and again, at the cost of what changed in it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/read.hpp"

namespace sepal::config {

// Files whose bytes are as they were keep what was read of them, and rules across fields are asked anew of those
// tenants alone that a change may concern. Whatever is not plainly sound (a fault of any kind, another Host) is read as
// a whole, by read_directory()'s own rules: so the result is always the same as that of reading everything.
class ConfigDirectory {
 public:
  explicit ConfigDirectory(std::string path);

  // What the directory says now becomes config(); with faults, what it was stays.
  tl::expected<void, std::vector<Fault>> read();

  // Null: nothing sound was read yet.
  [[nodiscard]] const Config* config() const { return config_ ? &*config_ : nullptr; }

 private:
  struct File {
    uint32_t index = 0;  // Location::file
    uint64_t digest = 0;
    size_t size = 0;
    size_t nodes = 0;  // of the budget over all files
  };
  struct NewText {
    std::string path;
    std::string text;
    File file;
  };

  tl::expected<void, std::vector<Fault>> read_whole();
  bool take_changes(std::vector<NewText>& texts, const std::vector<std::string>& gone);
  std::optional<std::vector<Tenant>> read_tenants(std::vector<NewText>& texts, size_t nodes_left) const;
  [[nodiscard]] bool holds(const std::vector<bool>& changed_files) const;

  std::string path_;
  std::optional<Config> config_;
  std::map<std::string, File> files_;  // by path
};

}  // namespace sepal::config
