#include "agent/doctor/files.hpp"

#include <zlib.h>

#include <array>
#include <fstream>
#include <memory>

namespace sepal::agent::doctor {
namespace {

// Nothing read here is larger for a good reason.
constexpr size_t kBytesMax = 64UL << 20U;

}  // namespace

std::optional<std::string> read_text(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text;
  std::array<char, 65536> buffer{};
  while (file.read(buffer.data(), buffer.size()) || file.gcount() > 0) {
    text.append(buffer.data(), static_cast<size_t>(file.gcount()));
    if (text.size() > kBytesMax) return std::nullopt;
  }
  return text;
}

std::optional<std::string> read_gzip(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(::gzopen(path.c_str(), "rbe"), ::gzclose);
  if (file == nullptr) return std::nullopt;
  std::string text;
  std::array<char, 65536> buffer{};
  for (;;) {
    const int got = ::gzread(file.get(), buffer.data(), buffer.size());
    if (got < 0 || text.size() > kBytesMax) return std::nullopt;
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

}  // namespace sepal::agent::doctor
