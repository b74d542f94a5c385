// Lines, colours and columns.
#include "agent/output.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

namespace sepal::agent {

Output Output::for_stdout(bool json) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  const bool unwanted = no_colour != nullptr && *no_colour != '\0';
  return {json, !json && !unwanted && !dumb && ::isatty(STDOUT_FILENO) == 1};
}

std::string Output::paint(Paint paint, std::string_view text) const {
  if (!colours_ || paint == Paint::plain) return std::string(text);
  static constexpr std::string_view kCodes[] = {"0", "1", "2", "31", "32", "33"};
  return "\033[" + std::string(kCodes[static_cast<size_t>(paint)]) + "m" + std::string(text) + "\033[0m";
}

void Output::line(std::string_view text) const { std::cout << text << '\n'; }

void Output::print(const nlohmann::json& value) const {
  std::cout << value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void Output::complain(std::string_view text) const {
  std::cout.flush();
  std::cerr << "sepalctl: " << text << '\n';
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      while (i < text.size() && text[i] != 'm') ++i;
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0U) != 0x80U) {
      ++width;
    }
  }
  return width;
}

void Output::table(const std::vector<std::vector<std::string>>& rows, size_t indent) const {
  std::vector<size_t> widths;
  auto is_right = [](const std::string& cell) { return !cell.empty() && cell[0] == '>'; };
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i]) - (is_right(row[i]) ? 1 : 0));
  }
  for (const auto& row : rows) {
    std::string text(indent, ' ');
    for (size_t i = 0; i < row.size(); ++i) {
      const bool right = is_right(row[i]);
      const std::string cell = right ? row[i].substr(1) : row[i];
      const std::string padding(widths[i] - display_width(cell), ' ');
      text += right ? padding + cell : cell + padding;
      if (i + 1 < row.size()) text += "  ";
    }
    text.erase(text.find_last_not_of(' ') + 1);
    line(text);
  }
}

}  // namespace sepal::agent
