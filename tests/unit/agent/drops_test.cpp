// What was dropped, summed up of counters.
#include "agent/drops.hpp"

#include <gtest/gtest.h>

#include "bpf/policy_layout.h"
#include "tc/pipeline/sharing.hpp"
#include "tc/rule/build.hpp"

namespace sepal::agent {
namespace {

constexpr IfIndex kWeb{7};
constexpr IfIndex kTunnel{8};
constexpr IfIndex kStray{9};
constexpr Vni kBlue{100};

class Drops : public testing::Test {
 protected:
  Drops() {
    shown_.names = Names(nullptr, {{{"blue", "web-0"}, kWeb}}, {{kWeb, "rep0"}, {kTunnel, "vx"}, {kStray, "eth9"}});
    shown_.blocks[kTunnel] = tc::BlockKind::vxlan;
  }

  ShownRule& add(IfIndex device, Vni vni, std::vector<tc::ActionKind> actions) {
    ShownRule& rule = shown_.rules.emplace_back();
    rule.filter.rule.id.device = device;
    rule.vni = vni;
    for (tc::ActionKind& action : actions) rule.filter.rule.spec.actions.push_back({std::move(action)});
    rule.filter.state.stats.resize(rule.filter.rule.spec.actions.size());
    return rule;
  }
  void add_final(IfIndex device, Vni vni, tc::DropReason reason, uint64_t packets) {
    ShownRule& rule = add(device, vni, {tc::Gact{}});
    rule.origin.emplace();
    rule.origin->drop = reason;
    rule.filter.state.stats[0].packets = packets;
    rule.filter.state.stats[0].bytes = packets * 100;
  }

  static void saw(ShownRule& rule, const std::vector<uint64_t>& packets) {
    rule.filter.state.stats.clear();
    for (const uint64_t count : packets) {
      tc::ActionStats& stats = rule.filter.state.stats.emplace_back();
      stats.packets = count;
      stats.bytes = count * 100;
    }
  }

