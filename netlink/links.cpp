// Listing devices, addresses and clsact qdiscs; setting a device up. Our vxlan device is vxlan.cpp's, neighbours are
// neighbours.cpp's. Governed by rtnetlink(7), if_link.h, if_addr.h, pkt_sched.h. Read directly and not through
// libnl-route: that of Debian 12 (3.7) writes the vxlan port as 32 bits where the kernel's policy has 16, and a second
// codec beside netlink/message would have to be trusted with the kernel's bytes.
#include "netlink/links.hpp"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

std::string text_of(const AttrTable& table, uint16_t type) {
  const Attr* attr = table.find(type);
  return attr == nullptr ? std::string{} : std::string(attr->string());
}

uint32_t number_of(const AttrTable& table, uint16_t type) {
  const Attr* attr = table.find(type);
  return attr == nullptr ? 0 : attr->u32().value_or(0);
}

MacAddr mac_of(const AttrTable& table) {
  MacAddr mac;
  const Attr* attr = table.find(IFLA_ADDRESS);
  if (attr != nullptr && attr->payload.size() == mac.bytes.size()) {
    std::copy(attr->payload.begin(), attr->payload.end(), mac.bytes.begin());
  }
  return mac;
}

std::optional<Vid> vlan_of(const AttrTable& data) {
  const Attr* protocol = data.find(IFLA_VLAN_PROTOCOL);
  const Attr* id = data.find(IFLA_VLAN_ID);
  if (id == nullptr || protocol == nullptr || protocol->be16() != ETH_P_8021Q) return std::nullopt;
  const auto vid = id->u16();
  return vid ? std::optional(Vid(*vid)) : std::nullopt;
}

VxlanAttrs vxlan_of(const AttrTable& data) {
  auto is_set = [&data](uint16_t type) {
    const Attr* attr = data.find(type);
    return attr != nullptr && attr->u8().value_or(0) != 0;
  };
  const Attr* port = data.find(IFLA_VXLAN_PORT);
  return {.port = port == nullptr ? uint16_t{0} : port->be16().value_or(0),
          .collect_metadata = is_set(IFLA_VXLAN_COLLECT_METADATA),
          .learning = is_set(IFLA_VXLAN_LEARNING),
          .zero_csum6_tx = is_set(IFLA_VXLAN_UDP_ZERO_CSUM6_TX),
          .zero_csum6_rx = is_set(IFLA_VXLAN_UDP_ZERO_CSUM6_RX)};
}

Result<AttrTable> parse_nest(const AttrTable& parent, uint16_t type, uint16_t max) {
  const Attr* nest = parent.find(type);
  return AttrTable::parse(nest == nullptr ? BytesView{} : nest->payload, max);
}

// RTM_NEWLINK { IFLA_…, IFLA_LINKINFO { IFLA_INFO_KIND, IFLA_INFO_DATA { by kind } } }
Result<Link> decode_link(BytesView message) {
  ifinfomsg header{};
  auto attributes = read_fixed_header(message, header);
  if (!attributes) return Unexpected(attributes.error());
  auto table = AttrTable::parse(*attributes, IFLA_MAX);
  if (!table) return Unexpected(table.error());
  auto info = parse_nest(*table, IFLA_LINKINFO, IFLA_INFO_MAX);
  if (!info) return Unexpected(info.error());

  Link link;
  link.index = IfIndex(static_cast<uint32_t>(header.ifi_index));
  link.name = text_of(*table, IFLA_IFNAME);
  link.mac = mac_of(*table);
  link.mtu = number_of(*table, IFLA_MTU);
  link.up = (header.ifi_flags & IFF_UP) != 0;
  link.running = (header.ifi_flags & IFF_RUNNING) != 0;
  link.kind = text_of(*info, IFLA_INFO_KIND);
  link.master = IfIndex(number_of(*table, IFLA_MASTER));
  link.lower = IfIndex(number_of(*table, IFLA_LINK));
  link.alias = text_of(*table, IFLA_IFALIAS);
  link.phys_port_name = text_of(*table, IFLA_PHYS_PORT_NAME);
  if (const Attr* id = table->find(IFLA_PHYS_SWITCH_ID)) {
    link.phys_switch_id.assign(id->payload.begin(), id->payload.end());
  }
  if (link.kind == "vlan") {
    auto data = parse_nest(*info, IFLA_INFO_DATA, IFLA_VLAN_MAX);
    if (!data) return Unexpected(data.error());
    link.vlan = vlan_of(*data);
  } else if (link.kind == "vxlan") {
    auto data = parse_nest(*info, IFLA_INFO_DATA, IFLA_VXLAN_MAX);
    if (!data) return Unexpected(data.error());
    link.vxlan = vxlan_of(*data);
  }
  return link;
}

bool is_type(BytesView message, uint16_t type) {
  auto header = read_nlmsghdr(message);
  return header && header->nlmsg_type == type;
}

// The kernel's counters would be half of every message.
void put_without_statistics(MessageBuilder& message) { message.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS); }

std::optional<IpAddr> read_address(uint8_t family, const Attr* attr) {
  IpAddr address;
  address.family = family == AF_INET ? Family::ipv4 : Family::ipv6;
  if (attr == nullptr || attr->payload.size() != address.size()) return std::nullopt;
  std::copy(attr->payload.begin(), attr->payload.end(), address.bytes.begin());
  return address;
}

