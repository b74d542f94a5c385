// Where a guest's gateways are, said unasked: a guest that comes from elsewhere, or was here before the gateway's MAC
// changed, learns it at once and not when its neighbour cache ages.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

// For each gateway of a family that the guest has addresses of an ARP announcement (RFC 5227) or an unsolicited
// neighbour advertisement (RFC 4861 section 7.2.6), to everybody on the link; those of its own networks first, at most
// limits::kGatewaysAnnouncedMax.
std::vector<Frame> gateway_announcements(const Guest& guest);

}  // namespace sepal::guest
