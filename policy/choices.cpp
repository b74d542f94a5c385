// What each combination of groups says to each name of the other end: for a protocol without ports the rule that
// decides, else a table of ports.
//
// Rules that overlap are settled here, so that a packet meets one entry for each name: of all the rules that a port
// falls under the one of the lowest rank stands in its place. Ranks order the rules of one policy by priority, denials
// first.
#include <algorithm>
#include <set>
#include <tuple>

#include "policy/parts.hpp"

namespace sepal::policy {
namespace {

constexpr uint32_t kRankDefault = static_cast<uint32_t>(SEPAL_RANK_NONE) - 1;
constexpr uint32_t kDetails = 0x10000;  // ports, or types and codes of ICMP

struct RankedRule {
  const config::GroupRule* rule = nullptr;
  uint32_t word = 0;
  uint32_t rank = 0;
  bool enforced = true;
};

uint64_t decided(uint32_t rank, uint32_t word) { return uint64_t{rank} << SEPAL_RANK_SHIFT | word; }

constexpr sepal_choice kNothing{SEPAL_DECIDED_BY_NONE, SEPAL_DECIDED_BY_NONE};
bool same(const sepal_choice& a, const sepal_choice& b) { return a.all == b.all && a.enforced == b.enforced; }
bool is_nothing(const sepal_choice& choice) { return same(choice, kNothing); }

void prefer(sepal_choice& best, const sepal_choice& other) {
  best.all = std::min(best.all, other.all);
  best.enforced = std::min(best.enforced, other.enforced);
}

sepal_choice choice_of(const RankedRule& rule) {
  const uint64_t by_rule = decided(rule.rank, rule.word);
  return {by_rule, rule.enforced ? by_rule : SEPAL_DECIDED_BY_NONE};
}

// The ports, or types and codes, that a rule speaks of: [first, last] each.
std::vector<PortRange> details_of(const config::GroupRule& rule) {
  if (!rule.icmp_type) return rule.ports.empty() ? std::vector<PortRange>{PortRange{}} : rule.ports;
  const auto type = static_cast<uint16_t>(*rule.icmp_type << 8U);
  if (!rule.icmp_code) return {PortRange{type, static_cast<uint16_t>(type | 0xffU)}};
  const auto exact = static_cast<uint16_t>(type | *rule.icmp_code);
  return {PortRange{exact, exact}};
}

struct Segment {
  PortRange details;
  sepal_choice choice{};
};

// The whole range in segments of one choice each; those that nothing speaks of are left out.
std::vector<Segment> settle(const std::vector<const RankedRule*>& rules) {
  struct Edge {
    uint32_t at;
    bool begins;
    const RankedRule* rule;
  };
  std::vector<Edge> edges;
  for (const RankedRule* rule : rules) {
    for (const PortRange& range : details_of(*rule->rule)) {
      edges.push_back({range.first, true, rule});
      edges.push_back({uint32_t{range.last} + 1, false, rule});
    }
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.at < b.at; });
  auto by_rank = [](const RankedRule* a, const RankedRule* b) { return a->rank < b->rank; };
  std::multiset<const RankedRule*, decltype(by_rank)> open(by_rank);
  std::multiset<const RankedRule*, decltype(by_rank)> open_enforced(by_rank);
  std::vector<Segment> segments;
  for (size_t i = 0; i < edges.size();) {
    const uint32_t at = edges[i].at;
    for (; i < edges.size() && edges[i].at == at; ++i) {
      const RankedRule* rule = edges[i].rule;
      if (edges[i].begins) {
        open.insert(rule);
        if (rule->enforced) open_enforced.insert(rule);
      } else {
        open.erase(open.find(rule));
        if (rule->enforced) open_enforced.erase(open_enforced.find(rule));
      }
    }
    const uint32_t end = i < edges.size() ? edges[i].at : kDetails;
    if (end <= at) continue;
    sepal_choice choice = kNothing;
    if (!open.empty()) prefer(choice, choice_of(**open.begin()));
    if (!open_enforced.empty()) prefer(choice, choice_of(**open_enforced.begin()));
    if (is_nothing(choice)) continue;
    const PortRange details{static_cast<uint16_t>(at), static_cast<uint16_t>(end - 1)};
    if (!segments.empty() && segments.back().details.last + 1U == at && same(segments.back().choice, choice)) {
      segments.back().details.last = details.last;
    } else {
      segments.push_back({details, choice});
    }
  }
  return segments;
}

// Adds a range as aligned blocks, which are what a trie of prefixes can hold.
void add_blocks(std::vector<PrefixEntry>& prefixes, uint32_t table, const Segment& segment) {
  uint32_t at = segment.details.first;
  const uint32_t end = uint32_t{segment.details.last} + 1;
  while (at < end) {
    uint32_t size = at == 0 ? kDetails : at & (~at + 1);
    unsigned bits = 16;
    while (at + size > end) size >>= 1U;
    for (uint32_t rest = size; rest > 1; rest >>= 1U) --bits;
    PrefixEntry& entry = prefixes.emplace_back();
    entry.key.prefix_bits = SEPAL_PREFIX_FIXED_BITS + bits;
    entry.key.table = table;
    entry.key.bytes[0] = static_cast<uint8_t>(at >> 8U);
    entry.key.bytes[1] = static_cast<uint8_t>(at);
    entry.value.choice = segment.choice;
    at += size;
  }
}

class Writer {
 public:
  explicit Writer(Tables& tables) : tables_(tables) {}

