// A walk over UTF-8 by character, which most files, being ASCII, do not need.
#include "config/text_places.hpp"

#include <algorithm>

namespace sepal::config {
namespace {

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80; }

}  // namespace

TextPlaces::TextPlaces(std::string_view text, uint32_t file)
    : text_(text), file_(file), ascii_(std::all_of(text.begin(), text.end(), is_ascii)) {}

Location TextPlaces::at(const TextMark& mark) {
  if (ascii_) return place(mark.line, mark.column);
  if (mark.character < characters_) rewind();
  while (characters_ < mark.character && at_ < text_.size()) step();
  return here();
}

Location TextPlaces::at_byte(size_t offset) {
  rewind();
  while (at_ < offset && at_ < text_.size()) step();
  return here();
}

void TextPlaces::rewind() { at_ = characters_ = line_ = line_start_ = 0; }

void TextPlaces::step() {
  if (text_[at_] == '\n') {
    ++line_;
    line_start_ = at_ + 1;
  }
  ++at_;
  while (at_ < text_.size() && is_continuation(text_[at_])) ++at_;
  ++characters_;
}

Location TextPlaces::here() const { return place(line_, at_ - line_start_); }

Location TextPlaces::place(size_t line, size_t column) const {
  return {file_, static_cast<uint32_t>(line) + 1, static_cast<uint32_t>(column) + 1};
}

}  // namespace sepal::config
