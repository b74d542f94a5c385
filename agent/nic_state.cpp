#include "agent/nic_state.hpp"

#include "agent/nic_record.hpp"

namespace sepal::agent {
namespace {

using netlink::ParamValue;

// smfs writes rules from the driver, several times faster than dmfs through firmware. Anything newer stays.
bool is_slow_steering(const NicState& now) {
  const auto found = now.params.find(kSteeringParam);
  return found != now.params.end() && found->second == ParamValue(std::string("dmfs"));
}

}  // namespace

std::optional<std::string> user_of(const NicFunction& function, std::string_view own_driver) {
  if (function.driver.empty()) return std::nullopt;
  if (function.driver != own_driver) return "bound to " + function.driver;
  if (function.devices.empty())
    return "in another network namespace (its driver is bound, and no netdev of it is here)";
  for (const FunctionDevice& device : function.devices) {
    if (device.enslaved) return "in use: " + device.name + " belongs to a bridge or bond";
    if (device.up) return "in use: " + device.name + " is up";
    if (device.has_address) return "in use: " + device.name + " has an address";
  }
  return std::nullopt;
}

NicWanted wanted_nic(const config::Config& config, const NicState& now, const NicRecord* record) {
  const config::Nic& nic = config.host.nic;
  NicWanted wanted;
  if (nic.only.empty()) wanted.count = nic.vfs;
  for (uint16_t vf = 0; vf < nic.vfs; ++vf)
    if (nic.owns(vf)) wanted.vfs.insert(vf);
  wanted.autoprobe = record != nullptr ? record->autoprobe : now.autoprobe;
  for (const uint16_t vf : wanted.vfs) {
    bool had_driver = false;
    if (record != nullptr) {
      const auto found = record->drivers.find(vf);
      had_driver = found != record->drivers.end() && found->second == now.driver;
    } else {
      const auto found = now.functions.find(vf);
      had_driver = found != now.functions.end() && found->second.driver == now.driver;
    }
    if (wanted.autoprobe || had_driver) wanted.bound.insert(vf);
  }
  for (const config::Tenant& tenant : config.tenants)
    for (const config::Port& port : tenant.ports)
      if (port.vf && nic.owns(*port.vf) && !port.mac_is_open) wanted.macs.emplace(*port.vf, port.mac);
  if (is_slow_steering(now)) wanted.params.emplace(kSteeringParam, std::string("smfs"));
  wanted.params.emplace(kMetadataParam, true);
  // Until all is done, not only until the mode is back: whoever was interrupted goes on the same way.
  wanted.fell_back = record != nullptr && (record->fell_back || (record->ready && !now.switchdev()));
  return wanted;
}

}  // namespace sepal::agent
