// The report behind `sepalctl offload`: over a hypervisor in memory whose devices are made ports of a NIC afterwards.
#include "agent/offload.hpp"

#include <linux/netfilter/nf_conntrack_common.h>

#include <cerrno>

#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

class OffloadTest : public AgentTest {
 protected:
  OffloadTest() {
    slow_path_.loaded = {
        {"sepal_neigh", {}}, {"sepal_slice", {}}, {"sepal_policy", {}}, {"sepal_icmp", {}}, {"sepal_question", {}}};
    config_ = usual_config();
    apply(config_);
    look();
  }

  void look() {
    Kernel kernel = this->kernel();
    auto shown = gather_shown(kernel, &config_, paths_);
    ASSERT_TRUE(shown) << shown.error().message();
    shown_ = std::move(*shown);
  }
  // As if the devices were a NIC's and it had taken everything.
  void put_into_hardware() {
    shown_.view.nic_named = true;
    for (auto& [index, device] : shown_.view.devices)
      if (index != shown_.view.vxlan) device = {device.name, true, {true, true}};
    for (ShownRule& rule : shown_.rules) {
      rule.filter.state.in_hw = !rule.filter.state.skip_hw;
      rule.filter.state.in_hw_count = rule.filter.state.in_hw ? 1 : 0;
    }
  }
  OffloadReport report(std::optional<Vni> only = std::nullopt) {
    for (ShownRule& rule : shown_.rules) rule.placed = place(rule.filter.rule, &rule.filter.state, shown_.view);
    return make_offload_report(shown_, &config_, connections_, only);
  }
  const OffloadBlock& block(const OffloadReport& report, const std::string& device) {
    for (const OffloadBlock& found : report.blocks)
      if (found.device == device_index(device)) return found;
    ADD_FAILURE() << "no block on " << device;
    static const OffloadBlock none;
    return none;
  }
  ShownRule& rule(const std::string& device, tc::Group group, uint16_t prio) {
    for (ShownRule& found : shown_.rules)
      if (found.filter.rule.id.device == device_index(device) && found.chain.group == group &&
          found.filter.rule.id.prio == prio)
        return found;
    ADD_FAILURE() << "no such rule";
    return shown_.rules.front();
  }
  static void count(ShownRule& rule, uint64_t packets, uint64_t in_hardware) {
    rule.filter.state.stats.assign(rule.filter.rule.spec.actions.size(),
                                   {packets * 100, packets, 0, 0, in_hardware * 100, in_hardware});
  }

  config::Config config_;
  Shown shown_;
  std::map<Zone, ConnectionCount> connections_;
};

TEST_F(OffloadTest, on_veth_nothing_is_wanted_in_hardware_and_everything_is_as_wanted) {
  const OffloadReport report = this->report();
  EXPECT_FALSE(report.any_nic);
  EXPECT_TRUE(report.as_wanted());
  EXPECT_EQ(report.wanted, 0U);
  EXPECT_GT(report.software_only, 20U);
}

TEST_F(OffloadTest, every_rule_without_skip_hw_is_wanted_and_counted_by_block) {
  put_into_hardware();
  const OffloadReport report = this->report();
  const auto offered = static_cast<size_t>(std::count_if(shown_.rules.begin(), shown_.rules.end(),
                                                         [](const ShownRule& r) { return !r.filter.state.skip_hw; }));
  EXPECT_TRUE(report.any_nic && report.as_wanted());
  EXPECT_EQ(report.wanted, offered);
  EXPECT_EQ(report.held, offered);
  EXPECT_EQ(report.software_only, shown_.rules.size() - offered);
  ASSERT_EQ(report.blocks.size(), 5U);
  EXPECT_EQ(report.blocks[0].port->port, "app");
  EXPECT_EQ(report.blocks[3].kind, tc::BlockKind::vxlan);
  EXPECT_EQ(report.blocks[4].kind, tc::BlockKind::uplink);
  for (const OffloadBlock& block : report.blocks) EXPECT_TRUE(block.in_hardware()) << block.device.value();
}

TEST_F(OffloadTest, each_reason_by_design_is_counted) {
  put_into_hardware();
  size_t sum = 0;
  const OffloadReport report = this->report();
  for (const auto& [why, count] : report.by_design) {
    EXPECT_NE(why, "");
    sum += count;
  }
  EXPECT_EQ(sum, report.software_only);
  EXPECT_TRUE(report.by_design.contains("runs an eBPF program"));
}

