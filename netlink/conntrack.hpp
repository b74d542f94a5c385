// Conntrack entries: list, and delete one by one. Never a deletion without a tuple: before Linux 6.2 the kernel takes
// IPCTNL_MSG_CT_DELETE with CTA_ZONE and no tuple for "flush everything", in all zones.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/net_types.hpp"
#include "netlink/transport.hpp"

namespace sepal::netlink {

// One direction of a connection. Numbers in host order.
struct ConnectionTuple {
  IpAddr source;
  IpAddr destination;
  uint8_t protocol = 0;           // IPPROTO_*
  uint16_t source_port = 0;       // TCP, UDP, SCTP, DCCP, UDP-Lite
  uint16_t destination_port = 0;  // the same
  uint8_t icmp_type = 0;          // ICMP, ICMPv6
  uint8_t icmp_code = 0;
  uint16_t icmp_id = 0;
  auto operator<=>(const ConnectionTuple&) const = default;
};

struct ConnectionCounters {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  auto operator<=>(const ConnectionCounters&) const = default;
};

struct Connection {
  ConnectionTuple original;  // as the first packet came
  ConnectionTuple reply;     // as answers are expected: differs from original reversed when NAT applies
  Zone zone;                 // 0: the default zone
  uint32_t id = 0;
  uint32_t mark = 0;
  uint32_t status = 0;                                  // IPS_* bits
  uint32_t timeout_s = 0;                               // 0 also for entries that are offloaded and do not age
  std::optional<uint8_t> tcp_state;                     // enum tcp_conntrack
  std::optional<ConnectionCounters> original_counters;  // when net.netfilter.nf_conntrack_acct is set
  std::optional<ConnectionCounters> reply_counters;

  // act_ct's flow table has it: packets no longer go through conntrack.
  [[nodiscard]] bool offloaded() const;
  // … and a NIC does, too.
  [[nodiscard]] bool in_hardware() const;
};

using ConnectionPredicate = std::function<bool(const Connection&)>;

// From an IPCTNL_MSG_CT_NEW message, or a CT_DELETE that tells of an entry's end. Errc::protocol: malformed, no tuples.
Result<Connection> decode_connection(BytesView message);

// Both families, all zones, in one dump of the whole table, entry by entry. An entry that does not decode is passed
// over. Errc::unsupported: the kernel has no ctnetlink.
Result<void> for_each_connection(Transport& netfilter, const std::function<void(const Connection&)>& visit);
Result<std::vector<Connection>> list_connections(Transport& netfilter, Zone zone);

// Deletes the entries the predicate chooses, each by tuple, zone and id, so that an entry that replaced it meanwhile
// stays. Returns how many the kernel deleted; one that had gone by itself is no failure and not counted.
Result<size_t> delete_connections(Transport& netfilter, const ConnectionPredicate& doomed);

// The request that deletes the entry an IPCTNL_MSG_CT_NEW message shows: its own original tuple, zone and id, byte by
// byte. Errc::protocol when the entry has no original tuple: nothing is appended then, ever.
Result<void> append_connection_delete(Bytes& requests, BytesView entry);

}  // namespace sepal::netlink
