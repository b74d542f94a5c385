// Scalars, strictly: no octal, no exponent, no yes/no. Each refusal says what would be right.
#include "config/scalars.hpp"

#include <algorithm>
#include <charconv>

#include "base/limits.hpp"

namespace sepal::config {
namespace {

constexpr uint32_t kVfMax = 254;  // nic.vfs is at most 255

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_name_end(char c) { return is_digit(c) || (c >= 'a' && c <= 'z'); }
bool is_name_inside(char c) { return is_name_end(c) || c == '.' || c == '-'; }

tl::unexpected<Issue> issue(std::string what, std::string hint) {
  return tl::unexpected<Issue>({std::move(what), std::move(hint)});
}

// The text of a scalar; `expected` completes "expected …, found a list".
Parsed<std::string_view> text_of(NodeRef node, std::string_view expected, const std::string& hint) {
  if (node.kind() == NodeKind::scalar) return node.text();
  if (node.kind() == NodeKind::refused) return issue("", "");
  return issue("expected " + std::string(expected) + ", found " + describe(node.kind()), hint);
}

// Decimal digits without a leading zero that fit; nothing else.
std::optional<uint32_t> strict_number(std::string_view text) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  uint32_t value = 0;
  auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

std::string range_hint(Bounds bounds) {
  return "write a number from " + std::to_string(bounds.min) + " to " + std::to_string(bounds.max);
}

bool is_v4_mapped(const IpAddr& address) {
  if (address.is_v4()) return false;
  return IpPrefix::make(address, 96).address == *IpAddr::parse("::ffff:0:0");
}

// Why no host can have this address; empty when one can.
std::string_view unusable(const IpAddr& address) {
  if (address.is_unspecified()) return "is the unspecified address";
  if (address.is_multicast()) return "is a multicast address";
  if (address.is_loopback()) return "is a loopback address";
  if (address.is_link_local()) return "is a link-local address";
  if (is_v4_mapped(address)) return "is an IPv4-mapped address";
  if (address == IpAddr::v4(255, 255, 255, 255)) return "is the broadcast address";
  return {};
}

const std::string kNameHint = "use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters";
const std::string kMacHint = "write six pairs of hexadecimal digits, such as 02:00:00:00:00:0a";
const std::string kPrefixHint = "write an address and a length, such as 10.0.0.0/24 or fd00:100::/64";

}  // namespace

std::string describe(NodeKind kind) {
  switch (kind) {
    case NodeKind::null: return "nothing";
    case NodeKind::sequence: return "a list";
    case NodeKind::map: return "a map";
    case NodeKind::scalar:
    case NodeKind::refused: break;
  }
  return "text";
}

Parsed<uint32_t> parse_number(NodeRef node, Bounds bounds) {
  auto text = text_of(node, "a number", range_hint(bounds));
  if (!text) return tl::unexpected(text.error());
  if (node.quoted()) return issue("expected a number, found the text " + quoted(*text), "remove the quotes");
  auto value = strict_number(*text);
  bool digits = !text->empty() && std::all_of(text->begin(), text->end(), is_digit);
  if (!value && (!digits || (text->size() > 1 && text->front() == '0'))) {
    return issue(quoted(*text) + " is not a decimal number", range_hint(bounds));
  }
  if (!value || *value < bounds.min || *value > bounds.max) {
    return issue(quoted(*text) + " is out of range", range_hint(bounds));
  }
  return *value;
}

Parsed<bool> parse_boolean(NodeRef node) {
  auto text = text_of(node, "true or false", "write true or false");
  if (!text) return tl::unexpected(text.error());
  if (!node.quoted() && (*text == "true" || *text == "false")) return *text == "true";
  return issue(quoted(*text) + " is neither true nor false", "write true or false, without quotes");
}

Parsed<MacAddr> parse_mac(NodeRef node) {
  auto text = text_of(node, "a MAC address", kMacHint);
  if (!text) return tl::unexpected(text.error());
  auto mac = MacAddr::parse(*text);
  if (!mac) return issue(quoted(*text) + " is not a MAC address", kMacHint);
  if (mac->is_zero()) return issue("the MAC address is all zero", "write the guest's own, such as 02:00:00:00:00:0a");
  if (mac->is_multicast()) {
    return issue(mac->to_string() + " is a multicast MAC address", "the first pair must be an even number, such as 02");
  }
  return *mac;
}

Parsed<IpAddr> parse_address(NodeRef node) {
  static const std::string kHint = "write an IPv4 or IPv6 address, such as 10.0.0.1 or fd00:100::1";
  auto text = text_of(node, "an IP address", kHint);
  if (!text) return tl::unexpected(text.error());
  auto address = IpAddr::parse(*text);
  if (!address) {
    bool prefix = IpPrefix::parse_lenient(*text).has_value();
    return issue(quoted(*text) + " is not an IP address",
                 prefix ? "leave the length out: " + std::string(text->substr(0, text->find('/'))) : kHint);
  }
  std::string_view reason = unusable(*address);
  if (!reason.empty()) {
    return issue(address->to_string() + " " + std::string(reason), "write a unicast address that a host can have");
  }
  return *address;
}

Parsed<IpPrefix> parse_prefix(NodeRef node) {
  auto text = text_of(node, "a network", kPrefixHint);
  if (!text) return tl::unexpected(text.error());
  size_t slash = text->find('/');
  bool strict = slash == std::string_view::npos || strict_number(text->substr(slash + 1));
  auto lenient = IpPrefix::parse_lenient(*text);
  if (!lenient || !strict) return issue(quoted(*text) + " is not a network", kPrefixHint);
  if (is_v4_mapped(lenient->address)) return issue(quoted(*text) + " is an IPv4-mapped network", "write it as IPv4");
  if (slash == std::string_view::npos) return issue(quoted(*text) + " has no length", "write " + lenient->to_string());
  if (!IpPrefix::parse(*text)) return issue(quoted(*text) + " has host bits set", "write " + lenient->to_string());
  return *lenient;
}

Parsed<IpPrefix> parse_addresses(NodeRef node) {
  if (node.kind() != NodeKind::scalar || node.text().find('/') != std::string_view::npos) return parse_prefix(node);
  return parse_address(node).map([](const IpAddr& address) { return IpPrefix::host(address); });
}

Parsed<PortRange> parse_port_range(NodeRef node) {
  static const std::string kHint = "write a range such as 1024-2047, or one port, from 1 to 65535";
  auto text = text_of(node, "a range of ports", kHint);
  if (!text) return tl::unexpected(text.error());
  size_t dash = text->find('-');
  auto first = strict_number(text->substr(0, dash));
  auto last = dash == std::string_view::npos ? first : strict_number(text->substr(dash + 1));
  if (!first || !last) return issue(quoted(*text) + " is not a range of ports", kHint);
  if (*first == 0 || *first > 0xffff || *last > 0xffff) return issue(quoted(*text) + " is out of range", kHint);
  if (*first > *last) return issue(quoted(*text) + " ends before it begins", "write the lower port first");
  return PortRange{static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
}

Parsed<NumberRange> parse_vf_range(NodeRef node) {
  static const std::string kHint = "write a VF's number, or a range such as 0-7, from 0 to 254";
  auto text = text_of(node, "VFs", kHint);
  if (!text) return tl::unexpected(text.error());
  size_t dash = text->find('-');
  auto first = strict_number(text->substr(0, dash));
  auto last = dash == std::string_view::npos ? first : strict_number(text->substr(dash + 1));
  if (!first || !last) return issue(quoted(*text) + " names no VFs", kHint);
  if (*first > kVfMax || *last > kVfMax) return issue(quoted(*text) + " is out of range", kHint);
  if (*first > *last) return issue(quoted(*text) + " ends before it begins", "write the lower VF first");
  return NumberRange{static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
}

Parsed<std::string> parse_name(NodeRef node) {
  auto text = text_of(node, "a name", kNameHint);
  if (!text) return tl::unexpected(text.error());
  bool valid = !text->empty() && text->size() <= limits::kNameLengthMax && is_name_end(text->front()) &&
               is_name_end(text->back()) && std::all_of(text->begin(), text->end(), is_name_inside);
  if (!valid) return issue(quoted(*text) + " is not a name", kNameHint);
  return std::string(*text);
}

Parsed<std::string> parse_port_name(NodeRef node) {
  auto name = parse_name(node);
  if (!name) return name;
  if (*name == "public" || *name == "blackhole" || IpAddr::parse(*name)) {
    return issue(quoted(*name) + " cannot name a port, because a route's `via` means something else by it",
                 "choose another name, such as web-0");
  }
  return name;
}

// RFC 1123 section 2.1.
Parsed<std::string> parse_domain(NodeRef node) {
  static const std::string kHint =
      "write labels of letters, digits and '-', 1 to 63 each and 253 in all, such as guests.example.net";
  auto text = text_of(node, "a domain name", kHint);
  if (!text) return tl::unexpected(text.error());
  constexpr size_t kDomainMax = 253;
  constexpr size_t kLabelMax = 63;
  bool valid = !text->empty() && text->size() <= kDomainMax;
  for (size_t begin = 0; valid && begin <= text->size();) {
    const size_t dot = std::min(text->find('.', begin), text->size());
    const std::string_view label = text->substr(begin, dot - begin);
    auto allowed = [](char c) { return is_name_end(c) || (c >= 'A' && c <= 'Z') || c == '-'; };
    valid = !label.empty() && label.size() <= kLabelMax && label.front() != '-' && label.back() != '-' &&
            std::all_of(label.begin(), label.end(), allowed);
    begin = dot + 1;
  }
  if (!valid) return issue(quoted(*text) + " is not a domain name", kHint);
  return std::string(*text);
}

Parsed<std::string> parse_boot_file(NodeRef node) {
  static const std::string kHint = "write 1 to 255 printable characters without blanks: a path or a URL";
  auto text = text_of(node, "a file", kHint);
  if (!text) return tl::unexpected(text.error());
  constexpr size_t kFileMax = 255;
  const bool valid = !text->empty() && text->size() <= kFileMax &&
                     std::all_of(text->begin(), text->end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!valid) return issue(quoted(*text) + " is not a file's name", kHint);
  return std::string(*text);
}

Parsed<std::string> parse_boot_url(NodeRef node) {
  auto file = parse_boot_file(node);
  if (!file) return file;
  const size_t colon = file->find("://");
  if (colon == std::string::npos || colon == 0 || colon + 3 == file->size())
    return issue(quoted(*file) + " is not a URL", "write one such as tftp://[fd00::1]/boot.efi");
  return file;
}

// dev_valid_name() of the kernel's net/core/dev.c, kept to printable ASCII; '%' would make the kernel number it.
Parsed<std::string> parse_device(NodeRef node) {
  static const std::string kHint = "write an interface's name: 1 to 15 printable characters without '/', ':' and '%'";
  auto text = text_of(node, "an interface's name", kHint);
  if (!text) return tl::unexpected(text.error());
  auto allowed = [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%'; };
  bool valid = !text->empty() && text->size() <= 15 && *text != "." && *text != ".." &&
               std::all_of(text->begin(), text->end(), allowed);
  if (!valid) return issue(quoted(*text) + " is not an interface's name", kHint);
  return std::string(*text);
}

Parsed<std::string> parse_pci(NodeRef node) {
  static const std::string kHint = "write domain:bus:device.function as lspci -D does, such as \"0000:3b:00.0\"";
  auto text = text_of(node, "a PCI address", kHint);
  if (!text) return tl::unexpected(text.error());
  constexpr std::string_view kShape = "hhhh:hh:hh.o";  // h: a hexadecimal digit; o: an octal one
  auto fits = [](char c, char shape) {
    if (shape == 'h') return is_hex(c);
    return shape == 'o' ? c >= '0' && c <= '7' : c == shape;
  };
  if (!std::equal(text->begin(), text->end(), kShape.begin(), kShape.end(), fits)) {
    return issue(quoted(*text) + " is not a PCI address", kHint);
  }
  std::string pci(*text);
  std::transform(pci.begin(), pci.end(), pci.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
  return pci;
}

Parsed<std::string> parse_file(NodeRef node) {
  static const std::string kHint = "write a file's path from the root on, such as /var/log/sepal/flows.json";
  auto text = text_of(node, "a file's path", kHint);
  if (!text) return tl::unexpected(text.error());
  const bool printable = std::all_of(text->begin(), text->end(), [](char c) { return c >= ' ' && c != 0x7f; });
  if (!text->starts_with('/') || text->ends_with('/') || !printable || text->size() > 4095)
    return issue(quoted(*text) + " is no file's path", kHint);
  return std::string(*text);
}

}  // namespace sepal::config
