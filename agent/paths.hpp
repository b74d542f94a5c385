// Where an instance keeps its few files: the writer's lock, the control socket, the small state file, what the NIC
// refused, what the last pass left. Nothing here opens them. Everything lives under /run, because everything these
// files speak of ends with the running kernel, too.
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"

namespace sepal::agent {

inline constexpr std::string_view kConfigDirectory = "/etc/sepal";
inline constexpr std::string_view kRunDirectory = "/run/sepal";
inline constexpr std::string_view kDefaultInstance = "default";

struct Paths {
  std::string instance;
  std::string directory;
  std::string lock;      // DIRECTORY/INSTANCE.lock
  std::string socket;    // DIRECTORY/INSTANCE.sock
  std::string state;     // DIRECTORY/INSTANCE.state
  std::string last;      // DIRECTORY/INSTANCE.last
  std::string hardware;  // DIRECTORY/INSTANCE.hardware: what the NIC refused

  // Refuses names that are no plain file name: letters, digits, '-', '_', at most 63 characters, a letter or digit
  // first.
  static Result<Paths> make(std::string_view instance, std::string_view run_directory = kRunDirectory);
};

// Creates the run directory (0755) when it is missing.
Result<void> make_run_directory(const Paths& paths);

}  // namespace sepal::agent
