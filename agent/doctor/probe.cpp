// The NIC is asked for a rule of hardware alone, which brings its reasons; a block with a tunnel device cannot have
// such a rule, and there only "not in hardware" is told. No jump leads into the spare chain, so no packet meets a
// probe.
#include "agent/doctor/probe.hpp"

#include <algorithm>

#include "agent/filters.hpp"
#include "agent/hardware_question.hpp"

namespace sepal::agent::doctor {
namespace {

const std::string kCheck = "probe";
constexpr size_t kShownMax = 20;

// Another "instance" than any of ours, so that no agent takes a probe for its own rule.
tc::Cookie probe_cookie(const tc::Rule& rule) {
  tc::Cookie cookie;
  cookie.instance = tc::instance_hash("doctor --probe");
  cookie.content = tc::content_hash(rule.spec, rule.id.protocol);
  return cookie;
}

std::string_view block_name(tc::BlockKind kind) {
  switch (kind) {
    case tc::BlockKind::port: return "port";
    case tc::BlockKind::vxlan: return "tunnel";
    case tc::BlockKind::uplink: return "uplink";
  }
  return "";
}

// The first word of its text behind "action", and what sets apart actions of a kind.
std::string action_name(const tc::Action& action) {
  constexpr std::string_view kAction = "action ";
  const std::string text = tc::to_text(action).substr(kAction.size());
  if (const auto* ct = std::get_if<tc::Ct>(&action.kind)) return ct->commit ? "ct commit" : "ct";
  if (const auto* vlan = std::get_if<tc::VlanAction>(&action.kind))
    return vlan->kind == tc::VlanAction::Kind::push ? "vlan push" : "vlan pop";
  if (std::holds_alternative<tc::TunnelSet>(action.kind)) return "tunnel set";
  if (std::holds_alternative<tc::TunnelUnset>(action.kind)) return "tunnel unset";
  if (const auto* gact = std::get_if<tc::Gact>(&action.kind)) {
    if (gact->verdict.control == tc::Control::goto_chain) return "goto";
    return gact->verdict.control == tc::Control::drop ? "drop" : "pass";
  }
  return text.substr(0, text.find(' '));
}

struct ShapeKey {
  tc::BlockKind block;
  tc::Group group;
  bool first_chain;
  std::vector<std::pair<tc::Key, std::array<uint8_t, 16>>> keys;
  std::string actions;
  auto operator<=>(const ShapeKey&) const = default;
};

std::string actions_of(const tc::Rule& rule) {
  std::string text;
  for (const tc::Action& action : rule.spec.actions) text += (text.empty() ? "" : ", ") + action_name(action);
  return text;
}

// Masks of addresses and ports are left out: a NIC takes any, and a shape per prefix length would be forty.
bool any_mask_is_alike(tc::Key key) {
  return key == tc::Key::dst_ip4 || key == tc::Key::dst_ip6 || key == tc::Key::src_ip4 || key == tc::Key::src_ip6 ||
         key == tc::Key::dst_port;
}

ShapeKey key_of(const tc::CompiledRule& compiled) {
  ShapeKey key{
      compiled.origin.block, compiled.origin.group, compiled.rule.id.chain == 0, {}, actions_of(compiled.rule)};
  for (const tc::KeyMatch& match : compiled.rule.spec.match.keys())
    key.keys.emplace_back(match.key, any_mask_is_alike(match.key) ? std::array<uint8_t, 16>{} : match.mask);
  return key;
}

Shape make_shape(const tc::CompiledRule& compiled) {
  Shape shape{trial_of(compiled.rule, kProbeChain), compiled.origin.block, {}, tc::to_text(compiled.rule)};
  shape.rule.id.prio = 1;
  std::string keys;
  for (const tc::KeyMatch& match : compiled.rule.spec.match.keys()) keys += " " + std::string(tc::key_name(match.key));
  shape.name = std::string(block_name(shape.block)) + " g" +
               std::to_string(static_cast<unsigned>(compiled.origin.group)) + (keys.empty() ? " anything" : keys) +
               " → " + actions_of(compiled.rule);
  return shape;
}

// In the tunnel's block, where no rule can be hardware's alone: nothing is told but whether the NIC holds it.
Result<std::optional<Error>> try_in_both(Kernel& kernel, const tc::Rule& rule) {
  netlink::Bytes request;
  if (auto put = append_write(request, Write::add, rule, probe_cookie(rule), kernel.slow_path); !put)
    return Unexpected(put.error());
  auto answer = netlink::transact_one(kernel.route, std::move(request));
  if (!answer && answer.error().code == Errc::resync) return Unexpected(answer.error());
  if (!answer) return std::optional(answer.error());
  const auto found = get_filter(kernel.route, rule.id);
  if (!found) return Unexpected(found.error());
  if (auto withdrawn = withdraw_trial(kernel, rule.id); !withdrawn) return Unexpected(withdrawn.error());
  if (*found && (*found)->state.in_hw) return std::optional<Error>();
  return std::optional(Error{Errc::unsupported, 0, "the NIC does not hold it", {}});
}

Result<ProbeOutcome> try_one(Kernel& kernel, const Shape& shape) {
  auto refusal = shape.block == tc::BlockKind::vxlan ? try_in_both(kernel, shape.rule)
                                                     : try_in_hardware(kernel, shape.rule, probe_cookie(shape.rule));
  if (!refusal) return Unexpected(while_doing(refusal.error(), "probe"));
  return ProbeOutcome{shape, !*refusal, *refusal ? (*refusal)->message() : ""};
}

}  // namespace

std::vector<Shape> shapes_of(const tc::RuleSet& rules) {
  std::map<ShapeKey, const tc::CompiledRule*> first;
  for (const tc::CompiledRule& rule : rules.rules)
    if (!rule.rule.spec.skip_hw) first.emplace(key_of(rule), &rule);
  std::vector<Shape> shapes;
  for (const auto& [key, rule] : first) shapes.push_back(make_shape(*rule));
  return shapes;
}

Result<std::vector<ProbeOutcome>> probe(Kernel& kernel, const std::vector<Shape>& shapes) {
  std::vector<ProbeOutcome> outcomes;
  for (const Shape& shape : shapes) {
    auto outcome = try_one(kernel, shape);
    if (!outcome) return Unexpected(outcome.error());
    outcomes.push_back(std::move(*outcome));
  }
  return outcomes;
}

Result<size_t> clear_probes(Kernel& kernel, const std::set<IfIndex>& devices) {
  const uint16_t instance = tc::instance_hash("doctor --probe");
  netlink::Bytes requests;
  size_t count = 0;
  for (const IfIndex device : devices) {
    auto filters = dump_filters(kernel.route, device, kProbeChain);
    if (!filters && filters.error().code == Errc::resync) return Unexpected(filters.error());
    if (!filters) continue;  // no such device, no clsact: nothing there
    for (const Filter& filter : *filters) {
      if (!filter.state.cookie || filter.state.cookie->instance != instance) continue;
      if (auto put = append_removal(requests, filter.rule.id); !put) return Unexpected(put.error());
      ++count;
    }
  }
  if (count == 0) return count;
  auto removed = kernel.route.transact(requests, [](size_t, const netlink::Answer&) {});
  if (!removed) return Unexpected(while_doing(removed.error(), "remove probes left behind"));
  return count;
}

Findings judge_probes(const std::vector<ProbeOutcome>& outcomes) {
  Findings findings;
  size_t refused = 0;
  for (const ProbeOutcome& outcome : outcomes) {
    if (outcome.taken) continue;
    if (++refused > kShownMax) continue;
    say(findings, kCheck, State::fail, "the NIC does not take " + outcome.shape.name + ": " + outcome.words,
        "such rules stay in software, and what they belong to with them; newer firmware or another NIC may take them "
        "(rule: " +
            outcome.shape.of + ")");
  }
  if (refused > kShownMax)
    say(findings, kCheck, State::fail, std::to_string(refused - kShownMax) + " more shapes are refused", "");
  if (outcomes.empty())
    say(findings, kCheck, State::unknown, "no rule of this configuration may be in hardware: nothing was tried", "");
  else if (refused == 0)
    say(findings, kCheck, State::ok, "the NIC takes all " + std::to_string(outcomes.size()) + " shapes of rules");
  return findings;
}

}  // namespace sepal::agent::doctor
