// Governed by rtnetlink(7), net/ipv4/route.c (inet_rtm_getroute) and net/ipv6/route.c (inet6_rtm_getroute): IPv4
// answers "there is no way" with an errno, IPv6 with a route of another type.
#include "netlink/routes.hpp"

#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

std::optional<IpAddr> address_from(Family family, BytesView bytes) {
  IpAddr address;
  address.family = family;
  if (bytes.size() != address.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
  return address;
}

// RTA_GATEWAY, or RTA_VIA { rtvia_family, address } where an IPv4 route has an IPv6 next hop.
std::optional<IpAddr> gateway_of(const AttrTable& table, Family family) {
  if (const Attr* gateway = table.find(RTA_GATEWAY)) return address_from(family, gateway->payload);
  const Attr* via = table.find(RTA_VIA);
  constexpr size_t kFamilyBytes = sizeof(uint16_t);
  if (via == nullptr || via->payload.size() < kFamilyBytes) return std::nullopt;
  const auto other = via->u16();
  const BytesView rest = via->payload.subspan(kFamilyBytes);
  const bool v4 = other ? *other == AF_INET : rest.size() == 4;
  return address_from(v4 ? Family::ipv4 : Family::ipv6, rest);
}

std::string obstacle_of(uint8_t type) {
  switch (type) {
    case RTN_UNREACHABLE: return "no route";
    case RTN_BLACKHOLE: return "a blackhole route";
    case RTN_PROHIBIT: return "a prohibiting route";
    case RTN_LOCAL: return "an address of this host";
    case RTN_BROADCAST:
    case RTN_MULTICAST:
    case RTN_ANYCAST: return "no single host's address";
    default: return "no route to a single host";
  }
}

// Empty: the question itself failed.
std::string obstacle_of_errno(int error, const RouteQuestion& question) {
  switch (error) {
    case ENETUNREACH:
    case EHOSTUNREACH: return "no route";
    case EACCES: return "a prohibiting route";
    // The kernel has one word for both.
    case EINVAL: return question.source.to_string() + " is no address of this host, or a blackhole route";
    default: return {};
  }
}

Result<RouteAnswer> decode_route(BytesView message, const RouteQuestion& question) {
  rtmsg header{};
  auto attributes = read_fixed_header(message, header);
  if (!attributes) return Unexpected(attributes.error());
  RouteAnswer answer;
  if (header.rtm_type != RTN_UNICAST) {
    answer.obstacle = obstacle_of(header.rtm_type);
    return answer;
  }
  auto table = AttrTable::parse(*attributes, RTA_MAX);
  if (!table) return Unexpected(table.error());
  const Attr* device = table->find(RTA_OIF);
  answer.device = IfIndex(device == nullptr ? 0 : device->u32().value_or(0));
  if (answer.device == IfIndex()) return fail(Errc::protocol, "the kernel's route names no device");
  answer.next_hop = gateway_of(*table, question.destination.family).value_or(question.destination);
  if (const Attr* metrics = table->find(RTA_METRICS)) {
    auto inside = AttrTable::parse(metrics->payload, RTAX_MAX);
    if (!inside) return Unexpected(inside.error());
    if (const Attr* mtu = inside->find(RTAX_MTU)) answer.mtu = mtu->u32().value_or(0);
  }
  return answer;
}

}  // namespace

Result<RouteAnswer> find_route(Transport& route, const RouteQuestion& question) {
  rtmsg header{};
  header.rtm_family = question.destination.is_v4() ? AF_INET : AF_INET6;
  header.rtm_dst_len = header.rtm_src_len = static_cast<uint8_t>(question.destination.bits());
  Bytes request;
  MessageBuilder message(request, RTM_GETROUTE, NLM_F_REQUEST, header);
  message.put_bytes(RTA_DST, question.destination.bytes.data(), question.destination.size());
  message.put_bytes(RTA_SRC, question.source.bytes.data(), question.source.size());
  message.put_u8(RTA_IP_PROTO, IPPROTO_UDP);
  message.put_u32(RTA_UID, 0);  // a tunnel's packets are the kernel's, whoever asks here
  if (auto built = message.finish(); !built) return Unexpected(built.error());

  std::optional<RouteAnswer> answer;
  auto got = route.get(std::move(request), [&](BytesView reply) -> Result<void> {
    auto decoded = decode_route(reply, question);
    if (!decoded) return Unexpected(decoded.error());
    answer = std::move(*decoded);
    return {};
  });
  const std::string doing = "look up the route to " + question.destination.to_string();
  if (!got) {
    std::string obstacle = obstacle_of_errno(got.error().sys_errno, question);
    if (obstacle.empty()) return Unexpected(while_doing(got.error(), doing));
    return RouteAnswer{.obstacle = std::move(obstacle)};
  }
  if (!answer) return fail(Errc::protocol, doing + ": acknowledged without a reply");
  return std::move(*answer);
}

}  // namespace sepal::netlink
