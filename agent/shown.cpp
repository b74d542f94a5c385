// Full dumps of all devices with clsact, joined with a compilation of the configuration.
#include "agent/shown.hpp"

#include <algorithm>

#include "agent/hardware.hpp"
#include "agent/hardware_view.hpp"
#include "agent/reconciler.hpp"

namespace sepal::agent {
namespace {

Vni vni_of(const Filter& filter) {
  const tc::ChainId chain = tc::parse_chain(filter.rule.id.chain);
  if (chain.vni != Vni()) return chain.vni;
  if (const tc::KeyMatch* key = filter.rule.spec.match.find(tc::Key::enc_key_id)) return Vni(key->value_u32());
  for (const tc::Action& action : filter.rule.spec.actions) {
    const auto* gact = std::get_if<tc::Gact>(&action.kind);
    if (gact != nullptr && gact->verdict.control == tc::Control::goto_chain)
      return tc::parse_chain(gact->verdict.chain).vni;
  }
  return {};
}

// Joins one rule with the wanted one in its place.
void join(ShownRule& shown, const std::vector<tc::CompiledRule>& wanted) {
  const tc::RuleId& id = shown.filter.rule.id;
  const auto found =
      std::lower_bound(wanted.begin(), wanted.end(), id, [](const tc::CompiledRule& rule, const tc::RuleId& other) {
        return std::tie(rule.rule.id.device, rule.rule.id.chain, rule.rule.id.prio, rule.rule.id.handle) <
               std::tie(other.device, other.chain, other.prio, other.handle);
      });
  if (found == wanted.end() || found->rule.id != id) return;
  shown.changed = shown.filter.state.cookie != found->cookie;
  if (shown.changed) return;
  shown.origin = found->origin;
  if (found->origin.vni != Vni() || shown.chain.vni == Vni()) shown.vni = found->origin.vni;
}

}  // namespace

bool judges(const tc::ActionKind& kind) {
  const auto* program = std::get_if<tc::Bpf>(&kind);
  return program != nullptr && program->name == "sepal_policy";
}

tc::ActionStats ShownRule::taken() const {
  const auto& stats = filter.state.stats;
  if (stats.empty()) return {};
  const auto& actions = filter.rule.spec.actions;
  // What is too big goes on; what the action behind the size sees is taken.
  if (tc::is_shortcut(filter.rule.spec)) return stats.size() > 1 ? stats[1] : tc::ActionStats{};
  if (!tc::is_size_check(filter.rule.spec) && !tc::asks_untracked(filter.rule.spec)) return stats.front();
  // So does what the program says no to.
  const auto program = std::find_if(actions.begin(), actions.end(), [](const tc::Action& action) {
    return std::holds_alternative<tc::Bpf>(action.kind);
  });
  const auto behind = static_cast<size_t>(program - actions.begin()) + 1;
  return behind < stats.size() ? stats[behind] : tc::ActionStats{};
}

uint64_t ShownRule::dropped_by(size_t action) const {
  const auto& stats = filter.state.stats;
  const auto& actions = filter.rule.spec.actions;
  if (action >= stats.size() || action >= actions.size() || std::holds_alternative<tc::Gact>(actions[action].kind))
    return 0;
  // What a redirect cannot send it drops and counts here alone (act_mirred.c); what a mirror cannot send goes on.
  if (const auto* mirred = std::get_if<tc::Mirred>(&actions[action].kind))
    return mirred->mirror ? 0 : stats[action].overlimits;
  const auto* program = std::get_if<tc::Bpf>(&actions[action].kind);
  if (program == nullptr || program->verdict.control != tc::Control::drop || action + 1 >= stats.size())
    return stats[action].drops;
  return stats[action].packets - std::min(stats[action].packets, stats[action + 1].packets);
}

uint64_t ShownRule::denied() const {
  uint64_t denied = 0;
  for (size_t i = 0; i < filter.rule.spec.actions.size(); ++i)
    if (judges(filter.rule.spec.actions[i].kind)) denied += dropped_by(i);
  return denied;
}

uint64_t ShownRule::dropped_by_action() const {
  uint64_t dropped = 0;
  for (size_t i = 0; i < filter.rule.spec.actions.size(); ++i)
    if (!judges(filter.rule.spec.actions[i].kind)) dropped += dropped_by(i);
  return dropped;
}

Result<Shown> gather_shown(Kernel& kernel, const config::Config* config, const Paths& paths) {
  Shown shown;
  std::optional<Difference> difference;
  if (config != nullptr) {
    // A host where the configuration cannot be compiled (no underlay device) is still shown, without purposes.
    auto found = find_difference(kernel, *config, paths);
    if (found) difference = std::move(*found);
  }
  World world;
  if (difference) {
    world = std::move(difference->world);
  } else {
    auto looked = look(kernel, {nullptr, paths.instance, nullptr});
    if (!looked) return Unexpected(looked.error());
    world = std::move(*looked);
  }
  shown.names = Names(config, world.facts.ports, world.devices);
  if (difference) {
    shown.waiting = difference->wanted.waiting;
    shown.blocks[world.facts.uplink] = tc::BlockKind::uplink;
  }
  for (const OwnDevice& device : world.own_vxlans) shown.blocks[device.index] = tc::BlockKind::vxlan;
  const uint16_t instance = world.facts.instance;
  for (IfIndex device : world.clsact) {
    auto filters = dump_filters(kernel.route, device);
    if (!filters && filters.error().code == Errc::not_found) continue;
    if (!filters) return Unexpected(while_doing(filters.error(), "read filters of " + world.device_name(device)));
    for (Filter& filter : *filters) {
      const auto& cookie = filter.state.cookie;
      if (filter.kind != "flower" || !cookie || cookie->instance != instance) {
        shown.foreign.push_back(std::move(filter));
        continue;
      }
      ShownRule rule;
      rule.chain = tc::parse_chain(filter.rule.id.chain);
      rule.vni = vni_of(filter);
      rule.filter = std::move(filter);
      if (rule.chain.lane == tc::Lane::uplink) shown.blocks[device] = tc::BlockKind::uplink;
      if (difference) join(rule, difference->wanted.rules);
      shown.rules.push_back(std::move(rule));
    }
  }
  std::sort(shown.rules.begin(), shown.rules.end(),
            [](const ShownRule& a, const ShownRule& b) { return a.filter.rule.id < b.filter.rule.id; });
  ViewInput input{config, world.facts.uplink, world.facts.vxlan, world.clsact};
  if (!difference && !world.own_vxlans.empty()) input.vxlan = world.own_vxlans.front().index;
  auto view = gather_hardware_view(kernel, input, paths);
  if (!view) return Unexpected(view.error());
  shown.view = std::move(*view);
  if (difference && !world.facts.demoted.empty())
    shown.view.demoted = rules_kept_out(*config, world, difference->wanted, load_hardware(paths.hardware));
  for (ShownRule& rule : shown.rules) rule.placed = place(rule.filter.rule, &rule.filter.state, shown.view);
  shown.facts = std::move(world.facts);
  if (difference) shown.wanted = std::move(difference->wanted);
  return shown;
}

}  // namespace sepal::agent
