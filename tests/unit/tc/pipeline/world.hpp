// Random but valid configurations, and facts to go with them. One seed, one world, on every machine.
#pragma once

#include <cstdint>
#include <vector>

#include "config/model.hpp"
#include "tc/pipeline/facts.hpp"

namespace sepal::tc::model {

// splitmix64: small, and the same everywhere (the standard's distributions are not).
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(next() % bound); }  // bound > 0
  uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
  bool chance(uint32_t percent) { return below(100) < percent; }
  template <typename T>
  const T& of(const std::vector<T>& choices) {
    return choices[below(static_cast<uint32_t>(choices.size()))];
  }

 private:
  uint64_t state_;
};

struct World {
  config::Config config;
  Facts facts;
};

inline constexpr IfIndex kUplink{2};
inline constexpr IfIndex kVxlan{3};

struct Wishes {
  uint32_t tenants_max = 5;
  bool zones_beyond_the_nic = false;  // some tenants have zones above 254 already
};
World random_world(uint64_t seed, const Wishes& wishes = {});

// What every fact but ports must be for a configuration: devices, programs, the gateway's MAC from the configuration.
Facts plain_facts(const config::Config& config);
// Every port of the configuration is here, numbered from 10 in the configuration's order.
Facts facts_with_all_ports(const config::Config& config);

// A tenant's shorthand for example tests.
config::Config example_config();
config::Tenant example_tenant(const std::string& name, uint32_t vni);
config::Port example_port(const std::string& name, uint8_t number);
IpPrefix prefix(const char* text);
IpAddr ip(const char* text);
MacAddr mac(const char* text);

}  // namespace sepal::tc::model
