// Keeps the kernel true to a configuration: one pass looks, compiles, compares, writes what differs, and remembers what
// was refused. Between passes it holds no rules, but their places and cookies: a digest of all of them tells a quiet
// look from a changed kernel, and by tenant they tell a changed configuration from what stands (ledger.hpp), so that a
// change costs what it concerns. A look is the truth: whatever it contradicts is forgotten.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/demotions.hpp"
#include "agent/devices.hpp"
#include "agent/execution.hpp"
#include "agent/kernel.hpp"
#include "agent/last_pass.hpp"
#include "agent/ledger.hpp"
#include "agent/paths.hpp"
#include "agent/shared_actions.hpp"
#include "agent/wire_announcements.hpp"
#include "agent/world.hpp"
#include "config/model.hpp"
#include "policy/tables.hpp"

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
  // The same as apply() where the last pass is remembered and nobody else wrote since, but without a look: it compiles
  // and compares the tenants alone whose configuration or devices are others now; quiet when there are none. Falls back
  // to apply() as soon as that does not hold.
  Result<PassReport> follow(const config::Config& config, const Progress& progress);

  // Whether devices are others than the last pass saw, without reading any filter: true also when that is not known.
  Result<bool> devices_changed(const config::Config& config);
  // Where events of devices come from. Without them nothing is followed: every change takes a look.
  void set_device_events(Devices::Heard heard) { devices_.set_events(std::move(heard)); }

  // The ways under the tunnel to these VTEPs changed while a pass wrote rules, so nobody knows which one the NIC found:
  // the next pass has it look again. Cheap when it was for nothing.
  void distrust_ways(const std::set<IpAddr>& vteps);

  using Troubles = std::map<std::pair<tc::RuleId, uint64_t>, Trouble>;
  [[nodiscard]] const Troubles& troubles() const { return troubles_; }
  // When the earliest refused rule is due; nullopt: none is.
  [[nodiscard]] std::optional<Clock::time_point> next_retry() const;
  // Refused rules are due at once: something changed that may help (a reload).
  void forget_back_off();

  // The ports whose devices the last look saw.
  [[nodiscard]] const std::map<tc::PortKey, IfIndex>& ports() const { return ports_; }
  // The uplink as the last look saw it.
  [[nodiscard]] const Wire& wire() const { return wire_; }
  // Who is served, and in which zones, as the last pass left it.
  [[nodiscard]] const SavedState& served() const { return saved_; }

  // What the NIC refused.
  [[nodiscard]] const HardwareState& hardware() const { return demotions_.state(); }

  void set_clock(std::function<Clock::time_point()> now) {
    demotions_.set_clock(now);
    now_ = std::move(now);
  }

 private:
  // What a pass left behind, to tell whether anything changed since.
  struct Left {
    tc::Facts facts;            // without zones
    std::set<IfIndex> offload;  // World::offload
    uint64_t digest = 0;
    size_t count = 0;
    bool operator==(const Left&) const = default;
  };

  // What of a change was followed. `whole`: nothing is left to do, or to be done by a look.
  struct Followed {
    PassReport report;
    bool whole = false;
  };

  Result<PassReport> pass(const config::Config& config, const Progress& progress, bool may_be_quiet,
                          PassReport total = {});
  Result<PassReport> change(const config::Config& config, const Progress& progress, World world);
  void note_devices(const World& world);
  Result<World> prepare_world(const config::Config& config, std::vector<std::string>& made);
  std::optional<PassReport> believe_last_pass(const config::Config& config, const World& world, const Left& now);
  Result<std::map<IfIndex, Error>> attach_devices(const std::set<IfIndex>& devices, const World& world,
                                                  PassReport& report);
  bool drop_unwanted(const config::Config& config, const tc::RuleSet& rules, PassReport& report);
  void release_devices(const std::set<IfIndex>& devices, const World& world, PassReport& report);
  void remember(const tc::RuleSet& rules, const World& world, const config::Config& config, const PassReport& report);
  void learn(const config::Config& config, const World& world);
  void record(uint64_t config_digest, const tc::RuleSet& rules, const PassReport& report) const;
  void forget();
  static Left left_by(const World& world, const std::vector<tc::Observed>& observed);
  [[nodiscard]] const Refusal* remembered(const tc::CompiledRule& rule) const;

  // service.cpp
  [[nodiscard]] bool serves(const config::Config& config, const tc::RuleSet& rules, const tc::Facts& facts) const;
  bool save(SavedState state, PassReport& report);
  void write_ahead(const config::Config& config, const World& world, PassReport& report);
  void load_saved();
  void begin_policing(const std::vector<policy::TenantPolicy>& policies, const std::set<Vni>& tenants,
                      PassReport& report);
  bool end_service(const config::Config& config, const tc::RuleSet& rules, const tc::Facts& facts,
                   const std::vector<policy::TenantPolicy>& policies, PassReport& report);
  static std::set<Vni> half_written(const Outcome& outcome);

  // follow.cpp
  Followed follow_from_memory(const config::Config& config, const Progress& progress);
  std::optional<World> world_from_memory(const config::Config& config);
  bool follow_due(const config::Config& config, const Progress& progress, World world, const Due& due,
                  PassReport& report);
  bool write_due(const Progress& progress, const World& world, const Due& due, const Ledger& ledger,
                 const tc::RuleSet& made, const std::vector<tc::Step>& steps, PassReport& report);

  Kernel kernel_;
  Paths paths_;
  SharedActions shared_;
  std::function<Clock::time_point()> now_;
  Troubles troubles_;
  Demotions demotions_;
  Devices devices_;
  std::map<tc::PortKey, IfIndex> ports_;
  Wire wire_;
  std::optional<Left> left_;
  std::optional<Ledger> ledger_;  // only beside left_: what that digest is of
  bool unlearnable_ = false;      // what is left cannot be told apart into parts
  SavedState saved_;              // as the file has it; read anew by every look
  std::set<Vni> unjudged_;        // tenants of which the file could not be told that nobody knows who judged them
  size_t foreign_ = 0;            // filters of others that the last look saw
  bool fresh_ = true;             // no pass yet
  std::set<IpAddr> distrusted_;   // VTEPs whose way changed while rules were written
};

// The digest of one rule's place and cookie; those of a set are summed up, so that their order does not matter.
uint64_t digest_of_rule(const tc::RuleId& id, const tc::Cookie& cookie);
std::set<IfIndex> devices_of(const tc::RuleSet& rules);
// A pass that wrote nothing yet, of `count` rules.
PassReport report_on(const World& world, const tc::RuleSet& rules, size_t count);

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
