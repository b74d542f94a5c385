// Small files read whole.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace sepal::agent::doctor {

// nullopt: it cannot be read. Files of /proc tell no size: read until the end.
std::optional<std::string> read_text(const std::filesystem::path& path);
// The same, unpacked.
std::optional<std::string> read_gzip(const std::filesystem::path& path);
// Without white space at either end.
std::string trimmed(std::string_view text);

}  // namespace sepal::agent::doctor
