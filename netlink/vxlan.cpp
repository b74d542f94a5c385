// The one vxlan device of an instance: judged, made, finished, deleted. The kernel's order of things shapes it:
// rtnl_newlink() ignores IFLA_IFALIAS when it creates a device (only do_setlink() knows it), so our mark comes with a
// second message, together with "up". A crash between the two leaves a device without alias, down, and otherwise
// exactly as we make it: that one is taken for ours and finished. Governed by if_link.h and drivers/net/vxlan.
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>

#include "netlink/links.hpp"
#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

std::string alias_of(std::string_view instance) { return "sepal:" + std::string(instance); }

VxlanAttrs wanted_attrs(const VxlanWanted& wanted) {
  return {
      .port = wanted.port, .collect_metadata = true, .learning = false, .zero_csum6_tx = true, .zero_csum6_rx = true};
}

// "UDP port 8472 instead of 4789, learning": empty when all is as wanted.
std::string differences(const VxlanAttrs& is, const VxlanAttrs& wanted) {
  std::string text;
  auto add = [&text](std::string_view what) {
    if (!text.empty()) text += ", ";
    text += what;
  };
  if (is.port != wanted.port) {
    add("UDP port " + std::to_string(is.port) + " instead of " + std::to_string(wanted.port));
  }
  if (is.collect_metadata != wanted.collect_metadata) add("a VNI of its own instead of external tunnel keys");
  if (is.learning != wanted.learning) add("address learning switched on");
  if (is.zero_csum6_tx != wanted.zero_csum6_tx || is.zero_csum6_rx != wanted.zero_csum6_rx) {
    add("UDP checksums demanded over IPv6");
  }
  return text;
}

Result<Bytes> encode_create(const VxlanWanted& wanted) {
  Bytes request;
  MessageBuilder message(request, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  message.put_string(IFLA_IFNAME, wanted.name);
  if (wanted.mtu != 0) message.put_u32(IFLA_MTU, wanted.mtu);
  {
    auto info = message.nest(IFLA_LINKINFO);
    message.put_string(IFLA_INFO_KIND, "vxlan");
    auto data = message.nest(IFLA_INFO_DATA);
    message.put_u8(IFLA_VXLAN_COLLECT_METADATA, 1);
    message.put_be16(IFLA_VXLAN_PORT, wanted.port);
    message.put_u8(IFLA_VXLAN_LEARNING, 0);
    message.put_u8(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 1);
    message.put_u8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1);
  }
  if (auto built = message.finish(); !built) return Unexpected(built.error());
  return request;
}

// do_setlink() takes MTU and alias before the flags, so the device never comes up without its mark.
Result<Bytes> encode_finish(IfIndex device, const VxlanWanted& wanted) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(device.value());
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  Bytes request;
  MessageBuilder message(request, RTM_NEWLINK, NLM_F_REQUEST, header);
  if (wanted.mtu != 0) message.put_u32(IFLA_MTU, wanted.mtu);
  const std::string alias = alias_of(wanted.instance);
  message.put_bytes(IFLA_IFALIAS, alias.data(), alias.size());
  if (auto built = message.finish(); !built) return Unexpected(built.error());
  return request;
}

Result<void> check_wanted(const VxlanWanted& wanted) {
  if (wanted.name.empty() || wanted.name.size() >= IFNAMSIZ) {
    return fail(Errc::invalid_config, "'" + wanted.name + "' is no device name: 1 to " + std::to_string(IFNAMSIZ - 1) +
                                          " bytes are possible");
  }
  if (alias_of(wanted.instance).size() >= IFALIASZ)
    return fail(Errc::invalid_config, "the instance's name is too long");
  return {};
}

