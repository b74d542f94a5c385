// Any frame → answer_router_solicitation(): no crash, and every answer is a frame that is whole, small and rightly
// summed. Built twice, as tests/fuzz/config/yaml_reader.cpp is.
#include "guest/router.hpp"

#include "tests/fuzz/guest/guest6.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sepal::guest;
  static const Guest guest = fuzzed_guest();
  Frame frame = admitted(data, size);
  frame.shrink_to_fit();
  const Answer answer = answer_router_solicitation(frame, guest);
  require(answer == answer_router_solicitation(frame, guest));
  check(answer, guest);
  return 0;
}
