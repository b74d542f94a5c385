#include "agent/next_hops.hpp"

#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

IpAddr ip(const char* text) { return *IpAddr::parse(text); }
const IpAddr kVtep = ip("192.0.2.2");

netlink::Link device(uint32_t index, const std::string& name, const std::string& kind = "") {
  netlink::Link link;
  link.index = IfIndex(index);
  link.name = name;
  link.kind = kind;
  return link;
}

// --- which devices are the NIC's wire

TEST(WhyNotUplink, the_uplink_and_a_vlan_on_it_are_the_nics) {
  std::vector<netlink::Link> links{device(1, "p0"), device(2, "p0.7", "vlan"), device(3, "p0.7.8", "vlan")};
  links[1].lower = IfIndex(1);
  links[1].vlan = Vid(7);
  links[2].lower = IfIndex(2);
  links[2].vlan = Vid(8);
  EXPECT_EQ(why_not_uplink(IfIndex(1), IfIndex(1), links), "");
  EXPECT_EQ(why_not_uplink(IfIndex(2), IfIndex(1), links), "");
  EXPECT_NE(why_not_uplink(IfIndex(3), IfIndex(1), links), "") << "two tags do not fit into an encapsulation";
}

TEST(WhyNotUplink, another_device_is_named_with_the_one_it_should_be) {
  const std::vector<netlink::Link> links{device(1, "p0"), device(2, "eth1")};
  EXPECT_EQ(why_not_uplink(IfIndex(2), IfIndex(1), links),
            "leaves by eth1, which is neither the uplink p0 nor a VLAN or a bond on it");
  EXPECT_NE(why_not_uplink(IfIndex(77), IfIndex(1), links), "");
}

TEST(WhyNotUplink, a_bond_of_the_nics_own_ports_is_the_nics) {
  std::vector<netlink::Link> links{device(1, "p0"), device(2, "p1"), device(3, "bond0", "bond"),
                                   device(4, "bond0.7", "vlan")};
  links[0].phys_switch_id = links[1].phys_switch_id = {1, 2};
  links[0].master = links[1].master = IfIndex(3);
  links[3].lower = IfIndex(3);
  links[3].vlan = Vid(7);
  for (const uint32_t uplink : {1U, 3U}) {
    EXPECT_EQ(why_not_uplink(IfIndex(3), IfIndex(uplink), links), "") << uplink;
    EXPECT_EQ(why_not_uplink(IfIndex(4), IfIndex(uplink), links), "") << uplink;
  }
}

TEST(WhyNotUplink, a_bond_with_a_strangers_port_is_not) {
  std::vector<netlink::Link> links{device(1, "p0"), device(2, "eth1"), device(3, "bond0", "bond")};
  links[0].phys_switch_id = {1, 2};
  links[0].master = links[1].master = IfIndex(3);
  for (const uint32_t uplink : {1U, 3U})
    EXPECT_EQ(why_not_uplink(IfIndex(3), IfIndex(uplink), links),
              "leaves by bond0, whose eth1 is no port of the NIC that p0 is");
  links[1].phys_switch_id = {9, 9};
  EXPECT_NE(why_not_uplink(IfIndex(3), IfIndex(1), links), "");
}

TEST(WhyNotUplink, a_bond_of_plain_devices_is_as_good_as_they_are) {
  std::vector<netlink::Link> links{device(1, "veth0", "veth"), device(2, "veth1", "veth"), device(3, "bond0", "bond")};
  links[0].master = links[1].master = IfIndex(3);
  EXPECT_EQ(why_not_uplink(IfIndex(3), IfIndex(3), links), "");
}

// --- generations

UnderlayWay way_by(uint32_t index, const char* next_hop) {
  return {kVtep, NextHop{IfIndex(index), ip(next_hop), MacAddr{}}, "uplink", 0, {}};
}

TEST(NextWays, the_first_look_is_generation_zero_and_the_same_way_stays) {
  const SavedWays first = next_ways({}, {way_by(1, "192.0.2.254")}, {});
  EXPECT_EQ(first.at(kVtep).generation, 0);
  EXPECT_EQ(next_ways(first, {way_by(1, "192.0.2.254")}, {}), first);
}

TEST(NextWays, another_gateway_device_or_own_mac_is_the_next_generation) {
  const SavedWays before = next_ways({}, {way_by(1, "192.0.2.254")}, {});
  UnderlayWay other_mac = way_by(1, "192.0.2.254");
  other_mac.hop->own_mac = MacAddr{{2, 0, 0, 0, 0, 1}};
  for (const UnderlayWay& now : {way_by(1, "192.0.2.253"), way_by(2, "192.0.2.254"), other_mac}) {
    const SavedWays next = next_ways(before, {now}, {});
    EXPECT_EQ(next.at(kVtep), (SavedWay{*now.hop, 1}));
  }
}

TEST(NextWays, a_distrusted_way_is_looked_up_anew_though_it_looks_the_same) {
  const SavedWays before = next_ways({}, {way_by(1, "192.0.2.254")}, {});
  EXPECT_EQ(next_ways(before, {way_by(1, "192.0.2.254")}, {kVtep}).at(kVtep).generation, 1);
}

