// Bring-up. Refusals first, then the steps of the header's left column.
#include "agent/nic_plan.hpp"

#include <algorithm>

#include "agent/nic_users.hpp"

namespace sepal::agent {
namespace {

using netlink::EswitchMode;
using netlink::InlineMode;

class BringUp {
 public:
  BringUp(const NicWanted& wanted, const NicState& now)
      : wanted_(wanted),
        now_(now),
        recount_(wanted.count && *wanted.count != now.count),
        remode_(!now.switchdev()),
        again_(wanted.fell_back && !recount_),
        autoprobe_(now.autoprobe) {}

  Result<std::vector<NicStep>> plan() {
    if (auto able = check_able(); !able) return Unexpected(able.error());
    if (auto free = check_users(); !free) return Unexpected(free.error());
    set_params();
    set_count();
    unbind();
    if (remode_) steps_.push_back(SetMode{EswitchMode::switchdev});
    set_modes();
    set_macs();
    ready_port(std::nullopt);
    for (const uint16_t vf : wanted_.vfs) ready_port(vf);
    bind();
    return std::move(steps_);
  }

 private:
  [[nodiscard]] Result<void> check_able() const {
    const std::string nic = "NIC " + now_.pci;
    if (now_.driver.empty()) return fail(Errc::not_found, nic + " has no driver");
    if (!now_.eswitch.mode)
      return fail(Errc::unsupported, nic + ": its driver " + now_.driver + " has no eSwitch to set");
    if (wanted_.count && *wanted_.count > now_.total) {
      return fail(Errc::unsupported, nic + " has at most " + std::to_string(now_.total) +
                                         " VFs, and nic.vfs asks for " + std::to_string(*wanted_.count) +
                                         ": its firmware sets the limit (mlxconfig: NUM_OF_VFS, SRIOV_EN)");
    }
    if (!wanted_.count && !wanted_.vfs.empty() && *wanted_.vfs.rbegin() >= now_.count) {
      return fail(Errc::not_found, nic + " has " + std::to_string(now_.count) + " VFs, and nic.only names VF " +
                                       std::to_string(*wanted_.vfs.rbegin()) + ": whoever owns the NIC makes them");
    }
    return {};
  }

  [[nodiscard]] bool ours(uint16_t vf) const { return wanted_.count.has_value() || wanted_.vfs.contains(vf); }

  [[nodiscard]] bool wrong_mac(uint16_t vf) const {
    const auto mac = wanted_.macs.find(vf);
    if (mac == wanted_.macs.end()) return false;
    const auto port = now_.representors.find(vf);
    return recount_ || port == now_.representors.end() || port->second.function_mac != mac->second;
  }

  [[nodiscard]] Result<void> check_users() const {
    // A NIC that fell back has disturbed them all already: their isolation and their traffic ask for the mode.
    if (again_) return {};
    NicUsers users(now_);
    const bool all_disturbed = recount_ || remode_;
    for (const auto& [vf, function] : now_.functions) {
      if (all_disturbed) {
        if (ours(vf))
          users.check(vf);
        else
          users.check_others(vf);
      } else if (ours(vf) && wrong_mac(vf)) {
        users.check(vf, "and its MAC is not " + wanted_.macs.at(vf).to_string());
      }
    }
    std::string step = "to set its VFs' MACs";
    if (remode_) step = "to change its mode";
    if (recount_) step = "to change its number of VFs from " + std::to_string(now_.count);
    return users.refusal(step);
  }

  void set_params() {
    if (!remode_) return;  // a driver takes them in legacy mode only
    for (const auto& [name, value] : wanted_.params) {
      const auto found = now_.params.find(name);
      if (found != now_.params.end() && found->second != value) steps_.push_back(SetParam{name, value});
    }
  }

  void autoprobe(bool on) {
    if (autoprobe_ != on) steps_.push_back(SetAutoprobe{on});
    autoprobe_ = on;
  }

  void set_count() {
    if (!recount_) return;
    if (now_.count != 0) steps_.push_back(SetVfCount{0});
    if (*wanted_.count == 0) return;
    autoprobe(false);
    steps_.push_back(SetVfCount{*wanted_.count});
  }

  // A VF's driver learns mode and MAC when it binds.
  void unbind() {
    if (recount_) return;
    for (const auto& [vf, function] : now_.functions) {
      if (!ours(vf) || function.driver.empty() || (!remode_ && !wrong_mac(vf))) continue;
      if (again_ && user_of(function, now_.driver)) continue;
      steps_.push_back(UnbindVf{vf, function.driver});
      unbound_.insert(vf);
    }
  }

  // What the driver tells in legacy mode is not what it will tell: planned once the mode is there.
  void set_modes() {
    if (remode_) return;
    const auto& mode = now_.eswitch.inline_mode;
    // With a minimum the rules' deepest match, L4, needs all of it; a NIC that says none needs nothing.
    if (mode && *mode != InlineMode::none && *mode != InlineMode::transport) {
      steps_.push_back(SetInline{InlineMode::transport});
    }
    if (now_.eswitch.encap == false) steps_.push_back(SetEncap{true});
  }

  void set_macs() {
    for (const auto& [vf, mac] : wanted_.macs)
      if (wrong_mac(vf)) steps_.push_back(SetVfMac{vf, mac});
  }

  [[nodiscard]] const NicDevice* device(NicPortId port) const {
    if (!port) return now_.uplink && now_.uplink->device ? &*now_.uplink->device : nullptr;
    const auto found = now_.representors.find(*port);
    if (recount_ || found == now_.representors.end() || !found->second.device) return nullptr;
    return &*found->second.device;
  }

  // A device that is still to come is expected without offload and down. Those of a NIC that cannot offload show
  // offload as not possible, which says so in `nic show`.
  void ready_port(NicPortId port) {
    const NicDevice* found = device(port);
    if (found == nullptr || (found->offload.possible && !found->offload.on)) steps_.push_back(SetTcOffload{port, true});
    if (found == nullptr || !found->up) steps_.push_back(SetPortUp{port, true});
  }

  void bind() {
    std::vector<uint16_t> unbound;
    for (const uint16_t vf : wanted_.bound) {
      const auto found = now_.functions.find(vf);
      const bool without = recount_ || found == now_.functions.end() || found->second.driver.empty();
      if (without || unbound_.contains(vf)) unbound.push_back(vf);
    }
    if (!unbound.empty()) autoprobe(true);  // else the kernel gives a VF no driver, not even when it is told to
    for (const uint16_t vf : unbound) steps_.push_back(BindVf{vf});
    autoprobe(wanted_.autoprobe);
  }

  const NicWanted& wanted_;
  const NicState& now_;
  const bool recount_;
  const bool remode_;
  const bool again_;  // back into service: VFs in use stay in their users' hands
  bool autoprobe_;    // after the steps so far
  std::set<uint16_t> unbound_;
  std::vector<NicStep> steps_;
};

}  // namespace

Result<std::vector<NicStep>> plan_nic(const NicWanted& wanted, const NicState& now) {
  return BringUp(wanted, now).plan();
}

}  // namespace sepal::agent