TEST_F(OffloadTest, a_refused_rule_is_named_with_errno_words_object_and_what_lint_had_to_say) {
  put_into_hardware();
  ShownRule& refused = rule("blue-web", tc::Group::encap, 1);
  refused.filter.state.in_hw = false;
  const tc::RuleId id = refused.filter.rule.id;
  shown_.view.refusal = [id](const tc::RuleId& asked, uint64_t) -> std::optional<DriverRefusal> {
    if (asked != id) return std::nullopt;
    return DriverRefusal{EOPNOTSUPP, "mlx5_core: Unsupported key"};
  };
  const OffloadReport report = this->report();
  ASSERT_EQ(report.rules.size(), 1U);
  const OffloadRule& rule = report.rules[0];
  EXPECT_EQ(rule.rule.id, id);
  EXPECT_EQ(rule.placed.refusal->error, EOPNOTSUPP);
  EXPECT_EQ(rule.foreseen, "") << "lint finds nothing in what we compile";
  EXPECT_EQ(rule.judges, "L10");
  ASSERT_TRUE(rule.origin);
  EXPECT_NE(shown_.names.purpose(*rule.origin).find("sepal.yaml:"), std::string::npos);
  EXPECT_FALSE(block(report, "blue-web").in_hardware());
  EXPECT_TRUE(block(report, "blue-app").in_hardware());
}

TEST_F(OffloadTest, a_full_table_is_no_lint_rules_business) {
  put_into_hardware();
  rule("blue-web", tc::Group::egress, 1).filter.state.in_hw = false;
  shown_.view.refusal = [](const tc::RuleId&, uint64_t) { return std::optional(DriverRefusal{ENOSPC, ""}); };
  const OffloadReport report = this->report();
  ASSERT_EQ(report.rules.size(), 1U);
  EXPECT_EQ(report.rules[0].judges, "");
  EXPECT_EQ(report.rules[0].placed.why, "the NIC refused it: No space left on device");
}

TEST_F(OffloadTest, a_device_with_offload_off_is_said_once_for_its_block) {
  put_into_hardware();
  shown_.view.devices[device_index("blue-web")].offload.on = false;
  for (ShownRule& rule : shown_.rules)
    if (rule.filter.rule.id.device == device_index("blue-web")) rule.filter.state.in_hw = false;
  const OffloadReport report = this->report();
  const OffloadBlock& off = block(report, "blue-web");
  ASSERT_TRUE(off.obstacle);
  EXPECT_EQ(off.obstacle->cause, Cause::offload_off);
  EXPECT_EQ(report.rules.size(), off.wanted);
  EXPECT_EQ(off.held, 0U);
}

TEST_F(OffloadTest, a_rule_somebody_deleted_is_wanted_and_missing) {
  const uint32_t routes = tc::chain_number(tc::Lane::guest, tc::Group::encap, Vni(100));
  std::erase_if(kernel_.filters, [&](const auto& entry) {
    return entry.first.device == device_index("blue-web") && entry.first.chain == routes;
  });
  look();
  EXPECT_GT(report().differing, 0U);
  EXPECT_TRUE(report().as_wanted()) << "no NIC: it differs, but nothing is missing in hardware";
  put_into_hardware();
  const OffloadReport report = this->report();
  EXPECT_EQ(report.rules.size(), report.differing);
  for (const OffloadRule& rule : report.rules) EXPECT_EQ(rule.placed.placement, Placement::missing);
}

TEST_F(OffloadTest, shares_count_each_packet_where_its_way_ends) {
  put_into_hardware();
  // A hundred packets of web to app: in hardware but for the first ten, which hardware counted on their way up, too.
  count(rule("blue-web", tc::Group::ingress, 14), 110, 100);
  ShownRule* to_app = nullptr;
  for (ShownRule& found : shown_.rules)
    for (const tc::Action& action : found.filter.rule.spec.actions)
      if (const auto* mirred = std::get_if<tc::Mirred>(&action.kind);
          mirred != nullptr && mirred->device == device_index("blue-app") &&
          found.filter.rule.id.device == device_index("blue-web"))
        to_app = &found;
  ASSERT_NE(to_app, nullptr);
  count(*to_app, 100, 90);
  count(rule("blue-web", tc::Group::ingress, 1000), 7, 7);
  const OffloadReport report = this->report();
  const Share& sent = block(report, "blue-web").sent;
  EXPECT_EQ(sent.packets, 107U) << "redirected and dropped, not those that only passed by";
  EXPECT_EQ(sent.hw_packets, 97U);
  EXPECT_EQ(sent.hw_bytes, 9700U);
  EXPECT_EQ(block(report, "blue-app").received.packets, 100U);
  EXPECT_EQ(block(report, "blue-app").received.hw_packets, 90U);
  ASSERT_EQ(report.tenants.size(), 2U);
  EXPECT_EQ(report.tenants[0].traffic.packets, 107U);
  EXPECT_EQ(report.tenants[1].traffic.packets, 0U);
}

