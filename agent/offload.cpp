// See offload.hpp. A packet's end is counted, not its way: every packet of a block ends in exactly one rule that jumps
// nowhere (invariant 4), while the rules before it may count it twice, in hardware and again where software took over.
#include "agent/offload.hpp"

#include <algorithm>
#include <tuple>

#include "tc/pipeline/lint.hpp"
#include "tc/pipeline/lint_words.hpp"

namespace sepal::agent {
namespace {

constexpr uint8_t kTcpEstablished = 3;  // enum tcp_conntrack

bool ends_here(const tc::Rule& rule) {
  return std::none_of(rule.spec.actions.begin(), rule.spec.actions.end(), [](const tc::Action& action) {
    const auto* gact = std::get_if<tc::Gact>(&action.kind);
    return gact != nullptr && gact->verdict.control == tc::Control::goto_chain;
  });
}

std::optional<IfIndex> sent_to(const tc::Rule& rule) {
  for (const tc::Action& action : rule.spec.actions)
    if (const auto* mirred = std::get_if<tc::Mirred>(&action.kind)) return mirred->device;
  return std::nullopt;
}

// Which lint findings stand against which rule; worked out only when a rule was refused.
std::map<tc::RuleId, std::string> foreseen(const Shown& shown, const config::Config& config) {
  std::map<tc::RuleId, std::string> found;
  const auto context = tc::lint_context(config, shown.facts, shown.wanted->zones);
  for (const tc::LintFinding& finding : tc::lint(shown.wanted->rules, context))
    found.emplace(finding.id, finding.rule + (finding.informative ? " (note): " : ": ") + finding.what);
  return found;
}

class Count {
 public:
  Count(const Shown& shown, const config::Config* config, std::optional<Vni> only)
      : shown_(shown), config_(config), only_(only) {}

  OffloadReport run(const std::map<Zone, ConnectionCount>& connections) {
    for (const ShownRule& rule : shown_.rules) count(rule);
    if (shown_.wanted) count_what_is_not_there();
    for (auto& [device, block] : blocks_) {
      block.obstacle = device_obstacle(device, shown_.view);
      report_.any_nic = report_.any_nic || shown_.view.wants(device);
    }
    say_what_lint_knew();
    count_connections(connections);
    for (auto& [device, block] : blocks_) report_.blocks.push_back(std::move(block));
    std::sort(report_.blocks.begin(), report_.blocks.end(),
              [this](const OffloadBlock& a, const OffloadBlock& b) { return key(a) < key(b); });
    for (auto& [vni, tenant] : tenants_) report_.tenants.push_back(tenant);
    std::sort(report_.rules.begin(), report_.rules.end(),
              [](const OffloadRule& a, const OffloadRule& b) { return a.rule.id < b.rule.id; });
    return std::move(report_);
  }

 private:
  static const tc::PortKey& nobody() {
    static const tc::PortKey none;
    return none;
  }
  static std::tuple<tc::BlockKind, tc::PortKey, IfIndex> key(const OffloadBlock& block) {
    return {block.kind, block.port == nullptr ? nobody() : *block.port, block.device};
  }
  // Whose a device is: a port's tenant; nobody's (0) for the tunnel and the uplink.
  Vni owner(IfIndex device) {
    const auto [found, fresh] = owners_.emplace(device, Vni());
    const tc::PortKey* port = fresh ? shown_.names.port_on(device) : nullptr;
    if (port != nullptr) found->second = shown_.names.vni_of(port->tenant).value_or(Vni());
    return found->second;
  }

  // Whose a rule is: a port's block is its owner's, wherever peers' chains in it lead.
  Vni payer(IfIndex device, Vni vni) {
    const Vni own = owner(device);
    return own == Vni() ? vni : own;
  }

  OffloadBlock& block(IfIndex device) {
    OffloadBlock& found = blocks_[device];
    if (found.device == device) return found;
    found.device = device;
    found.port = shown_.names.port_on(device);
    const auto kind = shown_.blocks.find(device);
    if (kind != shown_.blocks.end()) found.kind = kind->second;
    if (shown_.wanted && device == shown_.facts.vxlan) found.kind = tc::BlockKind::vxlan;
    return found;
  }

