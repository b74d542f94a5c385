// The fake kernel's verbs, devices and neighbours. Filters and qdiscs are in fake_filters.cpp.
#include "tests/support/fake_kernel.hpp"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netlink/message.hpp"

namespace sepal::test {

using netlink::Answer;
using netlink::Attr;
using netlink::AttrTable;
using netlink::Bytes;
using netlink::BytesView;
using netlink::Link;
using netlink::MessageBuilder;
using netlink::MessageSink;

namespace {

Bytes address_message(const netlink::Address& address) {
  ifaddrmsg header{};
  header.ifa_family = address.address.is_v4() ? AF_INET : AF_INET6;
  header.ifa_prefixlen = address.prefix_length;
  header.ifa_index = address.device.value();
  Bytes bytes;
  MessageBuilder message(bytes, RTM_NEWADDR, NLM_F_MULTI, header);
  message.put_bytes(IFA_ADDRESS, address.address.bytes.data(), address.address.size());
  message.put_u32(IFA_FLAGS, address.usable ? IFA_F_PERMANENT : IFA_F_PERMANENT | IFA_F_TENTATIVE);
  (void)message.finish();
  return bytes;
}

std::optional<std::pair<IfIndex, IpAddr>> neighbour_key(BytesView message) {
  ndmsg header{};
  auto attributes = netlink::read_fixed_header(message, header);
  if (!attributes) return std::nullopt;
  auto table = AttrTable::parse(*attributes, NDA_MAX);
  const Attr* destination = table ? table->find(NDA_DST) : nullptr;
  IpAddr address;
  address.family = header.ndm_family == AF_INET ? Family::ipv4 : Family::ipv6;
  if (destination == nullptr || destination->payload.size() != address.size()) return std::nullopt;
  std::copy(destination->payload.begin(), destination->payload.end(), address.bytes.begin());
  return std::pair{IfIndex(static_cast<uint32_t>(header.ndm_ifindex)), address};
}

Answer show_neighbour(const std::map<std::pair<IfIndex, IpAddr>, netlink::Neighbour>& neighbours, BytesView request,
                      const MessageSink& sink) {
  const auto key = neighbour_key(request);
  if (!key) return fail_errno(EINVAL, "", "Invalid network address");
  const auto found = neighbours.find(*key);
  if (found == neighbours.end()) return fail_errno(ENOENT, "", "Neighbour entry not found");
  ndmsg header{};
  header.ndm_family = key->second.is_v4() ? AF_INET : AF_INET6;
  header.ndm_ifindex = static_cast<int>(key->first.value());
  header.ndm_state = found->second.usable ? NUD_REACHABLE : NUD_INCOMPLETE;
  Bytes bytes;
  MessageBuilder message(bytes, RTM_NEWNEIGH, 0, header);
  message.put_bytes(NDA_DST, key->second.bytes.data(), key->second.size());
  if (found->second.usable) message.put_bytes(NDA_LLADDR, found->second.mac.bytes.data(), 6);
  (void)message.finish();
  return sink(bytes);
}

// IFLA_LINKINFO of a vxlan request, as far as a device shows it.
netlink::VxlanAttrs read_vxlan(const Attr& data) {
  netlink::VxlanAttrs vxlan{.port = 8472};  // the kernel's default
  (void)netlink::for_each_attr(data.payload, [&vxlan](const Attr& attr) -> Result<void> {
    switch (attr.type) {
      case IFLA_VXLAN_PORT: vxlan.port = attr.be16().value_or(0); break;
      case IFLA_VXLAN_COLLECT_METADATA: vxlan.collect_metadata = attr.u8().value_or(0) != 0; break;
      case IFLA_VXLAN_LEARNING: vxlan.learning = attr.u8().value_or(0) != 0; break;
      case IFLA_VXLAN_UDP_ZERO_CSUM6_TX: vxlan.zero_csum6_tx = attr.u8().value_or(0) != 0; break;
      case IFLA_VXLAN_UDP_ZERO_CSUM6_RX: vxlan.zero_csum6_rx = attr.u8().value_or(0) != 0; break;
      default: break;
    }
    return {};
  });
  return vxlan;
}

bool is_write(uint16_t type) { return (type & 3U) != 2; }

}  // namespace

Bytes link_message(const Link& link) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(link.index.value());
  header.ifi_flags = static_cast<unsigned>((link.up ? IFF_UP : 0) | (link.running ? IFF_RUNNING : 0));
  Bytes bytes;
  MessageBuilder message(bytes, RTM_NEWLINK, NLM_F_MULTI, header);
  message.put_string(IFLA_IFNAME, link.name);
  message.put_u32(IFLA_MTU, link.mtu);
  message.put_bytes(IFLA_ADDRESS, link.mac.bytes.data(), link.mac.bytes.size());
  if (link.lower.value() != 0) message.put_u32(IFLA_LINK, link.lower.value());
  if (link.master.value() != 0) message.put_u32(IFLA_MASTER, link.master.value());
  if (!link.alias.empty()) message.put_string(IFLA_IFALIAS, link.alias);
  if (!link.phys_port_name.empty()) message.put_string(IFLA_PHYS_PORT_NAME, link.phys_port_name);
  if (!link.phys_switch_id.empty()) {
    message.put_bytes(IFLA_PHYS_SWITCH_ID, link.phys_switch_id.data(), link.phys_switch_id.size());
  }
  if (!link.kind.empty()) {
    auto info = message.nest(IFLA_LINKINFO);
    message.put_string(IFLA_INFO_KIND, link.kind);
    auto data = message.nest(IFLA_INFO_DATA);
    if (link.vlan) {
      message.put_u16(IFLA_VLAN_ID, link.vlan->value());
      message.put_be16(IFLA_VLAN_PROTOCOL, 0x8100);
    }
    if (link.vxlan) {
      message.put_be16(IFLA_VXLAN_PORT, link.vxlan->port);
      message.put_u8(IFLA_VXLAN_COLLECT_METADATA, link.vxlan->collect_metadata ? 1 : 0);
      message.put_u8(IFLA_VXLAN_LEARNING, link.vxlan->learning ? 1 : 0);
      message.put_u8(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, link.vxlan->zero_csum6_tx ? 1 : 0);
      message.put_u8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, link.vxlan->zero_csum6_rx ? 1 : 0);
    }
  }
  (void)message.finish();
  return bytes;
}

