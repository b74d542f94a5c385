// Where a parser that counts characters stands in a text, as a place for a fault line: columns in bytes, lines as
// editors count them. libyaml takes U+0085, U+2028 and U+2029 for ends of lines as well; no editor's line numbers do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "config/model.hpp"

namespace sepal::config {

// A parser's position; all from 0 and in characters.
struct TextMark {
  size_t character = 0;  // from the start of the text; "\r\n" is two
  size_t line = 0;
  size_t column = 0;
};

class TextPlaces {
 public:
  // `text` is borrowed, and UTF-8.
  TextPlaces(std::string_view text, uint32_t file);

  // Marks in order cost one walk over the text together; a mark before the last one begins the walk anew.
  Location at(const TextMark& mark);
  // The character that begins at byte `offset`, or the one behind it.
  Location at_byte(size_t offset);

 private:
  void rewind();
  void step();
  [[nodiscard]] Location here() const;
  [[nodiscard]] Location place(size_t line, size_t column) const;

  std::string_view text_;
  uint32_t file_;
  bool ascii_;             // then a mark is a place, and nothing is walked
  size_t at_ = 0;          // in bytes
  size_t characters_ = 0;  // before at_
  size_t line_ = 0;
  size_t line_start_ = 0;  // in bytes
};

}  // namespace sepal::config
