// See answer.hpp. The rules let through DHCP of both families and router solicitations; which it is, two bytes tell.
#include "guest/answer.hpp"

#include "guest/dhcp4.hpp"

namespace sepal::guest {

Answer answer(FrameView question, const Guest& guest) {
  constexpr size_t kEthernetBytes = 14;
  if (question.size() < kEthernetBytes) return {std::nullopt, "malformed: too short"};
  if (!guest.dhcp) return {std::nullopt, "DHCP, which is off for this port"};
  return answer_dhcp4(question, guest);
}

}  // namespace sepal::guest
