// Passes over a fake kernel: what is written, what is not, and what is left alone.
#include "agent/reconciler.hpp"

#include <linux/rtnetlink.h>

#include "agent/clsact.hpp"
#include "agent/removal.hpp"
#include "tests/support/forwarding_transport.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using ReconcilerTest = AgentTest;

TEST_F(ReconcilerTest, a_first_apply_installs_every_rule_that_was_compiled) {
  const PassReport report = apply(usual_config());
  EXPECT_GT(report.rules, 50U);
  EXPECT_EQ(report.outcome.added, report.rules);
  EXPECT_TRUE(report.outcome.refusals.empty());
  EXPECT_TRUE(report.problems.empty()) << report.problems.front();
  size_t installed = 0;
  for (const char* device : {"uplink", "sepal-vxlan", "blue-web", "blue-app", "green-web"})
    installed += filters_on(device).size();
  EXPECT_EQ(installed, report.rules);
}

TEST_F(ReconcilerTest, a_second_apply_by_a_new_process_writes_nothing) {
  apply(usual_config());
  const uint64_t writes = kernel_.writes();
  const PassReport report = apply(usual_config());
  EXPECT_EQ(kernel_.writes(), writes);
  EXPECT_EQ(report.outcome.writes(), 0U);
  EXPECT_TRUE(report.made.empty());
}

TEST_F(ReconcilerTest, a_quiet_look_neither_writes_nor_compiles) {
  Reconciler reconciler = this->reconciler();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  const uint64_t writes = kernel_.writes();
  auto report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->quiet);
  EXPECT_EQ(kernel_.writes(), writes);
}

TEST_F(ReconcilerTest, a_rule_deleted_by_hand_comes_back_and_its_tenant_is_named) {
  Reconciler reconciler = this->reconciler();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  auto victim = kernel_.filters.lower_bound({device_index("blue-web"), 0xfffffff2U, 1, 0, 0});
  ASSERT_EQ(victim->first.device, device_index("blue-web"));
  const auto before = *victim;
  kernel_.filters.erase(victim);
  auto report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->quiet);
  EXPECT_TRUE(report->others_changed);
  EXPECT_EQ(report->outcome.added, 1U);
  ASSERT_TRUE(kernel_.filters.contains(before.first));
  EXPECT_EQ(kernel_.filters.at(before.first).attributes, before.second.attributes);
  ASSERT_EQ(report->changes.size(), 1U);
  EXPECT_NE(report->changes.front().find("tenant blue"), std::string::npos) << report->changes.front();
}

TEST_F(ReconcilerTest, a_rule_of_ours_that_nobody_wants_is_taken_out) {
  apply(usual_config());
  const PassReport report = apply(read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kRemoteRoute));
  EXPECT_GT(report.outcome.removed, 0U);
  EXPECT_FALSE(kernel_.clsact.contains(device_index("green-web")));
  for (const auto& [place, filter] : kernel_.filters) EXPECT_NE(tc::parse_chain(place.chain).vni, Vni(200));
}

TEST_F(ReconcilerTest, one_more_port_touches_no_other_tenant) {
  apply(read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute + kGreen));
  const auto before = kernel_.filters;
  apply(usual_config());
  for (const auto& [place, filter] : before) {
    if (tc::parse_chain(place.chain).vni != Vni(200) && place.device != device_index("green-web")) continue;
    ASSERT_TRUE(kernel_.filters.contains(place));
    EXPECT_EQ(kernel_.filters.at(place).attributes, filter.attributes);
  }
}

TEST_F(ReconcilerTest, a_foreign_filter_stays_and_is_counted) {
  const auto place = add_foreign("blue-web", 0, 60000, "bpf");
  const PassReport report = apply(usual_config());
  EXPECT_EQ(report.foreign, 1U);
  EXPECT_TRUE(report.outcome.refusals.empty());
  EXPECT_TRUE(kernel_.filters.contains(place));
  Kernel kernel = this->kernel();
  ASSERT_TRUE(remove_everything(kernel, paths_, {}));
  EXPECT_TRUE(kernel_.filters.contains(place));
  EXPECT_TRUE(kernel_.clsact.contains(device_index("blue-web"))) << "a clsact that somebody uses is not removed";
}

