#include "agent/nic_report.hpp"

#include <nlohmann/json.hpp>

#include "agent/report.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

std::string device_text(const NicPort& port) {
  if (!port.device) return "no netdev here";
  const NicDevice& device = *port.device;
  std::string text = device.name + (device.up ? "  up" : "  down");
  if (!device.offload.possible) return text + "  cannot offload tc";
  return text + (device.offload.on ? "  hw-tc-offload on" : "  hw-tc-offload off");
}

json port_json(const NicPort& port) {
  json out{{"devlink_port", port.devlink_port}};
  if (port.function_mac) out["function_mac"] = port.function_mac->to_string();
  if (!port.device) return out;
  out["device"] = port.device->name;
  out["ifindex"] = port.device->index.value();
  out["up"] = port.device->up;
  out["offload_possible"] = port.device->offload.possible;
  out["offload"] = port.device->offload.on;
  return out;
}

std::string modes_text(const NicState& state) {
  std::string text = state.eswitch.mode ? "mode " + to_string(*state.eswitch.mode) : "no eSwitch";
  if (state.eswitch.inline_mode) text += ", inline " + to_string(*state.eswitch.inline_mode);
  if (state.eswitch.encap) text += std::string(", encap ") + (*state.eswitch.encap ? "basic" : "none");
  for (const auto& [name, value] : state.params) text += ", " + name + " " + to_string(value);
  return text;
}

}  // namespace

std::vector<std::string> to_lines(const NicState& state) {
  std::vector<std::string> lines;
  lines.push_back("nic " + state.pci + "  " + (state.driver.empty() ? "no driver" : state.driver) +
                  (state.firmware.empty() ? "" : ", firmware " + state.firmware));
  lines.push_back("  " + modes_text(state));
  lines.push_back("  " + std::to_string(state.count) + " of at most " + std::to_string(state.total) +
                  " VFs; new ones " + (state.autoprobe ? "get a driver" : "stay without driver"));
  if (state.uplink) lines.push_back("  uplink  " + device_text(*state.uplink));
  for (const auto& [vf, function] : state.functions) {
    const std::string head = "  vf " + std::to_string(vf);
    const auto user = user_of(function, state.driver);
    std::string text = head + "  " + function.pci + "  " + (function.driver.empty() ? "no driver" : function.driver);
    if (const auto port = state.representors.find(vf); port != state.representors.end()) {
      if (port->second.function_mac) text += "  " + port->second.function_mac->to_string();
      text += "  representor " + device_text(port->second);
    }
    lines.push_back(text + (user ? "  " + *user : ""));
  }
  return lines;
}

json to_json(const NicState& state) {
  json out{{"pci", state.pci},         {"driver", state.driver},       {"vfs_max", state.total},
           {"vfs_count", state.count}, {"autoprobe", state.autoprobe}, {"params", json::object()},
           {"vfs", json::array()}};
  if (!state.firmware.empty()) out["firmware"] = state.firmware;
  if (state.eswitch.mode) out["mode"] = to_string(*state.eswitch.mode);
  if (state.eswitch.inline_mode) out["inline_mode"] = to_string(*state.eswitch.inline_mode);
  if (state.eswitch.encap) out["encap_mode"] = *state.eswitch.encap ? "basic" : "none";
  for (const auto& [name, value] : state.params) {
    out["params"][name] = std::visit([](const auto& v) { return json(v); }, value);
  }
  if (state.uplink) out["uplink"] = port_json(*state.uplink);
  for (const auto& [vf, function] : state.functions) {
    json entry{{"vf", vf}, {"pci", function.pci}, {"driver", function.driver}, {"devices", json::array()}};
    for (const FunctionDevice& device : function.devices) {
      entry["devices"].push_back(
          {{"name", device.name}, {"up", device.up}, {"enslaved", device.enslaved}, {"address", device.has_address}});
    }
    if (const auto user = user_of(function, state.driver)) entry["user"] = *user;
    const auto port = state.representors.find(vf);
    if (port != state.representors.end()) entry["representor"] = port_json(port->second);
    out["vfs"].push_back(std::move(entry));
  }
  return out;
}

json to_json(const std::vector<NicStep>& steps) {
  json out = json::array();
  for (const NicStep& step : steps) out.push_back(to_string(step));
  return out;
}

json to_json(const NicRemark& remark) { return {{"step", to_string(remark.step)}, {"error", to_json(remark.error)}}; }

std::string to_line(const NicRemark& remark) {
  return "refused: " + to_string(remark.step) + ": " + remark.error.message();
}

}  // namespace sepal::agent
