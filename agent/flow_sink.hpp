// Where lines of the flow log go: a file, or the journal by way of log.hpp. Nothing here waits: what cannot be written
// now is lost, and counted.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "base/net_types.hpp"
#include "base/unique_fd.hpp"

namespace sepal::agent {

class FlowSink {
 public:
  using Clock = std::chrono::steady_clock;
  // The journal takes 10,000 lines in 30 seconds from a service (RateLimitBurst) and drops the rest without telling us.
  static constexpr unsigned kJournalLinesPerSecond = 300;
  static constexpr unsigned kFileLinesPerSecond = 20'000;

  // Empty: the journal. Opens the file when the first lines are written; one that it makes is its owner's to write and
  // its group's to read, whatever the umask.
  void set_file(const std::string& file);
  // Whoever rotates the file renames it, and then asks for this.
  void reopen() {
    fd_ = {};
    torn_ = false;
  }

  // Takes the place of one line of this tenant. False: it has had its share of this second, which is half of what is
  // written in one, so that what one tenant's guests cause leaves room for the others' lines.
  [[nodiscard]] bool take_share(Vni vni, Clock::time_point now = Clock::now());
  // Adds one line to what flush() writes.
  void add(const std::string& line);
  // Writes in one go. False: nothing of it could be written, and its lines are lost.
  bool flush(Clock::time_point now = Clock::now());
  // Lines that were lost here since the last call.
  uint64_t take_lost();

 private:
  bool write_file();
  bool write_journal();
  bool open_file();
  void begin_second(Clock::time_point now);
  [[nodiscard]] unsigned lines_per_second() const {
    return file_.empty() ? kJournalLinesPerSecond : kFileLinesPerSecond;
  }

  std::string file_;
  UniqueFd fd_;
  std::string lines_;  // not yet written, each with its end
  unsigned waiting_ = 0;
  uint64_t lost_ = 0;
  bool torn_ = false;     // a line was cut short by a full disk
  bool failing_ = false;  // said so already
  Clock::time_point second_{};
  unsigned in_second_ = 0;
  std::map<Vni, unsigned> shares_;  // taken in this second
};

}  // namespace sepal::agent
