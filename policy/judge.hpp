// bpf/policy.h over tables in memory: the verdict of the kernel's program, computed here.
#pragma once

#include <memory>
#include <optional>

#include "policy/tables.hpp"

namespace sepal::policy {

// A new connection, as bpf/policy.h looks at it.
struct Flow {
  IpAddr source;
  IpAddr destination;  // where a translation leads to
  uint8_t protocol = 0;
  uint16_t detail = 0;     // destination port of TCP and UDP; type << 8 | code of ICMP and ICMPv6; else 0
  bool from_peer = false;  // the source is in another tenant's network
};

// What one end's groups say: words of bpf/policy_layout.h.
struct Side {
  uint32_t rule = 0;
  uint32_t enforced_rule = 0;
  [[nodiscard]] bool allows() const { return (enforced_rule & SEPAL_RULE_ALLOWS) != 0; }
  [[nodiscard]] bool judged() const { return enforced_rule != SEPAL_RULE_OPEN; }
  // Passed, though an audited group would not let it.
  [[nodiscard]] bool audited() const { return allows() && (rule & SEPAL_RULE_ALLOWS) == 0; }
  bool operator==(const Side&) const = default;
};

struct Verdict {
  Side egress;
  Side ingress;
  bool allowed = false;
  bool operator==(const Verdict&) const = default;
};

// What the program tells of a verdict (enum sepal_event_kind), and the rule it names for a side: for tests, and for
// what is not told by the program itself.
uint8_t event_of(const Verdict& verdict);
uint32_t telling_rule(const Side& side);

// Tables made ready for lookups; refers to nothing.
class Judge {
 public:
  explicit Judge(const Tables& tables);
  ~Judge();
  Judge(Judge&&) noexcept;
  Judge& operator=(Judge&&) noexcept;

  [[nodiscard]] Verdict judge(const Flow& flow) const;

 private:
  struct Index;
  std::unique_ptr<Index> index_;
};

}  // namespace sepal::policy
