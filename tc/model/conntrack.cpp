// See conntrack.hpp.
#include "tc/model/conntrack.hpp"

#include <cstdlib>

namespace sepal::tc::model {
namespace {

// Whether conntrack begins a connection with this packet (nf_conntrack_proto_tcp.c with tcp_loose, …_icmp.c).
bool may_begin(const Packet& packet) {
  if (packet.is_icmp()) return packet.icmp_type == (packet.eth_type == kEthIpv4 ? 8 : 128);
  if (packet.protocol != kProtoTcp) return true;
  if ((packet.tcp_flags & (kTcpRst | kTcpFin)) != 0) return false;
  const bool syn = (packet.tcp_flags & kTcpSyn) != 0;
  const bool ack = (packet.tcp_flags & kTcpAck) != 0;
  return syn != ack;
}

void set_source(Packet& packet, const Tuple& to) {
  packet.src = to.src;
  if (packet.is_icmp()) {
    packet.icmp_id = to.src_port;
  } else {
    packet.src_port = to.src_port;
  }
}

void set_destination(Packet& packet, const Tuple& to) {
  packet.dst = to.dst;
  if (packet.is_icmp()) {
    packet.icmp_id = to.src_port;
  } else {
    packet.dst_port = to.dst_port;
  }
}

}  // namespace

std::optional<Conntrack::Found> Conntrack::find(Zone zone, const Tuple& tuple) const {
  auto at = by_tuple_.find({zone, tuple});
  if (at == by_tuple_.end()) return std::nullopt;
  return at->second;
}

void Conntrack::look_up(Zone zone, Packet& packet) {
  using State = Tracking::State;
  packet.fragment = false;  // the whole packet goes on once its last fragment is in
  if (packet.tracking && packet.tracking->zone == zone) return;
  packet.tracking = Tracking{State::invalid, zone, false, std::nullopt};
  if (packet.quoted) {
    auto found = find(zone, invert(*packet.quoted));
    if (!found) return;
    const Connection& about = connections_[found->entry];
    if ((found->reply ? about.reply.dst : about.original.dst) != packet.dst) return;
    packet.tracking = Tracking{State::related, zone, found->reply, found->entry};
    return;
  }
  if (auto found = find(zone, packet.tuple())) {
    Connection& connection = connections_[found->entry];
    if (found->reply) connection.replied = true;
    packet.tracking =
        Tracking{connection.replied ? State::established : State::fresh, zone, found->reply, found->entry};
    return;
  }
  if (may_begin(packet)) packet.tracking->state = State::fresh;
}

void Conntrack::translate(const Connection& connection, bool reply, Packet& packet) const {
  if (!connection.translated) return;
  if (packet.quoted) {  // nf_nat_icmp_reply_translation: the outer address and what is quoted, each its own way
    if (reply) {
      packet.dst = connection.original.src;
      packet.quoted = connection.original;
    } else {
      packet.src = connection.reply.dst;
      packet.quoted = connection.reply;
    }
  } else if (reply) {
    set_destination(packet, invert(connection.original));
  } else {
    set_source(packet, invert(connection.reply));
  }
}

bool Conntrack::choose_source(const Ct& ct, Connection& connection) const {
  Tuple wire = connection.original;
  if (ct.nat_first) wire.src = *ct.nat_first;
  const bool has_ports = wire.protocol == kProtoTcp || wire.protocol == kProtoUdp || is_echo(wire);
  auto is_free = [&] { return !find(connection.zone, invert(wire)); };
  const PortRange range = ct.nat_ports.value_or(PortRange{1024, 0xffff});
  const bool in_range = !ct.nat_ports || !has_ports || (wire.src_port >= range.first && wire.src_port <= range.last);
  if (!in_range || !is_free()) {
    if (!has_ports) return false;
    uint32_t port = range.first;
    for (; port <= range.last; ++port) {
      wire.src_port = static_cast<uint16_t>(port);
      if (is_free()) break;
    }
    if (port > range.last) return false;
  }
  connection.reply = invert(wire);
  connection.translated = true;
  return true;
}

bool Conntrack::act(const Ct& ct, Packet& packet) {
  using State = Tracking::State;
  look_up(ct.zone, packet);
  Tracking& tracking = *packet.tracking;
  if (tracking.state == State::invalid) return true;
  const bool fresh_entry = !tracking.entry;
  Connection connection;
  if (fresh_entry) {
    connection = {ct.zone, packet.tuple(), invert(packet.tuple()), 0, false, false};
  } else {
    connection = connections_[*tracking.entry];
  }
  if (ct.nat) {
    // tcf_ct_act_nat: NEW packets, and errors in the original direction, are translated only by an action that commits.
    const bool original_related = tracking.state == State::related && !tracking.reply;
    if (tracking.state != State::fresh && connection.translated && (!original_related || ct.commit)) {
      translate(connection, tracking.reply, packet);
    } else if (ct.direction == Ct::Direction::src && ct.commit) {
      if (fresh_entry && ct.nat_first && !choose_source(ct, connection)) return false;
      translate(connection, false, packet);
    }
  }
  if (!ct.commit) return true;
  if (fresh_entry) {
    tracking.entry = connections_.size();
    connections_.push_back(connection);
    by_tuple_[{ct.zone, connection.original}] = {*tracking.entry, false};
    by_tuple_[{ct.zone, connection.reply}] = {*tracking.entry, true};
  }
  uint32_t& mark = connections_[*tracking.entry].mark;
  mark = (mark & ~ct.mark_mask) | (ct.mark & ct.mark_mask);
  return true;
}

bool Conntrack::hardware_lookup(const Ct& ct, Packet& packet,
                                const std::function<bool(const Connection&)>& offloaded) const {
  using State = Tracking::State;
  if (ct.zone.value() > 254) std::abort();  // wrong zone or lost state, silently: no rule may let it come to this
  if (packet.fragment || packet.quoted) return false;
  if (packet.protocol != kProtoTcp && packet.protocol != kProtoUdp) return false;
  if (packet.protocol == kProtoTcp && (packet.tcp_flags & (kTcpFin | kTcpRst)) != 0) return false;
  auto found = find(ct.zone, packet.tuple());
  if (!found) return false;
  const Connection& connection = connections_[found->entry];
  // Both directions once a reply was seen; before that only UDP, and only the way it began.
  if (!connection.replied && (packet.protocol == kProtoTcp || found->reply)) return false;
  if (connection.translated && !ct.nat) return false;  // such connections are in the other table
  if (!offloaded(connection)) return false;
  packet.tracking =
      Tracking{connection.replied ? State::established : State::fresh, ct.zone, found->reply, found->entry};
  translate(connection, found->reply, packet);
  return true;
}

void Conntrack::see_replies() {
  for (Connection& connection : connections_) connection.replied = true;
}

uint16_t Conntrack::state_bits(const Packet& packet) const {
  if (!packet.tracking) return 0;
  uint16_t bits = kCtTrk;
  switch (packet.tracking->state) {
    case Tracking::State::fresh: bits |= kCtNew; break;
    case Tracking::State::established: bits |= kCtEst; break;
    case Tracking::State::related: bits |= kCtRel; break;
    case Tracking::State::invalid: return kCtTrk | kCtInv;
  }
  return packet.tracking->reply ? static_cast<uint16_t>(bits | kCtRpl) : bits;
}

uint32_t Conntrack::mark(const Packet& packet) const {
  return packet.tracking && packet.tracking->entry ? connections_[*packet.tracking->entry].mark : 0;
}

}  // namespace sepal::tc::model
