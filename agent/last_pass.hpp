// The small file that lets a restart believe what stands: what the last complete pass was made of, and what it left, in
// a few numbers. It is an aid: without it, or when any of them differs, everything is compiled and compared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"

namespace sepal::agent {

struct LastPass {
  std::string program;  // program_id() of who made it: another one may compile other rules of the same input
  uint64_t input = 0;   // digest of configuration, facts and zones
  uint64_t left = 0;    // digest of places and cookies
  uint64_t rules = 0;   // their number
  bool operator==(const LastPass&) const = default;
};

// nullopt: there is none, or it is damaged.
std::optional<LastPass> load_last_pass(const std::string& path);
Result<void> save_last_pass(const std::string& path, const LastPass& last);
void forget_last_pass(const std::string& path);

// The build this program is of, by its linker's build id; empty when it has none.
std::string program_id();

}  // namespace sepal::agent