IfIndex FakeKernel::add_link(const std::string& name, const std::string& kind) {
  Link link;
  link.index = IfIndex(links.empty() ? 1 : links.rbegin()->first.value() + 1);
  link.name = name;
  link.kind = kind;
  link.mac = MacAddr{{0x02, 0, 0, 0, 0x10, static_cast<uint8_t>(link.index.value())}};
  link.mtu = 1500;
  link.up = true;
  link.running = true;
  links[link.index] = link;
  return link.index;
}

Result<void> FakeKernel::transact(Bytes& requests, const std::function<void(size_t, const Answer&)>& answered) {
  size_t index = 0;
  return netlink::for_each_message(requests, [&](const nlmsghdr& header, BytesView message) -> Result<void> {
    Answer answer;
    if (is_write(header.nlmsg_type)) {
      if (break_at_write != 0 && written.size() + 1 >= break_at_write) {
        break_at_write = 0;
        return Unexpected(Error{Errc::resync, ENOBUFS, "the kernel dropped netlink messages for us", {}});
      }
      answer = write(message);
    } else {
      answer = get(Bytes(message.begin(), message.end()), [](BytesView) -> Result<void> { return {}; });
    }
    answered(index++, answer);
    return {};
  });
}

Answer FakeKernel::write(BytesView message) {
  if (before_each_write) before_each_write();
  written.emplace_back(message.begin(), message.end());
  words_.clear();
  if (const auto planned = refuse_write.find(written.size()); planned != refuse_write.end()) {
    return fail_errno(planned->second.error, "", planned->second.ext_ack);
  }
  if (refuse) {
    if (const auto refusal = refuse(message)) return fail_errno(refusal->error, "", refusal->ext_ack);
  }
  auto header = netlink::read_nlmsghdr(message);
  if (!header) return fail_errno(EINVAL, "");
  return handle(header->nlmsg_type, header->nlmsg_flags, message);
}

Answer FakeKernel::handle(uint16_t type, uint16_t flags, BytesView message) {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_SETLINK: return new_link(flags, message);
    case RTM_DELLINK: return delete_link(message);
    case RTM_NEWNEIGH: return use_neighbour(message);
    case RTM_NEWQDISC: return new_qdisc(flags, message);
    case RTM_DELQDISC: return delete_qdisc(message);
    case RTM_NEWTFILTER: return new_filter(flags, message);
    case RTM_DELTFILTER: return delete_filter(message);
    case RTM_NEWACTION: return new_action(flags, message);
    case RTM_DELACTION: return delete_action(message);
    default: return fail_errno(EOPNOTSUPP, "");
  }
}

