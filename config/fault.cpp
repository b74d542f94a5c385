// Faults: gathering, ordering, printing. Text from a file enters a line only through quoted().
#include "config/fault.hpp"

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "base/limits.hpp"

namespace sepal::config {
namespace {

// A hostile file may hold a fault per node; beyond this many they are only counted.
constexpr size_t kFaultsKeptMax = 20 * limits::kFaultsShownMax;
constexpr size_t kQuotedBytesMax = 60;

std::string place_text(const std::string& file, uint32_t line, uint32_t column) {
  if (line == 0) return file;
  return file + ":" + std::to_string(line) + ":" + std::to_string(column);
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80; }

}  // namespace

std::string Fault::to_string() const {
  std::string place = place_text(file, line, column);
  return (place.empty() ? "" : place + ": ") + what + (hint.empty() ? "" : "; " + hint);
}

uint32_t Faults::add_file(std::string name) {
  files_.push_back(std::move(name));
  return static_cast<uint32_t>(files_.size() - 1);
}

void Faults::add(Location where, std::string what, std::string hint) {
  ++count_;
  ++progress_;
  if (entries_.size() < kFaultsKeptMax) entries_.push_back({where, count_, std::move(what), std::move(hint)});
}

std::string Faults::place(Location where) const {
  return where.file < files_.size() ? place_text(files_[where.file], where.line, where.column) : std::string();
}

std::vector<Fault> Faults::take() {
  // Faults of one place stay in the order they were found.
  auto key = [](const Entry& e) { return std::tie(e.where.file, e.where.line, e.where.column, e.order); };
  std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) { return key(a) < key(b); });
  std::vector<Fault> faults;
  for (Entry& entry : entries_) {
    if (faults.size() == limits::kFaultsShownMax) break;
    std::string file = entry.where.file < files_.size() ? files_[entry.where.file] : std::string();
    faults.push_back(
        {std::move(file), entry.where.line, entry.where.column, std::move(entry.what), std::move(entry.hint)});
  }
  if (count_ > faults.size()) {
    faults.push_back(
        {"", 0, 0, "… and " + std::to_string(count_ - faults.size()) + " more", "correct those above first"});
  }
  entries_.clear();
  count_ = 0;
  return faults;
}

std::string quoted(std::string_view text) {
  bool cut = text.size() > kQuotedBytesMax;
  if (cut) {
    size_t end = kQuotedBytesMax;
    while (end > 0 && is_continuation(text[end])) --end;
    text = text.substr(0, end);
  }
  std::string out = "'";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + (cut ? "…'" : "'");
}

}  // namespace sepal::config
