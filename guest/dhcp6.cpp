#include "guest/dhcp6.hpp"

#include <tins/udp.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/limits.hpp"
#include "guest/dhcp6_question.hpp"
#include "guest/domain.hpp"
#include "guest/packet6.hpp"

namespace sepal::guest {
namespace {

using Tins::DHCPv6;

constexpr uint8_t kUdp = 17;
constexpr uint16_t kClientPort = 546;
constexpr uint16_t kServerPort = 547;
constexpr size_t kUdpHeaderBytes = 8;
constexpr uint8_t kHopLimit = 64;
constexpr size_t kMessageBytesMax = limits::kMtuMinIpv6 - 40 - kUdpHeaderBytes;
// A client that sees it asks at once, without waiting for other servers (RFC 8415 section 18.2.1): there are none.
constexpr uint8_t kPreferenceMax = 255;
constexpr uint32_t kInfinity = 0xffffffff;
constexpr IpAddr kAllServers{Family::ipv6, {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2}};

// RFC 8415 section 21.13.
enum class Status : uint16_t { success = 0, no_addresses = 2, not_on_link = 4, no_prefix = 6 };

const char* name(Status status) {
  switch (status) {
    case Status::success: return "Success";
    case Status::no_addresses: return "NoAddrsAvail";
    case Status::not_on_link: return "NotOnLink";
    case Status::no_prefix: return "NoPrefixAvail";
  }
  return "";
}

// What a message must and must not carry (RFC 8415 section 16); one that breaks it is dropped.
struct Message {
  DHCPv6::MessageType type;
  const char* name;
  bool names_client;  // must
  enum { never, always, maybe } names_server;
  bool names_associations;  // may
};

constexpr Message kMessages[] = {
    {DHCPv6::SOLICIT, "solicit", true, Message::never, true},
    {DHCPv6::REQUEST, "request", true, Message::always, true},
    {DHCPv6::CONFIRM, "confirm", true, Message::never, true},
    {DHCPv6::RENEW, "renew", true, Message::always, true},
    {DHCPv6::REBIND, "rebind", true, Message::never, true},
    {DHCPv6::RELEASE, "release", true, Message::always, true},
    {DHCPv6::DECLINE, "decline", true, Message::always, true},
    {DHCPv6::INFO_REQUEST, "information-request", false, Message::maybe, false},
};

const Message* message_of(DHCPv6::MessageType type) {
  const auto* found = std::find_if(std::begin(kMessages), std::end(kMessages),
                                   [&](const Message& message) { return message.type == type; });
  return found == std::end(kMessages) ? nullptr : found;
}

// The same on every hypervisor, as the gateway's MAC is: a guest that moved renews as if it had not.
DHCPv6::duid_type server_duid(const Guest& guest) {
  constexpr uint16_t kEthernet = 1;
  const auto& mac = guest.gateway_mac.bytes;
  return DHCPv6::duid_type(DHCPv6::duid_ll(kEthernet, {mac.begin(), mac.end()}));
}

std::vector<uint8_t> bytes_of(const DHCPv6::duid_type& duid) {
  std::vector<uint8_t> bytes = {static_cast<uint8_t>(duid.id >> 8U), static_cast<uint8_t>(duid.id)};
  bytes.insert(bytes.end(), duid.data.begin(), duid.data.end());
  return bytes;
}

// Why a message is dropped; empty when it is not.
std::string fault_of(const Dhcp6Question& question, const Message& message, const Guest& guest) {
  if (message.names_client && question.client_id.empty()) return "without a client identifier";
  if (question.server_id.empty() && message.names_server == Message::always) return "without a server identifier";
  if (!question.server_id.empty()) {
    if (message.names_server == Message::never) return "with a server identifier";
    if (question.server_id != bytes_of(server_duid(guest))) return "for another server";
  }
  if (!message.names_associations && !question.associations.empty()) return "with identity associations";
  return {};
}

bool contains(const std::vector<IpAddr>& addresses, const IpAddr& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

// One answer, from the question to the message of libtins.
class Responder {
 public:
  Responder(const Dhcp6Question& question, const Guest& guest)
      : question_(question), guest_(guest), own_(addresses6(guest)) {
    message_.transaction_id(question.transaction);
    message_.server_id(server_duid(guest));
    if (!question.client_id.empty()) {
      message_.add_option(DHCPv6::option(DHCPv6::CLIENTID, question.client_id.begin(), question.client_id.end()));
    }
  }

  // In `said`, a few words about it. nullopt: the RFC wants silence.
  std::optional<DHCPv6> answer(std::string& said) {
    said = "reply";
    message_.msg_type(DHCPv6::REPLY);
    switch (question_.type) {
      case DHCPv6::SOLICIT: solicited(said); break;
      case DHCPv6::CONFIRM: return confirmed(said);
      case DHCPv6::RELEASE:  // nothing is kept that could be given back
      case DHCPv6::DECLINE: return status(Status::success, "", said);
      default: add_associations(said); break;  // of an information-request: none
    }
    add_configuration();
    return message_;
  }

 private:
  void solicited(std::string& said) {
    if (question_.rapid_commit) {
      message_.rapid_commit();
    } else {
      said = "advertise";
      message_.msg_type(DHCPv6::ADVERTISE);
      message_.preference(kPreferenceMax);
    }
    add_associations(said);
  }

  // On this link are the guest's own addresses alone: with others of the subnet nobody would hear it.
  std::optional<DHCPv6> confirmed(std::string& said) {
    bool any = false;
    bool all_own = true;
    for (const Association& association : question_.associations) {
      for (const IpAddr& address : association.addresses) {
        any = true;
        all_own = all_own && contains(own_, address);
      }
    }
    if (!any) {
      said = "without addresses";
      return std::nullopt;
    }
    return all_own ? status(Status::success, "", said) : status(Status::not_on_link, "not this port's", said);
  }

  DHCPv6 status(Status code, const char* text, std::string& said) {
    message_.status_code({static_cast<uint16_t>(code), text});
    said += std::string(", ") + name(code);
    return message_;
  }

  // The first IA_NA gets the addresses. A client with another is told that there are no more.
  void add_associations(std::string& said) {
    bool given = false;
    for (const Association& association : question_.associations) {
      const bool first = association.kind == DHCPv6::IA_NA && !std::exchange(given, true);
      const std::optional<Status> refused = refusal_of(association, first);
      DHCPv6 inside;
      if (refused) {
        inside.status_code({static_cast<uint16_t>(*refused), ""});
        said += std::string(", ") + name(*refused);
      } else {
        for (const IpAddr& address : own_) add_address(inside, address, guest_.lease_seconds);
      }
      if (question_.type == DHCPv6::RENEW || question_.type == DHCPv6::REBIND) take_back(inside, association);
      add_association(association, nested_bytes(std::move(inside)), refused ? 0 : guest_.lease_seconds);
    }
  }

  [[nodiscard]] std::optional<Status> refusal_of(const Association& association, bool first) const {
    if (association.kind == DHCPv6::IA_PD) return Status::no_prefix;
    if (!first || own_.empty()) return Status::no_addresses;
    if (question_.type == DHCPv6::REQUEST && elsewhere(association)) return Status::not_on_link;
    return std::nullopt;
  }

  void add_association(const Association& association, const std::vector<uint8_t>& inside, uint32_t lease) {
    if (association.kind == DHCPv6::IA_TA) return message_.ia_ta({association.id, inside});
    const auto part = [&](uint64_t eighths) {
      return lease == kInfinity ? kInfinity : static_cast<uint32_t>(lease * eighths / 8);
    };
    DHCPv6 made;  // IA_PD is laid out as IA_NA
    made.ia_na({association.id, part(4), part(7), inside});
    const DHCPv6::option& option = made.options().front();
    message_.add_option(DHCPv6::option(association.kind, option.data_ptr(), option.data_ptr() + option.data_size()));
  }

  static void add_address(DHCPv6& inside, const IpAddr& address, uint32_t lifetime) {
    inside.ia_address({Tins::IPv6Address(address.bytes.data()), lifetime, lifetime});
  }

  // What the client holds and must not use any longer.
  void take_back(DHCPv6& inside, const Association& association) {
    for (const IpAddr& address : association.addresses) {
      if (contains(own_, address) || taken_back_ == limits::kAddressesTakenBackMax) continue;
      add_address(inside, address, 0);
      ++taken_back_;
    }
  }

  [[nodiscard]] bool elsewhere(const Association& association) const {
    const std::vector<IpPrefix> subnets = subnets6(guest_);
    return std::any_of(association.addresses.begin(), association.addresses.end(), [&](const IpAddr& address) {
      return std::none_of(subnets.begin(), subnets.end(), [&](const IpPrefix& net) { return net.contains(address); });
    });
  }

  void add_configuration() {
    add_servers(DHCPv6::DNS_SERVERS, guest_.dns);
    if (auto domain = encode_domain(guest_.domain)) add_wanted(DHCPv6::DOMAIN_LIST, *domain);
    if (question_.wants(kOptionNtpServer)) add_time_servers();
    add_boot();
  }

  // iPXE, once loaded, asks again and must not be told to load itself. UEFI takes for an offer of HTTP boot what has
  // its vendor class in it (UEFI 2.10, section 24.7), whether it requests that option or not.
  void add_boot() {
    const Boot& boot = guest_.boot;
    const std::string& url = question_.ipxe && !boot.ipxe.empty() ? boot.ipxe : boot.url;
    if (url.empty()) return;
    add_wanted(kOptionBootfileUrl, {url.begin(), url.end()});
    add_fitting(DHCPv6::VENDOR_CLASS, question_.http_class);
  }

  void add_servers(uint16_t option, const std::vector<IpAddr>& servers) {
    std::vector<uint8_t> bytes;
    for (const IpAddr& server : servers6(servers)) bytes.insert(bytes.end(), server.bytes.begin(), server.bytes.end());
    add_wanted(option, bytes);
  }

  // RFC 5908 section 4: one option per server, and in it one suboption that says what it is.
  void add_time_servers() {
    constexpr uint16_t kServerAddress = 1;
    for (const IpAddr& server : servers6(guest_.ntp)) {
      DHCPv6 inside;
      inside.add_option(DHCPv6::option(kServerAddress, server.bytes.begin(), server.bytes.end()));
      add_wanted(kOptionNtpServer, nested_bytes(std::move(inside)));
    }
  }

  // What was asked for, is known and fits.
  void add_wanted(uint16_t option, const std::vector<uint8_t>& bytes) {
    if (question_.wants(option)) add_fitting(option, bytes);
  }

  void add_fitting(uint16_t option, const std::vector<uint8_t>& bytes) {
    constexpr size_t kOptionHeaderBytes = 4;
    if (bytes.empty()) return;
    if (message_.size() + kOptionHeaderBytes + bytes.size() > kMessageBytesMax) return;
    message_.add_option(DHCPv6::option(option, bytes.begin(), bytes.end()));
  }

  const Dhcp6Question& question_;
  const Guest& guest_;
  const std::vector<IpAddr> own_;
  DHCPv6 message_;
  size_t taken_back_ = 0;
};

Answer dropped(std::string what) { return {std::nullopt, std::move(what)}; }

// RFC 8200 section 8.1 wants a checksum. What a virtual machine sends in software may carry the pseudo-header's sum in
// its place, left for a NIC to complete; the frame never was on a wire, and says the same.
bool checksum_holds(const Packet6& packet) {
  const auto carried = static_cast<uint16_t>(packet.payload[6] << 8U | packet.payload[7]);
  return carried != 0 && (packet.sum == 0xffff || carried == packet.pseudo_sum);
}

std::string about(const Dhcp6Question& question, const Message& message) {
  std::string text = std::string("DHCPv6 ") + message.name;
  for (const Association& association : question.associations) {
    if (!association.addresses.empty()) return text + " of " + association.addresses.front().to_string();
  }
  return text;
}

Answer answer_message(const Packet6& packet, const Guest& guest) {
  auto question = read_dhcp6_question(packet.payload.subspan(kUdpHeaderBytes));
  if (!question) return dropped("malformed DHCPv6: " + question.error().message());
  const Message* message = message_of(question->type);
  if (message == nullptr) return dropped("DHCPv6 of a server");
  const std::string what = about(*question, *message) + ": ";
  if (std::string fault = fault_of(*question, *message, guest); !fault.empty()) return dropped(what + fault);
  std::string said;
  const std::optional<DHCPv6> answer = Responder(*question, guest).answer(said);
  if (!answer) return dropped(what + said);
  const Tins::UDP datagram = Tins::UDP(kClientPort, kServerPort) / *answer;
  return {seal_packet6(datagram, guest, {packet.source_mac, packet.source}, kHopLimit), what + said};
}

Answer answer_frame(FrameView frame, const Guest& guest) {
  const auto packet = open_packet6(frame, kUdp);
  if (!packet) return dropped("malformed DHCPv6: " + packet.error().message());
  if (packet->source_mac != guest.mac) return dropped("DHCPv6 from another MAC");
  if (!packet->source.is_link_local()) return dropped("DHCPv6 from an address that is not link-local");
  if (packet->destination != kAllServers) return dropped("DHCPv6 to another server");
  const Tins::UDP udp(packet->payload.data(), kUdpHeaderBytes);
  if (udp.dport() != kServerPort) return dropped("not DHCPv6: another port");
  if (udp.length() != packet->payload.size()) return dropped("malformed DHCPv6: UDP length");
  if (!checksum_holds(*packet)) return dropped("malformed DHCPv6: UDP checksum");
  return answer_message(*packet, guest);
}

}  // namespace

Answer answer_dhcp6(FrameView question, const Guest& guest) {
  if (!guest.dhcp) return dropped("DHCPv6: off");
  try {
    return answer_frame(question, guest);
  } catch (const std::exception& fault) {  // libtins says so what it cannot read
    return dropped(std::string("malformed DHCPv6: ") + fault.what());
  }
}

}  // namespace sepal::guest
