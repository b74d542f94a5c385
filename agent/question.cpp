// See question.hpp. What the words leave out is filled in as an honest sender would have it: a port's own MAC and
// address, the gateway's MAC, a SYN, an echo request.
#include "agent/question.hpp"

#include <algorithm>
#include <charconv>

#include "tc/model/frame.hpp"

namespace sepal::agent {
namespace {

using tc::model::Packet;

constexpr uint16_t kSourcePort = 40000;

struct Entrance {
  IfIndex device;
  const config::Port* port = nullptr;
  enum class Kind : uint8_t { port, uplink, tunnel } kind = Kind::port;
};

Result<Entrance> find_entrance(const std::string& place, const config::Config& config, const Ground& ground) {
  if (place == "uplink") return Entrance{ground.facts.uplink, nullptr, Entrance::Kind::uplink};
  if (place == "tunnel") return Entrance{ground.facts.vxlan, nullptr, Entrance::Kind::tunnel};
  for (const config::Tenant& tenant : config.tenants) {
    for (const config::Port& port : tenant.ports) {
      const auto found = ground.facts.ports.find({tenant.name, port.name});
      const bool named = place == tenant.name + "/" + port.name;
      if (found == ground.facts.ports.end()) {
        if (named)
          return fail(Errc::not_found, "port " + place + " waits: its device is not there, so nothing comes in");
        continue;
      }
      const auto device = ground.devices.find(found->second);
      if (named || (device != ground.devices.end() && device->second == place))
        return Entrance{found->second, &port, Entrance::Kind::port};
    }
  }
  for (const auto& [index, name] : ground.devices) {
    if (name != place) continue;
    if (index == ground.facts.uplink) return Entrance{index, nullptr, Entrance::Kind::uplink};
    if (index == ground.facts.vxlan) return Entrance{index, nullptr, Entrance::Kind::tunnel};
    return fail(
        Errc::not_found,
        "device '" + place + "' is no port of a tenant, nor the uplink or the tunnel: sepal has no rules there");
  }
  return fail(Errc::not_found, "no port '" + place + "'; write TENANT/PORT, a port's device, uplink or tunnel");
}

std::optional<uint32_t> to_number(std::string_view text, uint32_t max) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number > max) return std::nullopt;
  return number;
}

struct Protocol {
  uint8_t v4 = 0;
  uint8_t v6 = 0;
  bool ports = false;
};

Result<Protocol> read_protocol(const std::string& text) {
  if (text == "tcp") return Protocol{tc::kProtoTcp, tc::kProtoTcp, true};
  if (text == "udp") return Protocol{tc::kProtoUdp, tc::kProtoUdp, true};
  if (text == "icmp" || text == "icmpv6") return Protocol{tc::kProtoIcmp, tc::kProtoIcmpv6, false};
  if (const auto number = to_number(text, 255))
    return Protocol{static_cast<uint8_t>(*number), static_cast<uint8_t>(*number), false};
  return fail(Errc::invalid_config, "'" + text + "' is no protocol; write tcp, udp, icmp or a number");
}

struct End {
  IpAddr address;
  std::optional<uint16_t> port;
};

// "10.0.0.1", "10.0.0.1:80", "fd00::1", "[fd00::1]:80"
Result<End> read_end(const std::string& text, bool with_port) {
  std::string address = text;
  std::string port;
  if (text.starts_with('[')) {
    const size_t bracket = text.find(']');
    if (bracket != std::string::npos) {
      address = text.substr(1, bracket - 1);
      if (bracket + 1 < text.size() && text[bracket + 1] == ':') port = text.substr(bracket + 2);
    }
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    address = text.substr(0, text.find(':'));
    port = text.substr(text.find(':') + 1);
  }
  const auto parsed = IpAddr::parse(address);
  if (!parsed) return fail(Errc::invalid_config, "'" + text + "' is no address; write 10.0.0.1:80 or [fd00::1]:80");
  End end{*parsed, std::nullopt};
  if (port.empty()) return end;
  const auto number = to_number(port, 0xffff);
  if (!number || !with_port)
    return fail(Errc::invalid_config,
                "'" + text + "': " + (with_port ? "a port is a number up to 65535" : "this protocol has no ports"));
  end.port = static_cast<uint16_t>(*number);
  return end;
}

