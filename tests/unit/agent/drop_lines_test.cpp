// Dropped packets in words: by the numbers of a rule's actions, and by judging once more what was denied.
#include "agent/drop_lines.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tc/rule/build.hpp"

namespace sepal::agent {
namespace {

constexpr uint64_t kTime = 1'769'862'896'123'456'789U;
constexpr Vni kBlue{100};

// Port web-0, to which TCP port 80 is open.
config::Config blue() {
  config::GroupRule http;
  http.protocol = IPPROTO_TCP;
  http.ports = {{80, 80}};
  http.remote.any = true;
  config::SecurityGroup web;
  web.name = "web";
  web.ingress = {http};
  config::Port port;
  port.name = "web-0";
  port.addresses = {*IpAddr::parse("10.0.0.1")};
  port.security_groups = {"web"};
  config::Tenant tenant;
  tenant.name = "blue";
  tenant.vni = kBlue;
  tenant.ports = {port};
  tenant.security_groups = {web};
  config::Config config;
  config.files = {"blue.yaml"};
  config.tenants = {tenant};
  return config;
}

class Follow : public testing::Test {
 protected:
  static constexpr IfIndex kWeb{7};

  Follow() : config_(blue()) { shown_.names = Names(&config_, {{{"blue", "web-0"}, kWeb}}, {{kWeb, "rep0"}}); }
  void add(std::vector<tc::ActionKind> actions, std::vector<uint32_t> indexes, tc::DropReason reason) {
    ShownRule& rule = shown_.rules.emplace_back();
    rule.filter.rule.id.device = kWeb;
    rule.vni = kBlue;
    for (tc::ActionKind& action : actions) rule.filter.rule.spec.actions.push_back({std::move(action)});
    rule.filter.state.indexes = std::move(indexes);
    rule.origin.emplace();
    rule.origin->drop = reason;
  }
  static sepal_drop drop(std::vector<uint32_t> indexes) {
    sepal_drop drop{};
    drop.device = kWeb.value();
    drop.actions = static_cast<__u32>(indexes.size());
    std::copy(indexes.begin(), indexes.end(), drop.indexes);
    // 02:…:0b → 02:…:0a, IPv4, 10.9.9.9:40001 → 10.0.0.1:81, a SYN
    static constexpr uint8_t kFrame[] = {
        2,    0,    0, 0,  0, 0x0a, 2,    0, 0,  0, 0, 0x0b, 8,    0,                           //
        0x45, 0,    0, 40, 0, 0,    0x40, 0, 64, 6, 0, 0,    10,   9, 9,    9,    10, 0, 0, 1,  //
        0x9c, 0x41, 0, 81, 0, 0,    0,    1, 0,  0, 0, 0,    0x50, 2, 0xff, 0xff, 0,  0, 0, 0};
    std::copy(std::begin(kFrame), std::end(kFrame), drop.packet);
    drop.captured = sizeof kFrame;
    drop.bytes = 40;
    return drop;
  }

  config::Config config_;
  Shown shown_;
};

TEST_F(Follow, names_port_reason_and_packet_by_the_numbers_of_the_rules_actions) {
  add({tc::Gact{}}, {11}, tc::DropReason::blackhole);
  add({tc::Gact{}}, {12}, tc::DropReason::spoofed);
  const DropTeller teller(shown_, &config_);
  const ToldDrop told = teller.tell(drop({12}), kTime);
  EXPECT_EQ(told.vni, kBlue);
  EXPECT_EQ(told.where, "port web-0");
  EXPECT_EQ(told.reasons, (std::vector<tc::DropReason>{tc::DropReason::spoofed}));
  EXPECT_EQ(packet_text(told), "02:00:00:00:00:0b → 02:00:00:00:00:0a tcp 10.9.9.9:40001 → 10.0.0.1:81");
  EXPECT_FALSE(teller.knows(drop({13})));
  EXPECT_EQ(teller.tell(drop({13}), kTime).rule, "a rule that has gone");
}

TEST_F(Follow, names_the_rule_of_security_groups_that_denied) {
  tc::Bpf program;
  program.name = "sepal_policy";
  add({program, tc::Ct{}}, {3, 4}, tc::DropReason::none);
  const DropTeller teller(shown_, &config_);
  sepal_drop denied = drop({3, 4});
  denied.mark = kBlue.value();
  EXPECT_EQ(teller.tell(denied, kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::denied}));
  EXPECT_EQ(teller.tell(denied, kTime).rule, "ingress: no rule of its groups matches");
  denied.mark = 0;  // taken away behind the program: the next action dropped it
  EXPECT_EQ(teller.tell(denied, kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::conntrack}));
}

TEST_F(Follow, a_rule_that_drops_all_it_takes_has_one_reason_whatever_its_actions_do) {
  tc::Bpf program;
  program.name = "sepal_icmp";
  add({tc::Police{}, program, tc::Gact{}}, {3, 4, 5}, tc::DropReason::ttl_expired);
  EXPECT_EQ(DropTeller(shown_, &config_).tell(drop({3, 4, 5}), kTime).reasons,
            (std::vector<tc::DropReason>{tc::DropReason::ttl_expired}));
}