TEST_F(ReconcilerTest, a_foreign_filter_in_our_place_is_named_and_not_touched) {
  apply(usual_config());
  const auto ours = kernel_.filters.lower_bound({device_index("blue-web"), 0xfffffff2U, 0, 0, 0})->first;
  Kernel kernel = this->kernel();
  ASSERT_TRUE(remove_everything(kernel, paths_, {}));
  const auto place = add_foreign("blue-web", 0, ours.prio, "basic");

  Reconciler reconciler = this->reconciler();
  auto report = reconciler.apply(usual_config(), {});
  ASSERT_TRUE(report);
  ASSERT_FALSE(reconciler.troubles().empty());
  for (const auto& [key, trouble] : reconciler.troubles()) {
    EXPECT_EQ(trouble.refusal.error.code, Errc::conflict);
    EXPECT_NE(trouble.refusal.error.message().find("blue-web chain 0x0 prio"), std::string::npos)
        << trouble.refusal.error.message();
    EXPECT_NE(trouble.refusal.error.message().find("basic"), std::string::npos);
  }
  EXPECT_EQ(kernel_.filters.at(place).kind, "basic");
}

TEST_F(ReconcilerTest, every_jump_is_written_after_its_target_is_closed) {
  // At every write of a rule, the chain it jumps to must hold its last rule already: else a packet in between would
  // fall off its end. Judged at the fake, message by message.
  const config::Config config = usual_config();
  std::set<std::pair<IfIndex, uint32_t>> chains;
  size_t jumps = 0;
  kernel_.refuse = [&](netlink::BytesView message) -> std::optional<test::FakeKernel::Refusal> {
    nlmsghdr header{};
    std::memcpy(&header, message.data(), sizeof header);
    if (header.nlmsg_type != RTM_NEWTFILTER) return std::nullopt;
    auto filter = tc::decode_filter(message);
    EXPECT_TRUE(filter.has_value());
    for (const tc::Action& action : filter->rule.spec.actions) {
      const auto* gact = std::get_if<tc::Gact>(&action.kind);
      if (gact == nullptr || gact->verdict.control != tc::Control::goto_chain) continue;
      ++jumps;
      EXPECT_TRUE(chains.contains({filter->rule.id.device, gact->verdict.chain})) << tc::to_text(filter->rule);
    }
    if (filter->rule.id.prio >= 1000) chains.emplace(filter->rule.id.device, filter->rule.id.chain);
    return std::nullopt;
  };
  apply(config);
  EXPECT_GT(jumps, 20U);
}

TEST_F(ReconcilerTest, a_process_killed_in_mid_apply_is_completed_by_the_next) {
  apply(usual_config());
  const auto wanted = kernel_.filters;
  Kernel kernel = this->kernel();
  ASSERT_TRUE(remove_everything(kernel, paths_, {}));
  for (const uint64_t lived : {1U, 3U, 9U, 27U, 60U, 81U}) {
    DyingTransport last_breath(kernel_, lived);
    Reconciler dying({last_breath, conntrack_, slow_path_}, paths_);
    EXPECT_FALSE(dying.apply(usual_config(), {}).has_value()) << "after " << lived << " writes";
    EXPECT_LT(kernel_.filters.size(), wanted.size());
    apply(usual_config());
    EXPECT_EQ(kernel_.filters.size(), wanted.size());
    const uint64_t writes = kernel_.writes();
    apply(usual_config());
    EXPECT_EQ(kernel_.writes(), writes);
    ASSERT_TRUE(remove_everything(kernel, paths_, {}));
  }
}

// Wherever it breaks: while the vxlan device is made (1, 2), while a clsact is (3, 8), among the rules.
TEST_F(ReconcilerTest, a_broken_connection_is_repaired_within_the_pass) {
  for (const uint64_t at : {1U, 2U, 3U, 8U, 40U}) {
    kernel_.break_at_write = kernel_.writes() + at;
    const PassReport report = apply(usual_config());
    EXPECT_EQ(kernel_.break_at_write, 0U) << "it did break";
    EXPECT_TRUE(report.outcome.refusals.empty()) << "at write " << at;
    const uint64_t writes = kernel_.writes();
    apply(usual_config());
    EXPECT_EQ(kernel_.writes(), writes) << "at write " << at;
    Kernel kernel = this->kernel();
    ASSERT_TRUE(remove_everything(kernel, paths_, {}));
  }
}

TEST_F(ReconcilerTest, only_a_changed_device_makes_link_events_worth_a_pass) {
  Reconciler reconciler = this->reconciler();
  ASSERT_TRUE(reconciler.apply(usual_config(), {}));
  kernel_.add_link("somebody-elses");
  const uint64_t dumps = kernel_.dumps;
  EXPECT_FALSE(*reconciler.devices_changed(usual_config()));
  EXPECT_EQ(kernel_.dumps, dumps + 1) << "devices are read, filters are not";
  const IfIndex old = device_index("blue-web");
  kernel_.links.erase(old);
  kernel_.clsact.erase(old);
  std::erase_if(kernel_.filters, [&](const auto& entry) { return entry.first.device == old; });
  const IfIndex anew = kernel_.add_link("blue-web");
  ASSERT_NE(anew, old);
  EXPECT_TRUE(*reconciler.devices_changed(usual_config()));
  auto report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->others_changed) << "the device was made anew: nobody meddled with rules";
  EXPECT_FALSE(filters_on("blue-web").empty());
}

