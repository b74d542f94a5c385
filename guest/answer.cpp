// See answer.hpp. The rules let through DHCP of both families and router solicitations; two fields tell which it is.
#include "guest/answer.hpp"

#include "guest/dhcp4.hpp"
#include "guest/dhcp6.hpp"
#include "guest/router.hpp"

namespace sepal::guest {

Answer answer(FrameView question, const Guest& guest) {
  constexpr size_t kEthernetBytes = 14;
  constexpr size_t kNextHeader = kEthernetBytes + 6;
  constexpr uint8_t kIcmp6 = 58;
  if (question.size() <= kNextHeader) return {std::nullopt, "malformed: too short"};
  const bool six = question[12] == 0x86 && question[13] == 0xdd;
  if (six && question[kNextHeader] == kIcmp6) {
    if (guest.router_advertisements) return answer_router_solicitation(question, guest);
    return {std::nullopt, "router solicitation: they are off for this port"};
  }
  if (!guest.dhcp) return {std::nullopt, "DHCP: it is off for this port"};
  return six ? answer_dhcp6(question, guest) : answer_dhcp4(question, guest);
}

}  // namespace sepal::guest
