// Directory → Config, or every fault in it. Pure but for reading the files.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "config/model.hpp"

namespace sepal::config {

// One fault, one line: "tenants.d/blue.yaml:7:12: port 'web-0': 10.1.0.5 is outside the subnets of 'blue'; use an
// address of 10.0.0.0/24 or add a subnet". `what` says what is wrong, `hint` what would be right (never empty).
struct Fault {
  std::string file;
  uint32_t line = 0;  // 0: the fault is the whole file's, or the directory's
  uint32_t column = 0;
  std::string what;
  std::string hint;
  [[nodiscard]] std::string to_string() const;  // "file:line:column: what; hint"
  bool operator==(const Fault&) const = default;
};

using ReadResult = tl::expected<Config, std::vector<Fault>>;

// Reads DIR/sepal.yaml, DIR/*.yaml and DIR/tenants.d/*.yaml (.yml, too), in name order; each file may hold several
// documents. All faults of syntax, type and meaning are returned together, sorted by file, line, column. Never throws.
ReadResult read_directory(const std::string& directory);

// The same over text in memory: pairs of (file name, content). What tests and fuzzers use.
struct SourceText {
  std::string name;
  std::string text;
};
ReadResult read_texts(const std::vector<SourceText>& sources);

// The second half of reading, for a Config made by hand: rules across fields. Empty: valid.
std::vector<Fault> validate(const Config& config);

}  // namespace sepal::config
