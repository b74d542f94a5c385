// The inside of validate(): what its parts share. Each part (validate_<topic>.cpp) looks at the whole configuration
// from one side and notes what it finds; none stops at the first.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "config/doubts.hpp"
#include "config/fault.hpp"
#include "config/model.hpp"
#include "config/places.hpp"

namespace sepal::config {

struct Review {
  const Config& config;
  const Doubts& doubts;  // one entry per tenant
  const Places& places;
  Faults& faults;
  // Tenants whose inside may have changed since it was last found sound, as Config::tenants; null: all. What holds
  // between tenants is asked of all of them anyway.
  const std::vector<bool>* fresh = nullptr;

  [[nodiscard]] bool looks_into(size_t tenant) const { return fresh == nullptr || (*fresh)[tenant]; }
  // " (at FILE:LINE:COLUMN)", or nothing for what comes from nowhere.
  [[nodiscard]] std::string stands_at(Location where) const;
};

// rules of one side each
void validate_host(Review& review);
void validate_tenants(Review& review);   // names, VNIs, MTU, tenant VLANs, peerings
void validate_networks(Review& review);  // subnets, ports, addresses, prefixes
void validate_devices(Review& review);   // which port sits on which device
void validate_routes(Review& review);
void validate_nat(Review& review);
void validate_groups(Review& review);

// The whole, when some of it may be unread.
void validate(Review& review);

// Someone's claim to a thing that only one may have.
struct Claim {
  Location where;
  std::string owner;  // for the other one's fault: "port 'web-0'"
};

// Registers a claim to `key`. If it is taken, calls report(later, earlier), in the order they stand in the files.
template <typename Key, typename Report>
void claim(std::map<Key, Claim>& claims, const Key& key, Claim mine, Report report) {
  auto [at, inserted] = claims.emplace(key, mine);
  if (inserted) return;
  auto order = [](const Claim& c) { return std::tie(c.where.file, c.where.line, c.where.column); };
  if (order(mine) < order(at->second)) std::swap(mine, at->second);
  report(mine, at->second);
}

}  // namespace sepal::config
