// What a port's guest is told, from the configuration.
#pragma once

#include "config/model.hpp"
#include "guest/guest.hpp"

namespace sepal::agent {

guest::Guest guest_of(const config::Host& host, const config::Tenant& tenant, const config::Port& port);

// The IP MTU of a tenant's guests: its own, or what the tunnel leaves of the underlay's.
uint16_t guest_mtu(const config::Host& host, const config::Tenant& tenant);

}  // namespace sepal::agent
