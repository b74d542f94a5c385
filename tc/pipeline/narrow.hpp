// The part of a configuration that a tenant's ports' blocks are compiled from: to ask about one packet of one port, the
// other tenants need not be compiled.
#pragma once

#include <string>

#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc {

struct Narrowed {
  config::Config config;  // the tenant, its peers, and theirs
  Facts facts;            // with the zones that all tenants together would have been given
};
// Compiled, every block of the tenant's ports is what the whole configuration makes it. Other blocks are not whole.
Narrowed narrow(const config::Config& config, const Facts& facts, const std::string& tenant);

}  // namespace sepal::tc
