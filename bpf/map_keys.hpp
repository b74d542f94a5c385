// The keys that an eBPF map holds. Internal to bpf/.
#pragma once

#include <bpf/bpf.h>

#include <cerrno>
#include <vector>

#include "base/result.hpp"

namespace sepal::bpf {

// In the map's order. Of keys that come or go meanwhile some may be missing or stand twice.
template <typename Key>
Result<std::vector<Key>> keys_of(int fd) {
  std::vector<Key> keys;
  Key next{};
  const Key* before = nullptr;
  while (::bpf_map_get_next_key(fd, before, &next) == 0) {
    keys.push_back(next);
    before = &keys.back();
  }
  if (errno != ENOENT) return fail_errno(errno, "list an eBPF map");
  return keys;
}

}  // namespace sepal::bpf
