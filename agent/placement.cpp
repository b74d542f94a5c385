// See placement.hpp. What each finding means for an operator, and its cure, is docs/how-to/debug-offload.md's.
#include "agent/placement.hpp"

#include <algorithm>
#include <system_error>

#include "tc/pipeline/capabilities.hpp"
#include "tc/pipeline/software.hpp"

namespace sepal::agent {
namespace {

KernelParts kernel_of(const HardwareView& view) { return view.kernel ? view.kernel() : KernelParts{}; }

std::string refusal_text(const DriverRefusal& refusal) {
  std::string text = "the NIC refused it";
  if (refusal.error != 0) text += ": " + std::generic_category().message(refusal.error);
  if (!refusal.words.empty()) text += ": \"" + refusal.words + "\"";
  return text;
}

// Why a rule that was offered is not held, its device being able to.
DeviceObstacle why_not_held(const tc::Rule& rule, const HardwareView& view) {
  if (tc::tracks_connections(rule)) {
    const KernelParts kernel = kernel_of(view);
    if (kernel.skb_ext == false)
      return {Cause::kernel, "this kernel is built without NET_TC_SKB_EXT: NICs take no rule that tracks connections"};
    if (kernel.mlx5_ct == false)
      return {Cause::kernel, "this kernel is built without MLX5_TC_CT: mlx5 takes no rule that tracks connections"};
  }
  return {Cause::untold, "the NIC did not take it, and its words are not on record (sepald notes them when it writes)"};
}

}  // namespace

std::string_view to_string(Placement placement) {
  switch (placement) {
    case Placement::hardware: return "hardware";
    case Placement::slow_path: return "hardware, slow path";
    case Placement::software: return "software";
    case Placement::software_only: return "software only";
    case Placement::missing: return "missing";
    case Placement::other: return "another rule";
  }
  return "";
}

std::string_view to_string(Cause cause) {
  switch (cause) {
    case Cause::none: return "";
    case Cause::by_design: return "by-design";
    case Cause::demoted: return "demoted";
    case Cause::no_nic: return "no-nic";
    case Cause::no_port: return "no-port";
    case Cause::no_offload: return "no-offload";
    case Cause::offload_off: return "offload-off";
    case Cause::refused: return "refused";
    case Cause::kernel: return "kernel";
    case Cause::neighbour: return "neighbour";
    case Cause::untold: return "untold";
    case Cause::absent: return "absent";
  }
  return "";
}

const DeviceView* HardwareView::holder_view(IfIndex device) const {
  const auto found = devices.find(holder(device));
  return found == devices.end() ? nullptr : &found->second;
}

bool HardwareView::wants(IfIndex device) const {
  const DeviceView* view = holder_view(device);
  return nic_named || (view != nullptr && view->switch_port);
}

std::optional<IpAddr> tunnel_to(const tc::Rule& rule) {
  for (const tc::Action& action : rule.spec.actions)
    if (const auto* set = std::get_if<tc::TunnelSet>(&action.kind)) return set->destination;
  return std::nullopt;
}

std::optional<DeviceObstacle> device_obstacle(IfIndex device, const HardwareView& view) {
  const DeviceView* holder = view.holder_view(device);
  const std::string name = holder == nullptr ? "device " + std::to_string(device.value()) : holder->name;
  if (holder == nullptr || !holder->switch_port) {
    if (!view.nic_named) return DeviceObstacle{Cause::no_nic, "no NIC: " + name + " is no port of an eSwitch"};
    return DeviceObstacle{Cause::no_port,
                          name + " is no port of an eSwitch: is the NIC in switchdev mode? (`sepalctl nic plan`)"};
  }
  if (!holder->offload.possible) {
    const KernelParts kernel = kernel_of(view);
    std::string why = "the driver of " + name + " has no tc offload";
    if (kernel.skb_ext == false)
      why += ": this kernel is built without NET_TC_SKB_EXT, and from 6.3 on mlx5 needs it";
    else if (kernel.mlx5_tc == false)
      why += ": this kernel is built without MLX5_CLS_ACT";
    return DeviceObstacle{Cause::no_offload, std::move(why)};
  }
  if (!holder->offload.on)
    return DeviceObstacle{Cause::offload_off,
                          "hw-tc-offload of " + name + " is off: `ethtool -K " + name + " hw-tc-offload on`"};
  return std::nullopt;
}

Placed place(const tc::Rule& rule, const tc::RuleState* state, const HardwareView& view) {
  Placed placed;
  const IfIndex device = rule.id.device;
  placed.wanted = !rule.spec.skip_hw && view.wants(device);
  // Blocks are private: one device, one NIC. (A tunnel's block is offered to every eSwitch of the host; one is enough,
  // for those of other NICs refuse what leads to a port of ours.)
  placed.expected = placed.wanted ? 1 : 0;
  if (state == nullptr) {
    placed.placement = Placement::missing;
    placed.cause = Cause::absent;
    placed.why = "not in the kernel";
    return placed;
  }
  if (const auto out = view.demoted.find(rule.id); out != view.demoted.end() && rule.spec.skip_hw) {
    placed.wanted = true;
    placed.expected = 1;
    placed.cause = Cause::demoted;
    placed.why = out->second;
    if (view.refusal && state->cookie) placed.refusal = view.refusal(rule.id, state->cookie->content);
    return placed;
  }
  if (rule.spec.skip_hw) {
    placed.placement = Placement::software_only;
    placed.cause = Cause::by_design;
    placed.why = tc::software_reason(rule, view.kept_out);
    return placed;
  }
  if (state->in_hw) {
    // A terse dump tells no number.
    placed.held = std::max(state->in_hw_count, 1U);
    placed.placement = Placement::hardware;
    const auto far = tunnel_to(rule);
    const auto unresolved = far ? view.unresolved.find(*far) : view.unresolved.end();
    if (unresolved == view.unresolved.end()) return placed;
    placed.placement = Placement::slow_path;
    placed.cause = Cause::neighbour;
    placed.why = unresolved->second;
    return placed;
  }
  placed.placement = Placement::software;
  if (auto obstacle = device_obstacle(device, view)) {
    placed.cause = obstacle->cause;
    placed.why = std::move(obstacle->why);
    return placed;
  }
  if (view.refusal && state->cookie) placed.refusal = view.refusal(rule.id, state->cookie->content);
  if (placed.refusal) {
    placed.cause = Cause::refused;
    placed.why = refusal_text(*placed.refusal);
    return placed;
  }
  DeviceObstacle reason = why_not_held(rule, view);
  placed.cause = reason.cause;
  placed.why = std::move(reason.why);
  return placed;
}

}  // namespace sepal::agent
