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
  Result<tc::BpfPrograms> programs() override;
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
  agent::Enforced enforce(const std::vector<policy::TenantPolicy>& policies, const agent::Progress&,
                          std::vector<std::string>&) override {
    agent::Enforced done;
    for (const policy::TenantPolicy& policy : policies) done.judged.insert(policy.vni);
    return done;
  }
  Result<void> drop_policies(const std::set<Vni>&) override { return {}; }
  Result<std::vector<policy::RuleCount>> policy_counts() override { return std::vector<policy::RuleCount>{}; }
  Result<std::unique_ptr<agent::Questions>> questions() override { return fail(Errc::unsupported, "no ring here"); }
  Result<uint64_t> questions_lost() override { return uint64_t{0}; }
  Result<bool> unpin() override { return false; }

 private:
  std::map<std::string, UniqueFd> fds_;
};

}  // namespace sepal::bench
