// Where addresses are, said unasked. A guest's gateways: a guest that comes from elsewhere, or was here before the
// gateway's MAC changed, learns it at once and not when its neighbour cache ages. And what is behind an uplink, which
// the wire may remember elsewhere.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

// For each gateway of a family that the guest has addresses of an ARP announcement (RFC 5227) or an unsolicited
// neighbour advertisement (RFC 4861 section 7.2.6), to everybody on the link; those of its own networks first, at most
// limits::kGatewaysAnnouncedMax.
std::vector<Frame> gateway_announcements(const Guest& guest);

// That `address` is at `mac`, in the same two ways, to everybody on a wire, in VLAN `vlan` (0: untagged). The
// advertisement comes from the address itself, which is no router's. nullopt: libtins would not write it.
std::optional<Frame> address_announcement(const IpAddr& address, const MacAddr& mac, Vid vlan);

}  // namespace sepal::guest
