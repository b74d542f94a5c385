// What must happen to a packet, computed straight from the configuration: no chains, no priorities, no masks. The walk
// over the compiled rules is judged by it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tc/model/packet.hpp"
#include "tc/model/walk.hpp"
#include "world.hpp"

namespace sepal::tc::model {

struct Expected {
  enum class Kind : uint8_t { drop, host, answer, heard, deliver, overlay, wire } kind = Kind::drop;
  std::string why;  // for people
  // drop: which reason counts it. `none` among them: an action of a rule that is no drop counts it (act_ct without a
  // free port, a program without an answer).
  std::set<DropReason> reasons;
  IfIndex device;                    // all but drop and host
  Packet packet;                     // deliver, overlay, wire: as it must look (source port of a new translation apart)
  const config::Nat* nat = nullptr;  // a translation is made: to this address, within this slice
  MacAddr answer;                    // answer: what is told
};

class Oracle {
 public:
  explicit Oracle(const World& world) : world_(world) {}

  // `outcome` is only consulted for the one thing the configuration leaves open: which port of a slice a new
  // connection got. Remembers connections, so packets must be shown in order.
  Expected judge(IfIndex device, const Packet& packet, const Outcome& outcome);
  // Empty when the outcome is what was expected, else what differs.
  static std::string difference(const Expected& expected, const Outcome& outcome);

 private:
  struct Flow {
    Tuple original;
    Tuple wire_reply;
    bool translated = false;
    bool replied = false;
  };
  struct Known {
    Flow* flow = nullptr;
    bool reply = false;
  };
  struct Leg {                             // a destination after longest prefix match
    const config::Port* port = nullptr;    // a local port
    const config::Route* route = nullptr;  // or a route
  };
  enum class From : uint8_t { port, wire, outside };

  [[nodiscard]] std::optional<IfIndex> device_of(const config::Tenant& tenant, const config::Port& port) const;
  [[nodiscard]] const config::Tenant* tenant_of(Vni vni) const;
  [[nodiscard]] bool has_ports_here(const config::Tenant& tenant) const;
  [[nodiscard]] Leg route(const config::Tenant& tenant, const IpAddr& to) const;
  [[nodiscard]] std::optional<MacAddr> public_gateway(Family family) const;
  Known find(Vni vni, const Packet& packet);

  Expected from_port(const config::Tenant& tenant, const config::Port& port, IfIndex device, const Packet& packet);
  Expected from_overlay(const Packet& packet);
  Expected from_uplink(const Packet& packet);
  Expected from_outside(const Packet& packet);
  Expected enter(const config::Tenant& tenant, Packet packet, From from, IfIndex device);
  // Security groups, by a plain walk over their rules.
  [[nodiscard]] bool may_begin(const config::Tenant& tenant, const Packet& packet, bool from_peer) const;
  Expected forward(const config::Tenant& tenant, Packet packet, From from, IfIndex device, const Leg& leg,
                   bool translated);
  // What stands in the way there; nothing: the packet may go.
  [[nodiscard]] std::optional<DropReason> obstacle(const config::Tenant& tenant, From from, const Leg& leg) const;
  static Expected drop(std::string why, std::set<DropReason> reasons);
  static Expected heard();

  const World& world_;
  const Outcome* outcome_ = nullptr;
  std::map<Vni, std::vector<Flow>> flows_;
};

}  // namespace sepal::tc::model
