// See narrow.hpp. Tenants meet in a port's block through routes into a peer's network alone.
#include "tc/pipeline/narrow.hpp"

#include <algorithm>
#include <set>

namespace sepal::tc {

Narrowed narrow(const config::Config& config, const Facts& facts, const std::string& tenant) {
  std::map<Vni, const config::Tenant*> by_vni;
  for (const config::Tenant& other : config.tenants) by_vni.emplace(other.vni, &other);
  std::set<Vni> reached;
  std::vector<const config::Tenant*> left;
  for (const config::Tenant& other : config.tenants)
    if (other.name == tenant && reached.insert(other.vni).second) left.push_back(&other);
  while (!left.empty()) {
    const config::Tenant* from = left.back();
    left.pop_back();
    for (const config::Route& route : from->routes) {
      const auto peer = route.vni ? by_vni.find(*route.vni) : by_vni.end();
      if (peer != by_vni.end() && reached.insert(peer->first).second) left.push_back(peer->second);
    }
  }
  Narrowed narrowed;
  narrowed.config.host = config.host;
  narrowed.config.files = config.files;
  for (const config::Tenant& other : config.tenants)
    if (reached.contains(other.vni)) narrowed.config.tenants.push_back(other);
  narrowed.facts = facts;
  for (const auto& [vni, zone] : allocate_zones(config, facts)) narrowed.facts.zones.insert_or_assign(vni, zone);
  return narrowed;
}

}  // namespace sepal::tc
