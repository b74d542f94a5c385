// What a port's guest is told, from the configuration.
#pragma once

#include "config/model.hpp"
#include "guest/guest.hpp"

namespace sepal::agent {

guest::Guest guest_of(const config::Host& host, const config::Tenant& tenant, const config::Port& port);

}  // namespace sepal::agent
