// Who has the NIC when not all have room in it: how busy each unit is, what a tenant may claim, who goes to software
// first and who comes back for whom. Pure but for the memory of how busy units were.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <vector>

#include "agent/hardware.hpp"

namespace sepal::agent {

// What a look tells of a unit.
struct UnitUse {
  size_t rules = 0;        // that may be in hardware
  size_t in_hardware = 0;  // that are
  uint64_t packets = 0;    // that came in, whoever carried them
};
using UnitUses = std::map<tc::HardwareUnit, UnitUse>;
UnitUses uses_in(const std::vector<tc::Observed>& observed, const World& world);

// Packets per second of each unit, smoothed over about half a minute, so that one burst decides nothing.
class Activity {
 public:
  void observe(const UnitUses& uses, std::chrono::steady_clock::time_point now);
  [[nodiscard]] double rate(const tc::HardwareUnit& unit) const;

 private:
  struct Past {
    uint64_t packets = 0;
    double rate = 0;
  };
  std::map<tc::HardwareUnit, Past> past_;
  std::optional<std::chrono::steady_clock::time_point> last_;
};

// A unit in hardware, or one that wants to be.
struct Claim {
  tc::HardwareUnit unit;
  Vni tenant;
  size_t rules = 0;
  double rate = 0;
};
// Rules a tenant may claim in a full NIC; a tenant that is not named has no bound.
using Budgets = std::map<Vni, size_t>;
Budgets budgets_of(const config::Config& config);
Vni tenant_of(const tc::HardwareUnit& unit, const config::Config& config, const World& world);

// Of those in hardware, who leaves first until `rules` rules have room: tenants beyond their budget before all others,
// in each of both the least busy first. All of them when not even that suffices.
std::vector<Claim> leave_first(std::vector<Claim> inside, const Budgets& budgets, size_t rules);

// Who comes back for whom.
struct Exchange {
  tc::HardwareUnit enters;
  std::vector<tc::HardwareUnit> leave;  // empty: there is room
  bool operator==(const Exchange&) const = default;
};
// The one most worth it, if any: `room` rules fit beside those inside. A unit takes others' place only when it is
// within its tenant's budget and they are beyond theirs, or when it is more than twice as busy as all of them together;
// one that is beyond its tenant's budget never takes the place of one that is within.
std::optional<Exchange> worth_it(const std::vector<Claim>& inside, std::vector<Claim> outside, const Budgets& budgets,
                                 size_t room);

}  // namespace sepal::agent
