// An interpreter of tc semantics over a RuleSet: which rule takes a packet, what its actions do, where it ends. Twice:
// as software sees the rules, and as a NIC does that holds only those that are not skip_hw and hands up what it misses.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "policy/judge.hpp"
#include "tc/model/conntrack.hpp"
#include "tc/model/packet.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc::model {

// One rule that took the packet.
struct Visit {
  uint32_t chain = 0;
  const CompiledRule* rule = nullptr;  // null: none of this chain did
  bool in_hardware = false;
};

// What security groups said on the way.
struct Judged {
  Vni vni;
  policy::Verdict verdict;
};
using Judges = std::map<Vni, policy::Judge>;

struct Outcome {
  enum class Kind : uint8_t { dropped, host, sent, heard } kind = Kind::host;
  // heard: the agent was told, and answers.
  IfIndex device;                    // sent: where to
  Packet packet;                     // as it ends
  const CompiledRule* by = nullptr;  // the rule that decided; null: fell off the last chain
  std::vector<Visit> way;            // in the order visited
  bool left_hardware = false;        // hardware(): software had to finish
  std::string fault;                 // what no packet may ever meet: empty when all is well
  std::vector<Judged> judged;        // in the order asked; a denial is the last
  bool forged = false;               // dropped by the program that looks at what guests say of neighbours

  [[nodiscard]] DropReason reason() const {
    if (kind == Kind::dropped && !judged.empty() && !judged.back().verdict.allowed) return DropReason::denied;
    if (forged) return DropReason::spoofed;
    return by == nullptr ? DropReason::none : by->origin.drop;
  }
  [[nodiscard]] std::string to_string() const;
};

// True when both end alike: same verdict, same place, same frame.
bool same_end(const Outcome& a, const Outcome& b);

// A rule set made ready for walking; refers to it.
class Dataplane {
 public:
  // `judges`: of the tenants with security groups; may be null where there are none.
  Dataplane(const RuleSet& rules, IfIndex vxlan, const Judges* judges = nullptr);

  Outcome software(IfIndex device, Packet packet, Conntrack& conntrack) const;
  // Where software goes on with a packet whose connection the NIC does not know: behind the lookup (since Linux 6.3),
  // or at the beginning of the chain that holds it.
  enum class GoesOn : uint8_t { behind_lookup, in_chain };
  // `offloaded` says which of the connections that a NIC could know it knows by now, `held` which rules it holds.
  Outcome hardware(IfIndex device, Packet packet, Conntrack& conntrack,
                   const std::function<bool(const Connection&)>& offloaded,
                   const std::function<bool(const CompiledRule&)>& held = may_be_offloaded,
                   GoesOn goes_on = GoesOn::behind_lookup) const;
  static bool may_be_offloaded(const CompiledRule& rule) { return !rule.rule.spec.skip_hw; }

 private:
  struct Run;
  [[nodiscard]] const CompiledRule* pick(const Run& run, View view) const;
  void software_from(Run& run, uint32_t chain) const;
  // Runs actions from `first` on; true when the packet's way ended, else run.next is the chain that follows, if any.
  bool act(Run& run, const CompiledRule& rule, size_t first, View view) const;
  [[nodiscard]] const NeighbourEntry* neighbour(const Run& run, const IpAddr& address) const;
  // Whether a guest says of itself what is true, in ARP or neighbour discovery; on a wire anybody may say anything.
  [[nodiscard]] bool is_honest(const Run& run) const;
  bool answer_question(Run& run) const;
  bool answer_echo(Run& run) const;
  bool choose_slice(Run& run) const;
  [[nodiscard]] bool judge(Run& run) const;
  // What the program says to a rule that asks it: only an unseen packet, of a flow that may begin, is let go.
  [[nodiscard]] bool lets_go(const Run& run, const CompiledRule& rule) const;
  [[nodiscard]] const policy::Judge* judge_of(Vni vni) const;  // null: no tables
  void finish_sent(Run& run, const CompiledRule& rule, IfIndex device) const;

  const RuleSet& rules_;
  IfIndex vxlan_;
  const Judges* judges_;
  std::map<std::pair<IfIndex, uint32_t>, std::vector<const CompiledRule*>> chains_;
};

}  // namespace sepal::tc::model