  // One policy and one name: `rules` are those that speak of it.
  void add(uint32_t policy, uint32_t selector, const std::vector<const RankedRule*>& rules,
           const sepal_choice& otherwise) {
    std::vector<const RankedRule*> of_any;
    std::map<uint8_t, std::vector<const RankedRule*>> by_protocol;
    for (const RankedRule* rule : rules) {
      if (rule->rule == nullptr || !rule->rule->protocol) {
        of_any.push_back(rule);
      } else {
        by_protocol[*rule->rule->protocol].push_back(rule);
      }
    }
    sepal_choice any = otherwise;
    for (const RankedRule* rule : of_any) prefer(any, choice_of(*rule));
    if (!is_nothing(any)) add_choice({policy, selector, SEPAL_PROTOCOL_ANY}, any);
    for (auto& [protocol, list] : by_protocol) add_protocol({policy, selector, protocol}, std::move(list), any);
  }

 private:
  void add_choice(const sepal_choice_key& key, const sepal_choice& choice, PortRange details = {}) {
    ChoiceEntry& entry = tables_.choices.emplace_back();
    entry.key = key;
    entry.value.by_port.choice = choice;
    entry.value.by_port.first = details.first;
    entry.value.by_port.last = details.last;
  }

  void add_protocol(const sepal_choice_key& key, std::vector<const RankedRule*> rules, const sepal_choice& any) {
    std::vector<Segment> segments = settle(rules);
    // What rules of any protocol say stands behind all of it.
    for (Segment& segment : segments) prefer(segment.choice, any);
    // One range needs no table: what is said of other ports stands in the entry for any protocol.
    if (segments.size() == 1) return add_choice(key, segments[0].choice, segments[0].details);
    ChoiceEntry& entry = tables_.choices.emplace_back();
    entry.key = key;
    entry.value.by_port.table = table_of(segments, any);
  }

  // Many names often have the same rules: one table serves them all.
  uint32_t table_of(const std::vector<Segment>& segments, const sepal_choice& any) {
    std::vector<uint64_t> content{any.all, any.enforced};
    for (const Segment& segment : segments) {
      content.insert(content.end(), {uint64_t{segment.details.first} << 16U | segment.details.last, segment.choice.all,
                                     segment.choice.enforced});
    }
    const auto [known, is_new] = known_.emplace(std::move(content), next_);
    if (!is_new) return known->second;
    if (!is_nothing(any)) {
      PrefixEntry& entry = tables_.prefixes.emplace_back();
      entry.key.prefix_bits = SEPAL_PREFIX_FIXED_BITS;
      entry.key.table = next_;
      entry.value.choice = any;
    }
    for (const Segment& segment : segments)
      if (!same(segment.choice, any)) add_blocks(tables_.prefixes, next_, segment);
    return next_++;
  }

  Tables& tables_;
  std::map<std::vector<uint64_t>, uint32_t> known_;
  uint32_t next_ = SEPAL_TABLE_PORTS;
};

std::vector<RankedRule> rank(const std::vector<WordedRule>& rules, const Combination& groups, Direction direction) {
  std::vector<const WordedRule*> mine;
  for (const WordedRule& rule : rules)
    if (rule.direction == direction && std::binary_search(groups.begin(), groups.end(), rule.group->name))
      mine.push_back(&rule);
  std::stable_sort(mine.begin(), mine.end(), [](const WordedRule* a, const WordedRule* b) {
    return std::tie(a->rule->priority, a->rule->allow) < std::tie(b->rule->priority, b->rule->allow);
  });
  std::vector<RankedRule> ranked;
  ranked.reserve(mine.size());
  for (const WordedRule* rule : mine)
    ranked.push_back({rule->rule, rule->word, static_cast<uint32_t>(ranked.size()), !rule->group->audit});
  return ranked;
}

// What no rule speaks of: denied, unless none of the groups is enforced.
sepal_choice default_of(const Combination& groups, const std::map<std::string, bool>& audited, Direction direction,
                        bool log_denied) {
  const uint32_t denied = (direction == Direction::egress ? SEPAL_RULE_DEFAULT_EGRESS : SEPAL_RULE_DEFAULT_INGRESS) |
                          (log_denied ? SEPAL_RULE_LOGS : 0U);
  const bool enforced =
      std::any_of(groups.begin(), groups.end(), [&](const std::string& name) { return !audited.at(name); });
  return {decided(kRankDefault, denied),
          decided(kRankDefault, enforced ? denied : SEPAL_RULE_ALLOWS | SEPAL_RULE_NOT_ENFORCED)};
}

}  // namespace

void add_choices(const Network& network, const std::vector<WordedRule>& rules, const Numbers& numbers, Tables& tables) {
  std::map<std::string, bool> audited;
  for (const config::SecurityGroup& group : network.groups) audited[group.name] = group.audit;
  Writer writer(tables);
  for (const auto& [groups, policy] : numbers.policies) {
    for (const Direction direction : {Direction::egress, Direction::ingress}) {
      const uint32_t judge = policy + (direction == Direction::egress ? SEPAL_EGRESS : SEPAL_INGRESS);
      const std::vector<RankedRule> ranked = rank(rules, groups, direction);
      std::map<uint32_t, std::vector<const RankedRule*>> by_selector;
      by_selector[SEPAL_SELECTOR_ANY];
      for (const RankedRule& rule : ranked) {
        const config::RuleRemote& remote = rule.rule->remote;
        if (remote.any) by_selector[SEPAL_SELECTOR_ANY].push_back(&rule);
        for (const IpPrefix& prefix : remote.networks) by_selector[numbers.networks.at(prefix)].push_back(&rule);
        for (const std::string& group : remote.groups) by_selector[numbers.groups.at(group)].push_back(&rule);
      }
      for (const auto& [selector, list] : by_selector)
        writer.add(
            judge, selector, list,
            selector == SEPAL_SELECTOR_ANY ? default_of(groups, audited, direction, network.log_denied) : kNothing);
    }
  }
}

}  // namespace sepal::policy
