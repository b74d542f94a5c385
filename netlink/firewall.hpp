// What nftables does to packets for this host, as far as one UDP port is concerned: base chains, their policies, and
// whether any rule beside them speaks of the port. Read only. iptables' newer form (iptables-nft) is nftables, too.
#pragma once

#include <string>
#include <vector>

#include "netlink/transport.hpp"

namespace sepal::netlink {

struct FirewallChain {
  std::string family;  // "ip", "ip6", "inet": as the nft command says it
  std::string table;
  std::string name;
  enum class Hook : uint8_t { input, prerouting, other } hook = Hook::other;
  bool policy_drop = false;
  // Of all rules of the chain's table, for a rule may stand in a chain that this one jumps to.
  bool accepts_port = false;
  bool drops_port = false;
  bool decides_by_set = false;  // a rule accepts or drops what is in a set, which is not read
  bool operator==(const FirewallChain&) const = default;
};

// Base chains of the families that see IP packets, and what is said there about packets to UDP port `port`. A kernel
// without nftables has none.
Result<std::vector<FirewallChain>> list_firewall(Transport& netfilter, uint16_t port);

}  // namespace sepal::netlink
