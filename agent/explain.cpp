// The model's walk, joined with full dumps of the chains it visits.
#include "agent/explain.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "agent/demotions.hpp"
#include "agent/filters.hpp"
#include "agent/hardware_view.hpp"
#include "agent/state.hpp"
#include "agent/world.hpp"
#include "policy/network.hpp"
#include "tc/pipeline/narrow.hpp"

namespace sepal::agent {
namespace {

using tc::model::Connection;
using tc::model::Conntrack;
using tc::model::Outcome;
using tc::model::Packet;
using Chain = std::pair<IfIndex, uint32_t>;

// Names the eBPF programs without loading them, which takes the kernel's verifier longer than all the rest of a
// question: few packets meet a rule that runs one.
class NamedPrograms : public SlowPath {
 public:
  Result<tc::BpfPrograms> programs() override { return tc::BpfPrograms(); }
  Result<void> pin() override { return not_here(); }
  Result<int> program_fd(const tc::Bpf& /*action*/) override { return not_here(); }
  Result<void> put_entries(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return not_here();
  }
  Result<void> drop_stale(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return not_here();
  }
  Result<void> put_some(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return not_here();
  }
  Result<void> drop_some(const std::vector<tc::NeighbourEntry>&, const std::vector<tc::SliceEntry>&) override {
    return not_here();
  }
  Enforced enforce(const std::vector<policy::TenantPolicy>&, const Progress&, std::vector<std::string>&) override {
    return {};
  }
  Result<void> drop_policies(const std::set<Vni>&) override { return not_here(); }
  Result<std::vector<policy::RuleCount>> policy_counts() override { return not_here(); }
  Result<std::unique_ptr<Questions>> questions() override { return not_here(); }
  Result<uint64_t> questions_lost() override { return not_here(); }
  Result<bool> unpin() override { return not_here(); }

 private:
  static Unexpected not_here() { return fail(Errc::internal, "a question loads no eBPF program"); }
};

bool runs_program(const Stop& stop) {
  return stop.rule != nullptr &&
         std::any_of(stop.rule->rule.spec.actions.begin(), stop.rule->rule.spec.actions.end(),
                     [](const tc::Action& action) { return std::holds_alternative<tc::Bpf>(action.kind); });
}

bool went_past_conntrack(const Way& way) {
  return std::any_of(way.stops.begin(), way.stops.end(),
                     [](const Stop& stop) { return stop.rule != nullptr && tc::asks_untracked(stop.rule->rule.spec); });
}

// Since 6.3 a NIC's driver tells the action that missed (linux:include/net/flow_offload.h, miss_cookie).
tc::model::Dataplane::GoesOn where_software_goes_on() {
  utsname kernel{};
  unsigned major = 0;
  unsigned minor = 0;
  const bool known = ::uname(&kernel) == 0 && std::sscanf(kernel.release, "%u.%u", &major, &minor) == 2;
  using GoesOn = tc::model::Dataplane::GoesOn;
  return known && std::pair(major, minor) < std::pair(6U, 3U) ? GoesOn::in_chain : GoesOn::behind_lookup;
}

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

// A rule that the NIC holds runs in software all the same when the packet is there already.
std::string why_software(const Placed& placed, bool ran_in_hw) {
  if (ran_in_hw) return {};
  return placed.placement == Placement::hardware ? "the NIC handed the packet up before" : placed.why;
}

class Walker {
 public:
  Walker(Kernel& kernel, const tc::RuleSet& rules, const std::vector<policy::TenantPolicy>& policies,
         const Ground& ground, const Question& question, HardwareView view)
      : kernel_(kernel, ground.facts.instance),
        judges_(judges_of(policies)),
        dataplane_(rules, ground.facts.vxlan, &judges_),
        question_(question),
        view_(std::move(view)) {}

  Result<Way> walk(std::string title, const Packet& packet) {
    // First software alone tells which chains there are to read, then the NIC's part as the kernel says it is. What
    // comes up behind its lookup is tracked and not let go: the chains that it then meets are read, too.
    Packet tracked = packet;
    tracked.unseen = false;
    for (const Packet& trial_packet : {packet, tracked}) {
      Conntrack trial = conntrack_;
      const Outcome plain = dataplane_.software(question_.device, trial_packet, trial);
      for (const tc::model::Visit& visit : plain.way)
        if (auto read = kernel_.read({question_.device, visit.chain}); !read) return Unexpected(read.error());
    }
    const auto knows = [](const Connection&) { return true; };
    const auto holds = [this](const tc::CompiledRule& rule) {
      const Filter* found = kernel_.ours(rule.rule.id);
      return found != nullptr && found->state.in_hw;
    };
    Way way{std::move(title),
            {},
            dataplane_.hardware(question_.device, packet, conntrack_, knows, holds, where_software_goes_on())};
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
    stop.placed = found == nullptr ? place(visit.rule->rule, nullptr, view_) : place(found->rule, &found->state, view_);
    // A NIC that does not know the next hop hands up what it has matched.
    stop.ran_in_hw = visit.in_hardware && stop.placed.placement != Placement::slow_path;
    stop.why = why_software(stop.placed, stop.ran_in_hw);
    return stop;
  }

  static tc::model::Judges judges_of(const std::vector<policy::TenantPolicy>& policies) {
    tc::model::Judges judges;
    for (const policy::TenantPolicy& policy : policies) judges.emplace(policy.vni, policy::Judge(policy.tables));
    return judges;
  }