// RTM_NEWADDR. nullopt: of another family, or without an address.
Result<std::optional<Address>> decode_address(BytesView message) {
  ifaddrmsg header{};
  auto attributes = read_fixed_header(message, header);
  if (!attributes) return Unexpected(attributes.error());
  if (header.ifa_family != AF_INET && header.ifa_family != AF_INET6) return std::nullopt;
  auto table = AttrTable::parse(*attributes, IFA_FLAGS);
  if (!table) return Unexpected(table.error());
  // On a point-to-point device IFA_ADDRESS is the peer's; our own is IFA_LOCAL wherever there is one.
  const Attr* own = table->find(IFA_LOCAL) != nullptr ? table->find(IFA_LOCAL) : table->find(IFA_ADDRESS);
  const auto address = read_address(header.ifa_family, own);
  if (!address) return std::nullopt;
  uint32_t flags = header.ifa_flags;
  if (const Attr* wide = table->find(IFA_FLAGS); wide != nullptr) flags = wide->u32().value_or(flags);
  return Address{IfIndex(header.ifa_index), *address, header.ifa_prefixlen,
                 (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0};
}

}  // namespace

Result<std::vector<Link>> list_links(Transport& route) {
  Bytes request;
  MessageBuilder message(request, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, ifinfomsg{});
  put_without_statistics(message);
  if (auto built = message.finish(); !built) return Unexpected(built.error());

  std::vector<Link> links;
  auto listed = dump_whole(
      route, request, [&links] { links.clear(); },
      [&links](BytesView reply) -> Result<void> {
        if (!is_type(reply, RTM_NEWLINK)) return {};
        auto link = decode_link(reply);
        if (!link) return Unexpected(link.error());
        links.push_back(std::move(*link));
        return {};
      });
  if (!listed) return Unexpected(while_doing(listed.error(), "list devices"));
  std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) { return a.index < b.index; });
  return links;
}

namespace {

Result<Link> get_one_link(Transport& route, Bytes request, const std::string& doing) {
  std::optional<Link> link;
  auto got = route.get(std::move(request), [&link](BytesView reply) -> Result<void> {
    if (!is_type(reply, RTM_NEWLINK)) return {};
    auto decoded = decode_link(reply);
    if (!decoded) return Unexpected(decoded.error());
    link = std::move(*decoded);
    return {};
  });
  if (!got) return Unexpected(while_doing(got.error(), doing));
  if (!link) return fail(Errc::protocol, doing + ": acknowledged without a reply");
  return std::move(*link);
}

}  // namespace

Result<Link> get_link(Transport& route, std::string_view name) {
  Bytes request;
  MessageBuilder message(request, RTM_GETLINK, NLM_F_REQUEST, ifinfomsg{});
  message.put_string(IFLA_IFNAME, name);
  put_without_statistics(message);
  if (auto built = message.finish(); !built) return Unexpected(built.error());
  return get_one_link(route, std::move(request), "look at device " + std::string(name));
}

Result<Link> get_link(Transport& route, IfIndex device) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(device.value());
  Bytes request;
  MessageBuilder message(request, RTM_GETLINK, NLM_F_REQUEST, header);
  put_without_statistics(message);
  if (auto built = message.finish(); !built) return Unexpected(built.error());
  return get_one_link(route, std::move(request), "look at device " + std::to_string(device.value()));
}

Result<std::vector<Address>> list_addresses(Transport& route) {
  Bytes request;
  MessageBuilder message(request, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, ifaddrmsg{});
  if (auto built = message.finish(); !built) return Unexpected(built.error());

  std::vector<Address> addresses;
  auto listed = dump_whole(
      route, request, [&addresses] { addresses.clear(); },
      [&addresses](BytesView reply) -> Result<void> {
        if (!is_type(reply, RTM_NEWADDR)) return {};
        auto address = decode_address(reply);
        if (!address) return Unexpected(address.error());
        if (*address) addresses.push_back(**address);
        return {};
      });
  if (!listed) return Unexpected(while_doing(listed.error(), "list addresses"));
  return addresses;
}

namespace {

Result<void> set_link(Transport& route, IfIndex device, bool up) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(device.value());
  header.ifi_flags = up ? IFF_UP : 0;
  header.ifi_change = IFF_UP;
  Bytes request;
  MessageBuilder message(request, RTM_NEWLINK, NLM_F_REQUEST, header);
  if (auto built = message.finish(); !built) return built;
  auto set = transact_one(route, std::move(request));
  if (!set) {
    return Unexpected(
        while_doing(set.error(), "set device " + std::to_string(device.value()) + (up ? " up" : " down")));
  }
  return {};
}

}  // namespace

Result<void> set_link_up(Transport& route, IfIndex device) { return set_link(route, device, true); }
Result<void> set_link_down(Transport& route, IfIndex device) { return set_link(route, device, false); }

Result<std::set<IfIndex>> list_clsact(Transport& route) {
  Bytes request;
  MessageBuilder message(request, RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, tcmsg{});
  if (auto built = message.finish(); !built) return Unexpected(built.error());

  std::set<IfIndex> devices;
  auto listed = dump_whole(
      route, request, [&devices] { devices.clear(); },
      [&devices](BytesView reply) -> Result<void> {
        if (!is_type(reply, RTM_NEWQDISC)) return {};
        tcmsg header{};
        auto attributes = read_fixed_header(reply, header);
        if (!attributes) return Unexpected(attributes.error());
        auto table = AttrTable::parse(*attributes, TCA_KIND);
        if (!table) return Unexpected(table.error());
        const Attr* kind = table->find(TCA_KIND);
        if (kind != nullptr && kind->string() == "clsact") {
          devices.insert(IfIndex(static_cast<uint32_t>(header.tcm_ifindex)));
        }
        return {};
      });
  if (!listed) return Unexpected(while_doing(listed.error(), "list qdiscs"));
  return devices;
}

}  // namespace sepal::netlink
