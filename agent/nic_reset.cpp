// Back to what was found: the right column of nic_plan.hpp.
#include "agent/nic_plan.hpp"
#include "agent/nic_users.hpp"

namespace sepal::agent {
namespace {

using netlink::EswitchMode;

class Reset {
 public:
  Reset(const NicRecord& record, const NicState& now)
      : record_(record),
        now_(now),
        recount_(record.count && *record.count != now.count),
        remode_(record.eswitch.mode && record.eswitch.mode != now.eswitch.mode),
        autoprobe_(now.autoprobe) {}

  Result<std::vector<NicStep>> plan() {
    if (now_.driver.empty()) return fail(Errc::not_found, "NIC " + now_.pci + " has no driver");
    if (auto free = check_users(); !free) return Unexpected(free.error());
    restore_uplink();
    if (!recount_) {
      unbind();
      restore_macs();
    }
    restore_modes();
    if (recount_ && now_.count != 0) steps_.push_back(SetVfCount{0});
    if (remode_) steps_.push_back(SetMode{*record_.eswitch.mode});
    restore_params();
    if (recount_ && *record_.count != 0) {
      autoprobe(record_.autoprobe);
      steps_.push_back(SetVfCount{*record_.count});
    }
    bind();
    return std::move(steps_);
  }

 private:
  [[nodiscard]] bool ours(uint16_t vf) const { return record_.count.has_value() || record_.drivers.contains(vf); }

  // The driver the VF had; nullopt: not recorded, so that it stays as it is.
  [[nodiscard]] std::optional<std::string> driver_before(uint16_t vf) const {
    const auto found = record_.drivers.find(vf);
    return found == record_.drivers.end() ? std::nullopt : std::optional(found->second);
  }

  [[nodiscard]] bool wrong_mac(uint16_t vf) const {
    const auto mac = record_.macs.find(vf);
    const auto port = now_.representors.find(vf);
    return mac != record_.macs.end() && port != now_.representors.end() && port->second.function_mac != mac->second;
  }

  // Its driver must let go of the VF for a step.
  [[nodiscard]] bool disturbed(uint16_t vf) const {
    const auto before = driver_before(vf);
    return remode_ || wrong_mac(vf) || (before && before->empty());
  }

  [[nodiscard]] Result<void> check_users() const {
    NicUsers users(now_);
    for (const auto& [vf, function] : now_.functions) {
      if (recount_ || (ours(vf) && disturbed(vf)))
        users.check(vf);
      else if (remode_)
        users.check_others(vf);
    }
    return users.refusal("to be put back to what it was");
  }

  void restore_uplink() {
    if (!now_.uplink || !now_.uplink->device) return;
    const NicDevice& device = *now_.uplink->device;
    if (record_.uplink_offload && device.offload.possible && device.offload.on != *record_.uplink_offload) {
      steps_.push_back(SetTcOffload{std::nullopt, *record_.uplink_offload});
    }
    if (record_.uplink_up && device.up != *record_.uplink_up)
      steps_.push_back(SetPortUp{std::nullopt, *record_.uplink_up});
  }

  void unbind() {
    for (const auto& [vf, function] : now_.functions) {
      if (!ours(vf) || function.driver.empty() || !disturbed(vf)) continue;
      steps_.push_back(UnbindVf{vf, function.driver});
      unbound_.insert(vf);
    }
  }

  void restore_macs() {
    for (const auto& [vf, mac] : record_.macs)
      if (wrong_mac(vf)) steps_.push_back(SetVfMac{vf, mac});
  }

  // Told in switchdev mode only where the NIC was found in it; otherwise they end with it.
  void restore_modes() {
    if (remode_) return;
    const netlink::Eswitch& before = record_.eswitch;
    if (before.inline_mode && now_.eswitch.inline_mode && before.inline_mode != now_.eswitch.inline_mode) {
      steps_.push_back(SetInline{*before.inline_mode});
    }
    if (before.encap && now_.eswitch.encap && before.encap != now_.eswitch.encap)
      steps_.push_back(SetEncap{*before.encap});
  }

  void restore_params() {
    const auto mode = remode_ ? record_.eswitch.mode : now_.eswitch.mode;
    if (mode != EswitchMode::legacy) return;
    for (const auto& [name, value] : record_.params) {
      const auto found = now_.params.find(name);
      if (found != now_.params.end() && found->second != value) steps_.push_back(SetParam{name, value});
    }
  }

  void autoprobe(bool on) {
    if (autoprobe_ != on) steps_.push_back(SetAutoprobe{on});
    autoprobe_ = on;
  }

  void bind() {
    std::vector<uint16_t> unbound;
    for (const auto& [vf, driver] : record_.drivers) {
      if (driver != now_.driver) continue;  // none, or one that sepal never takes a VF from
      const auto found = now_.functions.find(vf);
      // New VFs have what autoprobe gave them.
      const bool bare = !recount_ && found != now_.functions.end() && found->second.driver.empty();
      if (bare || unbound_.contains(vf)) unbound.push_back(vf);
    }
    if (!unbound.empty()) autoprobe(true);
    for (const uint16_t vf : unbound) steps_.push_back(BindVf{vf});
    autoprobe(record_.autoprobe);
  }

  const NicRecord& record_;
  const NicState& now_;
  const bool recount_;
  const bool remode_;
  bool autoprobe_;
  std::set<uint16_t> unbound_;
  std::vector<NicStep> steps_;
};

}  // namespace

Result<std::vector<NicStep>> plan_nic_reset(const NicRecord& record, const NicState& now) {
  return Reset(record, now).plan();
}

}  // namespace sepal::agent
