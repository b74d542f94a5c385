// Router advertisements (RFC 4861): fe80::1 is the guest's IPv6 router, and says what its link is like. What is
// advertised and why: docs/reference/guests.md.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

Answer answer_router_solicitation(FrameView question, const Guest& guest);

// Unsolicited, to ff02::1. None where the guest has no IPv6 address, they are off, or libtins would not write it.
std::optional<Frame> router_advertisement(const Guest& guest);

// What `before` was advertised and `now` is not, with lifetimes of 0: servers, the domain, networks; and the router,
// where `now` has none (RFC 4861 section 6.2.5). To be sent before now's own advertisement. None where nothing ends.
std::optional<Frame> router_withdrawal(const Guest& before, const Guest& now);

}  // namespace sepal::guest
