// A dropped packet in words: which rule of ours it met, whose, why, and what it was. Pure; the packets come from
// bpf/drop_watch.hpp, the rules from shown.hpp.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/shown.hpp"
#include "bpf/drop_watch.h"
#include "config/model.hpp"
#include "policy/judge.hpp"
#include "tc/model/packet.hpp"

namespace sepal::agent {

struct ToldDrop {
  uint64_t time = 0;                        // nanoseconds since 1970
  Vni vni;                                  // 0: the host's, or nobody's
  std::string tenant;                       // "tenant blue", "vni 100", "host"
  std::string where;                        // "port web-0", "tunnel", "uplink"
  std::vector<tc::DropReason> reasons;      // more than one: the rule has several actions that drop; none: not known
  std::string rule;                         // of security groups, where they denied; else whose the rule is
  std::string at;                           // its place in the configuration
  const ShownRule* filter = nullptr;        // null: it went meanwhile
  std::optional<tc::model::Packet> packet;  // nullopt: not readable
  uint32_t tunnel_vni = 0;                  // that it came with; 0: not out of a tunnel
  uint32_t bytes = 0;
};

class DropTeller {
 public:
  // Both borrowed. `config` may be null.
  DropTeller(const Shown& shown, const config::Config* config);

  // Whether the rule that dropped is one that was shown.
  [[nodiscard]] bool knows(const sepal_drop& drop) const { return rule_of(drop) != nullptr; }
  [[nodiscard]] ToldDrop tell(const sepal_drop& drop, uint64_t time) const;

 private:
  struct Policy {
    policy::TenantPolicy rules;
    policy::Judge judge;
  };
  using Place = std::pair<uint32_t, std::vector<uint32_t>>;  // device, numbers of the actions
  static Place place_of(const sepal_drop& drop);
  [[nodiscard]] const ShownRule* rule_of(const sepal_drop& drop) const;
  void name_groups(const sepal_drop& drop, ToldDrop& told) const;

  const Shown& shown_;
  const config::Config* config_;
  std::map<Place, const ShownRule*> rules_;
  std::map<Vni, Policy> policies_;
};

// "tcp 10.0.0.1:40000 → 10.0.0.2:80", "arp who-has 10.0.0.9 tell 10.0.0.1", with MACs where they are the matter.
std::string packet_text(const ToldDrop& drop);
std::string to_line(const ToldDrop& drop);
nlohmann::ordered_json to_json(const ToldDrop& drop, const Names& names);

}  // namespace sepal::agent