  void count(const ShownRule& rule) {
    const Vni vni = payer(rule.filter.rule.id.device, rule.vni);
    count_received(rule);
    if (only_ && vni != *only_) return;
    OffloadBlock& at = block(rule.filter.rule.id.device);
    count_sent(rule, vni, at);
    const Placed& placed = rule.placed;
    if (placed.placement == Placement::software_only) {
      ++at.software_only;
      ++report_.software_only;
      ++report_.by_design[placed.why];
    }
    if (!placed.wanted || rule.changed) return;
    ++at.wanted;
    ++report_.wanted;
    if (placed.held > 0) {
      ++at.held;
      ++report_.held;
    }
    if (placed.placement == Placement::slow_path) {
      ++at.slow;
      ++report_.slow;
    }
    if (!placed.as_wanted()) report_.rules.push_back({rule.filter.rule, placed, vni, rule.origin, {}, {}});
  }

  void count_sent(const ShownRule& rule, Vni vni, OffloadBlock& at) {
    if (rule.filter.state.stats.empty() || !ends_here(rule.filter.rule)) return;
    const tc::ActionStats& stats = rule.filter.state.stats.front();
    at.sent.add(stats);
    if (vni != Vni()) tenant(vni).traffic.add(stats);
  }

  void count_received(const ShownRule& rule) {
    const auto to = sent_to(rule.filter.rule);
    if (!to || rule.filter.state.stats.empty() || owner(*to) == Vni() || (only_ && owner(*to) != *only_)) return;
    block(*to).received.add(rule.filter.state.stats.front());
  }

  // Rules of the configuration that the kernel lacks, or has otherwise.
  void count_what_is_not_there() {
    std::map<tc::RuleId, const ShownRule*> there;
    for (const ShownRule& rule : shown_.rules) there.emplace(rule.filter.rule.id, &rule);
    for (const tc::CompiledRule& rule : shown_.wanted->rules) {
      const auto found = there.find(rule.rule.id);
      if (found != there.end() && !found->second->changed) continue;
      const Vni vni = payer(rule.rule.id.device, rule.origin.vni);
      if (only_ && vni != *only_) continue;
      OffloadBlock& at = block(rule.rule.id.device);
      ++report_.differing;
      Placed placed = place(rule.rule, nullptr, shown_.view);
      if (found != there.end()) {
        placed.placement = Placement::other;
        placed.why = "the kernel has another rule in this place";
      }
      if (!placed.wanted) continue;
      ++at.wanted;
      ++report_.wanted;
      report_.rules.push_back({rule.rule, placed, vni, rule.origin, {}, {}});
    }
  }

  void say_what_lint_knew() {
    std::optional<std::map<tc::RuleId, std::string>> found;
    for (OffloadRule& rule : report_.rules) {
      if (rule.placed.cause != Cause::refused) continue;
      if (!found && config_ != nullptr && shown_.wanted) found = foreseen(shown_, *config_);
      if (found)
        if (const auto finding = found->find(rule.rule.id); finding != found->end()) rule.foreseen = finding->second;
      rule.judges = tc::lint_rule_about(rule.placed.refusal->words);
    }
  }

  void count_connections(const std::map<Zone, ConnectionCount>& connections) {
    for (const auto& [vni, zone] : shown_.wanted ? shown_.wanted->zones : shown_.facts.zones) {
      if (vni.value() > limits::kVniMax || (only_ && vni != *only_)) continue;
      const auto found = connections.find(zone);
      OffloadTenant& of = tenant(vni);
      if (found != connections.end()) of.connections = found->second;
    }
  }

  OffloadTenant& tenant(Vni vni) {
    OffloadTenant& found = tenants_[vni];
    found.vni = vni;
    return found;
  }

  const Shown& shown_;
  const config::Config* config_;
  std::optional<Vni> only_;
  OffloadReport report_;
  std::map<IfIndex, OffloadBlock> blocks_;
  std::map<IfIndex, Vni> owners_;
  std::map<Vni, OffloadTenant> tenants_;
};

}  // namespace

void Share::add(const tc::ActionStats& stats) {
  packets += stats.packets;
  bytes += stats.bytes;
  hw_packets += stats.hw_packets;
  hw_bytes += stats.hw_bytes;
}

void ConnectionCount::add(const netlink::Connection& connection) {
  ++total;
  const uint8_t protocol = connection.original.protocol;
  if (connection.in_hardware())
    ++hardware;
  else if (protocol != tc::kProtoTcp && protocol != tc::kProtoUdp)
    ++never;
  else if (protocol == tc::kProtoTcp && !connection.offloaded() && connection.tcp_state != kTcpEstablished)
    ++young;
  else
    ++software;
}

OffloadReport make_offload_report(const Shown& shown, const config::Config* config,
                                  const std::map<Zone, ConnectionCount>& connections, std::optional<Vni> only) {
  return Count(shown, config, only).run(connections);
}

}  // namespace sepal::agent
