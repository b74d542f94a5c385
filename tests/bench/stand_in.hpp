// eBPF for benchmarks of rules: programs under the names the pipeline uses that do nothing, so that rules with act_bpf
// can be written without the real objects. Pinned, because `tc -batch` finds them by path.
#pragma once

#include <map>
#include <string>

#include "agent/slow_path.hpp"
#include "base/unique_fd.hpp"

namespace sepal::bench {

inline constexpr const char* kPinDirectory = "/sys/fs/bpf/sepal-bench";

class StandInPrograms : public agent::SlowPath {
 public:
  Result<agent::SlowPathPrograms> programs() override;
  Result<void> pin() override { return {}; }
  Result<int> program_fd(const tc::Bpf& action) override;
  Result<void> put_entries(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return {};
  }
  Result<void> drop_stale(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return {};
  }
  Result<void> put_some(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return {};
  }
  Result<void> drop_some(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return {};
  }
  Result<std::map<Vni, uint64_t>> policies_in_force() override { return std::map<Vni, uint64_t>{}; }
  Result<void> enforce(const std::vector<policy::TenantPolicy>&) override { return {}; }
  Result<void> drop_policies(const std::vector<policy::TenantPolicy>&) override { return {}; }
  Result<bool> unpin() override { return false; }

 private:
  std::map<std::string, UniqueFd> fds_;
};

}  // namespace sepal::bench
