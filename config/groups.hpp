// Security groups as values: who may begin a connection with whom. No YAML here, and nothing about tables or packets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/net_types.hpp"
#include "config/location.hpp"

namespace sepal::config {

// Whom a rule of a security group speaks of: the other end of the connection.
struct RuleRemote {
  bool any = false;
  std::vector<IpPrefix> networks;
  std::vector<std::string> groups;  // of the same tenant: their ports here and their members elsewhere
  bool operator==(const RuleRemote&) const = default;
};

struct GroupRule {
  bool allow = true;
  uint16_t priority = 1000;         // the lowest number that matches decides; of equal ones a denial
  std::optional<uint8_t> protocol;  // IPPROTO_*; none: any
  std::vector<PortRange> ports;     // destination ports of TCP or UDP; none: all
  std::optional<uint8_t> icmp_type;
  std::optional<uint8_t> icmp_code;  // with icmp_type
  RuleRemote remote;
  bool log = false;
  Location where;
  bool operator==(const GroupRule&) const = default;
};

struct SecurityGroup {
  std::string name;               // unique in the tenant
  bool audit = false;             // mode: audit: counts what it would drop and has no other effect
  std::vector<IpPrefix> members;  // beside the local ports that name it
  std::vector<GroupRule> ingress;
  std::vector<GroupRule> egress;
  Location where;
  bool operator==(const SecurityGroup&) const = default;
};

}  // namespace sepal::config
