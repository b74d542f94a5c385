// The model's walk, joined with full dumps of the chains it visits.
#include "agent/explain.hpp"

#include <algorithm>

#include "agent/filters.hpp"
#include "agent/state.hpp"
#include "agent/world.hpp"
#include "tc/pipeline/software.hpp"

namespace sepal::agent {
namespace {

using tc::model::Connection;
using tc::model::Conntrack;
using tc::model::Outcome;
using tc::model::Packet;
using Chain = std::pair<IfIndex, uint32_t>;

// What the kernel holds in the chains looked at so far.
class KernelView {
 public:
  KernelView(Kernel& kernel, uint16_t instance) : kernel_(kernel), instance_(instance) {}

  Result<void> read(const Chain& chain) {
    if (chains_.contains(chain)) return {};
    auto filters = dump_filters(kernel_.route, chain.first, chain.second);
    // A device without clsact has no filters: every rule of it is missing.
    if (!filters && filters.error().code == Errc::resync) return Unexpected(filters.error());
    chains_.emplace(chain, filters ? std::move(*filters) : std::vector<Filter>());
    return {};
  }

  [[nodiscard]] const Filter* ours(const tc::RuleId& id) const {
    const auto chain = chains_.find({id.device, id.chain});
    if (chain == chains_.end()) return nullptr;
    const auto found = std::find_if(chain->second.begin(), chain->second.end(),
                                    [&](const Filter& filter) { return filter.rule.id == id && is_ours(filter); });
    return found == chain->second.end() ? nullptr : &*found;
  }

  // Filters of others that come before this priority.
  [[nodiscard]] std::vector<std::string> foreign_before(const Chain& at, uint16_t prio) const {
    std::vector<std::string> texts;
    const auto chain = chains_.find(at);
    if (chain == chains_.end()) return texts;
    for (const Filter& filter : chain->second)
      if (!is_ours(filter) && filter.rule.id.prio < prio)
        texts.push_back(filter.kind + " at prio " + std::to_string(filter.rule.id.prio));
    return texts;
  }

 private:
  [[nodiscard]] bool is_ours(const Filter& filter) const {
    return filter.kind == "flower" && filter.state.cookie && filter.state.cookie->instance == instance_;
  }

  Kernel& kernel_;
  uint16_t instance_;
  std::map<Chain, std::vector<Filter>> chains_;
};

Standing standing_of(const tc::CompiledRule& wanted, const Filter* found) {
  if (found == nullptr) return Standing::missing;
  return found->state.cookie == wanted.cookie && found->rule.spec == wanted.rule.spec ? Standing::as_wanted
                                                                                      : Standing::other;
}

std::string why_software(const tc::CompiledRule& rule, const Filter* found, const tc::model::Visit& visit) {
  if (visit.in_hardware) return {};
  if (const std::string_view reason = tc::software_reason(rule.rule); !reason.empty()) return std::string(reason);
  if (found == nullptr) return "not in the kernel";
  if (!found->state.in_hw) return "the NIC does not hold it";
  return "the NIC handed the packet up before";
}

class Walker {
 public:
  Walker(Kernel& kernel, const tc::RuleSet& rules, const Ground& ground, const Question& question)
      : kernel_(kernel, ground.facts.instance), dataplane_(rules, ground.facts.vxlan), question_(question) {}

  Result<Way> walk(std::string title, const Packet& packet) {
    // Twice: software alone tells which chains there are to read, then the NIC's part as the kernel says it is.
    Conntrack trial = conntrack_;
    const Outcome plain = dataplane_.software(question_.device, packet, trial);
    for (const tc::model::Visit& visit : plain.way)
      if (auto read = kernel_.read({question_.device, visit.chain}); !read) return Unexpected(read.error());
    const auto knows = [](const Connection&) { return true; };
    const auto holds = [this](const tc::CompiledRule& rule) {
      const Filter* found = kernel_.ours(rule.rule.id);
      return found != nullptr && found->state.in_hw;
    };
    Way way{std::move(title), {}, dataplane_.hardware(question_.device, packet, conntrack_, knows, holds)};
    for (const tc::model::Visit& visit : way.outcome.way) way.stops.push_back(stop_of(visit));
    return way;
  }

  void see_replies() { conntrack_.see_replies(); }
  [[nodiscard]] bool tracks() const { return !conntrack_.connections().empty(); }

 private:
  Stop stop_of(const tc::model::Visit& visit) const {
    Stop stop;
    stop.chain = visit.chain;
    stop.rule = visit.rule;
    stop.before = kernel_.foreign_before({question_.device, visit.chain},
                                         visit.rule == nullptr ? uint16_t{0xffff} : visit.rule->rule.id.prio);
    if (visit.rule == nullptr) return stop;
    const Filter* found = kernel_.ours(visit.rule->rule.id);
    stop.standing = standing_of(*visit.rule, found);
    stop.installed_in_hw = found != nullptr && found->state.in_hw;
    stop.ran_in_hw = visit.in_hardware;
    stop.why = why_software(*visit.rule, found, visit);
    return stop;
  }

  KernelView kernel_;
  tc::model::Dataplane dataplane_;
  const Question& question_;
  Conntrack conntrack_;
};

}  // namespace

std::string_view to_string(Standing standing) {
  switch (standing) {
    case Standing::as_wanted: return "as wanted";
    case Standing::missing: return "missing";
    case Standing::other: return "other";
  }
  return "";
}

Result<Ground> survey(Kernel& kernel, const config::Config& config, const Paths& paths) {
  const SavedState saved = load_state(paths.state);
  LookInput input{&config, paths.instance, &saved};
  input.filters = false;
  auto world = look(kernel, input);
  if (!world) return Unexpected(world.error());
  // Without filters nobody tells zones but the state file.
  for (const auto& [vni, tenant] : saved.tenants) world->facts.zones.emplace(vni, tenant.zone);
  return Ground{std::move(world->facts), std::move(world->devices)};
}

Result<Explanation> explain(Kernel& kernel, const config::Config& config, const Ground& ground,
                            const Question& question) {
  Explanation explanation;
  explanation.rules = std::make_unique<tc::RuleSet>(tc::compile(config, ground.facts));
  explanation.names = Names(&config, ground.facts.ports, ground.devices);
  Walker walker(kernel, *explanation.rules, ground, question);
  auto first = walker.walk("first packet", question.packet);
  if (!first) return Unexpected(first.error());
  const bool goes_on = first->outcome.kind == Outcome::Kind::sent && walker.tracks();
  explanation.ways.push_back(std::move(*first));
  if (goes_on) {
    walker.see_replies();
    Packet next = question.packet;
    if (next.protocol == tc::kProtoTcp) next.tcp_flags = tc::model::kTcpAck;
    auto established = walker.walk("established", next);
    if (!established) return Unexpected(established.error());
    explanation.ways.push_back(std::move(*established));
  }
  for (const Way& way : explanation.ways)
    for (const Stop& stop : way.stops)
      if (stop.rule != nullptr && stop.standing != Standing::as_wanted) ++explanation.differences;
  return explanation;
}

}  // namespace sepal::agent
