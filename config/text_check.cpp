// Bytes before YAML: size, UTF-8 (RFC 3629: no surrogates, no overlong forms), control characters, and the number of
// flow indicators: more of them than values may be are refused before anything is built from them.
#include "config/text_check.hpp"

#include <algorithm>
#include <cstdio>
#include <string>

#include "base/limits.hpp"

namespace sepal::config {
namespace {

// Length of the well-formed UTF-8 sequence at the start of `text` (not empty), 0 if it is ill-formed.
size_t utf8_length(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  auto continues = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      if ((byte(i) & 0xc0U) != 0x80) return size_t{0};
    }
    return to;
  };
  unsigned a = byte(0);
  unsigned b = byte(1);
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return continues(1, 2);
  if (a == 0xe0) return b >= 0xa0 && b <= 0xbf ? continues(2, 3) : 0;
  if (a == 0xed) return b >= 0x80 && b <= 0x9f ? continues(2, 3) : 0;
  if (a >= 0xe1 && a <= 0xef) return continues(1, 3);
  if (a == 0xf0) return b >= 0x90 && b <= 0xbf ? continues(2, 4) : 0;
  if (a == 0xf4) return b >= 0x80 && b <= 0x8f ? continues(2, 4) : 0;
  if (a >= 0xf1 && a <= 0xf3) return continues(1, 4);
  return 0;
}

bool is_control(std::string_view text, size_t at) {
  char c = text[at];
  if (c == '\r') return at + 1 == text.size() || text[at + 1] != '\n';
  return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
}

std::string hex(char c) {
  char text[8];
  std::snprintf(text, sizeof text, "0x%02x", static_cast<unsigned char>(c));
  return text;
}

Location locate(std::string_view text, size_t at, uint32_t file) {
  std::string_view before = text.substr(0, at);
  size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  auto line = static_cast<uint32_t>(std::count(before.begin(), before.end(), '\n') + 1);
  return {file, line, static_cast<uint32_t>(at - line_start + 1)};
}

bool check_size(std::string_view text, uint32_t file, Faults& faults) {
  if (text.size() <= limits::kConfigFileBytesMax) return true;
  faults.add({file, 0, 0}, "larger than " + std::to_string(limits::kConfigFileBytesMax >> 20U) + " MiB",
             "split it, or remove what is not configuration");
  return false;
}

bool check_characters(std::string_view text, uint32_t file, Faults& faults) {
  for (size_t at = 0; at < text.size();) {
    if (text[at] >= ' ' && text[at] < 0x7f) {  // most of any file
      ++at;
      continue;
    }
    size_t length = utf8_length(text.substr(at, 4));
    if (length == 0) {
      faults.add(locate(text, at, file), "byte " + hex(text[at]) + " is not UTF-8", "save the file as UTF-8");
      return false;
    }
    if (length == 1 && is_control(text, at)) {
      faults.add(locate(text, at, file), "control character " + hex(text[at]), "remove it; only text belongs here");
      return false;
    }
    at += length;
  }
  return true;
}

bool check_indicators(std::string_view text, uint32_t file, Faults& faults) {
  constexpr std::string_view kIndicators = "[{,";
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (kIndicators.find(text[at]) == std::string_view::npos || ++count <= limits::kYamlNodesMax) continue;
    faults.add(locate(text, at, file), "more than " + std::to_string(limits::kYamlNodesMax) + " brackets and commas",
               "remove what is not configuration");
    return false;
  }
  return true;
}

}  // namespace

bool check_text(std::string_view text, uint32_t file, Faults& faults) {
  return check_size(text, file, faults) && check_characters(text, file, faults) && check_indicators(text, file, faults);
}

}  // namespace sepal::config
