#include "guest/dhcp6_question.hpp"

#include <algorithm>
#include <string_view>

#include "base/limits.hpp"

namespace sepal::guest {
namespace {

using Tins::DHCPv6;

constexpr size_t kHeaderBytes = 4;

Unexpected malformed(std::string what) { return fail(Errc::protocol, std::move(what)); }

DHCPv6 nested_options(const std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> message(kHeaderBytes);
  message.insert(message.end(), bytes.begin(), bytes.end());
  return {message.data(), static_cast<uint32_t>(message.size())};
}

std::vector<IpAddr> addresses_in(const std::vector<uint8_t>& options) {
  std::vector<IpAddr> found;
  const DHCPv6 nested = nested_options(options);
  for (const DHCPv6::option& option : nested.options()) {
    if (option.option() != DHCPv6::IA_ADDR) continue;
    IpAddr& address = found.emplace_back(IpAddr{Family::ipv6, {}});
    option.to<DHCPv6::ia_address_type>().address.copy(address.bytes.begin());
  }
  return found;
}

Association association_in(const DHCPv6::option& option) {
  if (option.option() == DHCPv6::IA_TA) {
    const auto temporary = option.to<DHCPv6::ia_ta_type>();
    return {DHCPv6::IA_TA, temporary.id, addresses_in(temporary.options)};
  }
  const auto association = option.to<DHCPv6::ia_na_type>();  // IA_PD is laid out in the same way
  if (option.option() == DHCPv6::IA_PD) return {DHCPv6::IA_PD, association.id, {}};
  return {DHCPv6::IA_NA, association.id, addresses_in(association.options)};
}

// False when it is there twice, or of no length a DUID has.
bool take_duid(const DHCPv6::option& option, std::vector<uint8_t>& duid) {
  constexpr size_t kDuidBytesMin = 3;  // its type, and a byte
  if (!duid.empty() || option.data_size() < kDuidBytesMin || option.data_size() > limits::kDuidBytesMax) return false;
  duid.assign(option.data_ptr(), option.data_ptr() + option.data_size());
  return true;
}

// Options 15 and 16 name classes, each after its length; whichever of them it is.
bool names_class(const DHCPv6::option& option, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(option.data_ptr()), option.data_size());
  return text.find(name) != std::string_view::npos;
}

}  // namespace

bool Dhcp6Question::wants(uint16_t option) const {
  return std::find(wanted.begin(), wanted.end(), option) != wanted.end();
}

Result<Dhcp6Question> read_dhcp6_question(FrameView message) {
  if (message.size() < kHeaderBytes) return malformed("shorter than its header");
  const uint8_t type = message[0];
  if (type == DHCPv6::RELAY_FORWARD || type == DHCPv6::RELAY_REPLY) return malformed("relayed");
  if (type < DHCPv6::SOLICIT || type > DHCPv6::INFO_REQUEST) return malformed("message type " + std::to_string(type));

  const DHCPv6 parsed(message.data(), static_cast<uint32_t>(message.size()));
  Dhcp6Question question{.type = parsed.msg_type(), .transaction = parsed.transaction_id()};
  for (const DHCPv6::option& option : parsed.options()) {
    switch (option.option()) {
      case DHCPv6::CLIENTID:
        if (!take_duid(option, question.client_id)) return malformed("client identifier");
        break;
      case DHCPv6::SERVERID:
        if (!take_duid(option, question.server_id)) return malformed("server identifier");
        break;
      case DHCPv6::IA_NA:
      case DHCPv6::IA_TA:
      case DHCPv6::IA_PD:
        if (question.associations.size() == limits::kAssociationsMax) return malformed("too many associations");
        question.associations.push_back(association_in(option));
        break;
      case DHCPv6::OPTION_REQUEST: {
        const auto wanted = option.to<DHCPv6::option_request_type>();
        question.wanted.insert(question.wanted.end(), wanted.begin(), wanted.end());
        break;
      }
      case DHCPv6::RAPID_COMMIT: question.rapid_commit = true; break;
      case DHCPv6::USER_CLASS: question.ipxe = question.ipxe || names_class(option, "iPXE"); break;
      case DHCPv6::VENDOR_CLASS:
        if (names_class(option, "HTTPClient"))
          question.http_class.assign(option.data_ptr(), option.data_ptr() + option.data_size());
        break;
      default: break;
    }
  }
  return question;
}

std::vector<uint8_t> nested_bytes(DHCPv6 options) {
  std::vector<uint8_t> bytes = options.serialize();
  bytes.erase(bytes.begin(), bytes.begin() + kHeaderBytes);
  return bytes;
}

}  // namespace sepal::guest
