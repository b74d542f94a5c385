// Entries as ctnetlink_fill_info() lays them out, deletion as ctnetlink_del_conntrack() does it.
#include "tests/support/fake_conntrack.hpp"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "netlink/message.hpp"

namespace sepal::test {

using netlink::Answer;
using netlink::Attr;
using netlink::AttrTable;
using netlink::Bytes;
using netlink::BytesView;
using netlink::Connection;
using netlink::ConnectionTuple;
using netlink::MessageBuilder;

namespace {

constexpr uint16_t kEntry = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW;
constexpr uint16_t kDelete = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;

void put_tuple(MessageBuilder& message, uint16_t type, const ConnectionTuple& tuple) {
  auto nest = message.nest(type);
  const bool v4 = tuple.source.is_v4();
  {
    auto ip = message.nest(CTA_TUPLE_IP);
    message.put_bytes(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.source.bytes.data(), tuple.source.size());
    message.put_bytes(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.destination.bytes.data(), tuple.destination.size());
  }
  auto proto = message.nest(CTA_TUPLE_PROTO);
  message.put_u8(CTA_PROTO_NUM, tuple.protocol);
  if (tuple.protocol == IPPROTO_ICMP || tuple.protocol == IPPROTO_ICMPV6) {
    message.put_be16(v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, tuple.icmp_id);
    message.put_u8(v4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE, tuple.icmp_type);
    message.put_u8(v4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE, tuple.icmp_code);
  } else {
    message.put_be16(CTA_PROTO_SRC_PORT, tuple.source_port);
    message.put_be16(CTA_PROTO_DST_PORT, tuple.destination_port);
  }
}

}  // namespace

Bytes connection_message(const Connection& connection) {
  nfgenmsg header{};
  header.nfgen_family = connection.original.source.is_v4() ? AF_INET : AF_INET6;
  Bytes bytes;
  MessageBuilder message(bytes, kEntry, NLM_F_MULTI, header);
  put_tuple(message, CTA_TUPLE_ORIG, connection.original);
  put_tuple(message, CTA_TUPLE_REPLY, connection.reply);
  if (connection.zone.value() != 0) message.put_be16(CTA_ZONE, connection.zone.value());
  message.put_be32(CTA_STATUS, connection.status);
  message.put_be32(CTA_TIMEOUT, connection.timeout_s);
  message.put_be32(CTA_MARK, connection.mark);
  message.put_be32(CTA_ID, connection.id);
  (void)message.finish();
  return bytes;
}

Answer FakeConntrack::remove(BytesView message) {
  ++writes_;
  if (!allowed) return fail_errno(EPERM, "");
  nfgenmsg header{};
  auto attributes = netlink::read_fixed_header(message, header);
  if (!attributes) return fail_errno(EINVAL, "");
  auto request = AttrTable::parse(*attributes, CTA_MAX);
  if (!request) return fail_errno(EINVAL, "");
  const Attr* tuple = request->find(CTA_TUPLE_ORIG);
  if (tuple == nullptr) {
    table.clear();
    return {};
  }
  const Attr* zone_attr = request->find(CTA_ZONE);
  const uint16_t zone = zone_attr == nullptr ? 0 : zone_attr->be16().value_or(0);
  const auto found = std::find_if(table.begin(), table.end(), [&](const Connection& connection) {
    const Bytes shown = connection_message(connection);
    nfgenmsg own{};
    auto entry = AttrTable::parse(*netlink::read_fixed_header(shown, own), CTA_MAX);
    const Attr* original = entry->find(CTA_TUPLE_ORIG);
    return connection.zone.value() == zone && own.nfgen_family == header.nfgen_family &&
           std::equal(original->payload.begin(), original->payload.end(), tuple->payload.begin(), tuple->payload.end());
  });
  if (found == table.end() || vanishing) return fail_errno(ENOENT, "");
  const Attr* id = request->find(CTA_ID);
  if (id != nullptr && id->be32() != found->id) return fail_errno(ENOENT, "");
  table.erase(found);
  return {};
}

Result<void> FakeConntrack::transact(Bytes& requests, const std::function<void(size_t, const Answer&)>& answered) {
  size_t index = 0;
  return netlink::for_each_message(requests, [&](const nlmsghdr& header, BytesView message) -> Result<void> {
    answered(index++, header.nlmsg_type == kDelete ? remove(message) : Answer{fail_errno(EINVAL, "")});
    return {};
  });
}

Result<void> FakeConntrack::dump(Bytes /*request*/, const netlink::MessageSink& sink) {
  ++dumps;
  if (!supported) return fail_errno(EINVAL, "dump");
  for (const Connection& connection : table) {
    if (auto shown = sink(connection_message(connection)); !shown) return shown;
  }
  return {};
}

Result<void> FakeConntrack::get(Bytes /*request*/, const netlink::MessageSink& /*sink*/) {
  return fail_errno(EINVAL, "");
}

}  // namespace sepal::test