TEST(NextWays, generations_follow_each_other_in_a_ring) {
  SavedWays ways;
  std::set<uint8_t> seen;
  for (unsigned i = 0; i < 2U * tc::kTunnelGenerations; ++i) {
    const uint8_t before = ways.empty() ? uint8_t{99} : ways.at(kVtep).generation;
    ways = next_ways(ways, {way_by(1, i % 2 == 0 ? "192.0.2.254" : "192.0.2.253")}, {});
    EXPECT_NE(ways.at(kVtep).generation, before);
    seen.insert(ways.at(kVtep).generation);
  }
  EXPECT_EQ(seen.size(), tc::kTunnelGenerations);
}

TEST(NextWays, what_is_kept_out_of_hardware_keeps_what_the_nic_once_looked_up) {
  const SavedWays before = next_ways({}, {way_by(1, "192.0.2.254")}, {});
  UnderlayWay away = way_by(2, "198.51.100.1");
  away.keep_out = "leaves by eth1";
  EXPECT_EQ(next_ways(before, {away}, {}), before);
  EXPECT_EQ(next_ways({}, {away}, {}), SavedWays{});
  EXPECT_EQ(next_ways(before, {way_by(1, "192.0.2.254")}, {}), before) << "back to what it was";
}

TEST(NextWays, a_vtep_no_route_leads_to_any_more_is_forgotten) {
  EXPECT_EQ(next_ways(next_ways({}, {way_by(1, "192.0.2.254")}, {}), {}, {}), SavedWays{});
}

// --- found in a kernel, and followed by passes

class Ways : public AgentTest {
 protected:
  // Values of ttl in the rules that encapsulate, in the kernel, with how many are skip_hw.
  struct Encaps {
    std::map<unsigned, size_t> by_ttl;
    size_t skip_hw = 0;
  };
  Encaps encaps() {
    Encaps found;
    for (const char* name : {"blue-web", "blue-app"}) {
      for (const Filter& filter : filters_on(name))
        for (const tc::Action& action : filter.rule.spec.actions)
          if (const auto* tunnel = std::get_if<tc::TunnelSet>(&action.kind)) {
            ++found.by_ttl[tunnel->ttl];
            found.skip_hw += filter.state.skip_hw ? 1 : 0;
          }
    }
    return found;
  }
  void route_by(const char* device_name, const char* next_hop) {
    kernel_.routes[kVtep] = {device_index(device_name), ip(next_hop), 0, ""};
  }
};

