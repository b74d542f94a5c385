// Which MAC address a guest has, from what it says: for ports whose configuration leaves that open. Pure, as all here.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

// `frame`: ARP, a neighbour or router solicitation, or DHCP of a client; anything else, and what is malformed, forged
// or speaks for an address that is not the guest's, shows nothing. The address is one that a station can have, not the
// gateway's, and the same in the frame's header and in what it says.
std::optional<MacAddr> speaker(FrameView frame, const Guest& guest);

// ARP and neighbour solicitations: nothing that waits for an answer of answer().
bool is_about_neighbours(FrameView frame);

}  // namespace sepal::guest
