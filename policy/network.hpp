// What a tenant's configuration says that its security groups speak of.
#pragma once

#include <set>

#include "config/model.hpp"
#include "policy/compile.hpp"

namespace sepal::policy {

// Whether new connections of this tenant are judged at all: it declares groups. (Not whether a port has one: so that
// giving a port its first group, or taking its last, is a change of tables alone, in one step for all ports.)
inline bool is_judged(const config::Tenant& tenant) { return !tenant.security_groups.empty(); }

Network network_of(const config::Tenant& tenant);

std::set<Vni> judged_tenants(const config::Config& config);

// Of all tenants that are judged, in their order.
std::vector<TenantPolicy> compile(const config::Config& config);

}  // namespace sepal::policy
