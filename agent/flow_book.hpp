// What the flow log says of an event: tenants by VNI or zone, ports by address, rules by id. Pure: events in, lines
// out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/state.hpp"
#include "bpf/policy_layout.h"
#include "config/model.hpp"
#include "config/prefix_map.hpp"
#include "netlink/connection_monitor.hpp"
#include "policy/tables.hpp"

namespace sepal::agent {

class FlowBook {
 public:
  FlowBook() = default;
  // `served`: in which zone each tenant is. `before`: the book until now, from which tenants are taken over that mean
  // what they meant.
  FlowBook(const config::Config& config, const SavedState& served, FlowBook before);
  FlowBook(const config::Config& config, const SavedState& served) : FlowBook(config, served, FlowBook()) {}

  // Somebody wants to hear of verdicts of security groups; of connections.
  [[nodiscard]] bool wants_verdicts() const { return wants_verdicts_; }
  [[nodiscard]] bool wants_connections() const { return !by_zone_.empty(); }

  // One line of JSON each. `time`: nanoseconds since 1970. A tenant that is not in the configuration (any more) is its
  // VNI. nullopt: of a tenant whose flow log is off.
  [[nodiscard]] std::string line(const sepal_event& event, uint64_t time) const;
  [[nodiscard]] std::optional<std::string> line(const netlink::ConnectionEvent& event, uint64_t time) const;
  // Whose it is; nullopt as above.
  [[nodiscard]] std::optional<Vni> owner(const netlink::ConnectionEvent& event) const;
  // {"time": …, "event": "lost", "records": 12, "where": "ring"}, with the tenant they are of, unless that is 0: they
  // may be anybody's.
  [[nodiscard]] std::string lost_line(uint64_t time, uint64_t records, std::string_view where, Vni of) const;

 private:
  struct Tenant {
    std::string name;
    Vni vni;
    uint64_t digest = 0;  // of its configuration, places in files included
    config::PrefixMap<std::string> ports;
    policy::TenantPolicy policy;  // without its tables
    [[nodiscard]] const std::string* port(const IpAddr& address) const;
  };
  void add(const config::Tenant& tenant, FlowBook& before);

  std::map<Vni, Tenant> tenants_;  // that want something written
  std::map<Zone, Vni> by_zone_;    // of those whose flow log is on
  std::vector<std::string> files_;
  bool wants_verdicts_ = false;
};

}  // namespace sepal::agent
