// The NIC as `nic show` sees it, against what rules in hardware ask of it.
#include "agent/doctor/checks.hpp"

namespace sepal::agent::doctor {
namespace {

using netlink::EswitchMode;
using netlink::InlineMode;

const std::string kNic = "nic";
const std::string kEswitch = "eswitch";
const std::string kOffload = "hw-tc-offload";
const std::string kApply = "sepalctl nic apply";

void check_driver(const NicState& card, Findings& out) {
  const std::string name = "NIC " + card.pci;
  if (card.driver.empty()) {
    say(out, kNic, State::fail, name + " has no driver", "bind its driver: modprobe mlx5_core");
    return;
  }
  const std::string firmware = card.firmware.empty() ? "" : ", firmware " + card.firmware;
  if (card.driver == "mlx5_core")
    say(out, kNic, State::ok, name + ": " + card.driver + firmware);
  else
    say(out, kNic, State::unknown,
        name + ": driver " + card.driver + firmware + " is not the one the rules are written for (mlx5_core)",
        "sepalctl doctor --probe asks it what it takes");
  if (card.firmware.empty()) say(out, kNic, State::unknown, name + ": its firmware's version is not told", "");
}

void check_vfs(const NicState& card, const config::Nic& wanted, Findings& out) {
  if (card.count >= wanted.vfs) return;
  const std::string what =
      "NIC " + card.pci + " has " + std::to_string(card.count) + " VFs, nic.vfs asks for " + std::to_string(wanted.vfs);
  if (card.total < wanted.vfs)
    say(out, kNic, State::fail, what + "; its firmware allows " + std::to_string(card.total),
        "raise NUM_OF_VFS in the firmware's configuration (mlxconfig), or lower nic.vfs");
  else
    say(out, kNic, State::fail, what, kApply);
}

void check_eswitch(const NicState& card, Findings& out) {
  const netlink::Eswitch& eswitch = card.eswitch;
  if (!eswitch.mode) {
    say(out, kEswitch, State::fail, "NIC " + card.pci + " has no eSwitch, or does not tell its mode",
        "enable SR-IOV in the firmware's configuration (mlxconfig SRIOV_EN=1)");
    return;
  }
  if (*eswitch.mode != EswitchMode::switchdev) {
    say(out, kEswitch, State::fail, "the eSwitch is in legacy mode: nothing can be offloaded", kApply);
    return;
  }
  say(out, kEswitch, State::ok, "switchdev mode");
  // Deeper matches than the inline mode are refused on VFs of old cards; ConnectX-5 and later say "none" and match all.
  if (eswitch.inline_mode == InlineMode::link || eswitch.inline_mode == InlineMode::network)
    say(out, kEswitch, State::fail, "inline mode is below transport: the NIC refuses matches on ports from VFs",
        "devlink dev eswitch set pci/" + card.pci + " inline-mode transport, while it holds no rule");
  if (eswitch.encap == false)
    say(out, kEswitch, State::fail, "encap mode is none: tunnels cannot be offloaded", kApply);
}

const std::string* text_param(const NicState& card, std::string_view name) {
  const auto found = card.params.find(name);
  return found == card.params.end() ? nullptr : std::get_if<std::string>(&found->second);
}

void check_params(const NicState& card, Findings& out) {
  if (const std::string* steering = text_param(card, kSteeringParam)) {
    if (*steering == "dmfs")
      say(out, kEswitch, State::warn,
          "steering mode is dmfs: rules are inserted by firmware, slowly, and tables beyond the first 270 are small",
          kApply + " sets smfs where the NIC offers it, while the NIC is in legacy mode");
    else
      say(out, kEswitch, State::ok, "steering mode " + *steering);
  }
  const auto metadata = card.params.find(kMetadataParam);
  if (metadata == card.params.end()) return;
  if (const bool* on = std::get_if<bool>(&metadata->second); on != nullptr && !*on)
    say(out, kEswitch, State::warn, "port metadata is off: no bond of two ports can share a table",
        kApply + " sets it, while the NIC is in legacy mode");
}

void check_device(const NicPort& port, const std::string& what, Findings& out) {
  if (!port.device) return;  // another namespace's
  const NicDevice& device = *port.device;
  const std::string name = what + " " + device.name;
  if (!device.offload.possible)
    say(out, kOffload, State::fail, name + " cannot hand rules to its NIC: the driver offers no hw-tc-offload",
        "see the findings about the kernel");
  else if (!device.offload.on)
    say(out, kOffload, State::fail, name + ": hw-tc-offload is off, every rule on it stays in software",
        "ethtool -K " + device.name + " hw-tc-offload on, then systemctl restart sepald");
  if (!device.up) say(out, kNic, State::fail, name + " is down", "ip link set " + device.name + " up");
}

}  // namespace

void check_card(const Facts& facts, Findings& out) {
  if (!facts.config) return;
  if (!facts.wants_nic()) {
    say(out, kNic, State::ok, "none is configured (representors: manual): what only a NIC needs is not looked at");
    return;
  }
  if (!facts.card) {
    say(out, kNic, State::fail, facts.card_error, "correct nic.pci, or see why the card is not there (lspci, dmesg)");
    return;
  }
  const NicState& card = *facts.card;
  check_driver(card, out);
  if (card.driver.empty()) return;
  check_vfs(card, facts.config->host.nic, out);
  check_eswitch(card, out);
  check_params(card, out);
}

void check_offload(const Facts& facts, Findings& out) {
  if (!facts.card || !facts.config || !facts.card->switchdev()) return;
  const size_t before = out.size();
  if (facts.card->uplink) check_device(*facts.card->uplink, "uplink", out);
  for (const auto& [vf, port] : facts.card->representors)
    if (facts.config->host.nic.owns(vf)) check_device(port, "representor of VF " + std::to_string(vf) + ",", out);
  if (out.size() == before) say(out, kOffload, State::ok, "on for the uplink and every representor");
}

}  // namespace sepal::agent::doctor
