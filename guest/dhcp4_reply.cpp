// Dhcp4Reply → frame: DHCP, UDP, IPv4 and Ethernet by libtins, which fills in lengths and checksums.
#include "guest/dhcp4_reply.hpp"

#include <tins/dhcp.h>
#include <tins/ethernetII.h>
#include <tins/exceptions.h>
#include <tins/ip.h>
#include <tins/rawpdu.h>
#include <tins/udp.h>

#include <cstring>
#include <utility>

namespace sepal::guest {
namespace {

constexpr size_t kHeadersBytes = 20 + 8 + 240;  // IPv4, UDP, BOOTP with the magic cookie
constexpr size_t kBootpBytesMin = 300;          // RFC 951: some clients take nothing shorter
constexpr size_t kOptionBytesMax = 255;
constexpr uint8_t kTtl = 64;

Tins::IPv4Address tins(const IpAddr& address) {
  uint32_t value = 0;
  std::memcpy(&value, address.bytes.data(), sizeof value);
  return Tins::IPv4Address(value);  // takes it in network byte order
}

Tins::HWAddress<6> tins(const MacAddr& mac) { return Tins::HWAddress<6>(mac.bytes.data()); }

std::vector<uint8_t> dhcp_bytes(const Dhcp4Reply& reply) {
  Tins::DHCP dhcp;
  dhcp.opcode(Tins::BootP::BOOTREPLY);
  dhcp.htype(1);
  dhcp.hlen(6);
  dhcp.xid(reply.id);
  dhcp.padding(reply.flags);  // what libtins calls the flags
  dhcp.ciaddr(tins(reply.client));
  dhcp.yiaddr(tins(reply.yours));
  dhcp.siaddr(tins(reply.next));
  uint8_t hardware[16] = {};
  std::memcpy(hardware, reply.client_mac.bytes.data(), reply.client_mac.bytes.size());
  dhcp.chaddr(Tins::HWAddress<16>(hardware));
  uint8_t file[128] = {};
  std::memcpy(file, reply.file.data(), std::min(reply.file.size(), sizeof file - 1));
  dhcp.file(file);
  dhcp.type(static_cast<Tins::DHCP::Flags>(reply.type));
  for (const auto& [code, bytes] : reply.options)
    dhcp.add_option(Tins::DHCP::option(static_cast<uint8_t>(code), bytes.begin(), bytes.end()));
  dhcp.end();
  std::vector<uint8_t> bytes = dhcp.serialize();
  bytes.resize(std::max(bytes.size(), kBootpBytesMin));
  return bytes;
}

}  // namespace

std::vector<Dhcp4Option> cut_to_size(Dhcp4Reply& reply) {
  size_t room = reply.size_max - kHeadersBytes - 3 - 2;  // its type, its end (after which libtins writes a zero)
  decltype(reply.options) fitting;
  std::vector<Dhcp4Option> left_out;
  for (auto& [code, bytes] : reply.options) {
    if (bytes.size() > kOptionBytesMax || bytes.size() + 2 > room) {
      left_out.push_back(code);
      continue;
    }
    room -= bytes.size() + 2;
    fitting.emplace_back(code, std::move(bytes));
  }
  reply.options = std::move(fitting);
  return left_out;
}

std::optional<Frame> write_dhcp4(const Dhcp4Reply& reply) {
  try {
    Tins::IP ip(tins(reply.to.value_or(IpAddr::v4(255, 255, 255, 255))), tins(reply.server));
    ip.ttl(kTtl);
    const Tins::HWAddress<6> to = reply.to ? tins(reply.client_mac) : Tins::EthernetII::BROADCAST;
    Tins::EthernetII frame =
        Tins::EthernetII(to, tins(reply.server_mac)) / ip / Tins::UDP(68, 67) / Tins::RawPDU(dhcp_bytes(reply));
    return frame.serialize();
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace sepal::guest
