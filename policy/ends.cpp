// Who an address is: which names of rules it has, and which policies judge it. A longest-prefix function, reduced to
// the entries that change something.
#include <algorithm>
#include <set>
#include <tuple>

#include "policy/parts.hpp"

namespace sepal::policy {
namespace {

// What one prefix adds to what covers it. A port speaks for its addresses alone: a longer prefix of another owner takes
// over. Names of networks and members of groups accumulate.
struct Said {
  std::set<uint32_t> networks;
  std::set<uint32_t> members;    // groups by `members`
  const Port* sender = nullptr;  // may send from here
  bool owned = false;            // `receiver` says whom it is delivered to, null: to none of our ports
  const Port* receiver = nullptr;
};
using Sayings = std::map<IpPrefix, Said>;

const Port* port_named(const Network& network, const std::string& name) {
  const auto found =
      std::find_if(network.ports.begin(), network.ports.end(), [&](const Port& port) { return port.name == name; });
  return found == network.ports.end() ? nullptr : &*found;
}

Sayings gather(const Network& network, const Numbers& numbers) {
  Sayings sayings;
  for (const auto& [prefix, name] : numbers.networks) sayings[prefix].networks.insert(name);
  for (const config::SecurityGroup& group : network.groups) {
    const auto name = numbers.groups.find(group.name);
    if (name == numbers.groups.end()) continue;
    for (const IpPrefix& member : group.members) sayings[member].members.insert(name->second);
  }
  for (const Port& port : network.ports) {
    for (const IpPrefix& source : port.sources) {
      Said& said = sayings[source];
      said.sender = &port;
      said.owned = true;
      said.receiver = &port;
    }
  }
  // A route decides who receives, whatever prefix of a port it lies in, and gives nobody leave to send from there.
  for (const Delivery& route : network.routes) {
    Said& said = sayings[route.to];
    said.owned = true;
    said.receiver = route.port.empty() ? nullptr : port_named(network, route.port);
  }
  return sayings;
}

// Sets of names, numbered from 1; the empty one is 0.
class Sets {
 public:
  uint32_t number(const std::set<uint32_t>& names) {
    if (names.empty()) return 0;
    return sets_.emplace(std::vector<uint32_t>(names.begin(), names.end()), static_cast<uint32_t>(sets_.size() + 1))
        .first->second;
  }

  void add_pages(std::vector<ChoiceEntry>& choices) const {
    for (const auto& [names, set] : sets_) {
      for (size_t at = 0; at < names.size() && at < SEPAL_SELECTORS_MAX; at += SEPAL_SELECTORS_PER_PAGE) {
        ChoiceEntry& page = choices.emplace_back();
        page.key = {SEPAL_POLICY_SETS, set, static_cast<uint32_t>(at / SEPAL_SELECTORS_PER_PAGE)};
        const size_t count = std::min<size_t>(names.size() - at, SEPAL_SELECTORS_PER_PAGE);
        std::copy_n(names.begin() + static_cast<std::ptrdiff_t>(at), count, page.value.selectors);
      }
    }
  }

 private:
  std::map<std::vector<uint32_t>, uint32_t> sets_;
};

sepal_prefix_key key_of(const IpPrefix& prefix) {
  sepal_prefix_key key{};
  key.prefix_bits = SEPAL_PREFIX_FIXED_BITS + prefix.length;
  key.table = prefix.family() == Family::ipv4 ? SEPAL_TABLE_IPV4 : SEPAL_TABLE_IPV6;
  std::copy_n(prefix.address.bytes.begin(), prefix.address.size(), key.bytes);
  return key;
}

ChoiceEntry host_entry(const IpAddr& address, const sepal_end& end) {
  ChoiceEntry entry;
  std::copy(address.bytes.begin(), address.bytes.end(), entry.value.host.address);
  entry.key = sepal_host_key(entry.value.host.address, address.is_v4() ? 0 : 1);
  entry.value.host.end = end;
  return entry;
}

bool same(const sepal_end& a, const sepal_end& b) {
  return a.set == b.set && a.networks_only == b.networks_only && a.egress_policy == b.egress_policy &&
         a.ingress_policy == b.ingress_policy;
}

}  // namespace

void add_ends(const Network& network, const Numbers& numbers, Tables& tables) {
  struct Cover {
    IpPrefix prefix;
    Said said;  // with all that covers it
    sepal_end end{};
  };
  Sets sets;
  std::vector<Cover> covers;                                              // of the prefix at hand, widest first
  std::map<std::tuple<uint32_t, uint32_t, uint32_t>, ChoiceEntry> hosts;  // by key
  for (const auto& [prefix, said] : gather(network, numbers)) {
    while (!covers.empty() && !covers.back().prefix.contains(prefix)) covers.pop_back();
    Cover cover{prefix, covers.empty() ? Said{} : covers.back().said, {}};
    cover.said.networks.insert(said.networks.begin(), said.networks.end());
    cover.said.members.insert(said.members.begin(), said.members.end());
    if (said.sender != nullptr) cover.said.sender = said.sender;
    if (said.owned) cover.said.receiver = said.receiver;

    std::set<uint32_t> names = cover.said.networks;
    cover.end.networks_only = sets.number(names);
    names.insert(cover.said.members.begin(), cover.said.members.end());
    if (const Port* sender = cover.said.sender; sender != nullptr) {
      for (const std::string& group : sender->groups)
        if (const auto name = numbers.groups.find(group); name != numbers.groups.end()) names.insert(name->second);
      cover.end.egress_policy = numbers.policy_of(*sender);
    }
    if (cover.said.receiver != nullptr) cover.end.ingress_policy = numbers.policy_of(*cover.said.receiver);
    cover.end.set = sets.number(names);

    if (said.sender != nullptr && prefix == IpPrefix::host(prefix.address)) {
      // Of two with the same key the first stays; the other's address is in the trie.
      const ChoiceEntry host = host_entry(prefix.address, cover.end);
      hosts.emplace(std::tuple(host.key.policy, host.key.selector, host.key.protocol), host);
    }
    const sepal_end around = covers.empty() ? sepal_end{} : covers.back().end;
    if (!same(cover.end, around)) {
      PrefixEntry& entry = tables.prefixes.emplace_back();
      entry.key = key_of(prefix);
      entry.value.end = cover.end;
    }
    covers.push_back(std::move(cover));
  }
  sets.add_pages(tables.choices);
  for (const auto& [key, host] : hosts) tables.choices.push_back(host);
}

}  // namespace sepal::policy
