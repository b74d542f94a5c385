// One eBPF object in the kernel, adopted where a former process pinned it: what loader.* and policies.* share.
// Internal to bpf/ but for the types that their headers show.
//
// - Restart, same program: what is pinned is used, nothing is written. The kernel's tag (hash of a program's code)
//   tells; it is the kernel that computes it, so each start loads the program once, for some milliseconds.
// - Upgrade: the new program takes over the pinned maps and, by pin(), the name, in one step. The old program lives, on
//   the same maps, until the last rule that names its tag is replaced.
// - A map of another layout has another name and begins empty: fill it before rules name the new program.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "bpf/pins.hpp"

namespace sepal::bpf {

// A compiled eBPF object (ELF) with one program of type action and its maps.
struct ObjectCode {
  const void* bytes = nullptr;
  size_t size = 0;
};

struct Program {
  UniqueFd fd;
  std::string name;  // as filters show it: "sepal_neigh", "sepal_slice"
  std::array<uint8_t, 8> tag{};
  uint32_t id = 0;  // of this very program: a filter with the same tag and another id runs an older one,
                    // whose maps nobody fills (the pins were deleted by hand)
};

struct AdoptedMap {
  UniqueFd fd;
  std::string name;
  uint32_t entries_max = 0;
  bool pinned = false;
};

struct Adopted {
  Program program;
  bool pinned = false;           // the program
  std::vector<AdoptedMap> maps;  // in the object's order

  [[nodiscard]] bool is_pinned() const;  // the program and all maps
  [[nodiscard]] std::vector<std::string> names() const;
};

// Loads the program, with the pinned maps of its names. Where the same program is pinned, that one and its maps are the
// result, even where somebody unpinned or replaced a map: rules run it. Pins nothing. Errc::internal: the object holds
// other maps than these, by the beginning of their names and in this order (one more would be .rodata, whose content a
// program's tag does not cover); conflict: a pin of one of its names is not ours.
Result<Adopted> adopt(const Pins& pins, const ObjectCode& code, const std::vector<std::string>& maps);

// Makes it outlive this process. Maps first: killed in between, the next start finds maps without a program and adopts
// them. Writes nothing that is there already.
Result<void> pin(const Pins& pins, Adopted& object);

}  // namespace sepal::bpf
