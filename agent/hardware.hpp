// What is not in hardware though it should be: which rules the NIC refused and in which words, which units it put into
// software, why and since when. Values, and the small file that lets `sepalctl` read them without a daemon; losing it
// costs words and one more try. Who decides is agent/demotions.hpp.
//
// Read from what the kernel believes (the in_hw flag of a terse dump). Firmware that lost its rules without a word
// leaves that flag standing: nobody can see it here.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/world.hpp"
#include "base/result.hpp"
#include "tc/pipeline/facts.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {

// What would help, which is what decides when to try again.
enum class RefusalCause : uint8_t {
  unsupported,  // nothing but another card, driver, kernel or configuration
  full,         // room in the NIC's tables
  busy,         // a moment
  unclear,      // it gave neither errno nor words
};
std::string_view to_string(RefusalCause cause);  // "unsupported" …
RefusalCause cause_of(int sys_errno);

// A rule that the kernel holds and the NIC does not.
struct HardwareRefusal {
  tc::RuleId id;
  uint64_t content = 0;  // its cookie's: which rule it was
  RefusalCause cause = RefusalCause::unclear;
  int sys_errno = 0;      // 0: the driver's is not known (on the tunnel device none ever is)
  std::string words;      // the driver's own; empty: it gave none
  bool harmless = false;  // nothing in hardware overtakes it, so it is left as it is
  bool operator==(const HardwareRefusal&) const = default;
};
// "Operation not supported: the NIC says: …"
std::string to_string(const HardwareRefusal& refusal);

struct DemotedUnit {
  tc::Demotion demotion = tc::Demotion::whole;
  HardwareRefusal reason;  // the rule that was refused; for `full` perhaps another unit's
  std::chrono::system_clock::time_point since;
  unsigned attempts = 0;  // how often it was tried again
  size_t rules = 0;       // that it had for hardware when it left
  bool operator==(const DemotedUnit&) const = default;
};

struct HardwareState {
  std::string card;                // World::card when this was learnt
  std::optional<size_t> capacity;  // rules in hardware when it was full last
  std::map<tc::HardwareUnit, DemotedUnit> units;
  std::map<tc::RuleId, HardwareRefusal> refusals;  // every rule refused, of units that are out and of none
  bool operator==(const HardwareState&) const = default;
};

// Ours, wanted in hardware, on a device of the NIC, and not there: indexes into world.observed.
std::vector<size_t> not_in_hardware(const World& world);

// Which unit a rule leaves hardware with.
tc::HardwareUnit unit_of(const tc::RuleId& id, const tc::Origin& origin);
// The same as far as a rule's place alone tells: in chain 0 of a wire's block the tenant is not known.
struct RuleIdPlace {
  tc::HardwareUnit unit;
  bool entrance = false;  // every packet of the unit meets exactly one such rule
};
RuleIdPlace place_of(const tc::RuleId& id, const World& world);
// "port web-0 of tenant blue", "tenant blue on the overlay", "uplink": with names from the configuration where it has
// them.
std::string unit_name(const tc::HardwareUnit& unit, const config::Config& config, const World& world);

// Rules of `wanted` that are kept out of hardware only because their unit is out, and why.
std::map<tc::RuleId, std::string> rules_kept_out(const config::Config& config, const World& world,
                                                 const tc::RuleSet& wanted, const HardwareState& state);

// A missing or damaged file is an empty state.
HardwareState load_hardware(const std::string& path);
// Atomic: a new file is renamed over the old one.
Result<void> save_hardware(const std::string& path, const HardwareState& state);

}  // namespace sepal::agent
