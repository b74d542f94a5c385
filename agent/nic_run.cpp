#include "agent/nic_run.hpp"

#include <algorithm>

namespace sepal::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBusyPause{100};

bool at_rest(const NicState& now) {
  if (now.switchdev() && !is_settled(SetMode{netlink::EswitchMode::switchdev}, now)) return false;
  return std::none_of(now.functions.begin(), now.functions.end(), [&](const auto& entry) {
    return entry.second.driver == now.driver && !now.driver.empty() && entry.second.devices.empty();
  });
}

// The driver's word on this step; not a connection that failed or a privilege that is missing.
bool is_refusal(const Error& error) {
  return error.code == Errc::unsupported || error.code == Errc::transient || !error.ext_ack.empty();
}

class Run {
 public:
  Run(NicCard& card, const NicPlanner& plan, const NicRunOptions& options)
      : card_(card), plan_(plan), options_(options) {}

  Result<NicOutcome> run() {
    for (milliseconds patience = options_.patience;; patience = milliseconds(0)) {
      auto now = look_at_rest(card_, patience);
      if (!now) return Unexpected(now.error());
      auto steps = plan_(*now);
      if (!steps) return Unexpected(steps.error());
      std::erase_if(*steps, [&](const NicStep& step) { return was_refused(step); });
      if (steps->empty()) return std::move(outcome_);
      if (*steps == previous_) {
        return fail(Errc::internal, "NIC " + now->pci + " did not do what it agreed to: " + to_string(steps->front()));
      }
      previous_ = *steps;
      if (auto taken = take(*steps, *now); !taken) return Unexpected(taken.error());
    }
  }

 private:
  [[nodiscard]] bool was_refused(const NicStep& step) const {
    return std::any_of(outcome_.remarks.begin(), outcome_.remarks.end(), [&](const auto& r) { return r.step == step; });
  }

  // Until a step changes what there is, or needs what is not there yet: then it is time to look again.
  Result<void> take(const std::vector<NicStep>& steps, const NicState& now) {
    for (const NicStep& step : steps) {
      if (!is_possible(step, now)) {
        return wait_for(step, [&step](const NicState& later) { return is_possible(step, later); });
      }
      if (options_.taking) options_.taking(step);
      auto done = insist(step);
      if (!done && done.error().code == Errc::not_found && !is_structural(step)) return wait_once();
      if (!done && is_optional(step) && is_refusal(done.error())) {
        outcome_.remarks.push_back({step, done.error()});
        continue;
      }
      if (!done) return Unexpected(while_doing(done.error(), to_string(step)));
      outcome_.done.push_back(step);
      if (is_structural(step))
        return wait_for(step, [&step](const NicState& later) { return is_settled(step, later); });
    }
    return {};
  }

  // Busy drivers get time.
  Result<void> insist(const NicStep& step) {
    const auto until = Clock::now() + options_.busy_deadline;
    for (;;) {
      auto done = card_.perform(step);
      if (done || done.error().code != Errc::transient || Clock::now() >= until) return done;
      if (auto waited = card_.wait(Clock::now() + kBusyPause); !waited) return Unexpected(waited.error());
    }
  }

  Result<void> wait_once() {
    auto waited = card_.wait(Clock::now() + kBusyPause);
    if (!waited) return Unexpected(waited.error());
    return {};
  }

  Result<void> wait_for(const NicStep& step, const std::function<bool(const NicState&)>& come) {
    const auto until = Clock::now() + options_.deadline;
    for (;;) {
      auto later = card_.look();
      // Functions and devices come and go under the questions.
      if (!later && later.error().code != Errc::not_found && later.error().code != Errc::resync)
        return Unexpected(later.error());
      if (later && come(*later)) return {};
      auto waited = card_.wait(until);
      if (!waited) return Unexpected(waited.error());
      if (!*waited) {
        return Unexpected(Error{Errc::transient,
                                0,
                                to_string(step) + ": what this needs or brings did not come within " +
                                    std::to_string(options_.deadline.count() / 1000) + " s",
                                {}});
      }
    }
  }

  NicCard& card_;
  const NicPlanner& plan_;
  const NicRunOptions& options_;
  NicOutcome outcome_;
  std::vector<NicStep> previous_;
};

}  // namespace

Result<NicState> look_at_rest(NicCard& card, milliseconds patience) {
  const auto until = Clock::now() + patience;
  for (;;) {
    auto now = card.look();
    if (!now && now.error().code != Errc::resync) return now;
    if (now && at_rest(*now)) return now;
    auto waited = card.wait(until);
    if (!waited) return Unexpected(waited.error());
    if (!*waited) return card.look();
  }
}

Result<NicOutcome> run_nic(NicCard& card, const NicPlanner& plan, const NicRunOptions& options) {
  return Run(card, plan, options).run();
}

}  // namespace sepal::agent
