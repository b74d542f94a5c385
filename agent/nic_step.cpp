#include "agent/nic_step.hpp"

#include <algorithm>

namespace sepal::agent {
namespace {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string vf_text(uint16_t vf) { return "VF " + std::to_string(vf); }
std::string on_off(bool on) { return on ? "on" : "off"; }

const NicPort* find_port(const NicState& now, NicPortId port) {
  if (!port) return now.uplink ? &*now.uplink : nullptr;
  const auto found = now.representors.find(*port);
  return found == now.representors.end() ? nullptr : &found->second;
}

bool has_device(const NicState& now, NicPortId port) {
  const NicPort* found = find_port(now, port);
  return found != nullptr && found->device;
}

}  // namespace

std::string to_string(netlink::EswitchMode mode) {
  return mode == netlink::EswitchMode::switchdev ? "switchdev" : "legacy";
}

std::string to_string(netlink::InlineMode mode) {
  static constexpr const char* kNames[] = {"none", "link", "network", "transport"};
  return kNames[static_cast<size_t>(mode)];
}

std::string to_string(const netlink::ParamValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<uint32_t>(&value)) return std::to_string(*number);
  return std::get<bool>(value) ? "true" : "false";
}

std::string port_text(NicPortId port) { return port ? "the representor of " + vf_text(*port) : "the uplink"; }

std::string to_string(const NicStep& step) {
  return std::visit(
      Overloaded{
          [](const SetParam& s) { return "set parameter " + s.name + " to " + to_string(s.value); },
          [](const SetAutoprobe& s) {
            return std::string("have new VFs ") + (s.on ? "get a driver" : "stay without driver");
          },
          [](const SetVfCount& s) { return "set the number of VFs to " + std::to_string(s.count); },
          [](const UnbindVf& s) { return "unbind " + vf_text(s.vf) + " from " + s.driver; },
          [](const BindVf& s) { return "bind " + vf_text(s.vf) + " to its driver"; },
          [](const SetMode& s) { return "set the eSwitch's mode to " + to_string(s.mode); },
          [](const SetInline& s) { return "set the inline mode to " + to_string(s.mode); },
          [](const SetEncap& s) { return "switch encapsulation " + on_off(s.on); },
          [](const SetVfMac& s) { return "give " + vf_text(s.vf) + " the MAC " + s.mac.to_string(); },
          [](const SetTcOffload& s) { return "switch hw-tc-offload " + on_off(s.on) + " on " + port_text(s.port); },
          [](const SetPortUp& s) { return "set " + port_text(s.port) + (s.up ? " up" : " down"); },
      },
      step);
}

bool is_optional(const NicStep& step) {
  return std::holds_alternative<SetParam>(step) || std::holds_alternative<SetInline>(step) ||
         std::holds_alternative<SetEncap>(step);
}

bool is_structural(const NicStep& step) {
  return std::holds_alternative<SetVfCount>(step) || std::holds_alternative<SetMode>(step);
}

bool is_possible(const NicStep& step, const NicState& now) {
  if (const auto* s = std::get_if<SetPortUp>(&step)) return has_device(now, s->port);
  if (const auto* s = std::get_if<SetTcOffload>(&step)) return has_device(now, s->port);
  if (const auto* s = std::get_if<SetVfMac>(&step)) return now.representors.contains(s->vf);
  if (const auto* s = std::get_if<BindVf>(&step)) return now.functions.contains(s->vf);
  if (const auto* s = std::get_if<UnbindVf>(&step)) return now.functions.contains(s->vf);
  return true;
}

bool is_settled(const NicStep& step, const NicState& now) {
  if (const auto* mode = std::get_if<SetMode>(&step); mode != nullptr && now.eswitch.mode != mode->mode) return false;
  if (const auto* count = std::get_if<SetVfCount>(&step)) {
    if (now.count != count->count || now.functions.size() != count->count) return false;
  }
  if (!is_structural(step)) return true;
  if (!now.switchdev()) return now.representors.empty();
  return has_device(now, std::nullopt) && now.representors.size() == now.functions.size() &&
         std::all_of(now.representors.begin(), now.representors.end(),
                     [](const auto& entry) { return entry.second.device.has_value(); });
}

}  // namespace sepal::agent
