// Carries a plan out. Stopped anywhere, even by SIGKILL, the next run completes it: nothing is remembered but what the
// NIC itself shows. Steps that end later than they return are waited for by events, with a deadline.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "agent/nic_card.hpp"

namespace sepal::agent {

using NicPlanner = std::function<Result<std::vector<NicStep>>(const NicState&)>;

struct NicRunOptions {
  std::chrono::milliseconds patience{2'000};        // of the first look: see look_at_rest()
  std::chrono::milliseconds deadline{60'000};       // for what comes after a step
  std::chrono::milliseconds busy_deadline{10'000};  // for a step the driver says it is too busy for
  std::function<void(const NicStep&)> taking;       // called before each step
};

struct NicRemark {
  NicStep step;  // one the NIC works without
  Error error;
};

struct NicOutcome {
  std::vector<NicStep> done;
  std::vector<NicRemark> remarks;
};

// Plans, steps, looks again, until the plan is empty. The error of a refused step carries the driver's words; the steps
// before it stay done.
Result<NicOutcome> run_nic(NicCard& card, const NicPlanner& plan, const NicRunOptions& options = {});

// Looks until the NIC is at rest: representors of all functions are there, netdevs of bound VFs are. What does not come
// within `patience` is not waited for longer: a driver that just bound a VF makes its netdev in its own time, but that
// of a guest's VF never shows here.
Result<NicState> look_at_rest(NicCard& card, std::chrono::milliseconds patience);

}  // namespace sepal::agent
