// Addresses and numbers of the network, each with a type of its own, so that no two can be swapped by accident.
// Bytes inside are always network byte order; plain integers (Vni, Vid, IfIndex, port numbers) are host order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sepal {

// A strong integer: no arithmetic, no conversions, ordered and hashable by value().
template <typename Tag, typename Int>
class Number {
 public:
  constexpr Number() = default;
  constexpr explicit Number(Int value) : value_(value) {}
  [[nodiscard]] constexpr Int value() const { return value_; }
  constexpr auto operator<=>(const Number&) const = default;

 private:
  Int value_ = 0;
};

using IfIndex = Number<struct IfIndexTag, uint32_t>;  // kernel interface index; 0 = none
using Vni = Number<struct VniTag, uint32_t>;          // VXLAN network identifier, 1 .. 2^24-1
using Vid = Number<struct VidTag, uint16_t>;          // 802.1Q VLAN id, 1 .. 4094
using Zone = Number<struct ZoneTag, uint16_t>;        // conntrack zone, 1 .. 65535 (the NIC knows 1..254)

struct MacAddr {
  std::array<uint8_t, 6> bytes{};

  static std::optional<MacAddr> parse(std::string_view text);  // "02:00:00:00:00:0a"
  [[nodiscard]] std::string to_string() const;                 // lower case, colons
  [[nodiscard]] bool is_multicast() const { return (bytes[0] & 1U) != 0; }
  [[nodiscard]] bool is_zero() const { return *this == MacAddr{}; }
  auto operator<=>(const MacAddr&) const = default;
};

enum class Family : uint8_t { ipv4, ipv6 };

// An IPv4 or IPv6 address. For IPv4 the first four bytes count and the others are zero.
struct IpAddr {
  Family family = Family::ipv4;
  std::array<uint8_t, 16> bytes{};  // network byte order

  static std::optional<IpAddr> parse(std::string_view text);
  static IpAddr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
  static constexpr unsigned bits(Family family) { return family == Family::ipv4 ? 32 : 128; }
  [[nodiscard]] unsigned bits() const { return bits(family); }
  [[nodiscard]] size_t size() const { return bits() / 8; }
  [[nodiscard]] bool is_v4() const { return family == Family::ipv4; }
  [[nodiscard]] bool is_multicast() const;
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_link_local() const;   // 169.254.0.0/16, fe80::/10
  [[nodiscard]] bool is_unspecified() const;  // 0.0.0.0, ::
  [[nodiscard]] std::string to_string() const;
  auto operator<=>(const IpAddr&) const = default;
};

// A network: host bits are zero (make() and parse() see to it).
struct IpPrefix {
  IpAddr address;
  uint8_t length = 0;

  static IpPrefix make(IpAddr address, unsigned length);        // clears host bits
  static IpPrefix host(const IpAddr& address);                  // /32 or /128
  static std::optional<IpPrefix> parse(std::string_view text);  // "10.0.0.0/24"; nullopt also when host bits are set
  static std::optional<IpPrefix> parse_lenient(
      std::string_view t);  // host bits allowed and cleared, bare address = host
  [[nodiscard]] Family family() const { return address.family; }
  [[nodiscard]] bool contains(const IpAddr& other) const;
  [[nodiscard]] bool contains(const IpPrefix& other) const;  // equal counts as contained
  [[nodiscard]] bool overlaps(const IpPrefix& other) const;
  [[nodiscard]] IpAddr mask() const;  // 255.255.255.0 for /24
  [[nodiscard]] std::string to_string() const;
  auto operator<=>(const IpPrefix&) const = default;
};

// Inclusive range of TCP/UDP ports or ICMP ids, host byte order.
struct PortRange {
  uint16_t first = 0;
  uint16_t last = 0xffff;

  static std::optional<PortRange> parse(std::string_view text);  // "1024-2047" or "80"
  [[nodiscard]] bool overlaps(const PortRange& o) const { return first <= o.last && o.first <= last; }
  [[nodiscard]] std::string to_string() const;
  auto operator<=>(const PortRange&) const = default;
};

}  // namespace sepal
