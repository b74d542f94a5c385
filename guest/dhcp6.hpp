// DHCPv6 (RFC 8415) without leases: a guest's addresses are those configured, so every answer follows from the
// question. Which messages and options are answered, and how: docs/reference/guests.md.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

Answer answer_dhcp6(FrameView question, const Guest& guest);

}  // namespace sepal::guest
