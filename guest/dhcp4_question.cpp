// Frame → Dhcp4Question. The headers down to UDP are read here, with bounds; what a guest's own stack left of their
// checksums is not looked at: between a guest and its port a NIC has yet to fill them in. DHCP itself is libtins' to
// read, within a size that no honest client reaches; whatever it throws ends here.
#include "guest/dhcp4_question.hpp"

#include <tins/dhcp.h>
#include <tins/exceptions.h>

#include <algorithm>
#include <string_view>

namespace sepal::guest {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kEthernetBytes = 14;
constexpr size_t kIpBytesMin = 20;
constexpr size_t kUdpBytes = 8;
constexpr size_t kDhcpBytesMin = 240;  // BOOTP up to and with the magic cookie
constexpr size_t kDhcpBytesMax = 1472;
constexpr uint16_t kServerPort = 67;
constexpr uint8_t kCookie[] = {0x63, 0x82, 0x53, 0x63};

uint16_t be16(FrameView bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8U | bytes[at + 1]); }

tl::unexpected<std::string> wrong(std::string what) { return tl::unexpected<std::string>(std::move(what)); }

tl::expected<FrameView, std::string> payload_of(FrameView frame) {
  if (frame.size() < kEthernetBytes + kIpBytesMin) return wrong("too short");
  if (be16(frame, 12) != 0x0800) return wrong("not IPv4");
  FrameView ip = frame.subspan(kEthernetBytes);
  const size_t header = (ip[0] & 0x0fU) * size_t{4};
  const size_t total = be16(ip, 2);
  if (ip[0] >> 4U != 4 || header < kIpBytesMin || total > ip.size() || total < header + kUdpBytes)
    return wrong("not an IPv4 packet");
  if ((be16(ip, 6) & 0x3fffU) != 0) return wrong("a fragment");
  if (ip[9] != 17) return wrong("not UDP");
  const FrameView udp = ip.subspan(header, total - header);
  const size_t length = be16(udp, 4);
  if (be16(udp, 2) != kServerPort) return wrong("not to a server's port");
  if (length < kUdpBytes || length > udp.size()) return wrong("UDP's length is not the packet's");
  const FrameView payload = udp.subspan(kUdpBytes, length - kUdpBytes);
  if (payload.size() < kDhcpBytesMin) return wrong("too short");
  if (payload.size() > kDhcpBytesMax) return wrong("too long");
  // Ethernet, with addresses of Ethernet.
  if (payload[0] != 1) return wrong("no request");
  if (payload[1] != 1 || payload[2] != 6) return wrong("not of Ethernet");
  if (!std::equal(std::begin(kCookie), std::end(kCookie), payload.begin() + 236)) return wrong("BOOTP without DHCP");
  return payload;
}

// Up to the first end of options: what is behind it is none, and libtins would read on. An option that reaches beyond
// the message is left for libtins to refuse.
FrameView up_to_end(FrameView payload) {
  constexpr uint8_t kPad = 0;
  constexpr uint8_t kEnd = 255;
  size_t at = kDhcpBytesMin;
  while (at < payload.size()) {
    if (payload[at] == kEnd) return payload.first(at);
    if (payload[at] == kPad) {
      ++at;
    } else if (at + 1 < payload.size()) {
      at += size_t{2} + payload[at + 1];
    } else {
      break;
    }
  }
  return payload;
}

std::optional<Bytes> option_of(const Tins::DHCP& dhcp, Dhcp4Option code) {
  const auto* option = dhcp.search_option(static_cast<Tins::DHCP::OptionTypes>(code));
  if (option == nullptr) return std::nullopt;
  return Bytes(option->data_ptr(), option->data_ptr() + option->data_size());
}

std::string_view text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

IpAddr address_at(FrameView bytes, size_t at) {
  return IpAddr::v4(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

// RFC 3004 puts a length before each class; iPXE does not.
bool names_ipxe(const Bytes& user_class) { return text_of(user_class).find("iPXE") != std::string_view::npos; }

tl::expected<Dhcp4Question, std::string> read_options(const Tins::DHCP& dhcp, Dhcp4Question question) {
  const auto type = option_of(dhcp, Dhcp4Option::message_type);
  if (!type) return wrong("BOOTP without DHCP");
  if (type->size() != 1 || type->front() < 1 || type->front() > 8) return wrong("unknown message type");
  question.type = static_cast<Dhcp4Type>(type->front());
  const std::pair<Dhcp4Option, std::optional<IpAddr>*> addresses[] = {
      {Dhcp4Option::requested_address, &question.requested}, {Dhcp4Option::server, &question.server}};
  for (const auto& [code, into] : addresses) {
    const auto bytes = option_of(dhcp, code);
    if (!bytes) continue;
    if (bytes->size() != 4) return wrong("an address of " + std::to_string(bytes->size()) + " bytes");
    *into = address_at(*bytes, 0);
  }
  question.wishes = option_of(dhcp, Dhcp4Option::wishes);
  question.client_id = option_of(dhcp, Dhcp4Option::client_id).value_or(Bytes{});
  if (const auto size = option_of(dhcp, Dhcp4Option::size_max); size && size->size() == 2)
    question.size_max = std::max<size_t>(question.size_max, be16(*size, 0));
  if (const auto vendor = option_of(dhcp, Dhcp4Option::vendor_class)) {
    question.pxe = text_of(*vendor).starts_with("PXEClient");
    question.http = text_of(*vendor).starts_with("HTTPClient");
  }
  if (const auto user = option_of(dhcp, Dhcp4Option::user_class)) question.ipxe = names_ipxe(*user);
  return question;
}

}  // namespace

tl::expected<Dhcp4Question, std::string> read_dhcp4(FrameView frame) {
  const auto payload = payload_of(frame);
  if (!payload) return wrong(payload.error());
  Dhcp4Question question;
  question.id = uint32_t{be16(*payload, 4)} << 16U | be16(*payload, 6);
  question.flags = be16(*payload, 10);
  question.client = address_at(*payload, 12);
  question.relayed = !address_at(*payload, 24).is_unspecified();
  std::copy_n(payload->begin() + 28, 6, question.mac.bytes.begin());
  const FrameView options = up_to_end(*payload);
  try {
    return read_options(Tins::DHCP(options.data(), static_cast<uint32_t>(options.size())), std::move(question));
  } catch (const std::exception&) {
    return wrong("its options do not fit");
  }
}

}  // namespace sepal::guest
