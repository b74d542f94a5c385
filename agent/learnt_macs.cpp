// See learnt_macs.hpp.
#include "agent/learnt_macs.hpp"

#include <algorithm>

namespace sepal::agent {

std::string seat_of(const config::Port& port) { return port.vf ? "vf" + std::to_string(*port.vf) : port.device; }

LearntMacs learnt_macs(const SavedState& state) {
  LearntMacs learnt;
  for (const auto& [vni, tenant] : state.tenants)
    for (const auto& [seat, mac] : tenant.macs) learnt.emplace(std::pair(vni, seat), mac);
  return learnt;
}

std::map<std::string, MacAddr> learnt_macs_of(const config::Tenant& tenant) {
  std::map<std::string, MacAddr> macs;
  for (const config::Port& port : tenant.ports)
    if (port.mac_is_open && !port.mac.is_zero()) macs.emplace(seat_of(port), port.mac);
  return macs;
}

bool leaves_macs_open(const config::Config& config) {
  return std::any_of(config.tenants.begin(), config.tenants.end(), [](const config::Tenant& tenant) {
    return std::any_of(tenant.ports.begin(), tenant.ports.end(),
                       [](const config::Port& port) { return port.mac_is_open; });
  });
}

void fill_in(config::Config& config, LearntMacs& learnt) {
  LearntMacs kept;
  for (config::Tenant& tenant : config.tenants) {
    for (config::Port& port : tenant.ports) {
      if (!port.mac_is_open) continue;
      port.mac = MacAddr();
      const auto found = learnt.find({tenant.vni, seat_of(port)});
      // Since it was learnt the configuration may have given it to another port.
      if (found == learnt.end() || found->second == config.host.gateway_mac ||
          !taken_by(tenant, port, found->second).empty())
        continue;
      port.mac = found->second;
      kept.insert(*found);
    }
  }
  learnt = std::move(kept);
}

std::string taken_by(const config::Tenant& tenant, const config::Port& port, const MacAddr& mac) {
  for (const config::Port& other : tenant.ports)
    if (other.name != port.name && other.mac == mac) return other.name;
  return {};
}

}  // namespace sepal::agent
