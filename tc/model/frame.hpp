// Bytes of an Ethernet frame → the model's packet: what the kernel's flow dissector and conntrack would see of it.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "tc/model/packet.hpp"

namespace sepal::tc::model {

// `frame` begins with the destination MAC; 802.1Q and 802.1ad tags, ARP, IPv4, IPv6 with extension headers, TCP, UDP,
// ICMP and ICMPv6 with what an error quotes. Bytes behind the headers are not looked at. Errc::protocol: it ends within
// a header.
Result<Packet> parse_frame(std::span<const uint8_t> frame);

}  // namespace sepal::tc::model