Result<Packet> read_tuple(const std::vector<std::string>& words) {
  auto protocol = read_protocol(words[1]);
  if (!protocol) return Unexpected(protocol.error());
  auto source = read_end(words[2], protocol->ports);
  if (!source) return Unexpected(source.error());
  auto destination = read_end(words[3], protocol->ports);
  if (!destination) return Unexpected(destination.error());
  if (source->address.family != destination->address.family)
    return fail(Errc::invalid_config, words[2] + " and " + words[3] + " are of two families");
  if (protocol->ports && !destination->port)
    return fail(Errc::invalid_config, "'" + words[3] + "': " + words[1] + " needs a destination port");
  Packet packet;
  const bool v4 = source->address.is_v4();
  packet.eth_type = v4 ? tc::kEthIpv4 : tc::kEthIpv6;
  packet.src = source->address;
  packet.dst = destination->address;
  packet.protocol = v4 ? protocol->v4 : protocol->v6;
  if (protocol->ports) {
    packet.src_port = source->port.value_or(kSourcePort);
    packet.dst_port = *destination->port;
  }
  if (packet.protocol == tc::kProtoTcp) packet.tcp_flags = tc::model::kTcpSyn;
  if (packet.is_icmp()) {
    packet.icmp_type = v4 ? 8 : 128;
    packet.icmp_id = 1;
  }
  return packet;
}

Result<Packet> read_frame(const std::string& hex) {
  std::string digits;
  for (char c : hex)
    if (c != ':' && c != ' ') digits += c;
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    uint8_t byte = 0;
    const auto [end, error] = std::from_chars(digits.data() + i, digits.data() + i + 2, byte, 16);
    if (error != std::errc{} || end != digits.data() + i + 2) break;
    bytes.push_back(byte);
  }
  if (bytes.empty() || bytes.size() * 2 != digits.size())
    return fail(Errc::invalid_config, "--frame: write the frame's bytes in hex, beginning with the destination MAC");
  return tc::model::parse_frame(bytes);
}

void fill_in(Packet& packet, const Entrance& entrance, const config::Host& host, const Ground& ground) {
  switch (entrance.kind) {
    case Entrance::Kind::port:
      packet.src_mac = entrance.port->mac;
      packet.dst_mac = host.gateway_mac;
      break;
    case Entrance::Kind::uplink: packet.dst_mac = ground.facts.uplink_mac; break;
    case Entrance::Kind::tunnel:
      packet.src_mac = host.gateway_mac;
      packet.dst_mac = host.gateway_mac;
      break;
  }
}

}  // namespace

Result<Question> read_question(const std::vector<std::string>& words, const Options& options,
                               const config::Config& config, const Ground& ground) {
  const bool frame = options.has("--frame");
  if (words.size() != (frame ? 1U : 4U))
    return fail(Errc::invalid_config, frame
                                          ? "with --frame write only where it comes in: explain TENANT/PORT --frame HEX"
                                          : "write explain TENANT/PORT PROTOCOL SOURCE[:PORT] DESTINATION[:PORT]");
  auto entrance = find_entrance(words[0], config, ground);
  if (!entrance) return Unexpected(entrance.error());
  auto packet = frame ? read_frame(options.value("--frame", "")) : read_tuple(words);
  if (!packet) return Unexpected(packet.error());
  if (!frame) fill_in(*packet, *entrance, config.host, ground);
  for (const char* name : {"--ttl", "--vni", "--vlan"}) {
    const long low = name == std::string_view("--ttl") ? 0 : 1;
    auto number = options.number(name, low,
                                 name == std::string_view("--ttl")   ? 255
                                 : name == std::string_view("--vni") ? 0xffffff
                                                                     : 4094);
    if (!number) return Unexpected(number.error());
    if (!*number) continue;
    if (name == std::string_view("--ttl")) packet->ttl = static_cast<uint8_t>(**number);
    if (name == std::string_view("--vlan")) packet->tags = {{tc::kEthVlan, Vid(static_cast<uint16_t>(**number))}};
    if (name == std::string_view("--vni"))
      packet->received_in =
          tc::model::Tunnel{static_cast<uint32_t>(**number), IpAddr{config.host.underlay.address.family, {}},
                            config.host.underlay.address, config.host.vxlan.port};
  }
  if (entrance->kind == Entrance::Kind::tunnel && !packet->received_in)
    return fail(Errc::invalid_config, "a packet out of the tunnel has a VNI: add --vni N");
  return Question{entrance->device, std::move(*packet)};
}

}  // namespace sepal::agent
