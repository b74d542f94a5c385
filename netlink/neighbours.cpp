// One entry of the neighbour table: look it up, ask the kernel to resolve it. Governed by linux/neighbour.h and
// net/core/neighbour.c (neigh_get, neigh_add).
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "netlink/links.hpp"
#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

// NUD_VALID of include/net/neighbour.h: states in which the kernel itself would use the address.
constexpr unsigned kUsable = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;

ndmsg header_for(IfIndex device, const IpAddr& address) {
  ndmsg header{};
  header.ndm_family = address.is_v4() ? AF_INET : AF_INET6;
  header.ndm_ifindex = static_cast<int>(device.value());
  return header;
}

std::string describe(std::string_view verb, IfIndex device, const IpAddr& address) {
  return std::string(verb) + " neighbour " + address.to_string() + " on device " + std::to_string(device.value());
}

Result<Neighbour> decode_neighbour(BytesView message) {
  ndmsg header{};
  auto attributes = read_fixed_header(message, header);
  if (!attributes) return Unexpected(attributes.error());
  auto table = AttrTable::parse(*attributes, NDA_LLADDR);
  if (!table) return Unexpected(table.error());
  Neighbour neighbour;
  const Attr* mac = table->find(NDA_LLADDR);
  if (mac != nullptr && mac->payload.size() == neighbour.mac.bytes.size()) {
    std::copy(mac->payload.begin(), mac->payload.end(), neighbour.mac.bytes.begin());
    neighbour.usable = (header.ndm_state & kUsable) != 0;
  }
  return neighbour;
}

}  // namespace

Result<std::optional<Neighbour>> find_neighbour(Transport& route, IfIndex device, const IpAddr& address) {
  Bytes request;
  MessageBuilder message(request, RTM_GETNEIGH, NLM_F_REQUEST, header_for(device, address));
  message.put_bytes(NDA_DST, address.bytes.data(), address.size());
  if (auto built = message.finish(); !built) return Unexpected(built.error());

  std::optional<Neighbour> neighbour;
  auto got = route.get(std::move(request), [&neighbour](BytesView reply) -> Result<void> {
    auto decoded = decode_neighbour(reply);
    if (!decoded) return Unexpected(decoded.error());
    neighbour = *decoded;
    return {};
  });
  if (got) return neighbour;
  if (got.error().sys_errno == ENOENT) return std::nullopt;
  return Unexpected(while_doing(got.error(), describe("look up", device, address)));
}

Result<void> resolve_neighbour(Transport& route, IfIndex device, const IpAddr& address) {
  ndmsg header = header_for(device, address);
  header.ndm_flags = NTF_USE;
  Bytes request;
  MessageBuilder message(request, RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE, header);
  message.put_bytes(NDA_DST, address.bytes.data(), address.size());
  if (auto built = message.finish(); !built) return built;
  auto asked = transact_one(route, std::move(request));
  if (!asked) return Unexpected(while_doing(asked.error(), describe("resolve", device, address)));
  return {};
}

}  // namespace sepal::netlink
