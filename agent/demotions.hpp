// What to do about rules that the NIC refuses. A rule in software does not shadow a worse one in hardware, so where one
// of a unit is missing, the whole unit leaves hardware at once; then the cause decides when it comes back: soon when
// the NIC was busy, when there is room or it is worth others' place when the NIC is full, and only with another card,
// kernel or configuration when it cannot. It comes back in two steps, and nothing enters it before the first is whole.
//
// The reconciler calls this around each pass; docs/reference/pipeline.md tells the story.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/hardware.hpp"
#include "agent/hardware_budget.hpp"
#include "agent/hardware_question.hpp"
#include "tc/pipeline/diff.hpp"

namespace sepal::agent {

using Clock = std::chrono::steady_clock;

// A unit in software, for people.
struct SoftwareUnit {
  std::string name;    // "tenant blue, port web-0"
  std::string reason;  // "the NIC is full: No space left on device"
  std::string rule;    // the place of the rule that was refused
  HardwareRefusal refusal;
  bool punted = false;  // hardware still leads its packets into software, else it holds nothing of it
  std::chrono::system_clock::time_point since;
  std::optional<Clock::time_point> next_try;  // none: only with another card, kernel or configuration
};

// Something went out of hardware or came back.
struct HardwareMove {
  bool out = false;
  std::string text;  // one line: "tenant blue, port web-0 goes to software: …"
};

class Demotions {
 public:
  // `path`: the file that keeps what is learnt; empty: nothing is read or kept.
  explicit Demotions(std::string path) : path_(std::move(path)), now_(Clock::now) {}

  // At the start of a pass, which may make several rounds of look, compile and write.
  void begin_pass() { asked_.clear(); }
  // After a look: which units compile must leave out. Forgets what is gone, and everything when the card is another.
  void enter(World& world, const config::Config& config);
  // Whether a pass is due though the kernel is as the last one left it.
  [[nodiscard]] bool has_work(const World& world) const;

  // After compile: units that are due take their first step back in, if the NIC would take the rule it refused. True:
  // world.facts changed, compile again.
  Result<bool> reconsider(Kernel& kernel, const config::Config& config, const tc::RuleSet& rules, World& world);
  // After diff: rules the NIC refused, of units that stay in, are offered once more in this pass. Puts all writes in
  // the order in which hardware does not overtake software.
  void add_tries(std::vector<tc::Step>& steps, const tc::RuleSet& rules, const World& world) const;
  // After the writes: what was refused, and what of it. True: something moves, make another pass at once.
  Result<bool> settle(Asker asker, const config::Config& config, const tc::RuleSet& rules, const World& world,
                      const std::vector<tc::Step>& steps);

  // Of a pass that did not look: whether what is known here is of this card, and no change elsewhere can matter to it.
  [[nodiscard]] bool hold_for(const World& world) const;
  // After the writes of such a pass: whether the NIC has all of `rules` that were written for it. False: settle them.
  [[nodiscard]] bool all_taken(Kernel& kernel, const tc::RuleSet& rules, const World& world,
                               const std::vector<tc::Step>& steps) const;

  [[nodiscard]] std::optional<Clock::time_point> next_try() const;
  // Everything is due at once: something changed that may help (a reload).
  void forget_back_off();

  [[nodiscard]] const HardwareState& state() const { return state_; }
  [[nodiscard]] std::vector<SoftwareUnit> list(const config::Config& config, const World& world) const;
  // What moved since the last call.
  [[nodiscard]] std::vector<HardwareMove> take_moves() { return std::exchange(moves_, {}); }

  void set_clock(std::function<Clock::time_point()> now) { now_ = std::move(now); }

 private:
  struct Refused {
    const tc::CompiledRule* rule = nullptr;
    tc::HardwareUnit unit;
  };
  struct Seen;  // hardware after the writes

  void load();
  Result<void> save();
  void forget_gone(const World& world, const config::Config& config);
  void look_for_exchange(const World& world, const config::Config& config);
  [[nodiscard]] bool exchange_is_ripe() const;
  [[nodiscard]] bool tolerated(const tc::RuleId& id, uint64_t content) const;
  [[nodiscard]] bool is_due(const tc::HardwareUnit& unit) const;
  Result<Seen> look_at_hardware(Kernel& kernel, const tc::RuleSet& rules, const World& world,
                                const std::vector<tc::Step>& steps) const;
  void forget_refusals(const Seen& seen, const tc::RuleSet& rules);
  bool admit_staged(const Seen& seen, const config::Config& config, const World& world);
  Result<bool> judge(Asker asker, const config::Config& config, const tc::RuleSet& rules, const World& world,
                     const Seen& seen);
  Result<std::optional<HardwareRefusal>> ask(Asker asker, const World& world, const Refused& refused,
                                             size_t refused_in_all);
  void make_room(const config::Config& config, const World& world, const Seen& seen,
                 const std::map<tc::HardwareUnit, HardwareRefusal>& full);
  void demote(const tc::HardwareUnit& unit, const HardwareRefusal& reason, bool entrance_refused, const World& world,
              const config::Config& config);
  void stage(const tc::HardwareUnit& unit, World& world);
  [[nodiscard]] Clock::time_point next_after(RefusalCause cause, unsigned attempts) const;

  std::string path_;
  std::function<Clock::time_point()> now_;
  bool loaded_ = false;
  HardwareState state_;
  HardwareState saved_;
  std::map<tc::HardwareUnit, Clock::time_point> next_;   // when each is tried again; not there: not by time
  std::map<tc::HardwareUnit, Clock::time_point> moved_;  // when each last went in or out
  Activity activity_;
  UnitUses uses_;
  std::optional<Exchange> exchange_;
  Clock::time_point exchange_since_;            // every look since then found it worth it
  std::map<tc::HardwareUnit, unsigned> asked_;  // rules asked about again in vain in this pass
  std::vector<HardwareMove> moves_;
};

}  // namespace sepal::agent
