// Takes everything of one instance out of the kernel, and nothing else. Needs no configuration: filters are known by
// cookie, the vxlan device by its alias, a clsact of ours by its mark.
#pragma once

#include <string>
#include <vector>

#include "agent/kernel.hpp"
#include "agent/paths.hpp"

namespace sepal::agent {

struct RemovalReport {
  size_t rules = 0;
  size_t connections = 0;
  std::vector<std::string> removed;   // "clsact on veth0", "vxlan device sepal-vxlan", "eBPF objects"
  std::vector<std::string> problems;  // what could not be removed, one line each
};

// The caller holds the writer's lock.
Result<RemovalReport> remove_everything(Kernel& kernel, const Paths& paths, const Progress& progress);

}  // namespace sepal::agent
