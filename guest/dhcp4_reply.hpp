// A DHCPv4 message of a server as values, and its frame. Internal to guest/.
#pragma once

#include "guest/dhcp4_question.hpp"

namespace sepal::guest {

struct Dhcp4Reply {
  Dhcp4Type type = Dhcp4Type::ack;
  uint32_t id = 0;
  uint16_t flags = 0;
  MacAddr client_mac;
  MacAddr server_mac;
  IpAddr server;  // who speaks: the packet's source, and option 54
  IpAddr client;  // ciaddr
  IpAddr yours;   // yiaddr
  IpAddr next;    // siaddr: where the boot file is
  std::string file;
  // Where it goes: to the client's own MAC and this address, or to everybody.
  std::optional<IpAddr> to;
  // Most important first: what exceeds `size_max` is left out from the end, by cut_to_size().
  std::vector<std::pair<Dhcp4Option, std::vector<uint8_t>>> options;
  size_t size_max = 576;  // of the IP packet
};

// Takes out what does not fit, and what is longer than an option can be; returns the codes of it.
std::vector<Dhcp4Option> cut_to_size(Dhcp4Reply& reply);

// All of its options, whatever its size. nullopt: libtins would not write it.
std::optional<Frame> write_dhcp4(const Dhcp4Reply& reply);

}  // namespace sepal::guest
