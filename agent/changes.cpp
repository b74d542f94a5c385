// Groups steps by tenant and object.
#include "agent/changes.hpp"

#include <map>
#include <set>
#include <tuple>

namespace sepal::agent {
namespace {

struct Tally {
  size_t rules = 0;
  std::set<IfIndex> blocks;
};
using Subject = std::tuple<Vni, char, std::string>;  // tenant, sign, object

std::string group_text(uint32_t chain) {
  return chain == 0 ? "first chain" : "group " + std::to_string(static_cast<unsigned>(tc::parse_chain(chain).group));
}

std::string wanted_object(const Names& names, const tc::CompiledRule& rule) {
  const ObjectName* named = names.object(rule.origin.where);
  if (named != nullptr && named->text != "tenant" && named->text != "host") return named->text;
  return rule.origin.vni.value() == 0 ? "uplink and tunnel" : "tenant's own tables";
}

// What a rule that goes was for, from what it matched: groups 2, 3 and 7 go by prefix, group 4 delivers by MAC.
std::string removed_object(const Filter& filter) {
  const auto group = tc::parse_chain(filter.rule.id.chain).group;
  for (const tc::Key key : {tc::Key::dst_ip4, tc::Key::dst_ip6}) {
    const tc::KeyMatch* match = filter.rule.spec.match.find(key);
    const bool by_prefix = group == tc::Group::nat || group == tc::Group::encap || group == tc::Group::fresh;
    if (match == nullptr || filter.rule.id.chain == 0 || !by_prefix) continue;
    IpAddr address;
    address.family = key == tc::Key::dst_ip4 ? Family::ipv4 : Family::ipv6;
    address.bytes = match->value;
    unsigned length = 0;
    for (uint8_t byte : match->mask) length += static_cast<unsigned>(__builtin_popcount(byte));
    return "route " + IpPrefix::make(address, length).to_string();
  }
  if (const tc::KeyMatch* mac = filter.rule.spec.match.find(tc::Key::dst_mac);
      mac != nullptr && group == tc::Group::egress) {
    MacAddr address;
    std::copy_n(mac->value.begin(), address.bytes.size(), address.bytes.begin());
    return "delivery to " + address.to_string();
  }
  return group_text(filter.rule.id.chain);
}

class Summary {
 public:
  Summary(const Names& names, const std::vector<tc::CompiledRule>& wanted, const std::vector<tc::Observed>& observed,
          const std::vector<Filter>& removed, std::set<IfIndex> keeps)
      : names_(names), wanted_(wanted), observed_(observed), keeps_(std::move(keeps)) {
    for (const auto& rule : wanted) keeps_.insert(rule.rule.id.device);
    for (const auto& rule : observed) had_.insert(rule.id.device);
    for (const Filter& filter : removed) full_.emplace(filter.rule.id, &filter);
  }

  void add(const tc::Step& step) {
    if (step.kind == tc::Step::Kind::remove) {
      add_removal(observed_[step.rule]);
      return;
    }
    const tc::CompiledRule& rule = wanted_[step.rule];
    const char sign = step.kind == tc::Step::Kind::add ? '+' : '~';
    // A block that is new as a whole is its port's, whatever each rule in it is for.
    const tc::PortKey* port = had_.contains(rule.rule.id.device) ? nullptr : names_.port_on(rule.rule.id.device);
    if (port != nullptr)
      count(names_.vni_of(port->tenant).value_or(Vni()), sign, "port " + port->port, rule.rule.id.device);
    else
      count(rule.origin.vni, sign, wanted_object(names_, rule), rule.rule.id.device);
  }

  [[nodiscard]] std::vector<Change> take() const {
    std::vector<Change> changes;
    for (const auto& [subject, tally] : tallies_) {
      const auto& [vni, sign, object] = subject;
      changes.push_back({sign, vni, object, tally.rules, tally.blocks.size()});
    }
    return changes;
  }

 private:
  void add_removal(const tc::Observed& gone) {
    const Vni vni = tc::parse_chain(gone.id.chain).vni;
    if (!keeps_.contains(gone.id.device)) {
      count(block_vni(gone.id.device), '-', "port on " + names_.device(gone.id.device), gone.id.device);
      return;
    }
    const auto full = full_.find(gone.id);
    count(vni, '-', full == full_.end() ? group_text(gone.id.chain) : removed_object(*full->second), gone.id.device);
  }

  // The tenant of a block that goes: whose chains stand in it (a peer's may stand there as well; the most rules win).
  Vni block_vni(IfIndex device) {
    if (const auto known = block_vnis_.find(device); known != block_vnis_.end()) return known->second;
    std::map<Vni, size_t> rules;
    for (const auto& rule : observed_)
      if (rule.id.device == device && rule.id.chain != 0) ++rules[tc::parse_chain(rule.id.chain).vni];
    Vni best;
    for (const auto& [vni, number] : rules)
      if (number > rules[best]) best = vni;
    block_vnis_.emplace(device, best);
    return best;
  }

  void count(Vni vni, char sign, const std::string& object, IfIndex device) {
    Tally& tally = tallies_[{vni, sign, object}];
    ++tally.rules;
    tally.blocks.insert(device);
  }

  const Names& names_;
  const std::vector<tc::CompiledRule>& wanted_;
  const std::vector<tc::Observed>& observed_;
  std::set<IfIndex> keeps_;  // devices with wanted rules
  std::set<IfIndex> had_;    // devices with rules of ours now
  std::map<tc::RuleId, const Filter*> full_;
  std::map<IfIndex, Vni> block_vnis_;
  std::map<Subject, Tally> tallies_;
};

}  // namespace

std::vector<Change> summarize(const Names& names, const std::vector<tc::CompiledRule>& wanted,
                              const std::vector<tc::Observed>& observed, const std::vector<tc::Step>& steps,
                              const std::vector<Filter>& removed, const std::set<IfIndex>& keeps) {
  Summary summary(names, wanted, observed, removed, keeps);
  for (const tc::Step& step : steps) summary.add(step);
  return summary.take();
}

std::string count_text(size_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string to_string(const Change& change) {
  return std::string(1, change.sign) + " " + change.object + ": " + count_text(change.rules, "rule") + " in " +
         count_text(change.blocks, "block");
}

std::string to_line(const Names& names, const Change& change) {
  return names.tenant(change.vni) + ": " + to_string(change);
}

}  // namespace sepal::agent
