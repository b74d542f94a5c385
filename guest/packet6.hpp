// IPv6 in an Ethernet frame, for the services that are asked in it: a question's headers taken apart and checked, and
// an answer's put around it. Only what stands directly behind the IPv6 header is looked at: nobody who asks these
// services needs extension headers, and fragments are nobody's question.
//
// libtins reads each header alone, from exactly its bytes. Given a whole frame it would go on into whatever a guest
// nested there (IPv6 in IPv6 in …, by recursion), and it compares no checksum, no UDP length and no version.
#pragma once

#include <tins/pdu.h>

#include "base/result.hpp"
#include "guest/guest.hpp"

namespace sepal::guest {

// Who answers, on every link of every hypervisor.
inline constexpr IpAddr kGateway6{Family::ipv6, {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
// Where neighbour discovery says what nobody in particular asked for.
inline constexpr IpAddr kAllNodes{Family::ipv6, {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
inline constexpr MacAddr kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
// Of every neighbour discovery message: nothing from beyond the link has it.
inline constexpr uint8_t kOnLinkHopLimit = 255;

struct Packet6 {
  MacAddr source_mac;
  IpAddr source;
  IpAddr destination;
  uint8_t hop_limit = 0;
  FrameView payload;        // from the header of UDP or ICMPv6 on, at least 8 bytes; points into the frame
  uint16_t sum = 0;         // ones' complement, with the pseudo-header: 0xffff where the payload's checksum is right
  uint16_t pseudo_sum = 0;  // of the pseudo-header alone
};

// Errc::protocol, saying what is wrong, also when another protocol than `next_header` is in it.
Result<Packet6> open_packet6(FrameView frame, uint8_t next_header);

struct Recipient {
  MacAddr mac;
  IpAddr address;
};

// The frame from the gateway's MAC and fe80::1, lengths and checksums filled in.
Frame seal_packet6(const Tins::PDU& payload, const Guest& guest, const Recipient& to, uint8_t hop_limit);

// Addresses of the guest that are IPv6, as configured, at most as many as are told; their networks, each once.
std::vector<IpAddr> addresses6(const Guest& guest);
std::vector<IpPrefix> subnets6(const Guest& guest);
// Those of `servers` that are IPv6, at most as many as are told.
std::vector<IpAddr> servers6(const std::vector<IpAddr>& servers);

}  // namespace sepal::guest
