// A DHCPv4 message of a client as values. Internal to guest/.
#pragma once

#include <algorithm>
#include <tl/expected.hpp>

#include "guest/guest.hpp"

namespace sepal::guest {

// Option 53, by the numbers of RFC 2132.
enum class Dhcp4Type : uint8_t {
  discover = 1,
  offer = 2,
  request = 3,
  decline = 4,
  ack = 5,
  nak = 6,
  release = 7,
  inform = 8
};

// The options that are read or written here.
enum class Dhcp4Option : uint8_t {
  subnet_mask = 1,
  routers = 3,
  dns = 6,
  hostname = 12,
  domain = 15,
  mtu = 26,
  broadcast_address = 28,
  ntp = 42,
  requested_address = 50,
  lease_seconds = 51,
  message_type = 53,
  server = 54,
  wishes = 55,
  size_max = 57,
  renewal_seconds = 58,
  rebinding_seconds = 59,
  vendor_class = 60,
  client_id = 61,
  boot_server = 66,
  boot_file = 67,
  user_class = 77,
  classless_routes = 121,
  classless_routes_ms = 249,  // the same under the number Windows first gave it
};

struct Dhcp4Question {
  Dhcp4Type type = Dhcp4Type::discover;
  uint32_t id = 0;  // xid
  uint16_t flags = 0;
  IpAddr client;  // ciaddr; 0.0.0.0: it has none yet
  MacAddr mac;    // chaddr
  bool relayed = false;
  std::optional<IpAddr> requested;
  std::optional<IpAddr> server;
  std::optional<std::vector<uint8_t>> wishes;  // options it asks for; none: whatever there is
  std::vector<uint8_t> client_id;
  size_t size_max = 576;  // of the IP packet it can take
  bool pxe = false;
  bool http = false;  // UEFI's HTTP boot
  bool ipxe = false;

  [[nodiscard]] bool asks_for(Dhcp4Option option) const {
    return wishes && std::find(wishes->begin(), wishes->end(), static_cast<uint8_t>(option)) != wishes->end();
  }
};

// The error says what is wrong with the frame.
tl::expected<Dhcp4Question, std::string> read_dhcp4(FrameView frame);

}  // namespace sepal::guest