TEST_F(ReconcilerTest, a_vxlan_device_under_yesterdays_name_goes_when_todays_comes) {
  apply(usual_config());
  apply(read_config(kHostYaml + "vxlan: {device: tunnel}\n" + kBlueHead + kWebPort));
  EXPECT_EQ(device_index("sepal-vxlan"), IfIndex());
  EXPECT_NE(device_index("tunnel"), IfIndex());
  EXPECT_FALSE(filters_on("tunnel").empty());
}

TEST_F(ReconcilerTest, a_rule_the_dump_did_not_show_is_recognized_and_not_written_twice) {
  apply(usual_config());
  const auto hidden = *kernel_.filters.lower_bound({device_index("blue-web"), 0xfffffff2U, 1, 0, 0});
  kernel_.filters.erase(hidden.first);
  // It comes back between our dump and our write, as if the dump had missed it.
  kernel_.before_each_write = [&] { kernel_.filters.insert(hidden); };
  const PassReport report = apply(usual_config());
  EXPECT_EQ(report.outcome.added, 0U);
  EXPECT_TRUE(report.outcome.refusals.empty());
}

TEST_F(ReconcilerTest, an_interrupted_dump_is_repeated) {
  apply(usual_config());
  const uint64_t writes = kernel_.writes();
  kernel_.interrupt_dumps = 2;
  const PassReport report = apply(usual_config());
  EXPECT_EQ(report.outcome.writes(), 0U);
  EXPECT_EQ(kernel_.writes(), writes);
}

