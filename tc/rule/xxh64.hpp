// XXH64 with seed 0, incremental: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. Not for secrets; its
// point here is a value that never changes between machines, compilers and releases.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sepal::tc {

class Xxh64 {
 public:
  void update(const void* data, size_t size);
  [[nodiscard]] uint64_t digest() const;

 private:
  static constexpr size_t kStripe = 32;
  static constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87ULL;
  static constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4FULL;
  void consume(const uint8_t* stripe);

  std::array<uint64_t, 4> lanes_ = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  std::array<uint8_t, kStripe> pending_{};
  size_t pending_size_ = 0;
  uint64_t total_ = 0;
};

}  // namespace sepal::tc
