// Log lines for people and for the journal: a priority, a stable message id (a word, documented in
// docs/reference/errors.md), and one line of text. On a terminal or a plain stderr the text alone is printed; under
// systemd (JOURNAL_STREAM set) lines carry the "<N>" priority prefix that sd-daemon(3) defines.
#pragma once

#include <string_view>

namespace sepal::log {

enum class Level : int { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };  // syslog numbers

// Lines less urgent than `level` are not written. The default is info.
void set_level(Level level);
// `id` is a stable word such as "rule-refused"; `text` must be one line (line breaks are replaced by spaces).
void write(Level level, std::string_view id, std::string_view text);
// A line that somebody asked for by another switch than the level: written whatever that is, as info. False: stderr did
// not take it, or not all of it.
[[nodiscard]] bool record(std::string_view id, std::string_view text);

inline void error(std::string_view id, std::string_view text) { write(Level::error, id, text); }
inline void warning(std::string_view id, std::string_view text) { write(Level::warning, id, text); }
inline void notice(std::string_view id, std::string_view text) { write(Level::notice, id, text); }
inline void info(std::string_view id, std::string_view text) { write(Level::info, id, text); }
inline void debug(std::string_view id, std::string_view text) { write(Level::debug, id, text); }

}  // namespace sepal::log
