// Rules of security groups: every group that is named is there, and all of it stays within its bounds. Groups may name
// each other in a circle.
#include <netinet/in.h>

#include <algorithm>
#include <set>

#include "base/limits.hpp"
#include "config/review.hpp"

namespace sepal::config {
namespace {

class Groups {
 public:
  Groups(Review& review, const Tenant& tenant, const TenantDoubts& doubts)
      : review_(review), tenant_(tenant), doubts_(doubts) {
    for (const SecurityGroup& group : tenant.security_groups) groups_.emplace(group.name, &group);
  }

  void check() {
    for (const Port& port : tenant_.ports) check_port(port);
    for (const SecurityGroup& group : tenant_.security_groups) {
      for (const GroupRule& rule : group.ingress) check_rule(group, rule, "from");
      for (const GroupRule& rule : group.egress) check_rule(group, rule, "to");
    }
    check_sizes();
    if (!doubts_.groups && !doubts_.ports) check_names();
  }

 private:
  [[nodiscard]] std::string known() const {
    std::string names;
    for (const auto& [name, group] : groups_) names += (names.empty() ? "" : ", ") + name;
    return names.empty() ? "declare it in security_groups" : "groups here are: " + names;
  }

  void check_port(const Port& port) {
    const std::string owner = "port " + quoted(port.name) + ": ";
    std::set<std::string> seen;
    for (size_t i = 0; i < port.security_groups.size(); ++i) {
      const std::string& name = port.security_groups[i];
      const Location where = doubts_.ports ? review_.places.of(port.where, "security_groups")
                                           : review_.places.of(port.where, "security_groups", i);
      if (!seen.insert(name).second) {
        review_.faults.add(where, owner + "security group " + quoted(name) + " is listed twice", "keep one");
      } else if (!groups_.contains(name) && !doubts_.groups) {
        review_.faults.add(where, owner + "unknown security group " + quoted(name), known());
      }
    }
    if (seen.size() > limits::kGroupsPerPortMax) {
      review_.faults.add(review_.places.of(port.where, "security_groups"),
                         owner + std::to_string(seen.size()) + " security groups are more than " +
                             std::to_string(limits::kGroupsPerPortMax),
                         "join some of them");
    }
  }

  void check_rule(const SecurityGroup& group, const GroupRule& rule, std::string_view key) {
    const Location where = review_.places.of(rule.where, key);
    const std::string owner = "security group " + quoted(group.name) + ": ";
    if (!doubts_.groups) {
      for (const std::string& name : rule.remote.groups)
        if (!groups_.contains(name))
          review_.faults.add(where, owner + "unknown security group " + quoted(name), known());
    }
    if (!rule.protocol || (*rule.protocol != IPPROTO_ICMP && *rule.protocol != IPPROTO_ICMPV6)) return;
    const bool v4 = *rule.protocol == IPPROTO_ICMP;
    for (const IpPrefix& network : rule.remote.networks) {
      if ((network.family() == Family::ipv4) == v4) continue;
      review_.faults.add(
          where,
          owner + network.to_string() + " is " + (v4 ? "IPv6, and icmp is IPv4's" : "IPv4, and icmpv6 is IPv6's"),
          v4 ? "write protocol: icmpv6, or an IPv4 network" : "write protocol: icmp, or an IPv6 network");
    }
  }

  void too_many(size_t count, size_t most, const std::string& what, const std::string& hint) {
    if (count <= most) return;
    review_.faults.add(review_.places.of(tenant_.where, "security_groups"),
                       "tenant " + quoted(tenant_.name) + ": " + std::to_string(count) + " " + what +
                           " are more than " + std::to_string(most),
                       hint);
  }

  void check_sizes() {
    size_t rules = 0;
    size_t addresses = 0;
    std::map<std::string, size_t> remotes_of;
    for (const SecurityGroup& group : tenant_.security_groups) {
      rules += group.ingress.size() + group.egress.size();
      addresses += group.members.size();
      for (const auto* list : {&group.ingress, &group.egress}) {
        for (const GroupRule& rule : *list) {
          addresses += rule.remote.networks.size();
          // A map entry each, in every combination of groups; "any" is one.
          remotes_of[group.name] += std::max<size_t>(1, rule.remote.networks.size() + rule.remote.groups.size());
        }
      }
    }
    too_many(rules, limits::kRulesPerTenantMax, "rules in security groups",
             "join rules by lists of ports and networks");
    too_many(addresses, limits::kGroupAddressesPerTenantMax, "members and networks in security groups",
             "write networks instead of addresses");
    std::set<std::vector<std::string>> combinations;
    for (const Port& port : tenant_.ports) {
      std::vector<std::string> groups = port.security_groups;
      std::sort(groups.begin(), groups.end());
      combinations.insert(std::move(groups));
    }
    size_t in_policies = 0;
    for (const auto& groups : combinations)
      for (const std::string& group : groups) in_policies += remotes_of[group];
    too_many(in_policies, limits::kRemotesInPoliciesMax,
             "remotes of rules, summed over the combinations of groups that ports have,",
             "give more ports the same groups");
  }

  // How many names an address can have: groups it is in, and networks of rules around it.
  void check_names() {
    struct Named {
      std::set<std::string> names;
      Location where;
    };
    std::map<IpPrefix, Named> named;
    auto name = [&named](const IpPrefix& prefix, const std::string& text, Location where) {
      Named& entry = named[prefix];
      if (entry.names.empty()) entry.where = where;
      entry.names.insert(text);
    };
    for (const SecurityGroup& group : tenant_.security_groups) {
      for (const IpPrefix& member : group.members) name(member, "group " + group.name, group.where);
      for (const auto* list : {&group.ingress, &group.egress})
        for (const GroupRule& rule : *list)
          for (const IpPrefix& network : rule.remote.networks) name(network, network.to_string(), rule.where);
    }
    for (const Port& port : tenant_.ports) {
      for (const std::string& group : port.security_groups) {
        for (const IpAddr& address : port.addresses) name(IpPrefix::host(address), "group " + group, port.where);
        for (const IpPrefix& prefix : port.prefixes) name(prefix, "group " + group, port.where);
      }
    }
    std::vector<std::pair<IpPrefix, size_t>> covers;  // with the names of all that is on the stack
    for (const auto& [prefix, entry] : named) {
      while (!covers.empty() && !covers.back().first.contains(prefix)) covers.pop_back();
      const size_t count = entry.names.size() + (covers.empty() ? 0 : covers.back().second);
      covers.emplace_back(prefix, count);
      if (count <= limits::kNamesPerAddressMax) continue;
      review_.faults.add(entry.where,
                         "tenant " + quoted(tenant_.name) + ": " + prefix.to_string() + " is in " +
                             std::to_string(count) + " groups and networks of rules, more than " +
                             std::to_string(limits::kNamesPerAddressMax),
                         "nest fewer networks, or put it into fewer groups");
      return;
    }
  }

  Review& review_;
  const Tenant& tenant_;
  const TenantDoubts& doubts_;
  std::map<std::string, const SecurityGroup*> groups_;
};

}  // namespace

void validate_groups(Review& review) {
  for (size_t i = 0; i < review.config.tenants.size(); ++i)
    Groups(review, review.config.tenants[i], review.doubts.tenants[i]).check();
}

}  // namespace sepal::config
