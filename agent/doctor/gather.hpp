// Collects what the doctor judges: from netlink, /proc, /sys, /run and the configuration. Reads only, and a thing that
// cannot be read is a line among the facts, never the end.
#pragma once

#include <filesystem>

#include "agent/doctor/facts.hpp"
#include "agent/kernel.hpp"
#include "agent/paths.hpp"

namespace sepal::agent::doctor {

// Parameters for tests.
struct Places {
  std::filesystem::path proc = "/proc";
  std::filesystem::path sys = "/sys";
  std::filesystem::path run = "/run";
  std::filesystem::path boot = "/boot";
  std::filesystem::path modules = "/lib/modules";
};

struct GatherInput {
  std::string directory;  // of the configuration
  Paths paths;
  Places places;
};

Facts gather(Kernel& kernel, const GatherInput& input);

// Parts of it that need no netlink.
KernelOptions read_kernel_options(const Places& places, const std::string& release);
// Processes with any of these sockets, by inode; sockets nobody is found for are a Process without a name.
std::vector<Process> owners_of(const Places& places, const std::vector<uint64_t>& inodes);
std::vector<std::string> running_managers(const Places& places);

}  // namespace sepal::agent::doctor
