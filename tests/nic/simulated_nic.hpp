// The simulated NIC from a program's side: its debugfs folder (tests/eswitch-sim/README.md).
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "tc/rule/rule.hpp"

namespace sepal::test {

// A rule in the NIC's own table. `port`: 0 the wire's, n that of VF n - 1. Two rules of one place differ in content,
// and thereby in cookie.
struct HeldRule {
  bool tunnel = false;  // it came by a tunnel device
  uint32_t port = 0;
  uint32_t chain = 0;
  uint32_t prio = 0;
  std::string cookie;  // hex
  auto operator<=>(const HeldRule&) const = default;
};
std::string to_hex(const tc::Cookie& cookie);

class SimulatedNic {
 public:
  explicit SimulatedNic(std::string debugfs) : debugfs_(std::move(debugfs)) {}

  [[nodiscard]] std::set<HeldRule> rules() const;
  // Sets a knob, "cap_rules" or "caps/encap"; what it was before is remembered.
  void turn(const std::string& knob, const std::string& value);
  // Puts back what turn() changed.
  void make_whole();

 private:
  [[nodiscard]] std::string path(const std::string& name) const { return debugfs_ + "/" + name; }
  std::string debugfs_;
  std::map<std::string, std::string> before_;
};

}  // namespace sepal::test
