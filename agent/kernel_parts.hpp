// Which parts of the running kernel offload stands on, told by the functions it has: /proc/kallsyms names them on every
// distribution, while the configuration a kernel was built with is often not there to read.
#pragma once

#include <filesystem>
#include <istream>
#include <optional>

namespace sepal::agent {

struct KernelParts {
  std::optional<bool> skb_ext;  // NET_TC_SKB_EXT: a miss in hardware goes on in software where it was
  std::optional<bool> mlx5_tc;  // MLX5_CLS_ACT; nullopt: mlx5_core is not loaded
  std::optional<bool> mlx5_ct;  // MLX5_TC_CT; the same
  bool operator==(const KernelParts&) const = default;
};

// Lines of "address type name [module]".
KernelParts read_kernel_parts(std::istream& symbols);
// All unknown when there is no such file.
KernelParts running_kernel_parts(const std::filesystem::path& symbols = "/proc/kallsyms");

}  // namespace sepal::agent
