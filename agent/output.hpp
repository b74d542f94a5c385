// What people read: lines, colours where they are wanted, columns that line up.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sepal::agent {

enum class Paint { plain, bold, dim, red, green, yellow };

class Output {
 public:
  Output(bool json, bool colours) : json_(json), colours_(colours) {}
  // Colours only on a terminal, not with --json, not with NO_COLOR (https://no-color.org).
  static Output for_stdout(bool json);

  [[nodiscard]] bool json() const { return json_; }
  [[nodiscard]] std::string paint(Paint paint, std::string_view text) const;

  void line(std::string_view text) const;         // to stdout
  void print(const nlohmann::json& value) const;  // to stdout, indented
  void complain(std::string_view text) const;     // to stderr: "sepalctl: …"

  // Rows of cells, each column as wide as its widest cell; numbers given with a leading '>' stand right-aligned.
  void table(const std::vector<std::vector<std::string>>& rows, size_t indent) const;

 private:
  bool json_;
  bool colours_;
};

// Columns a terminal needs for UTF-8 text without wide characters; escape sequences count nothing.
size_t display_width(std::string_view text);

}  // namespace sepal::agent
