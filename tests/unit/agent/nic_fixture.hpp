// The hypervisor in memory with an eSwitch: a NIC that holds rules until it is told to refuse some.
#pragma once

#include <linux/pkt_cls.h>

#include <cerrno>

#include "agent/hardware_question.hpp"
#include "agent/removal.hpp"
#include "agent/report.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {

class NicTest : public AgentTest {
 protected:
  NicTest() : now_(Clock::now()) {
    for (auto& [index, link] : kernel_.links) link.phys_switch_id = {0x5e, 0x01};
  }

  Reconciler patient() {
    Reconciler made = reconciler();
    made.set_clock([this] { return now_; });
    return made;
  }

  using Refusal = test::FakeKernel::Refusal;
  // The NIC refuses what `chosen` picks; trial rules in the spare chain as well.
  void refuse(std::function<bool(const tc::Rule&)> chosen,
              Refusal refusal = {EOPNOTSUPP, "mlx5_core: Unsupported key"}) {
    kernel_.refuse_in_hardware = [this, chosen = std::move(chosen),
                                  refusal](netlink::BytesView message) -> std::optional<Refusal> {
      auto filter = tc::decode_filter(message);
      if (!filter || !chosen(filter->rule)) return std::nullopt;
      ++refused_;
      return refusal;
    };
  }
  // The NIC has room for that many rules, and says nothing when it has not.
  void limit_room(size_t rules) {
    kernel_.refuse_in_hardware = [this, rules](netlink::BytesView) -> std::optional<Refusal> {
      return in_hardware() < rules ? std::nullopt : std::optional(Refusal{ENOSPC, ""});
    };
  }

  [[nodiscard]] size_t in_hardware(const std::string& device = "") const {
    size_t count = 0;
    for (const auto& [place, filter] : kernel_.filters)
      count +=
          filter.hardware == TCA_CLS_FLAGS_IN_HW && (device.empty() || place.device == device_index(device)) ? 1 : 0;
    return count;
  }
  // Rules that wait for hardware, and so let worse ones overtake them.
  [[nodiscard]] size_t missing() const {
    size_t count = 0;
    for (const auto& [place, filter] : kernel_.filters) count += filter.hardware == TCA_CLS_FLAGS_NOT_IN_HW ? 1 : 0;
    return count;
  }
  [[nodiscard]] size_t trial_rules() const {
    size_t count = 0;
    for (const auto& [place, filter] : kernel_.filters) count += place.chain == kSpareChain ? 1 : 0;
    return count;
  }
  // Packets that came in at a port, or for a tenant out of the tunnel.
  void count_at(const std::string& device, uint32_t packets) {
    for (auto& [place, filter] : kernel_.filters) {
      if (place.device != device_index(device) || place.chain != 0 || place.prio != 1) continue;
      filter.packets += packets;
      return;
    }
  }

  static bool is_remote_route(const tc::Rule& rule) {
    const tc::KeyMatch* destination = rule.spec.match.find(tc::Key::dst_ip4);
    return destination != nullptr && destination->value_u32() == 0x0a000002 &&
           tc::parse_chain(rule.id.chain).group != tc::Group::fresh;
  }

  PassReport look(Reconciler& reconciler, const config::Config& config) {
    auto report = reconciler.look_again(config, {});
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message());
    return report ? *report : PassReport{};
  }
  PassReport pass(Reconciler& reconciler, const config::Config& config) {
    auto report = reconciler.apply(config, {});
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message());
    return report ? *report : PassReport{};
  }

  Clock::time_point now_;
  unsigned refused_ = 0;
};

}  // namespace sepal::agent
