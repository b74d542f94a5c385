// Where a value stands in the configuration.
#pragma once

#include <cstdint>

namespace sepal::config {

// Where a value stands in a file; line and column count from 1; line 0: from nowhere (a default).
struct Location {
  uint32_t file = 0;  // index into Config::files
  uint32_t line = 0;
  uint32_t column = 0;
  // Places carry no meaning: two configurations that differ only in layout are equal.
  bool operator==(const Location&) const { return true; }
};

}  // namespace sepal::config
