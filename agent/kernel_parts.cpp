// The functions asked for are compiled with the option they stand for, and only then: net/sched/cls_api.c,
// drivers/net/ethernet/mellanox/mlx5/core/{en_tc.c,en/tc_ct.c}.
#include "agent/kernel_parts.hpp"

#include <fstream>
#include <string>
#include <string_view>

namespace sepal::agent {

KernelParts read_kernel_parts(std::istream& symbols) {
  bool any = false;
  bool skb_ext = false;
  bool mlx5 = false;
  bool mlx5_tc = false;
  bool mlx5_ct = false;
  std::string line;
  while (std::getline(symbols, line)) {
    const size_t type = line.find(' ');
    if (type == std::string::npos || type + 3 > line.size()) continue;
    any = true;
    std::string_view name(line);
    name.remove_prefix(type + 3);
    if (name.starts_with("tc_skb_ext_tc_enable")) skb_ext = true;
    if (!name.ends_with("[mlx5_core]")) continue;
    mlx5 = true;
    if (name.starts_with("mlx5e_configure_flower")) mlx5_tc = true;
    if (name.starts_with("mlx5_tc_ct_init")) mlx5_ct = true;
  }
  KernelParts parts;
  if (any) parts.skb_ext = skb_ext;
  if (mlx5) {
    parts.mlx5_tc = mlx5_tc;
    parts.mlx5_ct = mlx5_ct;
  }
  return parts;
}

KernelParts running_kernel_parts(const std::filesystem::path& symbols) {
  std::ifstream file(symbols);
  return file ? read_kernel_parts(file) : KernelParts{};
}

}  // namespace sepal::agent
