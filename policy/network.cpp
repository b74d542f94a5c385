#include "policy/network.hpp"

namespace sepal::policy {

Network network_of(const config::Tenant& tenant) {
  Network network{tenant.vni, tenant.name, tenant.security_groups, {}, {}};
  network.log_denied = tenant.flow_log;
  for (const config::Port& port : tenant.ports) {
    Port& added = network.ports.emplace_back(Port{port.name, {}, port.security_groups});
    for (const IpAddr& address : port.addresses) added.sources.push_back(IpPrefix::host(address));
    added.sources.insert(added.sources.end(), port.prefixes.begin(), port.prefixes.end());
  }
  for (const config::Route& route : tenant.routes) {
    const auto* via = std::get_if<config::ViaPort>(&route.via);
    const bool here = via != nullptr && (!route.vni || *route.vni == tenant.vni);
    network.routes.push_back({route.to, here ? via->port : std::string()});
  }
  return network;
}

std::set<Vni> judged_tenants(const config::Config& config) {
  std::set<Vni> judged;
  for (const config::Tenant& tenant : config.tenants)
    if (is_judged(tenant)) judged.insert(tenant.vni);
  return judged;
}

std::vector<TenantPolicy> compile(const config::Config& config) {
  std::vector<TenantPolicy> policies;
  for (const config::Tenant& tenant : config.tenants)
    if (is_judged(tenant)) policies.push_back(compile(network_of(tenant)));
  return policies;
}

}  // namespace sepal::policy