  Shown shown_;
};

class Taken : public Drops {};

TEST_F(Drops, of_final_rules_are_summed_up_by_tenant_place_and_reason) {
  add_final(kWeb, kBlue, tc::DropReason::no_route, 2);
  add_final(kWeb, kBlue, tc::DropReason::no_route, 3);
  add_final(kWeb, kBlue, tc::DropReason::spoofed, 1);
  add_final(kTunnel, kBlue, tc::DropReason::no_route, 4);
  add_final(kTunnel, Vni(), tc::DropReason::unknown_vni, 5);
  add_final(kStray, Vni(200), tc::DropReason::no_route, 6);
  add_final(kWeb, kBlue, tc::DropReason::invalid, 0);
  const std::vector<Drop> expected{{Vni(), "tunnel", tc::DropReason::unknown_vni, 5, 500},
                                   {kBlue, "port web-0", tc::DropReason::spoofed, 1, 100},
                                   {kBlue, "port web-0", tc::DropReason::no_route, 5, 500},
                                   {kBlue, "tunnel", tc::DropReason::no_route, 4, 400},
                                   {Vni(200), "eth9", tc::DropReason::no_route, 6, 600}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

// act_bpf counts only what the program itself drops.
TEST_F(Drops, of_a_program_are_what_the_next_action_never_saw) {
  for (const char* name : {"sepal_neigh", "sepal_slice"}) {
    ShownRule& rule = add(kTunnel, kBlue, {tc::Bpf{name, {}, {tc::Control::drop}}, tc::Gact{}});
    rule.filter.state.stats[0].packets = 10;
    rule.filter.state.stats[1].packets = 3;
  }
  const std::vector<Drop> expected{{kBlue, "tunnel", tc::DropReason::outside_slice, 7, 0},
                                   {kBlue, "tunnel", tc::DropReason::not_answered, 7, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

TEST_F(Drops, of_the_program_that_answers_for_neighbours_are_forged_where_it_drops_by_itself_and_else_not_answered) {
  const tc::Bpf program{"sepal_neigh", {}, {tc::Control::drop}};
  ShownRule& rule = add(kWeb, kBlue, {program, tc::Mirred{}});
  rule.filter.state.stats[0].packets = 10;
  rule.filter.state.stats[0].drops = 4;
  rule.filter.state.stats[1].packets = 3;
  const std::vector<Drop> expected{{kBlue, "port web-0", tc::DropReason::spoofed, 4, 0},
                                   {kBlue, "port web-0", tc::DropReason::not_answered, 3, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

TEST_F(Drops, of_a_rule_that_looks_at_sizes_are_what_was_too_big_and_might_not_be_fragmented) {
  const tc::Bpf program{"sepal_icmp", {}, {tc::Control::next_rule}};
  ShownRule& rule = add(kWeb, kBlue,
                        {tc::police_size(1464).kind, tc::SkbeditMark{}, program, tc::SkbeditMark{},
                         tc::police_packets(5, 5).kind, tc::Mirred{}});
  rule.origin.emplace();
  rule.origin->drop = tc::DropReason::too_big;
  const uint64_t seen[] = {1000, 20, 20, 12, 12, 5};
  for (size_t i = 0; i < std::size(seen); ++i) rule.filter.state.stats[i].packets = seen[i];
  const std::vector<Drop> expected{{kBlue, "port web-0", tc::DropReason::too_big, 12, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

TEST_F(Taken, by_a_shortcut_is_what_was_not_too_big_for_it) {
  ShownRule& rule = add(kWeb, kBlue, {tc::police_fits(1464).kind, tc::Ct{}, tc::goto_chain(7).kind});
  saw(rule, {1000, 980, 980});
  EXPECT_EQ(rule.packets(), 980U);
  EXPECT_EQ(rule.bytes(), 98'000U);
  EXPECT_TRUE(drops_of(shown_).empty()) << "what is too big goes on to the next rule";
  saw(rule, {1000});
  EXPECT_EQ(rule.packets(), 0U) << "who knows";
}

TEST_F(Taken, by_a_rule_that_asks_about_untracked_datagrams_is_what_its_program_said_yes_to) {
  const tc::Bpf program{"sepal_policy", {}, {tc::Control::next_rule}};
  ShownRule& lets_go = add(kWeb, kBlue,
                           {tc::police_fits(1464).kind, tc::SkbeditMark{SEPAL_MARK_LET_GO | kBlue.value()}, program,
                            tc::SkbeditMark{}, tc::goto_chain(7).kind});
  saw(lets_go, {1000, 980, 980, 30, 30});
  EXPECT_EQ(lets_go.packets(), 30U);
  EXPECT_EQ(lets_go.bytes(), 3000U);
  EXPECT_EQ(lets_go.denied(), 0U) << "what is not let go is tracked";
  ShownRule& answers = add(kTunnel, kBlue,
                           {tc::SkbeditMark{SEPAL_MARK_ANSWERS | kBlue.value()}, program, tc::SkbeditMark{}, tc::Ct{},
                            tc::goto_chain(7).kind});
  saw(answers, {50, 50, 5, 5, 5});
  EXPECT_EQ(answers.packets(), 5U);
  EXPECT_EQ(answers.denied(), 0U);
  EXPECT_TRUE(drops_of(shown_).empty());
}

TEST_F(Drops, of_a_policer_that_looks_at_sizes_are_not_for_a_rate) {
  ShownRule& rule = add(kWeb, kBlue, {tc::police_fits(1464).kind, tc::Ct{}, tc::goto_chain(7).kind});
  rule.filter.state.stats[0].drops = 5;
  rule.filter.state.stats[1].drops = 2;
  const std::vector<Drop> expected{{kBlue, "port web-0", tc::DropReason::conntrack, 2, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

TEST_F(Drops, of_the_program_that_bounds_connections_have_a_reason_of_their_own) {
  ShownRule& rule = add(kWeb, kBlue, {tc::Bpf{"sepal_room", {}, {tc::Control::drop}}, tc::Ct{}, tc::Gact{}});
  for (auto& stats : rule.filter.state.stats) stats.packets = 4;
  rule.filter.state.stats[0].packets = 10;
  rule.filter.state.stats[0].drops = 6;
  const std::vector<Drop> expected{{kBlue, "port web-0", tc::DropReason::too_many_connections, 6, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

TEST_F(Drops, of_actions_have_the_reason_of_their_kind) {
  ShownRule& rule =
      add(kWeb, kBlue,
          {tc::Police{}, tc::Bpf{"sepal_policy", {}, {}}, tc::Bpf{"sepal_neigh", {}, {}}, tc::Ct{}, tc::Gact{}});
  for (size_t i = 0; i < rule.filter.state.stats.size(); ++i) {
    rule.filter.state.stats[i].packets = 50;  // seen, not dropped
    rule.filter.state.stats[i].drops = i + 1;
  }
  const std::vector<Drop> expected{{kBlue, "port web-0", tc::DropReason::spoofed, 3, 0},
                                   {kBlue, "port web-0", tc::DropReason::denied, 2, 0},
                                   {kBlue, "port web-0", tc::DropReason::rate_limited, 1, 0},
                                   {kBlue, "port web-0", tc::DropReason::conntrack, 4, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

// A policer counts there what exceeds, pedit what it could not edit, and a mirror's packet goes on.
TEST_F(Drops, of_a_redirect_are_what_it_counts_as_beyond_limits_and_of_no_other_action) {
  ShownRule& rule = add(kWeb, kBlue, {tc::Police{}, tc::Pedit{}, tc::Mirred{kTunnel, true}, tc::Mirred{kTunnel}});
  for (size_t i = 0; i < rule.filter.state.stats.size(); ++i) rule.filter.state.stats[i].overlimits = i + 1;
  rule.filter.state.stats[0].drops = 9;
  const std::vector<Drop> expected{{kBlue, "port web-0", tc::DropReason::rate_limited, 9, 0},
                                   {kBlue, "port web-0", tc::DropReason::not_sent, 4, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
  EXPECT_EQ(rule.dropped_by_action(), 13U);
}

TEST_F(Drops, of_an_answer_that_could_not_be_sent_have_the_reason_of_what_it_answers) {
  ShownRule& rule = add(kWeb, kBlue, {tc::Police{}, tc::Bpf{"sepal_icmp", {}, {tc::Control::drop}}, tc::Mirred{kWeb}});
  rule.origin.emplace();
  rule.origin->drop = tc::DropReason::ttl_expired;
  rule.filter.state.stats[0].packets = 8;
  rule.filter.state.stats[2].overlimits = 3;
  const std::vector<Drop> expected{{kBlue, "port web-0", tc::DropReason::ttl_expired, 8, 0}};
  EXPECT_TRUE(drops_of(shown_) == expected);
}

// Their counter is of all the rules that share them.
TEST_F(Drops, of_actions_that_rules_share_are_none) {
  tc::RuleSpec routed;
  for (tc::ActionKind kind : {tc::ActionKind(tc::Pedit{}), tc::ActionKind(tc::Csum{}), tc::ActionKind(tc::TunnelSet{}),
                              tc::ActionKind(tc::Mirred{kTunnel})})
    routed.actions.push_back({std::move(kind)});
  tc::mark_shared_actions(routed);
  for (const tc::Action& action : routed.actions)
    EXPECT_NE(action.shared, reason_of(action.kind) != tc::DropReason::none) << tc::to_text(action);
}

}  // namespace
}  // namespace sepal::agent
