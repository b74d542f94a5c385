#include "base/net_types.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace sepal {
namespace {

std::optional<unsigned> parse_number(std::string_view text, unsigned max) {
  unsigned value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end || text.empty() || value > max) return std::nullopt;
  return value;
}

void clear_host_bits(IpAddr& address, unsigned length) {
  for (unsigned i = 0; i < address.bytes.size(); ++i) {
    if (length >= (i + 1) * 8) continue;
    unsigned keep = length > i * 8 ? length - i * 8 : 0;
    address.bytes[i] = static_cast<uint8_t>(address.bytes[i] & (0xff00U >> keep));
  }
}

}  // namespace

std::optional<MacAddr> MacAddr::parse(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  MacAddr mac;
  for (size_t i = 0; i < 6; ++i) {
    const char* at = text.data() + i * 3;
    auto [rest, error] = std::from_chars(at, at + 2, mac.bytes[i], 16);
    if (error != std::errc{} || rest != at + 2) return std::nullopt;
    if (i < 5 && at[2] != ':') return std::nullopt;
  }
  return mac;
}

std::string MacAddr::to_string() const {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                bytes[5]);
  return text;
}

std::optional<IpAddr> IpAddr::parse(std::string_view text) {
  std::string z(text);  // inet_pton wants a terminator
  if (z.size() != std::strlen(z.c_str())) return std::nullopt;
  IpAddr address;
  if (::inet_pton(AF_INET, z.c_str(), address.bytes.data()) == 1) return address;
  address.family = Family::ipv6;
  if (::inet_pton(AF_INET6, z.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

IpAddr IpAddr::v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  IpAddr address;
  address.bytes = {a, b, c, d};
  return address;
}

bool IpAddr::is_multicast() const { return is_v4() ? (bytes[0] & 0xf0U) == 0xe0 : bytes[0] == 0xff; }

bool IpAddr::is_loopback() const {
  if (is_v4()) return bytes[0] == 127;
  IpAddr one{Family::ipv6, {}};
  one.bytes[15] = 1;
  return *this == one;
}

bool IpAddr::is_link_local() const {
  return is_v4() ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xfe && (bytes[1] & 0xc0U) == 0x80;
}

bool IpAddr::is_unspecified() const {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

std::string IpAddr::to_string() const {
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
}

IpPrefix IpPrefix::make(IpAddr address, unsigned length) {
  clear_host_bits(address, length);
  return {address, static_cast<uint8_t>(length)};
}

IpPrefix IpPrefix::host(const IpAddr& address) { return {address, static_cast<uint8_t>(address.bits())}; }

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto address = IpAddr::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  auto length = parse_number(text.substr(slash + 1), address->bits());
  if (!length) return std::nullopt;
  IpPrefix prefix = make(*address, *length);
  if (prefix.address != *address) return std::nullopt;
  return prefix;
}

std::optional<IpPrefix> IpPrefix::parse_lenient(std::string_view text) {
  size_t slash = text.find('/');
  auto address = IpAddr::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == std::string_view::npos) return host(*address);
  auto length = parse_number(text.substr(slash + 1), address->bits());
  if (!length) return std::nullopt;
  return make(*address, *length);
}

bool IpPrefix::contains(const IpAddr& other) const {
  return other.family == family() && make(other, length).address == address;
}

bool IpPrefix::contains(const IpPrefix& other) const { return other.length >= length && contains(other.address); }

bool IpPrefix::overlaps(const IpPrefix& other) const { return contains(other) || other.contains(*this); }

IpAddr IpPrefix::mask() const {
  IpAddr all{family(), {}};
  std::fill_n(all.bytes.begin(), all.size(), uint8_t{0xff});
  clear_host_bits(all, length);
  return all;
}

std::string IpPrefix::to_string() const { return address.to_string() + "/" + std::to_string(length); }

std::optional<PortRange> PortRange::parse(std::string_view text) {
  size_t dash = text.find('-');
  auto first = parse_number(text.substr(0, dash), 0xffff);
  auto last = dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1), 0xffff);
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
}

std::string PortRange::to_string() const {
  return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}

}  // namespace sepal
