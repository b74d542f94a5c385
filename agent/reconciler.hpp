// Keeps the kernel true to a configuration: one pass looks, compiles, compares, writes what differs, and remembers what
// was refused. Between passes it holds no rules: a digest of what it left behind tells a quiet look from a changed
// kernel, and everything else is compiled again when needed.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/demotions.hpp"
#include "agent/execution.hpp"
#include "agent/kernel.hpp"
#include "agent/paths.hpp"
#include "agent/world.hpp"
#include "config/model.hpp"

namespace sepal::agent {

// A refused rule over time.
struct Trouble {
  Refusal refusal;
  std::string purpose;  // "tenant blue, port web-0 (blue.yaml:7:12)"
  std::string text;     // the rule, with device names
  unsigned attempts = 0;
  Clock::time_point next_try;
};

struct PassReport {
  bool quiet = false;           // nothing differed; nothing was written
  bool others_changed = false;  // the rules were not as the last pass left them, though devices were
  Outcome outcome;
  std::vector<std::string> made;      // "vxlan device sepal-vxlan", "clsact on veth0"
  std::vector<std::string> changes;   // what the steps were about, in tenants' terms
  std::vector<std::string> problems;  // one line each; the pass went on
  std::vector<tc::PortKey> waiting;
  std::vector<std::string> notes;
  size_t rules = 0;    // wanted
  size_t foreign = 0;  // filters of others on our devices
  size_t connections_ended = 0;
  bool gateway_unknown = false;        // a public gateway's MAC was asked for: look again soon
  size_t tenants_without_offload = 0;  // conntrack zones above what the NIC knows
  bool unsettled = false;              // something moves in or out of hardware: another pass at once
  std::vector<HardwareMove> moves;     // what did
  std::vector<SoftwareUnit> software;  // what is in software because the NIC refused it
};

class Reconciler {
 public:
  Reconciler(Kernel kernel, Paths paths);

  // Makes the kernel what `config` says. Refused rules are no Error: see troubles(). `config` is borrowed for the call.
  Result<PassReport> apply(const config::Config& config, const Progress& progress);
  // The same, but returns early (quiet) when the kernel is as the last pass left it.
  Result<PassReport> look_again(const config::Config& config, const Progress& progress);

  // Whether devices are others than the last pass saw, without reading any filter: true also when that is not known.
  Result<bool> devices_changed(const config::Config& config);

  using Troubles = std::map<std::pair<tc::RuleId, uint64_t>, Trouble>;
  [[nodiscard]] const Troubles& troubles() const { return troubles_; }
  // When the earliest refused rule is due; nullopt: none is.
  [[nodiscard]] std::optional<Clock::time_point> next_retry() const;
  // Refused rules are due at once: something changed that may help (a reload).
  void forget_back_off();

  // What the NIC refused.
  [[nodiscard]] const HardwareState& hardware() const { return demotions_.state(); }

  void set_clock(std::function<Clock::time_point()> now) {
    demotions_.set_clock(now);
    now_ = std::move(now);
  }

 private:
  // What a pass left behind, to tell whether anything changed since.
  struct Left {
    tc::Facts facts;  // without zones
    uint64_t digest = 0;
    size_t count = 0;
    bool operator==(const Left&) const = default;
  };

  Result<PassReport> pass(const config::Config& config, const Progress& progress, bool may_be_quiet);
  Result<PassReport> change(const config::Config& config, const Progress& progress, World world);
  Result<World> prepare_world(const config::Config& config, std::vector<std::string>& made);
  Result<std::map<IfIndex, Error>> attach_devices(const tc::RuleSet& rules, const World& world, PassReport& report);
  void release_devices(const tc::RuleSet& rules, const World& world, PassReport& report);
  void remember(const tc::RuleSet& rules, const World& world, const config::Config& config, const PassReport& report);
  static Left left_by(const tc::Facts& facts, const std::vector<tc::Observed>& observed);
  [[nodiscard]] const Refusal* remembered(const tc::CompiledRule& rule) const;

  Kernel kernel_;
  Paths paths_;
  std::function<Clock::time_point()> now_;
  Troubles troubles_;
  Demotions demotions_;
  std::optional<Left> left_;
};

// What a pass would do, without doing it: for `plan`, and the first half of a pass.
struct Difference {
  World world;
  tc::RuleSet wanted;
  std::vector<tc::Step> steps;
  std::vector<std::string> to_make;  // "vxlan device sepal-vxlan", "clsact on veth0"
  [[nodiscard]] bool any() const { return !steps.empty() || !to_make.empty(); }
};
Result<Difference> find_difference(Kernel& kernel, const config::Config& config, const Paths& paths);

}  // namespace sepal::agent
