// The changes to a NIC, as values: each is one write to one place.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "agent/nic_state.hpp"

namespace sepal::agent {

using NicPortId = std::optional<uint16_t>;  // the representor of this VF; nullopt: the uplink

struct SetParam {
  std::string name;
  netlink::ParamValue value;
  bool operator==(const SetParam&) const = default;
};
struct SetAutoprobe {
  bool on = true;
  bool operator==(const SetAutoprobe&) const = default;
};
struct SetVfCount {
  uint16_t count = 0;
  bool operator==(const SetVfCount&) const = default;
};
struct UnbindVf {
  uint16_t vf = 0;
  std::string driver;
  bool operator==(const UnbindVf&) const = default;
};
struct BindVf {  // to the driver the kernel finds for it
  uint16_t vf = 0;
  bool operator==(const BindVf&) const = default;
};
struct SetMode {
  netlink::EswitchMode mode{};
  bool operator==(const SetMode&) const = default;
};
struct SetInline {
  netlink::InlineMode mode{};
  bool operator==(const SetInline&) const = default;
};
struct SetEncap {
  bool on = true;
  bool operator==(const SetEncap&) const = default;
};
struct SetVfMac {
  uint16_t vf = 0;
  MacAddr mac;
  bool operator==(const SetVfMac&) const = default;
};
struct SetTcOffload {
  NicPortId port;
  bool on = true;
  bool operator==(const SetTcOffload&) const = default;
};
struct SetPortUp {
  NicPortId port;
  bool up = true;
  bool operator==(const SetPortUp&) const = default;
};

using NicStep = std::variant<SetParam, SetAutoprobe, SetVfCount, UnbindVf, BindVf, SetMode, SetInline, SetEncap,
                             SetVfMac, SetTcOffload, SetPortUp>;

// "set eSwitch mode switchdev", "unbind VF 3 from mlx5_core": one line.
std::string to_string(const NicStep& step);
std::string to_string(netlink::EswitchMode mode);
std::string to_string(netlink::InlineMode mode);
std::string to_string(const netlink::ParamValue& value);
// "the uplink", "the representor of VF 3"
std::string port_text(NicPortId port);

// The NIC works without it: a refusal is told and passed over.
bool is_optional(const NicStep& step);
// Devices and functions come and go with it: look again before anything else.
bool is_structural(const NicStep& step);
// What the step is about is there, so that it can be taken.
bool is_possible(const NicStep& step, const NicState& now);
// What the step brings about, later than its write returns, has come. True for steps that are done when they return.
bool is_settled(const NicStep& step, const NicState& now);

}  // namespace sepal::agent
