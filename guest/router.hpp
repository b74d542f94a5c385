// Router advertisements (RFC 4861): fe80::1 is the guest's IPv6 router, and says what its link is like. What is
// advertised and why: docs/reference/guests.md.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

Answer answer_router_solicitation(FrameView question, const Guest& guest);

// Unsolicited, to ff02::1. None where the guest has no IPv6 address, or they are off.
std::optional<Frame> router_advertisement(const Guest& guest);

}  // namespace sepal::guest
