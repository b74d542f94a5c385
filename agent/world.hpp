// One look at the kernel: facts for compile, filters of ours, filters of others. Reads only (but for asking the kernel
// to resolve an unknown gateway, when told to); what to do about it is the reconciler's business.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/kernel.hpp"
#include "agent/next_hops.hpp"
#include "agent/state.hpp"
#include "config/model.hpp"
#include "netlink/links.hpp"
#include "tc/pipeline/diff.hpp"
#include "tc/pipeline/facts.hpp"

namespace sepal::agent {

// A filter that is not ours, on clsact ingress of some device.
struct ForeignFilter {
  tc::RuleId id;
  std::string kind;                  // "flower", "bpf", …
  std::optional<tc::Cookie> cookie;  // another instance's
  auto operator<=>(const ForeignFilter&) const = default;
};

struct OwnDevice {
  IfIndex index;
  std::string name;
};

struct World {
  tc::Facts facts;
  std::vector<netlink::Link> links;        // every device, sorted by index, unless the look was given them
  std::map<IfIndex, std::string> devices;  // every device of this network namespace, by name
  std::set<IfIndex> clsact;                // devices that have one
  std::set<IfIndex> offload;               // devices whose rules the NIC may hold: ports of its eSwitch, and the tunnel
  std::vector<tc::Observed> observed;      // ours, sorted by id
  std::vector<ForeignFilter> foreign;      // sorted by id
  std::string card;                        // tells one NIC, driver and kernel from another; empty without an eSwitch
  netlink::VxlanFinding vxlan;
  std::vector<OwnDevice> own_vxlans;                           // every vxlan device with our alias, whatever its name
  std::vector<UnderlayWay> ways;                               // under the tunnel, by VTEP
  SavedWays saved_ways;                                        // what rules installed now stand for
  bool gateway_unknown = false;                                // a public gateway's MAC is not known yet
  bool has_slow_path = true;                                   // false: eBPF did not load, see problems
  std::vector<std::string> problems;                           // what could not be found out, though the look goes on
  [[nodiscard]] std::string device_name(IfIndex index) const;  // "device 7" when unknown
};

// Stands for the vxlan device in facts while there is none, so that plan can compile before anything is made.
inline constexpr IfIndex kVxlanToCome{0x7ffffffe};

// What a look needs to know beforehand. Without a config only filters, devices and zones are read.
struct LookInput {
  const config::Config* config = nullptr;
  std::string instance;
  const SavedState* saved = nullptr;
  bool resolve_gateways = false;
  bool filters = true;  // false: devices and neighbours only, which is cheap; no zones, nothing observed
  const std::vector<netlink::Link>* links = nullptr;  // known already: not listed once more
  const std::set<IpAddr>* distrusted = nullptr;       // VTEPs whose way a NIC must look up anew
};

// Errc::not_found names a missing underlay device. Errc::resync: the kernel changed too fast under our eyes.
Result<World> look(Kernel& kernel, const LookInput& input);

// The tunnel device a configuration asks for.
netlink::VxlanWanted vxlan_wanted(const config::Host& host, const std::string& instance);

}  // namespace sepal::agent
