// One writer per instance: a flock on INSTANCE.lock that lives as long as this value. The file holds the owner's pid
// for people to read; the lock itself is the kernel's, so a killed owner leaves none behind.
#pragma once

#include <string>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sepal::agent {

class WriterLock {
 public:
  // Errc::conflict when another process holds it; the message names its pid.
  static Result<WriterLock> take(const std::string& path);

  // Removes the file while it is still locked, so that `remove` leaves nothing behind.
  void remove_file();

 private:
  WriterLock(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
};

}  // namespace sepal::agent
