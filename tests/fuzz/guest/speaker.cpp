// Any frame → speaker() and is_about_neighbours(): no crash, and who is shown is a station that the frame came from.
// Built twice, as tests/fuzz/config/yaml_reader.cpp is.
#include "guest/speaker.hpp"

#include <algorithm>

#include "tests/fuzz/guest/guest6.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sepal;
  using namespace sepal::guest;
  static const Guest guest = [] {
    Guest both = fuzzed_guest();
    both.addresses.push_back(
        {IpAddr::v4(10, 0, 0, 5), IpPrefix::make(IpAddr::v4(10, 0, 0, 0), 24), IpAddr::v4(10, 0, 0, 254)});
    return both;
  }();
  Frame frame = admitted(data, size);
  frame.shrink_to_fit();
  (void)is_about_neighbours(frame);
  const auto shown = speaker(frame, guest);
  require(shown == speaker(frame, guest));
  if (!shown) return 0;
  require(!shown->is_zero() && (shown->bytes[0] & 1U) == 0 && *shown != guest.gateway_mac);
  require(std::equal(shown->bytes.begin(), shown->bytes.end(), frame.begin() + 6));
  return 0;
}
