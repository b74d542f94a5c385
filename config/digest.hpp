// Whether a host or a tenant means what it meant before, in one number each. Places in files do not count.
#pragma once

#include "base/digest.hpp"
#include "config/model.hpp"

namespace sepal::config {

inline void mix(Digest& /*digest*/, const Location& /*where*/) {}

void mix(Digest& digest, const Nic& value);
void mix(Digest& digest, const Underlay& value);
void mix(Digest& digest, const Vxlan& value);
void mix(Digest& digest, const Public& value);
void mix(Digest& digest, const HostLimits& value);
void mix(Digest& digest, const Boot& value);
void mix(Digest& digest, const GuestSettings& value);
void mix(Digest& digest, const Host& value);
void mix(Digest& digest, const Subnet& value);
void mix(Digest& digest, const Port& value);
void mix(Digest& digest, const TenantVlan& value);
void mix(Digest& digest, const ViaVtep& value);
void mix(Digest& digest, const ViaPort& value);
void mix(Digest& digest, const ViaVlan& value);
inline void mix(Digest& /*digest*/, const ViaPublic& /*value*/) {}
inline void mix(Digest& /*digest*/, const ViaBlackhole& /*value*/) {}
void mix(Digest& digest, const Route& value);
void mix(Digest& digest, const Nat& value);
void mix(Digest& digest, const RuleRemote& value);
void mix(Digest& digest, const GroupRule& value);
void mix(Digest& digest, const SecurityGroup& value);
void mix(Digest& digest, const Tenant& value);

}  // namespace sepal::config