  KernelView kernel_;
  tc::model::Judges judges_;
  tc::model::Dataplane dataplane_;
  const Question& question_;
  HardwareView view_;
  Conntrack conntrack_;
};

// A port's block is its tenant's and its peers'; the tunnel's and the uplink's are everybody's.
tc::RuleSet compile_around(IfIndex device, const config::Config& config, const tc::Facts& facts) {
  for (const auto& [port, index] : facts.ports) {
    if (index != device) continue;
    const tc::Narrowed narrowed = tc::narrow(config, facts, port.tenant);
    return tc::compile(narrowed.config, narrowed.facts);
  }
  return tc::compile(config, facts);
}

// "egress: allowed by group web, egress: allow tcp 80 to any (blue.yaml:20:9)"
std::string side_in_words(const policy::Side& side, const char* name, const policy::TenantPolicy& policy,
                          const Names& names) {
  auto rule_of = [&](uint32_t rule) {
    std::string text = policy::rule_text(policy, rule);
    const policy::NamedRule* named = policy.rule(rule & SEPAL_RULE_ID);
    if (named == nullptr) return text;
    const std::string place = names.place(named->where);
    return place.empty() ? text : text + " (" + place + ")";
  };
  std::string text = name + std::string(side.allows() ? ": allowed: " : ": denied: ") + rule_of(side.enforced_rule);
  if (side.audited()) text += "; were audited groups enforced, denied: " + rule_of(side.rule);
  return text;
}

std::vector<std::string> groups_in_words(const Outcome& outcome, const Explanation& told) {
  std::vector<std::string> lines;
  for (const tc::model::Judged& judged : outcome.judged) {
    const auto policy = std::find_if(told.policies.begin(), told.policies.end(),
                                     [&](const policy::TenantPolicy& p) { return p.vni == judged.vni; });
    if (policy == told.policies.end()) continue;
    const std::string tenant = "tenant " + policy->tenant + ", ";
    const policy::Verdict& verdict = judged.verdict;
    if (verdict.egress.judged()) lines.push_back(tenant + side_in_words(verdict.egress, "egress", *policy, told.names));
    if (verdict.ingress.judged())
      lines.push_back(tenant + side_in_words(verdict.ingress, "ingress", *policy, told.names));
    if (!verdict.egress.judged() && !verdict.ingress.judged())
      lines.push_back(tenant + "no end is a port with security groups");
  }
  return lines;
}

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
  NamedPrograms programs;
  Kernel without_programs{kernel.route, kernel.netfilter, programs};
  auto world = look(without_programs, input);
  if (!world) return Unexpected(world.error());
  // Without filters nobody tells zones but the state file.
  for (const auto& [vni, tenant] : saved.tenants) world->facts.zones.emplace(vni, tenant.zone);
  Demotions(paths.hardware).enter(*world, config);
  return Ground{std::move(world->facts), std::move(world->devices)};
}

namespace {

Result<void> tell_ways(Kernel& kernel, const Ground& ground, const Question& question, const HardwareView& view,
                       Explanation& explanation) {
  explanation.ways.clear();
  Walker walker(kernel, *explanation.rules, explanation.policies, ground, question, view);
  Packet unseen = question.packet;
  unseen.unseen = true;
  auto first = walker.walk("first packet", unseen);
  if (!first) return Unexpected(first.error());
  const bool sent = first->outcome.kind == Outcome::Kind::sent;
  const bool let_go = went_past_conntrack(*first);
  explanation.ways.push_back(std::move(*first));
  if (sent && let_go) {
    auto second = walker.walk("second packet", question.packet);
    if (!second) return Unexpected(second.error());
    explanation.ways.push_back(std::move(*second));
  }
  if (!sent || !walker.tracks()) return {};
  walker.see_replies();
  Packet next = question.packet;
  if (next.protocol == tc::kProtoTcp) next.tcp_flags = tc::model::kTcpAck;
  auto established = walker.walk("established", next);
  if (!established) return Unexpected(established.error());
  explanation.ways.push_back(std::move(*established));
  return {};
}

}  // namespace

Result<Explanation> explain(Kernel& kernel, const config::Config& config, const Ground& ground,
                            const Question& question, const Paths& paths) {
  Explanation explanation;
  auto view =
      gather_hardware_view(kernel, {&config, ground.facts.uplink, ground.facts.vxlan, {question.device}}, paths);
  if (!view) return Unexpected(view.error());
  tc::Facts facts = ground.facts;
  explanation.rules = std::make_unique<tc::RuleSet>(compile_around(question.device, config, facts));
  explanation.policies = policy::compile(config);
  explanation.names = Names(&config, facts.ports, ground.devices);
  if (auto told = tell_ways(kernel, ground, question, *view, explanation); !told) return Unexpected(told.error());
  const auto any_program = [](const Way& way) { return std::any_of(way.stops.begin(), way.stops.end(), runs_program); };
  if (std::any_of(explanation.ways.begin(), explanation.ways.end(), any_program)) {
    // Now it matters which programs they are. Without eBPF such rules cannot be there, and are told as missing.
    if (auto programs = kernel.slow_path.programs()) {
      facts.programs = *programs;
      explanation.rules = std::make_unique<tc::RuleSet>(compile_around(question.device, config, facts));
      if (auto told = tell_ways(kernel, ground, question, *view, explanation); !told) return Unexpected(told.error());
    }
  }
  for (Way& way : explanation.ways) way.groups = groups_in_words(way.outcome, explanation);
  for (const Way& way : explanation.ways)
    for (const Stop& stop : way.stops)
      if (stop.rule != nullptr && stop.standing != Standing::as_wanted) ++explanation.differences;
  return explanation;
}

}  // namespace sepal::agent
