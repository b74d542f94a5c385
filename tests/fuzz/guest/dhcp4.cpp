// Any frame → answer_dhcp4(): no crash, and every answer is a frame of the length it says, no longer than the guest
// takes. Built twice, as tests/fuzz/config/yaml_reader.cpp is.
#include "guest/dhcp4.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>

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

// Puts right what would stop nearly every input before its options: Ethernet's type, lengths, ports, MAC and cookie.
// One first byte in four leaves them.
sepal::guest::Frame admitted(const uint8_t* data, size_t size, const sepal::guest::Guest& guest) {
  constexpr size_t kIp = 14;
  constexpr size_t kUdp = kIp + 20;
  constexpr size_t kDhcp = kUdp + 8;
  constexpr size_t kOptions = kDhcp + 240;
  if (size == 0) return {};
  const bool leave = (data[0] & 3U) == 3U;
  sepal::guest::Frame frame(data + 1, data + size);
  if (leave || frame.size() < kOptions || frame.size() > 1514) return frame;
  const auto put = [&](size_t at, size_t value) {
    frame[at] = static_cast<uint8_t>(value >> 8U);
    frame[at + 1] = static_cast<uint8_t>(value);
  };
  put(12, 0x0800);
  frame[kIp] = 0x45;
  put(kIp + 2, frame.size() - kIp);
  put(kIp + 6, 0);  // no fragment
  frame[kIp + 9] = 17;
  put(kUdp + 2, 67);
  put(kUdp + 4, frame.size() - kUdp);
  const uint8_t request[] = {1, 1, 6};
  std::copy(std::begin(request), std::end(request), frame.begin() + kDhcp);
  std::copy(guest.mac.bytes.begin(), guest.mac.bytes.end(), frame.begin() + kDhcp + 28);
  const uint8_t cookie[] = {0x63, 0x82, 0x53, 0x63};
  std::copy(std::begin(cookie), std::end(cookie), frame.begin() + kOptions - sizeof cookie);
  return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sepal::guest;
  static const Guest guest = fuzzed_guest();
  Frame question = admitted(data, size, guest);
  question.shrink_to_fit();  // a read beyond its end is one beyond its memory
  const Answer answer = answer_dhcp4(question, guest);
  require(answer == answer_dhcp4(question, guest));
  require(!answer.what.empty());
  if (!answer.frame) return 0;
  const Frame& frame = *answer.frame;
  require(frame.size() >= 14 + 28 + 300 && frame.size() <= 14 + 1500U);
  require(static_cast<size_t>(frame[16] << 8U | frame[17]) == frame.size() - 14);
  return 0;
}
