// MAC addresses that guests showed, of ports whose configuration leaves them open. The state file keeps them over
// restarts; a guest that nobody has heard since then would not be reached else.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "agent/state.hpp"
#include "config/model.hpp"

namespace sepal::agent {

// Where a port sits, "vf3" or the name of its device: not how it is called, for a port with a new name has the same
// guest.
std::string seat_of(const config::Port& port);

// By tenant and seat.
using LearntMacs = std::map<std::pair<Vni, std::string>, MacAddr>;
LearntMacs learnt_macs(const SavedState& state);
// What of a tenant is filled in, as SavedTenant has it.
std::map<std::string, MacAddr> learnt_macs_of(const config::Tenant& tenant);

bool leaves_macs_open(const config::Config& config);
// Gives open ports what is learnt, each address to one port of a tenant; forgets what is nobody's any more.
void fill_in(config::Config& config, LearntMacs& learnt);
// Why the guest of `port` cannot be at `mac`: another port of the tenant is; empty: it can.
std::string taken_by(const config::Tenant& tenant, const config::Port& port, const MacAddr& mac);

}  // namespace sepal::agent
