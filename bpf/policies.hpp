// The program that judges new connections by security groups, and its maps: one pair for each tenant's policy, made as
// large as its content, and the one entry that says which pair is in force.
//
// In bpffs, per instance, beside what loader.hpp names: sepal_policy, sepal_spaces_2, sepal_ends_2, sepal_choices_2,
// sepal_counts, sepal_events, sepal_lost, sepal_untracked. The pairs are in no file: the maps of maps hold them.
//
// A change is three steps: put() makes the new pair, which no packet sees; activate() writes the entry, and from then
// on all ports of the tenant are judged by the new policy; drop_unused() lets go what no entry names.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "bpf/loader.hpp"
#include "bpf/policy_entries.hpp"

namespace sepal::bpf {

ObjectCode built_in_policy_code();

class Policies {
 public:
  // As SlowPath::load: loads the program, adopts what is pinned, pins nothing.
  static Result<Policies> load(const Place& place, const ObjectCode& code = built_in_policy_code());

  [[nodiscard]] const Program& program() const { return object_.program; }
  // Names this object has in bpffs.
  [[nodiscard]] std::vector<std::string> names() const { return object_.names(); }
  Result<void> pin() { return bpf::pin(pins_, object_); }

  // Which policy judges each tenant.
  [[nodiscard]] Result<std::map<Vni, uint64_t>> active() const;
  // Each space's tables are written once: when this returns true, they were there, whole, already.
  Result<bool> put(uint64_t space, const std::vector<PrefixEntry>& prefixes, const std::vector<ChoiceEntry>& choices);
  // One write, for all ports at once.
  Result<void> activate(Vni vni, uint64_t space);
  // Returns when every packet that was judged before the call has left the program and committed, or not.
  static void wait_for_packets();
  // No policy: a rule that still runs the program denies.
  Result<void> deactivate(Vni vni);
  // Tables that no tenant's entry names; returns how many spaces went.
  Result<size_t> drop_unused();

  // Summed over the CPUs, sorted. A rule's counters outlive the policy they were counted under.
  [[nodiscard]] Result<std::vector<RuleCount>> counts() const;

  // Forgets flows that were let go past conntrack, of which `gone` (network, both ends) says so. Meanwhile packets go
  // on: what happens in this moment to a flow that shares a bucket with one that is forgotten may be forgotten, too.
  Result<void> forget_untracked(const std::function<bool(Vni, const IpAddr&, const IpAddr&)>& gone);

  // The ring that verdicts are told in (struct sepal_event), for bpf::Ring. Borrowed.
  [[nodiscard]] int events() const { return fd(kEvents); }
  // How many had no room there, ever.
  [[nodiscard]] Result<uint64_t> events_lost() const;

 private:
  enum Which : size_t { kSpaces, kPrefixes, kChoices, kCounts, kEvents, kLost, kUntracked };  // in the object's order
  Policies(Pins pins, Adopted object) : pins_(std::move(pins)), object_(std::move(object)) {}

  [[nodiscard]] int fd(Which which) const { return object_.maps[which].fd.get(); }
  [[nodiscard]] Result<bool> holds(Which which, uint64_t space) const;

  Pins pins_;
  Adopted object_;
};

}  // namespace sepal::bpf
