// A small connection table with the habits of net/netfilter/nf_conntrack_core.c and net/sched/act_ct.c that the
// pipeline depends on: zones, commit, marks, source NAT from a range, ICMP errors, and who is translated on lookup.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "tc/model/packet.hpp"
#include "tc/rule/action.hpp"

namespace sepal::tc::model {

struct Connection {
  Zone zone;
  Tuple original;
  Tuple reply;
  uint32_t mark = 0;
  bool replied = false;
  bool translated = false;
  auto operator<=>(const Connection&) const = default;
};

class Conntrack {
 public:
  // act_ct in software. False: the action drops the packet (no free port in a slice).
  bool act(const Ct& ct, Packet& packet);
  // act_ct in hardware: translates and goes on when `offloaded` says that the NIC knows the connection; false is a
  // miss.
  bool hardware_lookup(const Ct& ct, Packet& packet, const std::function<bool(const Connection&)>& offloaded) const;

  // As if answers had been seen on every connection.
  void see_replies();

  [[nodiscard]] uint16_t state_bits(const Packet& packet) const;  // flower's ct_state
  [[nodiscard]] uint32_t mark(const Packet& packet) const;
  [[nodiscard]] const std::vector<Connection>& connections() const { return connections_; }
  bool operator==(const Conntrack& other) const { return connections_ == other.connections_; }

 private:
  struct Found {
    size_t entry;
    bool reply;
  };
  [[nodiscard]] std::optional<Found> find(Zone zone, const Tuple& tuple) const;
  void look_up(Zone zone, Packet& packet);
  void translate(const Connection& connection, bool reply, Packet& packet) const;
  [[nodiscard]] bool choose_source(const Ct& ct, Connection& connection) const;

  std::vector<Connection> connections_;
  std::map<std::pair<Zone, Tuple>, Found> by_tuple_;
};

}  // namespace sepal::tc::model
