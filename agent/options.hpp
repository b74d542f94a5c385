// Command lines: long options with values or without, and plain words, for both programs. What an option means is its
// program's business.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sepal::agent {

struct OptionSpec {
  std::string_view name;  // "--config"
  bool has_value = false;
};

class Options {
 public:
  // `--name value`, `--name=value`, `--flag`, words; after `--` only words. Errc::invalid_config names what is wrong.
  static Result<Options> parse(const std::vector<std::string>& arguments, const std::vector<OptionSpec>& known);

  [[nodiscard]] bool has(std::string_view name) const { return values_.contains(name); }
  [[nodiscard]] std::string value(std::string_view name, std::string_view otherwise) const;
  // A number within [low, high]; nullopt when the option is absent.
  [[nodiscard]] Result<std::optional<long>> number(std::string_view name, long low, long high) const;
  [[nodiscard]] const std::vector<std::string>& words() const { return words_; }

 private:
  std::map<std::string, std::string, std::less<>> values_;
  std::vector<std::string> words_;
};

}  // namespace sepal::agent
