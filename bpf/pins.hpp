// Where programs and maps stay when no process holds them: one directory per instance in bpffs,
// <bpffs>/sepal/<instance>/. Everything in it is ours. What the names mean is loader.hpp's.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sepal::bpf {

inline constexpr const char* kBpffs = "/sys/fs/bpf";

class Pins {
 public:
  // bpffs refuses dots in names, and a path must stay one component: letters, digits, '-' and '_', at most 63.
  static Result<Pins> at(const std::string& bpffs, const std::string& instance);

  // Makes the directory. Mounts bpffs first where there is none and the mount would last: not in a mount namespace of
  // our own, as `ip netns exec` makes, where it would vanish with its last process and all pins with it.
  Result<void> create() const;
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }
  // Empty when there is no directory.
  [[nodiscard]] Result<std::vector<std::string>> names() const;
  // An invalid descriptor when nothing is pinned there.
  [[nodiscard]] Result<UniqueFd> open(const std::string& name) const;
  // In one step: whoever opens the name finds the old object or the new one, never none.
  Result<void> pin(int fd, const std::string& name) const;
  Result<void> unpin(const std::string& name) const;  // absent is success
  // Unpins all and removes the directory, and its parent with the last instance; true when something was there.
  Result<bool> remove() const;

 private:
  Pins(std::string bpffs, const std::string& instance)
      : bpffs_(std::move(bpffs)), parent_(bpffs_ + "/sepal"), directory_(parent_ + "/" + instance) {}

  std::string bpffs_;
  std::string parent_;
  std::string directory_;
};

}  // namespace sepal::bpf