Result<void> FakeKernel::dump(Bytes request, const MessageSink& sink) {
  ++dumps;
  if (interrupt_dumps > 0) {
    --interrupt_dumps;
    return fail(Errc::resync, "the kernel's tables changed while they were read");
  }
  auto header = netlink::read_nlmsghdr(request);
  if (!header) return Unexpected(header.error());
  switch (header->nlmsg_type) {
    case RTM_GETLINK:
      for (const auto& [index, link] : links) {
        if (auto shown = sink(link_message(link)); !shown) return shown;
      }
      return {};
    case RTM_GETADDR:
      for (const netlink::Address& address : addresses) {
        if (auto shown = sink(address_message(address)); !shown) return shown;
      }
      return {};
    case RTM_GETQDISC:
      for (const IfIndex device : clsact) {
        tcmsg qdisc{};
        qdisc.tcm_ifindex = static_cast<int>(device.value());
        qdisc.tcm_handle = 0xffff0000;
        qdisc.tcm_parent = TC_H_CLSACT;
        Bytes bytes;
        MessageBuilder message(bytes, RTM_NEWQDISC, NLM_F_MULTI, qdisc);
        message.put_string(TCA_KIND, "clsact");
        (void)message.finish();
        if (auto shown = sink(bytes); !shown) return shown;
      }
      return {};
    case RTM_GETTFILTER: return dump_filters(request, sink);
    case RTM_GETACTION: return dump_actions(request, sink);
    default: return fail_errno(EOPNOTSUPP, "dump");
  }
}

Result<void> FakeKernel::get(Bytes request, const MessageSink& sink) {
  auto header = netlink::read_nlmsghdr(request);
  if (!header) return Unexpected(header.error());
  switch (header->nlmsg_type) {
    case RTM_GETLINK: {
      const Link* link = find_link(request);
      if (link == nullptr) return fail_errno(ENODEV, "");
      return sink(link_message(*link));
    }
    case RTM_GETNEIGH: return show_neighbour(neighbours, request, sink);
    case RTM_GETROUTE: return show_route(request, sink);
    case RTM_GETTFILTER: return get_filter(request, sink);
    case RTM_NEWTFILTER: {  // with NLM_F_ECHO: done, then shown
      if (auto done = write(request); !done) return done;
      return (header->nlmsg_flags & NLM_F_ECHO) != 0 ? get_filter(request, sink) : Result<void>{};
    }
    default: return fail_errno(EOPNOTSUPP, "");
  }
}

Result<std::string> FakeKernel::remark(Bytes request) {
  if (auto done = write(request); !done) return Unexpected(done.error());
  return words_;
}

// As net/ipv4/route.c and net/ipv6/route.c answer: one family says by errno that there is no way, the other by type.
Answer FakeKernel::show_route(BytesView message, const MessageSink& sink) {
  ++route_lookups;
  rtmsg header{};
  auto attributes = netlink::read_fixed_header(message, header);
  auto table = attributes ? AttrTable::parse(*attributes, RTA_MAX) : Unexpected(attributes.error());
  const Attr* destination = table ? table->find(RTA_DST) : nullptr;
  IpAddr to;
  to.family = header.rtm_family == AF_INET ? Family::ipv4 : Family::ipv6;
  if (destination == nullptr || destination->payload.size() != to.size() || header.rtm_dst_len != to.bits())
    return fail_errno(EINVAL, "", "ipv4: rtm_src_len and rtm_dst_len must be 32 for IPv4");
  std::copy(destination->payload.begin(), destination->payload.end(), to.bytes.begin());
  netlink::RouteAnswer answer;
  if (const auto named = routes.find(to); named != routes.end()) {
    answer = named->second;
  } else {
    for (const auto& [index, link] : links)
      if (link.name == "uplink") answer = {index, to, 0, {}};
  }
  if (answer.device == IfIndex() && to.is_v4()) return fail_errno(ENETUNREACH, "");
  rtmsg reply{};
  reply.rtm_family = header.rtm_family;
  reply.rtm_type = answer.device == IfIndex() ? RTN_UNREACHABLE : RTN_UNICAST;
  Bytes bytes;
  MessageBuilder built(bytes, RTM_NEWROUTE, 0, reply);
  built.put_bytes(RTA_DST, to.bytes.data(), to.size());
  built.put_u32(RTA_OIF, answer.device.value());
  if (answer.next_hop != to && answer.next_hop.family == to.family) {
    built.put_bytes(RTA_GATEWAY, answer.next_hop.bytes.data(), to.size());
  } else if (answer.next_hop.family != to.family) {
    Bytes via(2 + answer.next_hop.size());
    const uint16_t family = answer.next_hop.is_v4() ? AF_INET : AF_INET6;
    std::memcpy(via.data(), &family, sizeof family);
    std::copy_n(answer.next_hop.bytes.begin(), answer.next_hop.size(), via.begin() + 2);
    built.put_bytes(RTA_VIA, via.data(), via.size());
  }
  if (answer.mtu != 0) {
    auto metrics = built.nest(RTA_METRICS);
    built.put_u32(RTAX_MTU, answer.mtu);
  }
  (void)built.finish();
  return sink(bytes);
}