TEST_F(Ways, a_new_next_hop_replaces_every_rule_of_the_tunnel_and_nothing_else) {
  const config::Config config = usual_config();
  Reconciler agent = reconciler();
  ASSERT_TRUE(agent.apply(config, {}));
  EXPECT_EQ(encaps().by_ttl, (std::map<unsigned, size_t>{{0, 2}}));
  ASSERT_FALSE(*agent.devices_changed(config));

  route_by("uplink", "192.0.2.254");
  EXPECT_TRUE(*agent.devices_changed(config));
  auto report = agent.look_again(config, {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome.replaced, 2U);
  EXPECT_EQ(report->outcome.added + report->outcome.removed, 0U);
  EXPECT_FALSE(report->others_changed);
  EXPECT_EQ(encaps().by_ttl, (std::map<unsigned, size_t>{{64, 2}}));
  EXPECT_NE(std::find(report->changes.begin(), report->changes.end(),
                      "tunnel to 192.0.2.2: next hop is 192.0.2.254 on uplink"),
            report->changes.end());
  EXPECT_TRUE(agent.look_again(config, {})->quiet);
}

TEST_F(Ways, a_change_while_the_agent_was_dead_is_followed_and_a_restart_without_one_writes_nothing) {
  const config::Config config = usual_config();
  apply(config);
  const uint64_t before = kernel_.writes();
  EXPECT_EQ(apply(config).outcome.writes(), 0U);
  EXPECT_EQ(kernel_.writes(), before);
  route_by("uplink", "192.0.2.254");
  EXPECT_EQ(apply(config).outcome.replaced, 2U);
  EXPECT_EQ(apply(config).outcome.writes(), 0U) << "generation 1 is remembered";
  EXPECT_EQ(encaps().by_ttl, (std::map<unsigned, size_t>{{64, 2}}));
}

// Were the state saved after the rules, a crash between would leave rules that stand for a way nobody remembers.
TEST_F(Ways, a_crash_anywhere_in_a_change_leaves_no_rule_of_the_old_generation_behind) {
  const config::Config config = usual_config();
  apply(config);
  route_by("uplink", "192.0.2.254");
  for (uint64_t writes = 1; writes <= 2; ++writes) {
    DyingTransport dying(kernel_, writes);
    Reconciler dead({dying, conntrack_, slow_path_}, paths_);
    (void)dead.apply(config, {});
  }
  kernel_.break_at_write = 0;
  apply(config);
  EXPECT_EQ(encaps().by_ttl, (std::map<unsigned, size_t>{{64, 2}}));
  EXPECT_EQ(apply(config).outcome.writes(), 0U);
}

TEST_F(Ways, a_change_back_and_forth_while_rules_are_written_is_not_trusted) {
  const config::Config config = usual_config();
  Reconciler agent = reconciler();
  ASSERT_TRUE(agent.apply(config, {}));
  agent.distrust_ways({kVtep});
  EXPECT_TRUE(*agent.devices_changed(config));
  EXPECT_EQ(agent.look_again(config, {})->outcome.replaced, 2U);
  EXPECT_TRUE(agent.look_again(config, {})->quiet) << "once is enough";
}

TEST_F(Ways, a_tunnel_that_leaves_by_another_device_is_kept_in_software_with_the_reason_and_comes_back) {
  const config::Config config = usual_config();
  const IfIndex other = kernel_.add_link("eth1");
  apply(config);
  EXPECT_EQ(encaps().skip_hw, 0U);
  kernel_.routes[kVtep] = {other, kVtep, 0, ""};
  const PassReport away = apply(config);
  EXPECT_EQ(encaps().skip_hw, 2U);
  ASSERT_EQ(away.notes.size(), 1U);
  EXPECT_EQ(
      away.notes[0],
      "VTEP 192.0.2.2 leaves by eth1, which is neither the uplink uplink nor a VLAN or a bond on it; routes via it, "
      "and wider ones around them, stay in software");
  kernel_.routes.clear();
  EXPECT_TRUE(apply(config).notes.empty());
  EXPECT_EQ(encaps().skip_hw, 0U);
  EXPECT_EQ(encaps().by_ttl, (std::map<unsigned, size_t>{{0, 2}})) << "the NIC held nothing of it meanwhile";
}

TEST_F(Ways, without_a_way_routes_stay_in_software_and_the_obstacle_is_told) {
  kernel_.routes[kVtep] = {};
  const PassReport report = apply(usual_config());
  ASSERT_EQ(report.notes.size(), 1U);
  EXPECT_NE(report.notes[0].find("has no way there: no route"), std::string::npos) << report.notes[0];
  EXPECT_EQ(encaps().skip_hw, 2U);
}

TEST_F(Ways, a_kernel_that_answers_no_lookup_changes_nothing_but_is_a_problem) {
  class Deaf : public netlink::Transport {
   public:
    explicit Deaf(test::FakeKernel& kernel) : kernel_(kernel) {}
    Result<void> transact(netlink::Bytes& r, const std::function<void(size_t, const netlink::Answer&)>& a) override {
      return kernel_.transact(r, a);
    }
    Result<void> dump(netlink::Bytes r, const netlink::MessageSink& s) override {
      return kernel_.dump(std::move(r), s);
    }
    Result<void> get(netlink::Bytes request, const netlink::MessageSink& sink) override {
      if (netlink::read_nlmsghdr(request)->nlmsg_type == RTM_GETROUTE) return fail_errno(EOPNOTSUPP, "");
      return kernel_.get(std::move(request), sink);
    }
    [[nodiscard]] uint64_t writes() const override { return kernel_.writes(); }

   private:
    test::FakeKernel& kernel_;
  } deaf(kernel_);
  Reconciler agent({deaf, conntrack_, slow_path_}, paths_);
  auto report = agent.apply(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->problems.size(), 1U);
  EXPECT_EQ(encaps().skip_hw, 0U);
}

TEST_F(Ways, a_next_hop_without_a_mac_address_is_the_slow_path) {
  const config::Config config = usual_config();
  auto links = netlink::list_links(kernel_);
  std::vector<std::string> problems;
  auto ways = find_ways(kernel_, config, *links, problems);
  ASSERT_TRUE(ways);
  ASSERT_EQ(ways->size(), 1U);
  EXPECT_EQ(find_status(kernel_, ways->front())->state, WayState::slow_path);
  const MacAddr mac{{2, 0, 0, 0, 0, 9}};
  kernel_.neighbours[{device_index("uplink"), kVtep}] = {mac, true};
  auto status = find_status(kernel_, ways->front());
  EXPECT_EQ(status->state, WayState::fast);
  EXPECT_EQ(status->mac, mac);
  ways->front().keep_out = "leaves by eth1";
  EXPECT_EQ(find_status(kernel_, ways->front())->state, WayState::kept_out);
}

TEST_F(Ways, the_state_file_keeps_ways_of_both_families) {
  SavedState state;
  state.ways[kVtep] = {{IfIndex(3), ip("192.0.2.254"), MacAddr{{2, 0, 0, 0, 0, 1}}}, 5};
  state.ways[ip("2001:db8::2")] = {{IfIndex(4), ip("fe80::1"), MacAddr{{2, 0, 0, 0, 0, 2}}}, 0};
  ASSERT_TRUE(save_state(paths_.state, state));
  EXPECT_EQ(load_state(paths_.state), state);
}

}  // namespace
}  // namespace sepal::agent
