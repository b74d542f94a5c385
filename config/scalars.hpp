// One node → one value, or what is wrong with it. No context here: the caller (fields.hpp) knows the key and the place.
#pragma once

#include <cstdint>
#include <string>

#include "config/document.hpp"

namespace sepal::config {

struct Issue {
  std::string what;  // empty: the fault is already noted
  std::string hint;
};

template <typename T>
using Parsed = tl::expected<T, Issue>;

struct Bounds {
  uint32_t min = 0;
  uint32_t max = 0;
};

// Both ends included.
struct NumberRange {
  uint16_t first = 0;
  uint16_t last = 0;
};

Parsed<uint32_t> parse_number(NodeRef node, Bounds bounds);  // decimal digits only, unquoted
Parsed<bool> parse_boolean(NodeRef node);                    // true or false, unquoted
Parsed<MacAddr> parse_mac(NodeRef node);                     // a unicast address, not zero
Parsed<IpAddr> parse_address(NodeRef node);                  // one that a host can have
Parsed<IpPrefix> parse_prefix(NodeRef node);                 // host bits must be zero
Parsed<IpPrefix> parse_addresses(NodeRef node);              // a network, or one address
Parsed<PortRange> parse_port_range(NodeRef node);            // "1024-2047" or "80"; no port 0
Parsed<NumberRange> parse_vf_range(NodeRef node);            // "0-7" or "12"
Parsed<std::string> parse_name(NodeRef node);                // [a-z0-9]([a-z0-9.-]*[a-z0-9])?, at most 63
Parsed<std::string> parse_port_name(NodeRef node);           // the same, and nothing a route's `via` means otherwise
Parsed<std::string> parse_domain(NodeRef node);              // labels of at most 63 characters, 253 in all
Parsed<std::string> parse_boot_file(NodeRef node);           // 1 to 255 printable characters: a file or a URL
Parsed<std::string> parse_boot_url(NodeRef node);            // the same, and a URL
Parsed<std::string> parse_device(NodeRef node);              // what the kernel takes as an interface name
Parsed<std::string> parse_pci(NodeRef node);                 // "0000:3b:00.0"
Parsed<std::string> parse_file(NodeRef node);                // "/var/log/sepal/flows.json": from the root on

// "a list", "a map", "nothing", "text": for "found …".
std::string describe(NodeKind kind);

}  // namespace sepal::config