TEST_F(ReconcilerTest, a_port_without_its_device_waits_and_follows_when_the_device_comes) {
  kernel_.links.erase(device_index("blue-app"));
  Reconciler reconciler = this->reconciler();
  auto report = reconciler.apply(usual_config(), {});
  ASSERT_TRUE(report);
  ASSERT_EQ(report->waiting.size(), 1U);
  EXPECT_EQ(report->waiting.front(), (tc::PortKey{"blue", "app"}));
  EXPECT_EQ(report->outcome.added, report->rules);

  const IfIndex come = kernel_.add_link("blue-app");
  report = reconciler.look_again(usual_config(), {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->waiting.empty());
  EXPECT_TRUE(kernel_.clsact.contains(come));
  EXPECT_FALSE(filters_on("blue-app").empty());
}

TEST_F(ReconcilerTest, a_missing_underlay_device_refuses_the_whole_and_changes_nothing) {
  kernel_.links.erase(device_index("uplink"));
  Reconciler reconciler = this->reconciler();
  auto report = reconciler.apply(usual_config(), {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::not_found);
  EXPECT_NE(report.error().message().find("underlay device 'uplink' is not there"), std::string::npos);
  EXPECT_EQ(kernel_.writes(), 0U);
}

TEST_F(ReconcilerTest, tenants_keep_their_zones_when_one_with_a_smaller_vni_comes) {
  apply(read_config(kHostYaml + kGreen));
  auto zone_of = [&](const std::string& device) {
    for (const Filter& filter : filters_on(device))
      if (filter.state.cookie && tc::parse_chain(filter.rule.id.chain).group == tc::Group::nat)
        return filter.state.cookie->zone;
    return Zone();
  };
  const Zone green = zone_of("green-web");
  EXPECT_NE(green, Zone());
  std::filesystem::remove(paths_.state);  // the kernel's own rules must be enough
  apply(usual_config());
  EXPECT_EQ(zone_of("green-web"), green);
  EXPECT_NE(zone_of("blue-web"), green);
}

TEST_F(ReconcilerTest, entries_of_the_slow_path_come_before_rules_and_go_after) {
  bool put_before_first_rule = false;
  kernel_.before_each_write = [&] {
    if (kernel_.filters.size() > kernel_.clsact.size() &&
        slow_path_.calls.empty())  // the clsacts' marks are filters, too
      ADD_FAILURE() << "a rule was written before the entries it leads to";
    put_before_first_rule = put_before_first_rule || !slow_path_.calls.empty();
  };
  apply(usual_config());
  EXPECT_TRUE(put_before_first_rule);
  EXPECT_EQ(slow_path_.calls, (std::vector<std::string>{"put", "drop"}));
  EXPECT_TRUE(slow_path_.pinned);
}

TEST_F(ReconcilerTest, connections_of_a_tenant_that_left_end_and_others_live) {
  apply(usual_config());
  auto zone_on = [&](const std::string& device) {
    for (const Filter& filter : filters_on(device))
      if (filter.state.cookie && filter.state.cookie->zone != Zone()) return filter.state.cookie->zone;
    return Zone();
  };
  auto connection = [](Zone zone, uint32_t id, const char* source) {
    netlink::Connection c;
    c.zone = zone;
    c.id = id;
    c.original = {*IpAddr::parse(source), *IpAddr::parse("10.0.0.9"), 17, 1000, 53};
    c.reply = {*IpAddr::parse("10.0.0.9"), *IpAddr::parse(source), 17, 53, 1000};
    return c;
  };
  const Zone blue = zone_on("blue-web");
  const Zone green = zone_on("green-web");
  ASSERT_NE(blue, green);
  conntrack_.table = {connection(blue, 1, "10.0.0.1"), connection(blue, 2, "10.0.0.3"),
                      connection(green, 3, "10.0.0.1"), connection(Zone(), 4, "10.0.0.1")};
  // green goes as a whole, and of blue port app.
  const PassReport report = apply(read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute));
  EXPECT_EQ(report.connections_ended, 2U);
  ASSERT_EQ(conntrack_.table.size(), 2U);
  EXPECT_EQ(conntrack_.table[0].id, 1U);
  EXPECT_EQ(conntrack_.table[1].id, 4U);
  const Untracked left{{Vni(100), {*IpPrefix::parse("10.0.0.3/32")}}, {Vni(200), {}}};
  EXPECT_EQ(slow_path_.forgotten, std::vector<Untracked>{left}) << "also what conntrack does not know";
}

TEST_F(ReconcilerTest, remove_leaves_the_kernel_as_it_was_before_the_start) {
  kernel_.clsact.insert(device_index("green-web"));  // somebody's, empty
  const auto links = kernel_.links.size();
  apply(usual_config());
  Kernel kernel = this->kernel();
  auto report = remove_everything(kernel, paths_, {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->problems.empty());
  EXPECT_TRUE(kernel_.filters.empty());
  EXPECT_EQ(kernel_.links.size(), links);
  EXPECT_EQ(kernel_.clsact, (std::set<IfIndex>{device_index("green-web")})) << "a clsact that was there before stays";
  EXPECT_FALSE(slow_path_.pinned);
  EXPECT_TRUE(slow_path_.forgotten.empty()) << "the map is gone; asking would load it again";
  EXPECT_FALSE(std::filesystem::exists(paths_.state));
}

TEST_F(ReconcilerTest, rules_of_another_instance_are_foreign_and_their_zones_are_left_to_them) {
  const Paths other = *Paths::make("other", directory_);
  Reconciler first(kernel(), other);
  const std::string other_host = kHostYaml + "vxlan: {device: other-vxlan, port: 4790}\n";
  ASSERT_TRUE(first.apply(read_config(other_host + kGreen), {}));
  const auto theirs = kernel_.filters;
  const PassReport report = apply(read_config(kHostYaml + kBlueHead + kWebPort));
  EXPECT_GE(report.foreign, theirs.size() - 5);  // less the marks of clsacts, which stand on egress
  std::set<Zone> zones;
  for (const Filter& filter : filters_on("green-web"))
    if (filter.state.cookie && filter.state.cookie->zone != Zone()) zones.insert(filter.state.cookie->zone);
  for (const Filter& filter : filters_on("blue-web")) {
    if (!filter.state.cookie || filter.state.cookie->zone == Zone()) continue;
    EXPECT_FALSE(zones.contains(filter.state.cookie->zone)) << "two instances share a conntrack zone";
  }
}

TEST_F(ReconcilerTest, a_clsact_that_somebody_adds_first_is_not_marked_as_ours) {
  const IfIndex device = device_index("blue-web");
  kernel_.clsact.insert(device);
  Kernel kernel = this->kernel();
  const auto attached = attach_clsact(kernel, device, 1);
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_FALSE(*attached);
  EXPECT_TRUE(kernel_.filters.empty());
}

// Counts what goes to the kernel at once.
class CountingTransport : public test::ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  Result<void> transact(netlink::Bytes& requests, const netlink::Answered& answered) override {
    ++batches;
    return ForwardingTransport::transact(requests, answered);
  }

  int batches = 0;
};

TEST_F(ReconcilerTest, a_clsact_goes_to_the_kernel_together_with_its_mark) {
  CountingTransport counted(kernel_);
  Kernel kernel{counted, conntrack_, slow_path_};
  const auto attached = attach_clsact(kernel, device_index("blue-web"), 1);
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_TRUE(*attached);
  EXPECT_EQ(counted.batches, 1) << "a kill between two batches leaves a clsact that nobody takes away";
  EXPECT_EQ(kernel_.filters.size(), 1U);
  const auto detached = detach_clsact(kernel, device_index("blue-web"), 1);
  ASSERT_TRUE(detached) << detached.error().message();
  EXPECT_TRUE(*detached);
  EXPECT_TRUE(kernel_.clsact.empty());
}

}  // namespace
}  // namespace sepal::agent