TEST_F(OffloadTest, a_tenant_alone_is_its_ports_and_its_part_of_the_tunnel) {
  put_into_hardware();
  const OffloadReport green = report(Vni(200));
  ASSERT_EQ(green.blocks.size(), 2U);
  EXPECT_EQ(green.blocks[0].port->tenant, "green");
  EXPECT_EQ(green.blocks[1].kind, tc::BlockKind::vxlan);
  ASSERT_EQ(green.tenants.size(), 1U);
  EXPECT_EQ(green.tenants[0].vni, Vni(200));
  EXPECT_LT(green.wanted, report().wanted);
}

netlink::Connection connection(uint8_t protocol, uint32_t status, std::optional<uint8_t> tcp_state = std::nullopt) {
  netlink::Connection made;
  made.original.protocol = protocol;
  made.status = status;
  made.tcp_state = tcp_state;
  return made;
}

TEST_F(OffloadTest, connections_are_counted_by_what_can_become_of_them) {
  ConnectionCount count;
  count.add(connection(tc::kProtoTcp, IPS_OFFLOAD | IPS_HW_OFFLOAD, 3));
  count.add(connection(tc::kProtoUdp, IPS_OFFLOAD | IPS_HW_OFFLOAD));
  count.add(connection(tc::kProtoTcp, IPS_OFFLOAD, 3));  // in the flow table, refused by the NIC
  count.add(connection(tc::kProtoTcp, 0, 3));            // established, not there yet
  count.add(connection(tc::kProtoUdp, 0));
  count.add(connection(tc::kProtoTcp, 0, 1));  // SYN sent
  count.add(connection(tc::kProtoTcp, 0, 7));  // TIME_WAIT
  count.add(connection(tc::kProtoIcmp, 0));
  count.add(connection(tc::kProtoSctp, 0));
  EXPECT_EQ(count.total, 9U);
  EXPECT_EQ(count.hardware, 2U);
  EXPECT_EQ(count.software, 3U);
  EXPECT_EQ(count.young, 2U);
  EXPECT_EQ(count.never, 2U);
}

TEST_F(OffloadTest, connections_are_the_tenants_whose_zone_they_are_in) {
  connections_[shown_.wanted->zones.at(Vni(200))].add(connection(tc::kProtoUdp, IPS_OFFLOAD | IPS_HW_OFFLOAD));
  const OffloadReport report = this->report();
  EXPECT_EQ(report.tenants[0].connections.total, 0U);
  EXPECT_EQ(report.tenants[1].connections.hardware, 1U);
}

TEST_F(OffloadTest, without_a_configuration_the_rules_in_the_kernel_are_what_is_wanted) {
  Kernel kernel = this->kernel();
  auto shown = gather_shown(kernel, nullptr, paths_);
  ASSERT_TRUE(shown) << shown.error().message();
  shown_ = std::move(*shown);
  put_into_hardware();
  shown_.view.nic_named = false;  // nobody says so; the devices tell
  rule("blue-web", tc::Group::encap, 1).filter.state.in_hw = false;
  const OffloadReport report = make_offload_report(
      [this]() -> Shown& {
        for (ShownRule& rule : shown_.rules) rule.placed = place(rule.filter.rule, &rule.filter.state, shown_.view);
        return shown_;
      }(),
      nullptr, {}, std::nullopt);
  ASSERT_EQ(report.rules.size(), 1U);
  EXPECT_EQ(report.rules[0].placed.cause, Cause::untold);
  EXPECT_FALSE(report.rules[0].origin);
}

}  // namespace
}  // namespace sepal::agent