Link* FakeKernel::find_link(BytesView message) {
  ifinfomsg header{};
  auto attributes = netlink::read_fixed_header(message, header);
  if (!attributes) return nullptr;
  auto table = AttrTable::parse(*attributes, IFLA_MAX);
  const Attr* name = table ? table->find(IFLA_IFNAME) : nullptr;
  for (auto& [index, link] : links) {
    if (header.ifi_index != 0 ? index.value() == static_cast<uint32_t>(header.ifi_index)
                              : name != nullptr && link.name == name->string()) {
      return &link;
    }
  }
  return nullptr;
}

Answer FakeKernel::new_link(uint16_t flags, BytesView message) {
  ifinfomsg header{};
  auto attributes = netlink::read_fixed_header(message, header);
  if (!attributes) return fail_errno(EINVAL, "");
  auto table = AttrTable::parse(*attributes, IFLA_MAX);
  if (!table) return fail_errno(EINVAL, "");
  Link* link = find_link(message);
  const bool creating = link == nullptr;
  if (creating && (flags & NLM_F_CREATE) == 0) return fail_errno(ENODEV, "");
  if (!creating && (flags & NLM_F_EXCL) != 0) return fail_errno(EEXIST, "");
  if (creating) {
    const Attr* name = table->find(IFLA_IFNAME);
    const Attr* info = table->find(IFLA_LINKINFO);
    auto infos = AttrTable::parse(info == nullptr ? BytesView{} : info->payload, IFLA_INFO_MAX);
    if (name == nullptr || !infos || infos->find(IFLA_INFO_KIND) == nullptr)
      return fail_errno(EOPNOTSUPP, "", "Unknown device type");
    link = &links[add_link(std::string(name->string()), std::string(infos->find(IFLA_INFO_KIND)->string()))];
    link->up = false;
    link->running = false;
    const Attr* data = infos->find(IFLA_INFO_DATA);
    if (link->kind == "vxlan" && data != nullptr) link->vxlan = read_vxlan(*data);
  }
  if (const Attr* mtu = table->find(IFLA_MTU)) link->mtu = mtu->u32().value_or(0);
  // As rtnl_newlink() has it: an alias is taken only for a device that is there.
  if (const Attr* alias = table->find(IFLA_IFALIAS); alias != nullptr && !creating) link->alias = alias->string();
  if ((header.ifi_change & IFF_UP) != 0) link->up = link->running = (header.ifi_flags & IFF_UP) != 0;
  return {};
}

Answer FakeKernel::delete_link(BytesView message) {
  const Link* link = find_link(message);
  if (link == nullptr) return fail_errno(ENODEV, "");
  const IfIndex device = link->index;
  forget_device(device);
  links.erase(device);
  return {};
}

Answer FakeKernel::use_neighbour(BytesView message) {
  const auto key = neighbour_key(message);
  if (!key) return fail_errno(EINVAL, "", "Network address not specified");
  if (!links.contains(key->first)) return fail_errno(ENODEV, "");
  neighbours.emplace(*key, netlink::Neighbour{});  // an entry being resolved; one that is there stays as it is
  return {};
}

}  // namespace sepal::test
