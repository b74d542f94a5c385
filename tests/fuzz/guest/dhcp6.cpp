// Any frame → answer_dhcp6(): no crash, and every answer is a frame that is whole, small and rightly summed. Built
// twice, as tests/fuzz/config/yaml_reader.cpp is.
#include "guest/dhcp6.hpp"

#include "tests/fuzz/guest/guest6.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sepal::guest;
  static const Guest guest = fuzzed_guest();
  Frame frame = admitted(data, size);
  frame.shrink_to_fit();
  const Answer answer = answer_dhcp6(frame, guest);
  require(answer == answer_dhcp6(frame, guest));
  check(answer, guest);
  return 0;
}
