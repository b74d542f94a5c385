// Any frame → answer_dhcp4(): no crash, and every answer is a frame of the length it says, no longer than the guest
// takes. Built twice, as tests/fuzz/config/yaml_reader.cpp is.
#include "guest/dhcp4.hpp"

#include <cstdlib>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

sepal::guest::Guest fuzzed_guest() {
  using sepal::IpAddr;
  sepal::guest::Guest guest;
  guest.mac = *sepal::MacAddr::parse("02:00:00:00:00:0a");
  guest.gateway_mac = *sepal::MacAddr::parse("02:73:65:70:61:6c");
  guest.hostname = "web-0";
  guest.domain = "example.net";
  guest.addresses = {{IpAddr::v4(10, 0, 0, 1), *sepal::IpPrefix::parse("10.0.0.0/24"), IpAddr::v4(10, 0, 0, 254)},
                     {IpAddr::v4(10, 0, 1, 1), *sepal::IpPrefix::parse("10.0.1.0/24"), IpAddr::v4(169, 254, 1, 1)}};
  guest.dns = {IpAddr::v4(192, 0, 2, 53)};
  guest.boot.server = IpAddr::v4(192, 0, 2, 69);
  guest.boot.file = "pxelinux.0";
  guest.boot.ipxe = "http://192.0.2.69/boot.ipxe";
  return guest;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sepal::guest;
  static const Guest guest = fuzzed_guest();
  const Answer answer = answer_dhcp4({data, size}, guest);
  require(answer == answer_dhcp4({data, size}, guest));
  require(!answer.what.empty());
  if (!answer.frame) return 0;
  const Frame& frame = *answer.frame;
  require(frame.size() >= 14 + 28 + 300 && frame.size() <= 14 + 1500U);
  require(static_cast<size_t>(frame[16] << 8U | frame[17]) == frame.size() - 14);
  return 0;
}
