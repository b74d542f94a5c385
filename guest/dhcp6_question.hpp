// A client's DHCPv6 message (RFC 8415) as a value: what dhcp6.cpp decides by, and nothing else of it.
#pragma once

#include <tins/dhcpv6.h>

#include "base/result.hpp"
#include "guest/guest.hpp"

namespace sepal::guest {

// libtins counts 54 and 55 as what are 56 and 57, and so on: its NTP_SERVER and BOOTFILE_URL are other options.
enum Dhcp6Option : uint16_t { kOptionNtpServer = 56, kOptionBootfileUrl = 59 };

// An identity association. Its options (addresses, prefixes) but the addresses are not kept.
struct Association {
  Tins::DHCPv6::OptionTypes kind = Tins::DHCPv6::IA_NA;  // or IA_TA, IA_PD
  uint32_t id = 0;
  std::vector<IpAddr> addresses;
};

struct Dhcp6Question {
  Tins::DHCPv6::MessageType type = Tins::DHCPv6::SOLICIT;
  uint32_t transaction = 0;
  std::vector<uint8_t> client_id;  // a DUID, echoed as it is; empty: none was given
  std::vector<uint8_t> server_id;
  std::vector<Association> associations;  // in the order of the message
  std::vector<uint16_t> wanted;           // the options it requests
  std::vector<uint8_t> http_class;        // option 16 of one that boots by HTTP, echoed as it is; empty: it does not
  bool ipxe = false;
  bool rapid_commit = false;

  [[nodiscard]] bool wants(uint16_t option) const;
};

// Of a UDP payload. Errc::protocol or an exception of libtins says what is wrong with it, relayed messages included:
// a guest is no relay agent.
Result<Dhcp6Question> read_dhcp6_question(FrameView message);

// Options inside an option are bytes to libtins. It reads and writes them as those of a message without its first four
// bytes.
std::vector<uint8_t> nested_bytes(Tins::DHCPv6 options);

}  // namespace sepal::guest
