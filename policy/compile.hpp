// Security groups → tables. Pure: the same network, the same tables.
#pragma once

#include <string>
#include <vector>

#include "policy/tables.hpp"

namespace sepal::policy {

// A port here, whether its device is there or not.
struct Port {
  std::string name;
  std::vector<IpPrefix> sources;    // what it may send from, and what is delivered to it unless a route says otherwise
  std::vector<std::string> groups;  // none: the port is open
};

// A route: what lies in `to` is delivered to a port here, or leaves.
struct Delivery {
  IpPrefix to;
  std::string port;  // empty: leaves
};

// Of one tenant, as much as its groups speak of. Every group that is named is among `groups`, and no address has more
// than SEPAL_SELECTORS_MAX names.
struct Network {
  Vni vni;
  std::string tenant;
  std::vector<config::SecurityGroup> groups;
  std::vector<Port> ports;
  std::vector<Delivery> routes;
  bool log_denied = false;  // every denial is told, whatever the rules say
};

TenantPolicy compile(const Network& network);

}  // namespace sepal::policy
