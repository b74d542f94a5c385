// Conntrack entries over ctnetlink: decode, list, delete one by one. Governed by nfnetlink_conntrack.h and
// net/netfilter/nf_conntrack_netlink.c. The table is filtered here, not by the kernel: 6.1 honours CTA_ZONE in a dump
// only together with other filters, and takes a deletion by zone for a flush of everything.
#include "netlink/conntrack.hpp"

#include <endian.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

constexpr uint16_t kEntry = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW;
constexpr uint16_t kGet = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET;
constexpr uint16_t kDelete = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
// Deletions collected before they are sent, so that a table of a million entries costs no memory of that size.
constexpr size_t kDeletionsPerPass = 16384;

Result<AttrTable> parse_nest(const AttrTable& parent, uint16_t type, uint16_t max) {
  const Attr* nest = parent.find(type);
  return AttrTable::parse(nest == nullptr ? BytesView{} : nest->payload, max);
}

std::optional<IpAddr> read_address(const AttrTable& ip, uint16_t v4, uint16_t v6) {
  const bool is_v4 = ip.find(v4) != nullptr;
  const Attr* attr = is_v4 ? ip.find(v4) : ip.find(v6);
  IpAddr address;
  address.family = is_v4 ? Family::ipv4 : Family::ipv6;
  if (attr == nullptr || attr->payload.size() != address.size()) return std::nullopt;
  std::copy(attr->payload.begin(), attr->payload.end(), address.bytes.begin());
  return address;
}

uint16_t be16_or_zero(const AttrTable& table, std::initializer_list<uint16_t> types) {
  for (const uint16_t type : types) {
    if (const Attr* attr = table.find(type)) return attr->be16().value_or(0);
  }
  return 0;
}

uint8_t u8_or_zero(const AttrTable& table, std::initializer_list<uint16_t> types) {
  for (const uint16_t type : types) {
    if (const Attr* attr = table.find(type)) return attr->u8().value_or(0);
  }
  return 0;
}

uint32_t be32_or_zero(const AttrTable& table, uint16_t type) {
  const Attr* attr = table.find(type);
  return attr == nullptr ? 0 : attr->be32().value_or(0);
}

struct DecodedTuple {
  ConnectionTuple tuple;
  std::optional<Zone> zone;  // when the zone holds for this direction only
};