VxlanFinding judge(const Link& link, const VxlanWanted& wanted) {
  const std::string name = "device " + link.name;
  const bool marked = link.alias == alias_of(wanted.instance);
  if (!link.vxlan) {
    return {VxlanState::foreign, link.index,
            name + " exists and is no vxlan device" + (link.kind.empty() ? "" : " but " + link.kind) +
                ": remove or rename it, or name another one in vxlan.device"};
  }
  const std::string difference = differences(*link.vxlan, wanted_attrs(wanted));
  const bool just_made = link.alias.empty() && !link.up && difference.empty();
  if (!marked && !just_made) {
    return {VxlanState::foreign, link.index,
            name + " exists and is not ours (its alias is '" + link.alias + "', ours says '" +
                alias_of(wanted.instance) + "'): remove or rename it, or name another one in vxlan.device"};
  }
  if (!difference.empty()) {
    return {VxlanState::wrong, link.index,
            name + " has " + difference + ", which cannot be changed in place: `ip link del " + link.name +
                "`, and it will be made anew"};
  }
  const bool complete = marked && link.up && (wanted.mtu == 0 || link.mtu == wanted.mtu);
  return {complete ? VxlanState::ours : VxlanState::unfinished, link.index, {}};
}

// A UDP port serves one external vxlan device. A second with the same flags is refused when it is made (EEXIST,
// vxlan_vni_in_use()), one with other flags when both are up (EADDRINUSE, vxlan_sock_add()). The kernel does not say
// who is in the way.
Error name_rival(Transport& route, const VxlanWanted& wanted, Error error) {
  if (error.sys_errno != EEXIST && error.sys_errno != EADDRINUSE) return error;
  auto links = list_links(route);
  if (!links) return error;
  for (const Link& link : *links) {
    if (!link.vxlan || link.name == wanted.name || link.vxlan->port != wanted.port) continue;
    error.code = Errc::conflict;
    error.doing = "UDP port " + std::to_string(wanted.port) + " is taken by vxlan device " + link.name +
                  ": remove it, or set another port in vxlan.port (on every host)";
    return error;
  }
  return error;
}

}  // namespace

VxlanFinding check_vxlan(const std::vector<Link>& links, const VxlanWanted& wanted) {
  const auto found =
      std::find_if(links.begin(), links.end(), [&wanted](const Link& link) { return link.name == wanted.name; });
  if (found == links.end()) return {};
  return judge(*found, wanted);
}

Result<IfIndex> ensure_vxlan(Transport& route, const VxlanWanted& wanted) {
  if (auto possible = check_wanted(wanted); !possible) return Unexpected(possible.error());
  const std::string doing = "make vxlan device " + wanted.name;
  auto link = get_link(route, wanted.name);
  if (!link && link.error().code == Errc::not_found) {
    auto request = encode_create(wanted);
    if (!request) return Unexpected(while_doing(request.error(), doing));
    if (auto made = transact_one(route, std::move(*request)); !made) {
      return Unexpected(while_doing(name_rival(route, wanted, made.error()), doing));
    }
    link = get_link(route, wanted.name);
  }
  if (!link) return Unexpected(while_doing(link.error(), doing));

  const VxlanFinding finding = judge(*link, wanted);
  switch (finding.state) {
    case VxlanState::ours: return finding.index;
    case VxlanState::missing:
    case VxlanState::wrong:
    case VxlanState::foreign: return fail(Errc::conflict, finding.remark);
    case VxlanState::unfinished: break;
  }
  auto request = encode_finish(finding.index, wanted);
  if (!request) return Unexpected(while_doing(request.error(), doing));
  if (auto finished = transact_one(route, std::move(*request)); !finished) {
    return Unexpected(while_doing(name_rival(route, wanted, finished.error()), "set up vxlan device " + wanted.name));
  }
  return finding.index;
}

Result<bool> delete_vxlan(Transport& route, std::string_view name, std::string_view instance) {
  auto link = get_link(route, name);
  if (!link && link.error().code == Errc::not_found) return false;
  if (!link) return Unexpected(link.error());
  if (!link->vxlan || link->alias != alias_of(instance)) {
    return fail(Errc::conflict, "device " + std::string(name) + " is not ours (its alias is '" + link->alias +
                                    "', ours says '" + alias_of(instance) + "'): it stays");
  }
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(link->index.value());  // by number: a name may have moved on since we looked
  Bytes request;
  MessageBuilder message(request, RTM_DELLINK, NLM_F_REQUEST, header);
  if (auto built = message.finish(); !built) return Unexpected(built.error());
  auto deleted = transact_one(route, std::move(request));
  if (!deleted && deleted.error().code == Errc::not_found) return false;
  if (!deleted) return Unexpected(while_doing(deleted.error(), "delete vxlan device " + std::string(name)));
  return true;
}

}  // namespace sepal::netlink