TEST_F(Follow, a_policer_that_looks_at_sizes_is_no_reason_and_one_of_a_rate_is) {
  const tc::ActionKind on = tc::goto_chain(7).kind;
  add({tc::police_fits(1464).kind, tc::Ct{}, on}, {3, 4, 5}, tc::DropReason::none);
  add({tc::police_packets(5, 5).kind, on}, {6, 7}, tc::DropReason::none);
  const DropTeller teller(shown_, &config_);
  EXPECT_EQ(teller.tell(drop({3, 4, 5}), kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::conntrack}));
  EXPECT_EQ(teller.tell(drop({6, 7}), kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::rate_limited}));
}

TEST_F(Follow, a_redirect_is_the_reason_only_where_nothing_else_can_be) {
  const tc::Mirred redirect{IfIndex(9)};
  tc::Bpf answers;
  answers.name = "sepal_neigh";
  add({tc::Pedit{}, redirect}, {3, 4}, tc::DropReason::none);
  add({answers, redirect}, {5, 6}, tc::DropReason::none);
  add({tc::Pedit{}, tc::Mirred{IfIndex(9), true}}, {7, 8}, tc::DropReason::none);
  const DropTeller teller(shown_, &config_);
  EXPECT_EQ(teller.tell(drop({3, 4}), kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::not_sent}));
  EXPECT_EQ(teller.tell(drop({5, 6}), kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::not_answered}));
  EXPECT_EQ(teller.tell(drop({7, 8}), kTime).reasons, std::vector<tc::DropReason>()) << "a mirror drops nothing";
}

TEST_F(Follow, what_a_guest_forged_in_arp_is_spoofed_and_what_nobody_answers_is_not) {
  tc::Bpf program;
  program.name = "sepal_neigh";
  add({program, tc::Mirred{}}, {3, 4}, tc::DropReason::none);
  sepal_drop arp = drop({3, 4});
  // Who has 10.0.0.2, tell 10.0.0.3 at 02:…:0c
  static constexpr uint8_t kFrame[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,  0, 0, 0, 0, 0x0b, 8, 6,  //
                                       0,    1,    8,    0,    6,    4,    0,  1,                       //
                                       2,    0,    0,    0,    0,    0x0c, 10, 0, 0, 3,                 //
                                       0,    0,    0,    0,    0,    0,    10, 0, 0, 2};
  std::copy(std::begin(kFrame), std::end(kFrame), arp.packet);
  arp.captured = sizeof kFrame;
  const DropTeller teller(shown_, &config_);
  EXPECT_EQ(teller.tell(arp, kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::not_answered}));
  arp.mark = SEPAL_NEIGHBOUR_FORGED;
  EXPECT_EQ(teller.tell(arp, kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::spoofed}));
  EXPECT_EQ(packet_text(teller.tell(arp, kTime)),
            "02:00:00:00:00:0b → ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.3");
  arp.packet[21] = 2;
  EXPECT_EQ(packet_text(teller.tell(arp, kTime)),
            "02:00:00:00:00:0b → ff:ff:ff:ff:ff:ff arp 10.0.0.3 is-at 02:00:00:00:00:0c");
}

TEST_F(Follow, tells_a_denial_from_want_of_room_by_judging_again) {
  tc::Bpf policy;
  policy.name = "sepal_policy";
  tc::Bpf room;
  room.name = "sepal_room";
  add({policy, room, tc::Ct{}}, {3, 4, 5}, tc::DropReason::none);
  sepal_drop marked = drop({3, 4, 5});
  marked.mark = kBlue.value();
  const DropTeller teller(shown_, &config_);
  EXPECT_EQ(teller.tell(marked, kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::denied}));
  marked.packet[37] = 80;  // the destination port, to which web-0 is open
  EXPECT_EQ(teller.tell(marked, kTime).reasons, (std::vector<tc::DropReason>{tc::DropReason::too_many_connections}));
  EXPECT_EQ(DropTeller(shown_, nullptr).tell(marked, kTime).reasons,
            (std::vector<tc::DropReason>{tc::DropReason::denied, tc::DropReason::too_many_connections}));
}

TEST_F(Follow, puts_the_tag_back_that_the_kernel_keeps_beside_a_packet) {
  add({tc::Gact{}}, {12}, tc::DropReason::unknown_vlan);
  sepal_drop tagged = drop({12});
  tagged.vlan = 0x1000 | 40;
  EXPECT_EQ(packet_text(DropTeller(shown_, &config_).tell(tagged, kTime)), "vlan 40 tcp 10.9.9.9:40001 → 10.0.0.1:81");
}

TEST_F(Follow, a_packet_that_does_not_read_is_still_told) {
  add({tc::Gact{}}, {12}, tc::DropReason::spoofed);
  sepal_drop cut = drop({12});
  cut.captured = 20;
  const ToldDrop told = DropTeller(shown_, nullptr).tell(cut, kTime);
  EXPECT_EQ(packet_text(told), "40 bytes that do not read as a packet");
  EXPECT_EQ(to_json(told, shown_.names)["reasons"][0], "spoofed");
}

}  // namespace
}  // namespace sepal::agent
