// Packets for a world: honest guests, replies to what was delivered, errors about it, and everything that should not
// be.
#pragma once

#include <deque>

#include "oracle.hpp"
#include "tc/model/walk.hpp"
#include "world.hpp"

namespace sepal::tc::model {

struct Arrival {
  IfIndex device;
  Packet packet;
};

class Traffic {
 public:
  Traffic(const World& world, uint64_t seed);

  Arrival next();
  // Prepares what the receiver may send back.
  void seen(const Arrival& arrival, const Outcome& outcome);

 private:
  Arrival from_guest();
  Arrival from_overlay();
  Arrival from_wire();
  void fill(Packet& packet, Family family);  // protocol, ports, TTL, fragments
  void question(Packet& packet);
  void service(Packet& packet);
  void forge(Packet& packet);
  IpAddr any_address(const config::Tenant& tenant, Family family);
  IpAddr a_gateway(const config::Tenant& tenant, Family family);

  const World& world_;
  Dice dice_;
  Dice service_dice_;
  Dice forger_;  // its own, so that traffic is what it is without
  std::deque<Arrival> replies_;
};

}  // namespace sepal::tc::model
