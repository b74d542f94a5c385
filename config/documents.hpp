// The two kinds of document: node → Host, node → Tenant. What is wrong is noted in `faults`; what is thereby unknown,
// in the doubts. Rules across fields are validate()'s.
#pragma once

#include "config/document.hpp"
#include "config/doubts.hpp"
#include "config/fields.hpp"

namespace sepal::config {

struct HostReading {
  Host host;
  HostDoubts doubts;
};
HostReading read_host(NodeRef node, Faults& faults);

struct TenantReading {
  Tenant tenant;
  TenantDoubts doubts;
};
TenantReading read_tenant(NodeRef node, Faults& faults);
// What maps `limits` of the host, a tenant and a port have in common.
std::optional<uint32_t> read_hardware_rules(const Fields& fields);
std::optional<uint32_t> read_connections(const Fields& fields);
PortLimits read_port_limits(const Fields& fields);
// `guests` of the host, a tenant or a port (guests.cpp).
GuestSettings read_guests(NodeRef node, Faults& faults);

// One entry of Tenant.routes (route.cpp).
std::optional<Route> read_route(NodeRef node, Faults& faults);

// Tenant.security_groups (groups.cpp), sorted by name; `node` may be of any kind.
std::vector<SecurityGroup> read_groups(NodeRef node, Faults& faults);

}  // namespace sepal::config
