// The eBPF objects as the agent needs them: which programs rules may name, their descriptors, and the map entries that
// must stand before rules that lead to them. A seam, so that tests run without eBPF; the real one is over bpf/loader.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/progress.hpp"
#include "base/result.hpp"
#include "policy/tables.hpp"
#include "tc/pipeline/facts.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {

// What guests asked and a program copied, in order; one reader.
class Questions {
 public:
  virtual ~Questions() = default;
  // Readable when there are any. Borrowed: valid as long as this.
  [[nodiscard]] virtual int descriptor() const = 0;
  using Sink = std::function<void(IfIndex device, std::span<const uint8_t> frame)>;
  // Hands over up to `most`; returns how many. The rest stays.
  virtual Result<size_t> read(const Sink& sink, size_t most) = 0;
};

// Of which networks, and there of which addresses; none named: of all.
using Untracked = std::map<Vni, std::vector<IpPrefix>>;

struct Enforced {
  std::set<Vni> judged;  // tenants that are judged as wanted
  bool stopped = false;  // `progress` asked for it
};

class SlowPath {
 public:
  virtual ~SlowPath() = default;
  // The programs as they are (or would be) in the kernel. Loads what is needed to know, pins nothing.
  virtual Result<tc::BpfPrograms> programs() = 0;
  // Makes programs and maps stay when this process ends; adopts what an earlier run pinned.
  virtual Result<void> pin() = 0;
  // A descriptor for a rule that names this program. Borrowed: valid as long as this object.
  virtual Result<int> program_fd(const tc::Bpf& action) = 0;
  // Puts every wanted entry, new or changed. Old ones stay: rules may still lead to them.
  virtual Result<void> put_entries(const std::vector<tc::NeighbourEntry>& neighbours,
                                   const std::vector<tc::SliceEntry>& slices) = 0;
  // Removes what is not wanted any more.
  virtual Result<void> drop_stale(const std::vector<tc::NeighbourEntry>& neighbours,
                                  const std::vector<tc::SliceEntry>& slices) = 0;
  // The same for a few entries, when what the maps hold is remembered: nothing is read.
  virtual Result<void> put_some(const std::vector<tc::NeighbourEntry>& neighbours,
                                const std::vector<tc::SliceEntry>& slices) = 0;
  virtual Result<void> drop_some(const std::vector<tc::NeighbourEntry>& neighbours,
                                 const std::vector<tc::SliceEntry>& slices) = 0;
  // Makes each of these the policy of its tenant: its tables first, then one write for all of the tenant's ports. One
  // that fails is a line in `problems` and stops no other. On return no packet of a tenant that is judged as wanted is
  // judged by another policy. Tenants that are not named keep theirs: rules may still ask. `progress` is called between
  // tenants.
  virtual Enforced enforce(const std::vector<policy::TenantPolicy>& policies, const Progress& progress,
                           std::vector<std::string>& problems) = 0;
  // No policy for tenants that are not `judged`; drops tables that are not in force.
  virtual Result<void> drop_policies(const std::set<Vni>& judged) = 0;
  // What rules of security groups decided, summed over the CPUs and sorted. Counts outlive the policy they were made
  // under.
  virtual Result<std::vector<policy::RuleCount>> policy_counts() = 0;
  // The questions of this instance, also those asked before this process began.
  virtual Result<std::unique_ptr<Questions>> questions() = 0;
  // How many of them nobody could be told, since the program was first loaded: the ring was full.
  virtual Result<uint64_t> questions_lost() = 0;
  // The ring in which verdicts of security groups are told (struct sepal_event), and how many had no room there, ever.
  // Borrowed: valid as long as this object.
  virtual Result<int> events() { return fail(Errc::unsupported, "no ring of events"); }
  virtual Result<uint64_t> events_lost() { return uint64_t{0}; }
  // How many connections each of these tenants has begun, ever, as rules that ask count it; other tenants are bounded
  // no longer.
  virtual Result<std::map<Vni, uint64_t>> begun(const std::set<Vni>& /*bounded*/) {
    return fail(Errc::unsupported, "no bound of connections");
  }
  // Lets a tenant begin until it has begun so many, ever; after `until` any number.
  virtual Result<void> bound(Vni /*vni*/, uint64_t /*begun_max*/, std::chrono::steady_clock::time_point /*until*/) {
    return fail(Errc::unsupported, "no bound of connections");
  }
  // What was let go past conntrack to or from these addresses is known no longer: an answer to it begins a flow.
  virtual Result<void> forget_untracked(const Untracked& /*gone*/) { return {}; }
  // Unpins everything of this instance; true when something was there.
  virtual Result<bool> unpin() = 0;
};

std::unique_ptr<SlowPath> open_slow_path(const std::string& instance);

}  // namespace sepal::agent