// CTA_TUPLE_ORIG | CTA_TUPLE_REPLY { CTA_TUPLE_IP {..} CTA_TUPLE_PROTO {..} [CTA_TUPLE_ZONE be16] }
Result<DecodedTuple> decode_tuple(const Attr& nest) {
  auto parts = AttrTable::parse(nest.payload, CTA_TUPLE_MAX);
  if (!parts) return Unexpected(parts.error());
  auto ip = parse_nest(*parts, CTA_TUPLE_IP, CTA_IP_MAX);
  if (!ip) return Unexpected(ip.error());
  auto proto = parse_nest(*parts, CTA_TUPLE_PROTO, CTA_PROTO_MAX);
  if (!proto) return Unexpected(proto.error());

  const auto source = read_address(*ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  const auto destination = read_address(*ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
  if (!source || !destination) return fail(Errc::protocol, "conntrack tuple without addresses");
  DecodedTuple decoded;
  ConnectionTuple& tuple = decoded.tuple;
  tuple.source = *source;
  tuple.destination = *destination;
  tuple.protocol = u8_or_zero(*proto, {CTA_PROTO_NUM});
  tuple.source_port = be16_or_zero(*proto, {CTA_PROTO_SRC_PORT});
  tuple.destination_port = be16_or_zero(*proto, {CTA_PROTO_DST_PORT});
  tuple.icmp_type = u8_or_zero(*proto, {CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMPV6_TYPE});
  tuple.icmp_code = u8_or_zero(*proto, {CTA_PROTO_ICMP_CODE, CTA_PROTO_ICMPV6_CODE});
  tuple.icmp_id = be16_or_zero(*proto, {CTA_PROTO_ICMP_ID, CTA_PROTO_ICMPV6_ID});
  if (const Attr* zone = parts->find(CTA_TUPLE_ZONE)) {
    if (const auto value = zone->be16()) decoded.zone = Zone(*value);
  }
  return decoded;
}

std::optional<ConnectionCounters> decode_counters(const AttrTable& entry, uint16_t type) {
  if (entry.find(type) == nullptr) return std::nullopt;
  auto counters = parse_nest(entry, type, CTA_COUNTERS_MAX);
  if (!counters) return std::nullopt;
  auto be64 = [&counters](uint16_t which) -> uint64_t {
    const Attr* attr = counters->find(which);
    return attr == nullptr ? 0 : be64toh(attr->u64().value_or(0));
  };
  return ConnectionCounters{be64(CTA_COUNTERS_PACKETS), be64(CTA_COUNTERS_BYTES)};
}

std::optional<uint8_t> decode_tcp_state(const AttrTable& entry) {
  auto info = parse_nest(entry, CTA_PROTOINFO, CTA_PROTOINFO_MAX);
  if (!info) return std::nullopt;
  auto tcp = parse_nest(*info, CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_MAX);
  if (!tcp) return std::nullopt;
  const Attr* state = tcp->find(CTA_PROTOINFO_TCP_STATE);
  return state == nullptr ? std::nullopt : state->u8();
}

Result<AttrTable> parse_entry(BytesView message, nfgenmsg& header, bool may_be_gone = false) {
  auto nlmsg = read_nlmsghdr(message);
  if (!nlmsg) return Unexpected(nlmsg.error());
  const bool gone = may_be_gone && nlmsg->nlmsg_type == kDelete;
  if (nlmsg->nlmsg_type != kEntry && !gone) return fail(Errc::protocol, "not a conntrack entry");
  auto attributes = read_fixed_header(message, header);
  if (!attributes) return Unexpected(attributes.error());
  return AttrTable::parse(*attributes, CTA_MAX);
}

Result<void> dump_entries(Transport& netfilter, const MessageSink& sink) {
  Bytes request;
  MessageBuilder message(request, kGet, NLM_F_REQUEST | NLM_F_DUMP, nfgenmsg{});  // AF_UNSPEC: both families
  if (auto built = message.finish(); !built) return built;
  auto dumped = netfilter.dump(std::move(request), sink);
  if (dumped) return {};
  Error error = dumped.error();
  // nfnetlink_rcv_msg() answers EINVAL when no module serves the subsystem.
  if (error.sys_errno == EINVAL) error.code = Errc::unsupported;
  return Unexpected(while_doing(std::move(error), "list connections"));
}

}  // namespace

bool Connection::offloaded() const { return (status & IPS_OFFLOAD) != 0; }

bool Connection::in_hardware() const { return (status & IPS_HW_OFFLOAD) != 0; }

Result<Connection> decode_connection(BytesView message) {
  nfgenmsg header{};
  auto entry = parse_entry(message, header, true);
  if (!entry) return Unexpected(entry.error());
  const Attr* original_nest = entry->find(CTA_TUPLE_ORIG);
  const Attr* reply_nest = entry->find(CTA_TUPLE_REPLY);
  if (original_nest == nullptr || reply_nest == nullptr) {
    return fail(Errc::protocol, "conntrack entry without its tuples");
  }
  auto original = decode_tuple(*original_nest);
  if (!original) return Unexpected(original.error());
  auto reply = decode_tuple(*reply_nest);
  if (!reply) return Unexpected(reply.error());

  Connection connection;
  connection.original = original->tuple;
  connection.reply = reply->tuple;
  // At the top when the zone holds for both directions (act_ct's do), else inside the direction it holds for.
  if (const Attr* zone = entry->find(CTA_ZONE)) {
    connection.zone = Zone(zone->be16().value_or(0));
  } else if (original->zone || reply->zone) {
    connection.zone = original->zone ? *original->zone : *reply->zone;
  }
  connection.id = be32_or_zero(*entry, CTA_ID);
  connection.mark = be32_or_zero(*entry, CTA_MARK);
  connection.status = be32_or_zero(*entry, CTA_STATUS);
  connection.timeout_s = be32_or_zero(*entry, CTA_TIMEOUT);
  connection.tcp_state = decode_tcp_state(*entry);
  connection.original_counters = decode_counters(*entry, CTA_COUNTERS_ORIG);
  connection.reply_counters = decode_counters(*entry, CTA_COUNTERS_REPLY);
  return connection;
}

Result<void> for_each_connection(Transport& netfilter, const std::function<void(const Connection&)>& visit) {
  return dump_entries(netfilter, [&visit](BytesView message) -> Result<void> {
    if (auto connection = decode_connection(message)) visit(*connection);
    return {};
  });
}

Result<std::vector<Connection>> list_connections(Transport& netfilter, Zone zone) {
  std::vector<Connection> found;
  auto listed = for_each_connection(netfilter, [&](const Connection& connection) {
    if (connection.zone == zone) found.push_back(connection);
  });
  if (!listed) return Unexpected(listed.error());
  return found;
}

Result<void> append_connection_delete(Bytes& requests, BytesView entry_message) {
  nfgenmsg header{};
  auto entry = parse_entry(entry_message, header);
  if (!entry) return Unexpected(entry.error());
  const Attr* original = entry->find(CTA_TUPLE_ORIG);
  const Attr* id = entry->find(CTA_ID);
  if (original == nullptr || original->payload.empty() || id == nullptr) {
    return fail(Errc::protocol, "conntrack entry without tuple or id: no request can name it alone");
  }
  const nfgenmsg own{header.nfgen_family, NFNETLINK_V0, 0};
  MessageBuilder message(requests, kDelete, NLM_F_REQUEST, own);
  message.put_bytes(CTA_TUPLE_ORIG | NLA_F_NESTED, original->payload.data(), original->payload.size());
  if (const Attr* zone = entry->find(CTA_ZONE)) message.put_bytes(CTA_ZONE, zone->payload.data(), zone->payload.size());
  message.put_bytes(CTA_ID, id->payload.data(), id->payload.size());
  return message.finish();
}

Result<size_t> delete_connections(Transport& netfilter, const ConnectionPredicate& doomed) {
  size_t deleted = 0;
  for (;;) {
    Bytes requests;
    size_t collected = 0;
    auto listed = dump_entries(netfilter, [&](BytesView message) -> Result<void> {
      if (collected == kDeletionsPerPass) return {};
      auto connection = decode_connection(message);
      if (!connection || !doomed(*connection)) return {};
      if (append_connection_delete(requests, message)) ++collected;
      return {};
    });
    if (!listed) return Unexpected(listed.error());

    const size_t before = deleted;
    Result<void> refused;
    auto answered = netfilter.transact(requests, [&](size_t, const Answer& answer) {
      if (answer) {
        ++deleted;
      } else if (answer.error().code != Errc::not_found) {
        refused = answer;
      }
    });
    if (!answered) return Unexpected(while_doing(answered.error(), "delete connections"));
    if (!refused) return Unexpected(while_doing(refused.error(), "delete connections"));
    if (collected < kDeletionsPerPass || deleted == before) return deleted;
  }
}

}  // namespace sepal::netlink
