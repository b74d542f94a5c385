// What is asked of a file's bytes before any YAML parser sees them.
#pragma once

#include <string_view>

#include "config/fault.hpp"

namespace sepal::config {

// True when `text` is within its size, UTF-8, free of control characters, and not made of brackets only. Otherwise the
// first offence of each kind is noted with its line and column.
bool check_text(std::string_view text, uint32_t file, Faults& faults);

}  // namespace sepal::config
