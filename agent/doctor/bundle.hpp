// The support archive: what somebody far away needs to understand a host, and nothing else. What is in it is decided
// here, file by file; environments, other programs' files and packets are never among it.
#pragma once

#include "agent/doctor/facts.hpp"
#include "agent/doctor/finding.hpp"
#include "agent/doctor/tar.hpp"
#include "agent/kernel.hpp"
#include "agent/paths.hpp"

namespace sepal::agent::doctor {

struct BundleInput {
  const Facts* facts = nullptr;
  const Findings* findings = nullptr;
  Paths paths;
  std::string version;  // of this program
};

// Reads configuration files, the state file, the daemon's status and the rules of every device. What cannot be read
// says so in its place.
std::vector<TarFile> collect_bundle(Kernel& kernel, const BundleInput& input);
// Readable by its owner only, for addresses are in it.
Result<void> write_bundle(const std::string& path, const std::vector<TarFile>& files);

// The doctor's report as text, as it is printed.
std::vector<std::string> to_lines(const Findings& findings);
std::string summary(const Findings& findings);

}  // namespace sepal::agent::doctor
