// Where faults are gathered while a configuration is read and checked. Fault itself is in read.hpp; this is the
// inside: places as Location, one list over all files, sorted and bounded once at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/read.hpp"

namespace sepal::config {

class Faults {
 public:
  // Registers a file (or a directory that could not be read); the result is Location::file.
  uint32_t add_file(std::string name);
  // `where.line` 0: the fault is the whole file's.
  void add(Location where, std::string what, std::string hint);
  // Something was refused whose fault is already noted: no line, but progress() moves.
  void note_silent() { ++progress_; }

  [[nodiscard]] bool empty() const { return count_ == 0; }
  // Grows with every fault and silent refusal: unchanged over a read means the read is whole.
  [[nodiscard]] size_t progress() const { return progress_; }
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }
  // "file:line:column", or "file" for a whole file's.
  [[nodiscard]] std::string place(Location where) const;

  // Sorted by file (in reading order), line, column; at most limits::kFaultsShownMax and then one that counts the rest.
  [[nodiscard]] std::vector<Fault> take();

 private:
  struct Entry {
    Location where;
    size_t order = 0;
    std::string what;
    std::string hint;
  };
  std::vector<std::string> files_;
  std::vector<Entry> entries_;
  size_t count_ = 0;
  size_t progress_ = 0;
};

// 'text' for a fault line: on one line, printable, and cut where it is long.
std::string quoted(std::string_view text);

}  // namespace sepal::config
