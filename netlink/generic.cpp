#include "netlink/generic.hpp"

#include <linux/netlink.h>

#include <cerrno>
#include <optional>

namespace sepal::netlink {
namespace {

const GenericFamily kController{"nlctrl", GENL_ID_CTRL, 2, {}};

// CTRL_ATTR_MCAST_GROUPS { n { CTRL_ATTR_MCAST_GRP_NAME, CTRL_ATTR_MCAST_GRP_ID } … }
Result<void> read_groups(const Attr& nest, GenericFamily& family) {
  return for_each_attr(nest.payload, [&family](const Attr& entry) -> Result<void> {
    auto group = AttrTable::parse(entry.payload, CTRL_ATTR_MCAST_GRP_MAX);
    if (!group) return Unexpected(group.error());
    const Attr* name = group->find(CTRL_ATTR_MCAST_GRP_NAME);
    const Attr* id = group->find(CTRL_ATTR_MCAST_GRP_ID);
    if (name != nullptr && id != nullptr && id->u32()) family.groups.emplace(name->string(), *id->u32());
    return {};
  });
}

Result<GenericFamily> ask_controller(Transport& generic, std::string_view name) {
  GenericRequest request(kController, CTRL_CMD_GETFAMILY);
  request.attributes().put_string(CTRL_ATTR_FAMILY_NAME, name);
  GenericFamily family{std::string(name), 0, 0, {}};
  auto asked =
      ask(generic, kController, request, CTRL_ATTR_MAX, [&family](const GenericMessage& reply) -> Result<void> {
        if (const Attr* id = reply.attributes.find(CTRL_ATTR_FAMILY_ID)) family.id = id->u16().value_or(0);
        if (const Attr* version = reply.attributes.find(CTRL_ATTR_VERSION)) {
          family.version = static_cast<uint8_t>(version->u32().value_or(0));
        }
        const Attr* groups = reply.attributes.find(CTRL_ATTR_MCAST_GROUPS);
        return groups == nullptr ? Result<void>{} : read_groups(*groups, family);
      });
  if (!asked) return Unexpected(asked.error());
  if (family.id < NLMSG_MIN_TYPE) return fail(Errc::protocol, "the family has no number");
  return family;
}

}  // namespace

GenericRequest::GenericRequest(const GenericFamily& family, uint8_t command)
    : message_(bytes_, family.id, NLM_F_REQUEST, genlmsghdr{command, family.version, 0}) {}

Result<Bytes> GenericRequest::take() {
  if (auto built = message_.finish(); !built) return Unexpected(built.error());
  return std::move(bytes_);
}

Result<GenericMessage> read_generic(const GenericFamily& family, BytesView message, uint16_t max) {
  auto header = read_nlmsghdr(message);
  if (!header) return Unexpected(header.error());
  if (header->nlmsg_type != family.id) {
    return fail(Errc::protocol,
                "a message of family " + std::to_string(header->nlmsg_type) + ", not of " + family.name);
  }
  genlmsghdr generic{};
  auto region = read_fixed_header(message, generic);
  if (!region) return Unexpected(region.error());
  auto attributes = AttrTable::parse(*region, max);
  if (!attributes) return Unexpected(attributes.error());
  return GenericMessage{generic.cmd, std::move(*attributes)};
}

Result<void> ask(Transport& generic, const GenericFamily& family, GenericRequest& request, uint16_t max,
                 const GenericSink& sink) {
  auto bytes = request.take();
  if (!bytes) return Unexpected(bytes.error());
  bool any = false;
  auto got = generic.get(std::move(*bytes), [&](BytesView reply) -> Result<void> {
    auto message = read_generic(family, reply, max);
    if (!message) return Unexpected(message.error());
    any = true;
    return sink(*message);
  });
  if (got && !any) return fail(Errc::protocol, family.name + " acknowledged without a reply");
  return got;
}

Result<void> dump(Transport& generic, const GenericFamily& family, GenericRequest& request, uint16_t max,
                  const std::function<void()>& restart, const GenericSink& sink) {
  auto bytes = request.take();
  if (!bytes) return Unexpected(bytes.error());
  return dump_whole(generic, *bytes, restart, [&](BytesView reply) -> Result<void> {
    auto message = read_generic(family, reply, max);
    return message ? sink(*message) : Unexpected(message.error());
  });
}

Result<void> tell(Transport& generic, GenericRequest& request) {
  auto bytes = request.take();
  if (!bytes) return Unexpected(bytes.error());
  return transact_one(generic, std::move(*bytes));
}

Result<GenericFamily> find_family(Transport& generic, std::string_view name) {
  auto family = ask_controller(generic, name);
  if (family) return family;
  const std::string doing = "generic netlink family " + std::string(name);
  if (family.error().code == Errc::not_found) {
    return Unexpected(
        Error{Errc::unsupported, 0, doing + ": this kernel has none (its module is missing or not built)", {}});
  }
  return Unexpected(while_doing(family.error(), doing));
}

Result<GenericMonitor> GenericMonitor::open(const GenericFamily& family, std::string_view group) {
  const auto found = family.groups.find(group);
  if (found == family.groups.end()) {
    return fail(Errc::unsupported, "watch " + family.name + ": it has no events named " + std::string(group));
  }
  auto channel = open_channel(NETLINK_GENERIC, {found->second});
  if (!channel) return Unexpected(while_doing(channel.error(), "watch " + family.name));
  return GenericMonitor(std::move(*channel));
}

Result<bool> GenericMonitor::drain() {
  bool any = false;
  for (;;) {
    auto datagram = channel_->receive(Clock::time_point{});  // long past: what is there, no waiting
    if (datagram) {
      if (datagram->sender == 0) any = true;
      continue;
    }
    if (datagram.error().sys_errno == ETIMEDOUT) return any;
    if (datagram.error().sys_errno != ENOBUFS)
      return Unexpected(while_doing(datagram.error(), "watch generic netlink"));
    any = true;
  }
}

}  // namespace sepal::netlink
