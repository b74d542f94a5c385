// DHCP for IPv4 (RFC 2131, 2132): what a guest's question is answered with. A lease is what the configuration says of
// the port, now and at every renewal, so nothing is given out, remembered or taken back.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

// `question`: a frame that came from the guest's port. Hostile bytes are an Answer without a frame, never more.
Answer answer_dhcp4(FrameView question, const Guest& guest);

}  // namespace sepal::guest
