// A model of a NIC, a configuration for it, and bring-up as `sepalctl nic apply` does it.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "agent/nic_plan.hpp"
#include "agent/nic_run.hpp"
#include "tests/support/fake_nic.hpp"

namespace sepal::agent {

using netlink::EswitchMode;
using netlink::InlineMode;
using test::FakeNic;
using Steps = std::vector<NicStep>;

inline const MacAddr kWebMac{{0x02, 0, 0, 0, 0, 0x0a}};
inline const MacAddr kDbMac{{0x02, 0, 0, 0, 0, 0x0b}};
inline const NicRunOptions kQuick{
    std::chrono::milliseconds(500), std::chrono::milliseconds(500), std::chrono::milliseconds(300), {}};

// nic: {pci, vfs: COUNT, only: …} and two ports.
inline config::Config config_of(uint16_t count, std::vector<uint16_t> only = {}) {
  config::Config config;
  config.host.nic.manual_representors = false;
  config.host.nic.pci = "0000:3b:00.0";
  config.host.nic.vfs = count;
  config.host.nic.only = std::move(only);
  config::Tenant tenant;
  tenant.ports = {{.name = "web", .vf = 0, .device = {}, .mac = kWebMac, .addresses = {}, .prefixes = {}, .where = {}},
                  {.name = "db", .vf = 1, .device = {}, .mac = kDbMac, .addresses = {}, .prefixes = {}, .where = {}}};
  config.tenants = {tenant};
  return config;
}

// What survives of a NIC's state when names, indexes and MACs nobody asked for are left out.
inline NicState essence(NicState state, const NicWanted* wanted = nullptr) {
  if (state.uplink && state.uplink->device) state.uplink->device->index = IfIndex();
  for (auto& [vf, function] : state.functions) function.devices.clear();
  for (auto& [vf, port] : state.representors) {
    if (port.device) {
      port.device->index = IfIndex();
      port.device->name.clear();
    }
    if (wanted == nullptr || !wanted->macs.contains(vf)) port.function_mac.reset();
  }
  return state;
}

class Nic : public testing::Test {
 protected:
  // As `sepalctl nic apply`: the record first, then the run.
  Result<NicOutcome> apply(const config::Config& config) {
    auto now = look_at_rest(nic_, std::chrono::milliseconds(0));
    const NicWanted wanted = wanted_nic(config, *now, record_ ? &*record_ : nullptr);
    auto steps = plan_nic(wanted, *now);
    if (!steps) return Unexpected(steps.error());
    if (!steps->empty()) record_ = remember(*now, wanted, "boot", record_ ? &*record_ : nullptr);
    return run_nic(
        nic_,
        [&](const NicState& state) {
          return plan_nic(wanted_nic(config, state, record_ ? &*record_ : nullptr), state);
        },
        kQuick);
  }
  Result<NicOutcome> reset() {
    return run_nic(nic_, [&](const NicState& state) { return plan_nic_reset(*record_, state); }, kQuick);
  }
  Steps plan(const config::Config& config) {
    auto steps = plan_nic(wanted_nic(config, nic_.state, record_ ? &*record_ : nullptr), nic_.state);
    EXPECT_TRUE(steps) << steps.error().message();
    return steps ? *steps : Steps{};
  }
  Error refusal(const config::Config& config) {
    auto steps = plan_nic(wanted_nic(config, nic_.state, record_ ? &*record_ : nullptr), nic_.state);
    EXPECT_FALSE(steps);
    return steps ? Error{} : steps.error();
  }
  void expect_brought_up(uint16_t count) {
    EXPECT_TRUE(nic_.state.switchdev());
    EXPECT_EQ(nic_.state.count, count);
    EXPECT_EQ(nic_.state.functions.size(), count);
    EXPECT_EQ(nic_.state.representors.size(), count);
    EXPECT_TRUE(nic_.state.uplink->device->up && nic_.state.uplink->device->offload.on);
    for (const auto& [vf, port] : nic_.state.representors) {
      EXPECT_TRUE(port.device && port.device->up && port.device->offload.on) << "VF " << vf;
      EXPECT_EQ(nic_.state.functions.at(vf).driver, "mlx5_core") << "VF " << vf;
    }
    EXPECT_EQ(nic_.state.representors.at(0).function_mac, kWebMac);
    EXPECT_EQ(nic_.guest_macs.at(1), kDbMac) << "the driver bound before the MAC was there";
    EXPECT_EQ(nic_.disturbed, std::vector<std::string>{});
  }

  FakeNic nic_;
  std::optional<NicRecord> record_;
};

}  // namespace sepal::agent
