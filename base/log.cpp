#include "base/log.hpp"

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace sepal::log {
namespace {

Level threshold = Level::info;

// True when all of the line was written.
bool put(Level level, std::string_view id, std::string_view text) {
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  std::string line;
  if (journal) line = "<" + std::to_string(static_cast<int>(level)) + ">";
  line.append(id).append(": ");
  for (char c : text) line += c == '\n' || c == '\r' ? ' ' : c;
  line += '\n';
  // One write per line, so that lines of several processes on one stderr never mix. A full pipe is not worth dying for.
  const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  return written >= 0 && static_cast<size_t>(written) == line.size();
}

}  // namespace

void set_level(Level level) { threshold = level; }

void write(Level level, std::string_view id, std::string_view text) {
  if (level <= threshold) (void)put(level, id, text);
}

bool record(std::string_view id, std::string_view text) { return put(Level::info, id, text); }

}  // namespace sepal::log
