// What the loaders share about programs and maps in the kernel: asking, owning, and libbpf's words for an error.
// Internal to bpf/.
#pragma once

#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sepal::bpf {

// Keeps what libbpf and the verifier say while it lives.
class CollectedWords {
 public:
  CollectedWords();
  ~CollectedWords();
  CollectedWords(const CollectedWords&) = delete;
  CollectedWords& operator=(const CollectedWords&) = delete;

  // One line. The verdict stands at the end.
  [[nodiscard]] std::string text() const;

 private:
  std::string words_;
  libbpf_print_fn_t before_;
};

struct CloseObject {
  void operator()(bpf_object* object) const;
};

Result<UniqueFd> duplicate(int fd);

struct ProgramInfo {
  uint32_t id = 0;
  std::array<uint8_t, 8> tag{};
  std::vector<uint32_t> map_ids;
};
Result<ProgramInfo> program_info(int fd);

Result<bpf_map_info> map_info(int fd);
// The number of entries may differ: the map in the kernel then keeps its own.
bool same_layout(const bpf_map_info& info, const bpf_map* map);

}  // namespace sepal::bpf
