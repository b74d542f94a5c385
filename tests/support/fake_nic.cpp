#include "tests/support/fake_nic.hpp"

#include <cerrno>

namespace sepal::test {

using agent::NicDevice;
using agent::NicPort;
using agent::NicPortId;
using agent::NicState;
using agent::NicStep;
using netlink::EswitchMode;

FakeNic::FakeNic() {
  state.pci = "0000:3b:00.0";
  state.driver = "mlx5_core";
  state.firmware = "26.31.2006";
  state.total = 8;
  state.eswitch.mode = EswitchMode::legacy;
  state.params.emplace(agent::kSteeringParam, std::string("dmfs"));
  state.params.emplace(agent::kMetadataParam, true);
  NicDevice uplink{IfIndex(1), "uplink", false, {true, false}};
  state.uplink = NicPort{0xffff, uplink, std::nullopt};
}

NicDevice FakeNic::new_device(const std::string& name) {
  const IfIndex index(next_index_++);
  return {index, name + std::to_string(index.value()), false, {true, true}};
}

void FakeNic::make_functions(uint16_t count, bool bound) {
  state.count = count;
  for (uint16_t vf = 0; vf < count; ++vf) {
    agent::NicFunction function{"0000:3b:00." + std::to_string(2 + vf), "", {}};
    state.functions.emplace(vf, function);
    if (bound) (void)bind(vf);
  }
  if (state.switchdev()) make_representors();
}

// Random MACs, no carrier, offload on, down (en_rep.c); their netdevs after the ports.
void FakeNic::make_representors() {
  for (const auto& [vf, function] : state.functions) {
    if (state.representors.contains(vf)) continue;
    MacAddr mac{{0x06, 0, 0, 0, static_cast<uint8_t>(next_mac_ >> 8U), static_cast<uint8_t>(next_mac_)}};
    ++next_mac_;
    state.representors.emplace(vf, NicPort{0x10000U + vf, std::nullopt, mac});
    const Pending netdev{late, true, vf};
    if (late == 0)
      come(netdev);
    else
      pending_.push_back(netdev);
  }
}

void FakeNic::come(const Pending& what) {
  if (what.representor) {
    const auto port = state.representors.find(what.vf);
    if (port != state.representors.end() && !port->second.device) port->second.device = new_device("rep");
    return;
  }
  const auto function = state.functions.find(what.vf);
  if (function == state.functions.end() || function->second.driver != state.driver || used.contains(what.vf)) return;
  function->second.devices = {{"vf" + std::to_string(next_index_++), false, false, false}};
}

void FakeNic::enter_switchdev() {
  state.eswitch = hidden_;
  state.eswitch.mode = EswitchMode::switchdev;
  make_representors();
}

void FakeNic::fall_back() {
  state.eswitch = {EswitchMode::legacy, std::nullopt, std::nullopt};
  state.representors.clear();
  state.uplink->device = new_device("eth");
}

void FakeNic::hand_to(uint16_t vf, const std::string& driver) {
  state.functions.at(vf).driver = driver;
  state.functions.at(vf).devices.clear();
  used.insert(vf);
}

void FakeNic::disturb(uint16_t vf, const std::string& what) {
  if (used.contains(vf)) disturbed.push_back(what + " with VF " + std::to_string(vf) + " in use");
}

void FakeNic::disturb_all(const std::string& what) {
  for (const auto& [vf, function] : state.functions) disturb(vf, what);
}

NicPort* FakeNic::port(NicPortId id) {
  if (!id) return state.uplink ? &*state.uplink : nullptr;
  const auto found = state.representors.find(*id);
  return found == state.representors.end() ? nullptr : &found->second;
}

// drivers/pci/iov.c, sriov_numvfs_store()
Result<void> FakeNic::set_count(uint16_t count) {
  if (count == state.count) return {};
  if (count > state.total) return fail_errno(ERANGE, "sriov_numvfs");
  if (count != 0 && state.count != 0) return fail_errno(EBUSY, "sriov_numvfs");
  disturb_all("count");
  state.functions.clear();
  state.representors.clear();
  guest_macs.clear();
  state.count = 0;
  if (count != 0) make_functions(count, state.autoprobe);
  return {};
}

Result<void> FakeNic::set_mode(EswitchMode mode) {
  if (state.eswitch.mode == mode) return {};
  if (busy > 0) {
    --busy;
    return fail_errno(EBUSY, "mode", "mlx5_core: Can't change mode, E-Switch is busy");
  }
  disturb_all("mode");
  for (const auto& [vf, function] : state.functions) {
    if (!function.driver.empty()) disturbed.push_back("mode with a driver on VF " + std::to_string(vf));
  }
  if (mode == EswitchMode::switchdev) {
    enter_switchdev();
  } else {
    state.eswitch = {EswitchMode::legacy, std::nullopt, std::nullopt};
    state.representors.clear();
  }
  return {};
}

Result<void> FakeNic::bind(uint16_t vf) {
  auto found = state.functions.find(vf);
  if (found == state.functions.end()) return fail_errno(ENODEV, "bind");
  if (!state.autoprobe) return fail_errno(ENODEV, "bind");
  if (!found->second.driver.empty()) return {};
  found->second.driver = state.driver;
  const auto representor = state.representors.find(vf);
  if (representor != state.representors.end() && representor->second.function_mac) {
    guest_macs[vf] = *representor->second.function_mac;
  }
  const Pending netdev{1, false, vf};
  if (autoprobe_is_late)
    pending_.push_back(netdev);
  else
    come(netdev);
  return {};
}

Result<void> FakeNic::unbind(uint16_t vf, const std::string& driver) {
  auto found = state.functions.find(vf);
  if (found == state.functions.end() || found->second.driver != driver) return fail_errno(ENODEV, "unbind");
  disturb(vf, "unbind");
  found->second.driver.clear();
  found->second.devices.clear();
  guest_macs.erase(vf);
  return {};
}

Result<void> FakeNic::change(const NicStep& step) {
  if (const auto* s = std::get_if<agent::SetVfCount>(&step)) return set_count(s->count);
  if (const auto* s = std::get_if<agent::SetMode>(&step)) return set_mode(s->mode);
  if (const auto* s = std::get_if<agent::BindVf>(&step)) return bind(s->vf);
  if (const auto* s = std::get_if<agent::UnbindVf>(&step)) return unbind(s->vf, s->driver);
  if (const auto* s = std::get_if<agent::SetAutoprobe>(&step)) {
    state.autoprobe = s->on;
    return {};
  }
  if (const auto* s = std::get_if<agent::SetParam>(&step)) {
    if (!state.params.contains(s->name)) return fail_errno(EINVAL, "param");
    if (state.switchdev() || (metadata_refused && s->name == agent::kMetadataParam)) {
      return fail_errno(EBUSY, "param", "mlx5_core: E-Switch must either disabled or non switchdev mode");
    }
    state.params[s->name] = s->value;
    return {};
  }
  if (const auto* s = std::get_if<agent::SetInline>(&step)) {
    state.eswitch.inline_mode = s->mode;
    hidden_.inline_mode = s->mode;
    return {};
  }
  if (const auto* s = std::get_if<agent::SetEncap>(&step)) {
    if (encap_refused)
      return fail_errno(EOPNOTSUPP, "encap", "mlx5_core: Can't set encapsulation when flows are configured");
    state.eswitch.encap = s->on;
    hidden_.encap = s->on;
    return {};
  }
  if (const auto* s = std::get_if<agent::SetVfMac>(&step)) {
    NicPort* found = port(s->vf);
    if (found == nullptr) return fail_errno(ENODEV, "hw_addr");
    disturb(s->vf, "hw_addr");
    found->function_mac = s->mac;
    return {};
  }
  const auto* offload = std::get_if<agent::SetTcOffload>(&step);
  const auto* up = std::get_if<agent::SetPortUp>(&step);
  NicPort* found = port(offload != nullptr ? offload->port : up->port);
  if (found == nullptr || !found->device) return fail_errno(ENODEV, "device");
  if (offload != nullptr && !found->device->offload.possible) return fail_errno(EOPNOTSUPP, "feature");
  if (offload != nullptr) found->device->offload.on = offload->on;
  if (up != nullptr && !(deaf_uplink && !up->port)) found->device->up = up->up;
  return {};
}

Result<NicState> FakeNic::look() { return state; }

Result<void> FakeNic::perform(const NicStep& step) {
  const bool killed = killed_at && written.size() >= *killed_at;
  if (killed && (!killed_after_effect || written.size() > *killed_at)) return fail(Errc::internal, "killed");
  written.push_back(step);
  auto changed = change(step);
  if (killed) return fail(Errc::internal, "killed");
  return changed;
}

Result<bool> FakeNic::wait(agent::Clock::time_point /*until*/) {
  if (pending_.empty()) return false;
  if (--pending_.front().waits == 0) {
    const Pending next = pending_.front();
    pending_.pop_front();
    come(next);
  }
  return true;
}

}  // namespace sepal::test
