// Each lint rule with the smallest rule set that breaks it, and beside it the twin that does not.
#include "tc/pipeline/lint.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "bpf/policy_layout.h"
#include "tc/rule/build.hpp"
#include "world.hpp"

namespace sepal::tc {
namespace {

using model::ip;
using model::mac;
using model::prefix;

constexpr IfIndex kPort{10};
constexpr IfIndex kOther{11};
constexpr IfIndex kUplink{2};
constexpr IfIndex kVxlan{3};
constexpr Vni kBlue{100};
constexpr Vni kRed{200};
constexpr uint32_t kNat = chain_number(Lane::guest, Group::nat, kBlue);
constexpr uint32_t kEncap = chain_number(Lane::guest, Group::encap, kBlue);
constexpr uint32_t kEgress = chain_number(Lane::guest, Group::egress, kBlue);
constexpr uint32_t kPunted = chain_number(Lane::guest, Group::punted, kBlue);
constexpr uint32_t kFresh = chain_number(Lane::guest, Group::fresh, kBlue);

struct Options {
  bool skip_hw = false;
  uint16_t protocol = kEthAll;
};
constexpr Options kSoftware{true, kEthAll};

class Rules {
 public:
  Rules& add(IfIndex device, uint32_t chain, uint16_t prio, Match match, std::vector<Action> actions,
             Options options = {}) {
    CompiledRule rule;
    rule.rule.id = {device, chain, prio, options.protocol, static_cast<uint32_t>(rules_.size() + 1)};
    rule.rule.spec = {std::move(match), std::move(actions), options.skip_hw};
    rules_.push_back(rule);
    return *this;
  }
  Rules& add(uint32_t chain, uint16_t prio, Match match, std::vector<Action> actions, Options options = {}) {
    return add(kPort, chain, prio, std::move(match), std::move(actions), options);
  }
  // A chain that ends as it should, in software only.
  Rules& end(uint32_t chain) { return add(chain, 1000, Match(), {drop()}, kSoftware); }

  [[nodiscard]] std::vector<LintFinding> findings() const { return lint(rules_, context_); }
  [[nodiscard]] bool breaks(const std::string& number) const {
    const auto found = findings();
    return std::any_of(found.begin(), found.end(), [&](const LintFinding& f) { return f.rule == number; });
  }
  [[nodiscard]] bool only_informs_of(const std::string& number) const {
    const auto found = findings();
    return breaks(number) && std::all_of(found.begin(), found.end(),
                                         [&](const LintFinding& f) { return f.rule != number || f.informative; });
  }
  LintContext& context() { return context_; }
  std::vector<CompiledRule>& all() { return rules_; }

 private:
  std::vector<CompiledRule> rules_;
  LintContext context_{{{kUplink, BlockKind::uplink}, {kVxlan, BlockKind::vxlan}}, {}, {}, {}, {}};
};

Match ipv4() { return Match().eth_type(kEthIpv4); }
Match to(const char* text) { return ipv4().ip(Key::dst_ip4, prefix(text)); }
Match state(uint16_t bits) { return ipv4().ct_state(static_cast<uint16_t>(kCtTrk | bits)); }
Match tunnel(uint32_t vni) {
  return Match().set(Key::enc_key_id, vni).ip(Key::enc_dst_ip4, prefix("192.0.2.1/32")).set(Key::enc_dst_port, 4789);
}
Match with(Match match, Key key, uint32_t value, uint32_t mask = 0xffffffff) { return match.set(key, value, mask); }
Action rewrite() { return rewrite_macs_and_ttl(mac("02:00:00:00:00:01"), mac("02:00:00:00:00:02"), Family::ipv4); }

}  // namespace

TEST(LintL1, a_software_rule_is_not_overtaken_by_a_worse_one_in_hardware) {
  EXPECT_TRUE(Rules()
                  .add(kEncap, 1, to("10.0.0.1/32"), {drop()}, kSoftware)
                  .add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)})
                  .breaks("L1"));
  EXPECT_TRUE(Rules()
                  .add(kEncap, 1, to("10.0.0.1/32"), {drop()}, kSoftware)
                  .add(kEncap, 1, to("10.0.0.0/24"), {redirect(kOther)})
                  .breaks("L1"));
  EXPECT_FALSE(Rules()
                   .add(kEncap, 9, to("10.0.0.1/32"), {drop()}, kSoftware)
                   .add(kEncap, 1, to("10.0.0.0/24"), {redirect(kOther)})
                   .breaks("L1"));
  EXPECT_FALSE(Rules()
                   .add(kEncap, 1, to("10.0.1.1/32"), {drop()}, kSoftware)
                   .add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)})
                   .breaks("L1"));
  EXPECT_FALSE(Rules()
                   .add(kEncap, 1, to("10.0.0.1/32"), {drop()}, kSoftware)
                   .add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)}, kSoftware)
                   .breaks("L1"));
  EXPECT_FALSE(Rules()
                   .add(kEncap, 1, to("10.0.0.1/32"), {redirect(kOther)}, kSoftware)
                   .add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)})
                   .breaks("L1"))
      << "it does the same";
  EXPECT_FALSE(Rules()
                   .add(0, 1, to("10.0.0.1/32"), {drop()}, {true, kEthIpv4})
                   .add(0, 9, Match().eth_type(kEthIpv6), {drop()}, {false, kEthIpv6})
                   .breaks("L1"));
}

TEST(LintL1, a_punt_in_hardware_makes_up_for_it) {
  auto rules = [](const Match& punt, uint16_t prio) {
    Rules made;
    made.add(kEncap, 2, to("10.0.0.1/32"), {drop()}, kSoftware).add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)});
    made.add(kEncap, prio, punt, {goto_chain(kPunted)}).end(kPunted);
    return made;
  };
  EXPECT_FALSE(rules(to("10.0.0.1/32"), 2).breaks("L1"));
  EXPECT_FALSE(rules(to("10.0.0.0/31"), 1).breaks("L1"));
  EXPECT_TRUE(rules(to("10.0.0.2/32"), 2).breaks("L1"));
  EXPECT_TRUE(rules(to("10.0.0.1/32"), 3).breaks("L1"));
  // A jump to a chain that has rules in hardware is no punt.
  EXPECT_TRUE(rules(to("10.0.0.1/32"), 2).add(kPunted, 1, ipv4(), {drop()}).breaks("L1"));
}

TEST(LintL1, a_rule_that_looks_at_sizes_may_be_overtaken) {
  EXPECT_FALSE(Rules()
                   .add(kEncap, 1, Match(), {police_size(1514), drop()}, kSoftware)
                   .add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)})
                   .breaks("L1"));
  EXPECT_TRUE(Rules()
                  .add(kEncap, 1, Match(), {police_packets(10, 10), drop()}, kSoftware)
                  .add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)})
                  .breaks("L1"));
}

TEST(LintL1, a_shortcut_may_be_overtaken_by_the_rule_it_leads_around_and_by_no_other) {
  const Match guest = ipv4().mac(Key::src_mac, mac("02:00:00:00:00:01")).ip(Key::src_ip4, prefix("10.0.0.1/32"));
  const std::vector<Action> enter{ct_lookup(Zone(1)), goto_chain(kNat)};
  auto rules = [&](const Match& shortcut, const std::vector<Action>& twin) {
    return Rules()
        .add(0, 6, shortcut, {police_fits(1514), enter[0], enter[1]}, {true, kEthIpv4})
        .add(0, 13, guest, twin, {false, kEthIpv4})
        .add(0, 1000, Match(), {drop()});
  };
  const Match usual = with(guest, Key::ip_proto, kProtoUdp);
  EXPECT_FALSE(rules(usual, enter).breaks("L1"));
  EXPECT_TRUE(rules(usual, {drop()}).breaks("L1"));
  EXPECT_TRUE(rules(usual, {ct_lookup(Zone(2)), goto_chain(kNat)}).breaks("L1"));
  EXPECT_TRUE(rules(usual, {ct_lookup(Zone(1)), goto_chain(kFresh)}).breaks("L1"));
  EXPECT_TRUE(rules(with(ipv4(), Key::ip_proto, kProtoUdp), enter).breaks("L1")) << "the last rule takes the others";
}

TEST(LintL1, which_first_datagrams_are_let_go_is_for_software_to_say) {
  auto rules = [](uint32_t mark) {
    return Rules()
        .add(kEncap, 1, Match(), {set_mark(mark), bpf("sepal_policy", {}, Control::next_rule), drop()}, kSoftware)
        .add(kEncap, 9, to("10.0.0.0/24"), {redirect(kOther)});
  };
  EXPECT_FALSE(rules(100 | SEPAL_MARK_LET_GO).breaks("L1"));
  EXPECT_FALSE(rules(100 | SEPAL_MARK_ANSWERS).breaks("L1"));
  EXPECT_TRUE(rules(100).breaks("L1"));
  EXPECT_TRUE(rules(100 | SEPAL_MARK_FROM_PEER).breaks("L1"));
}

TEST(LintL1, the_rule_that_translates_again_is_an_exception) {
  auto rules = [](const Match& match, const Action& action) {
    return Rules()
        .add(kNat, 2, match, {action, goto_chain(kEncap)}, kSoftware)
        .add(kNat, 3, with(state(kCtNew), Key::ct_mark, 1, 1), {goto_chain(kEncap)})
        .end(kEncap);
  };
  const Match translated = Match().ct_state(kCtTrk | kCtNew).set(Key::ct_mark, 2, 2);
  EXPECT_FALSE(rules(translated, ct_commit_snat(Zone(1), {}, {}, 0, 0)).breaks("L1"));
  EXPECT_TRUE(rules(translated, ct_commit(Zone(1), 0, 0)).breaks("L1"));
  EXPECT_TRUE(rules(Match().ct_state(kCtTrk | kCtNew), ct_commit_snat(Zone(1), {}, {}, 0, 0)).breaks("L1"));
}

TEST(LintL2, tunnel_key_unset_stands_beside_the_redirect) {
  EXPECT_TRUE(Rules().add(kVxlan, 0, 2, tunnel(100), {tunnel_unset(), goto_chain(kNat)}).breaks("L2"));
  EXPECT_FALSE(Rules().add(kVxlan, 0, 2, tunnel(100), {tunnel_unset(), redirect(kPort)}).breaks("L2"));
}

TEST(LintL3, rules_with_ct_or_police_share_no_action) {
  auto rules = [](const Action& own) {
    Action shared = csum(kCsumIpv4Header);
    shared.shared = true;
    return Rules().add(kNat, 1, ipv4(), {shared, own, drop()});
  };
  EXPECT_TRUE(rules(ct_lookup(Zone(1))).breaks("L3"));
  EXPECT_TRUE(rules(police_packets(100, 100)).breaks("L3"));
  EXPECT_FALSE(rules(tunnel_unset()).breaks("L3"));
  Action numbered = ct_lookup(Zone(1));
  numbered.index = 7;
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {numbered, drop()}).breaks("L3"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {ct_lookup(Zone(1)), drop()}).breaks("L3"));
}

TEST(LintL3, the_last_action_is_the_rules_own) {
  Action last = redirect(kOther);
  last.shared = true;
  EXPECT_TRUE(Rules().add(kEncap, 1, ipv4(), {last}).breaks("L3"));
  EXPECT_FALSE(Rules().add(kEncap, 1, ipv4(), {redirect(kOther)}).breaks("L3"));
}

TEST(LintL4, tunnel_keys_are_repeated_on_the_whole_way) {
  auto rules = [](const Match& nat, const Match& encap, bool skip_hw) {
    return Rules()
        .add(kVxlan, 0, 2, tunnel(100).eth_type(kEthIpv4), {ct_lookup(Zone(1)), goto_chain(kNat)}, {false, kEthIpv4})
        .add(kVxlan, kNat, 1, nat, {goto_chain(kEncap)})
        .add(kVxlan, kEncap, 1000, encap, {drop()}, {skip_hw, kEthAll});
  };
  EXPECT_FALSE(rules(tunnel(100), tunnel(100), false).breaks("L4"));
  EXPECT_TRUE(rules(Match(), tunnel(100), false).breaks("L4"));
  EXPECT_TRUE(rules(tunnel(100), tunnel(200), false).breaks("L4"));
  EXPECT_TRUE(rules(tunnel(100), with(tunnel(100), Key::enc_dst_port, 4789, 0xfff0), false).breaks("L4"));
  EXPECT_FALSE(rules(tunnel(100), Match(), true).breaks("L4"));
}

TEST(LintL4, the_first_chain_of_a_tunnel_names_its_port) {
  EXPECT_TRUE(Rules().add(kVxlan, 0, 1, Match(), {drop()}).breaks("L4"));
  EXPECT_FALSE(Rules().add(kVxlan, 0, 1, tunnel(100), {drop()}).breaks("L4"));
  EXPECT_FALSE(Rules().add(kVxlan, 0, 1, Match(), {drop()}, kSoftware).breaks("L4"));
}

TEST(LintL5, uplink_and_tunnel_share_no_chain_number) {
  auto rules = [](uint32_t chain) {
    return Rules().add(kVxlan, kNat, 1, tunnel(100), {drop()}).add(kUplink, chain, 1, ipv4(), {drop()});
  };
  EXPECT_TRUE(rules(kNat).breaks("L5"));
  EXPECT_FALSE(rules(chain_number(Lane::uplink, Group::nat, kBlue)).breaks("L5"));
}

TEST(LintL5, the_tunnels_first_chain_stands_before_the_uplinks) {
  auto rules = [](uint16_t tunnels, uint16_t uplinks) {
    return Rules()
        .add(kVxlan, 0, tunnels, tunnel(100), {drop()})
        .add(kUplink, 0, uplinks, ipv4(), {drop()}, {false, kEthIpv4});
  };
  EXPECT_TRUE(rules(2, 2).breaks("L5"));
  EXPECT_FALSE(rules(2, 3).breaks("L5"));
}

TEST(LintL6, jumps_form_no_cycle) {
  EXPECT_TRUE(
      Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}).add(kEncap, 1, ipv4(), {goto_chain(kNat)}).breaks("L6"));
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {goto_chain(kNat)}).breaks("L6"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}).add(kEncap, 1, ipv4(), {drop()}).breaks("L6"));
}

TEST(LintL6, no_way_has_more_than_sixteen_jumps) {
  auto ladder = [](uint32_t jumps) {
    Rules rules;
    for (uint32_t i = 0; i < jumps; ++i) rules.add(i, 1, ipv4(), {goto_chain(i + 1)});
    return rules.add(jumps, 1, ipv4(), {drop()});
  };
  EXPECT_FALSE(ladder(16).breaks("L6"));
  EXPECT_TRUE(ladder(17).breaks("L6"));
}

TEST(LintL7, a_chain_begins_at_priority_1) {
  auto rules = [](uint16_t first) {
    return Rules().add(kEncap, first, to("10.0.0.1/32"), {redirect(kOther)}).add(kEncap, 1000, Match(), {drop()});
  };
  EXPECT_TRUE(rules(2).breaks("L7"));
  EXPECT_FALSE(rules(1).breaks("L7"));
  EXPECT_FALSE(Rules().add(kEncap, 1000, Match(), {drop()}).breaks("L7"));
}

TEST(LintL8, police_drops_what_exceeds_and_pipes_the_rest) {
  auto rules = [](Police police) { return Rules().add(kNat, 1, ipv4(), {Action{police}, drop()}); };
  Police good = std::get<Police>(police_packets(100, 100).kind);
  EXPECT_FALSE(rules(good).breaks("L8"));
  Police reclassifies = good;
  reclassifies.exceed.control = Control::reclassify;
  EXPECT_TRUE(rules(reclassifies).breaks("L8"));
  Police ends = good;
  ends.conform.control = Control::pass;
  EXPECT_TRUE(rules(ends).breaks("L8"));
  Police two_rates = good;
  two_rates.rate_bytes_per_second = 1000;
  EXPECT_TRUE(rules(two_rates).breaks("L8"));
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {Action{good}}).breaks("L8"));
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {police_size(1514), drop()}).breaks("L8"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {police_size(1514), drop()}, kSoftware).breaks("L8"));
}

TEST(LintL9, ct_looks_up_with_nat_and_is_followed_by_something) {
  Ct without_nat = std::get<Ct>(ct_lookup(Zone(1)).kind);
  without_nat.nat = false;
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {Action{without_nat}, drop()}).breaks("L9"));
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {ct_lookup(Zone(1))}).breaks("L9"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {ct_lookup(Zone(1)), drop()}).breaks("L9"));
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {ct_commit(Zone(1), 1, 1), drop()}).breaks("L9"));
  EXPECT_FALSE(Rules().add(kFresh, 1, ipv4(), {ct_commit(Zone(1), 1, 1), drop()}, kSoftware).breaks("L9"));
}

TEST(LintL10, the_nic_is_not_asked_for_keys_it_refuses) {
  auto in_hardware = [](const Match& match) { return Rules().add(kNat, 1, match, {drop()}).breaks("L10"); };
  auto in_software = [](const Match& match) { return Rules().add(kNat, 1, match, {drop()}, kSoftware).breaks("L10"); };
  const Match refused[] = {state(kCtRel),
                           state(kCtInv),
                           Match().eth_type(kEthArp).set(Key::arp_op, 1),
                           ipv4().set(Key::hash, 5),
                           ipv4().set(Key::ip_flags, kIpFlagFirstFrag, kIpFlagFirstFrag),
                           ipv4().set(Key::dst_port, 80),
                           with(ipv4().set(Key::ip_proto, 132), Key::src_port, 80),
                           ipv4().set(Key::tcp_flags, 0, 2),
                           ipv4().set(Key::icmp_type, 8)};
  for (const Match& match : refused) {
    EXPECT_TRUE(in_hardware(match)) << to_text(match);
    EXPECT_FALSE(in_software(match)) << to_text(match);
  }
  const Match accepted[] = {state(kCtEst), with(ipv4().set(Key::ip_proto, kProtoTcp), Key::dst_port, 1024, 0xfc00),
                            with(ipv4().set(Key::ip_proto, kProtoIcmp), Key::icmp_type, 8),
                            ipv4().set(Key::ip_flags, kIpFlagFrag, kIpFlagFrag)};
  for (const Match& match : accepted) EXPECT_FALSE(in_hardware(match)) << to_text(match);
}

TEST(LintL10, states_that_cls_flower_refuses_are_named_in_software_too) {
  for (uint16_t bits :
       {kCtNew, static_cast<uint16_t>(kCtTrk | kCtNew | kCtEst), static_cast<uint16_t>(kCtTrk | kCtNew | kCtRpl),
        static_cast<uint16_t>(kCtTrk | kCtInv | kCtEst)}) {
    EXPECT_TRUE(Rules().add(kNat, 1, Match().ct_state(bits), {drop()}, kSoftware).breaks("L10")) << bits;
  }
  EXPECT_FALSE(Rules().add(kNat, 1, Match().ct_state(kCtTrk | kCtInv), {drop()}, kSoftware).breaks("L10"));
}

TEST(LintL12, rewrites_keep_checksums_and_addresses) {
  EXPECT_TRUE(Rules().add(kEncap, 1, ipv4(), {rewrite(), goto_chain(kEgress)}).breaks("L12"));
  EXPECT_FALSE(Rules().add(kEncap, 1, ipv4(), {rewrite(), csum(kCsumIpv4Header), goto_chain(kEgress)}).breaks("L12"));
  EXPECT_TRUE(Rules().add(kEncap, 1, ipv4(), {csum(kCsumIpv4Header), redirect(kOther)}).breaks("L12"));
  EXPECT_TRUE(Rules().add(kEncap, 1, ipv4(), {rewrite(), csum(kCsumIpv4Header), drop()}).breaks("L12"));
  const Action address{Pedit{{{PeditKey::Header::ip4, PeditKey::Command::set, 16, 0x0a000001, 0xffffffff}}}};
  EXPECT_TRUE(Rules().add(kEncap, 1, ipv4(), {address, csum(kCsumIpv4Header), redirect(kOther)}).breaks("L12"));
}

TEST(LintL12, a_rule_in_hardware_has_at_most_32_entries) {
  auto rules = [](size_t keys, Options options) {
    Pedit pedit;
    for (size_t i = 0; i < keys; ++i) pedit.keys.push_back({PeditKey::Header::eth, PeditKey::Command::set, 0, 1, 1});
    return Rules().add(kEncap, 1, ipv4(), {Action{pedit}, redirect(kOther)}, options);
  };
  EXPECT_FALSE(rules(31, {}).breaks("L12"));
  EXPECT_TRUE(rules(32, {}).breaks("L12"));
  EXPECT_FALSE(rules(32, kSoftware).breaks("L12"));
}

TEST(LintL13, fragments_and_expiring_ttls_leave_before_conntrack) {
  const Match guest = to("0.0.0.0/0").mac(Key::src_mac, mac("02:00:00:00:00:01"));
  auto rules = [&](const Match& fragments, const Match& ttl, uint16_t prio) {
    return Rules()
        .add(0, 3, fragments, {goto_chain(kPunted)}, {false, kEthIpv4})
        .add(0, 3, ttl, {goto_chain(kPunted)}, {false, kEthIpv4})
        .add(0, prio, guest, {ct_lookup(Zone(1)), goto_chain(kNat)}, {false, kEthIpv4})
        .end(kPunted)
        .add(kNat, 1000, Match(), {drop()});
  };
  const Match fragments = ipv4().set(Key::ip_flags, kIpFlagFrag, kIpFlagFrag);
  const Match ttl = ipv4().set(Key::ip_ttl, 0, 0xfe);
  EXPECT_FALSE(rules(fragments, ttl, 5).breaks("L13"));
  EXPECT_TRUE(rules(fragments, ttl, 2).breaks("L13"));
  EXPECT_TRUE(rules(fragments, fragments, 5).breaks("L13"));
  EXPECT_TRUE(rules(ttl, ttl, 5).breaks("L13"));
  EXPECT_TRUE(rules(fragments, with(ttl, Key::ip_proto, kProtoUdp), 5).breaks("L13"));
  EXPECT_TRUE(rules(fragments, ipv4().set(Key::ip_ttl, 0, 0xff), 5).breaks("L13"));
}

TEST(LintL14, programs_run_in_software_only) {
  const std::vector<Action> actions{bpf("sepal_neigh", {}, Control::drop), redirect(kOther)};
  EXPECT_TRUE(Rules().add(kPunted, 1, ipv4(), actions).breaks("L14"));
  EXPECT_FALSE(Rules().add(kPunted, 1, ipv4(), actions, kSoftware).breaks("L14"));
}

TEST(LintL15, many_masks_at_one_priority_are_told_but_not_wrong) {
  auto rules = [](unsigned masks) {
    Rules made;
    for (unsigned i = 1; i <= masks; ++i) {
      made.add(kEncap, 1, ipv4().ip(Key::dst_ip4, IpPrefix::make(IpAddr::v4(static_cast<uint8_t>(i), 0, 0, 0), 8 + i)),
               {drop()});
    }
    return made;
  };
  EXPECT_FALSE(rules(15).breaks("L15"));
  EXPECT_TRUE(rules(16).only_informs_of("L15"));
}

TEST(LintL16, zones_beyond_254_stay_out_of_hardware) {
  auto rules = [](uint16_t zone, Options options) {
    return Rules().add(kNat, 1, ipv4(), {ct_lookup(Zone(zone)), drop()}, options);
  };
  EXPECT_FALSE(rules(254, {}).breaks("L16"));
  EXPECT_TRUE(rules(255, {}).breaks("L16"));
  EXPECT_FALSE(rules(255, kSoftware).breaks("L16"));
}

TEST(LintL16, more_tunnels_than_the_nic_numbers_are_told) {
  auto rules = [](uint32_t tunnels) {
    Rules made;
    for (uint32_t vni = 1; vni <= tunnels; ++vni) made.add(kVxlan, 0, 1, tunnel(vni), {goto_chain(kNat)});
    return made;
  };
  EXPECT_FALSE(rules(4095).breaks("L16"));
  EXPECT_TRUE(rules(4096).only_informs_of("L16"));
}

TEST(LintL17, tunnel_keys_stand_on_tunnel_devices_only) {
  EXPECT_TRUE(Rules().add(kNat, 1, tunnel(100), {drop()}).breaks("L17"));
  EXPECT_TRUE(Rules().add(kUplink, kNat, 1, tunnel(100), {drop()}).breaks("L17"));
  EXPECT_FALSE(Rules().add(kVxlan, kNat, 1, tunnel(100), {drop()}).breaks("L17"));
}

TEST(LintL18, what_a_packet_is_stands_in_the_match) {
  const Match bare = Match().ip(Key::dst_ip4, prefix("10.0.0.1/32"));
  EXPECT_TRUE(Rules().add(kEncap, 1, bare, {drop()}).breaks("L18"));
  EXPECT_FALSE(Rules().add(kEncap, 1, to("10.0.0.1/32"), {drop()}).breaks("L18"));
  EXPECT_FALSE(Rules().add(kEgress, 1, Match().mac(Key::dst_mac, mac("02:00:00:00:00:01")), {drop()}).breaks("L18"));
  EXPECT_TRUE(Rules().add(0, 1, Match(), {drop()}, {false, kEthIpv4}).breaks("L18"));
  EXPECT_TRUE(Rules().add(0, 1, Match().eth_type(kEthIpv6), {drop()}, {false, kEthIpv4}).breaks("L18"));
  EXPECT_FALSE(Rules().add(0, 1, ipv4(), {drop()}, {false, kEthIpv4}).breaks("L18"));
}

TEST(LintL18, the_first_chain_says_whether_it_means_tagged_frames) {
  EXPECT_TRUE(Rules().add(0, 1, to("10.0.0.1/32"), {drop()}).breaks("L18"));
  EXPECT_FALSE(Rules().add(kEncap, 1, to("10.0.0.1/32"), {drop()}).breaks("L18"));
  EXPECT_FALSE(Rules().add(0, 1000, Match(), {drop()}).breaks("L18"));
  EXPECT_FALSE(Rules().add(0, 1, Match().eth_type(kEthVlan).set(Key::vlan_id, 5), {drop()}).breaks("L18"));
}

TEST(LintL19, the_nic_sends_nothing_back_into_its_vf_and_encapsulates_at_the_redirect) {
  EXPECT_TRUE(Rules().add(kEgress, 1, ipv4(), {redirect(kPort)}).breaks("L19"));
  EXPECT_FALSE(Rules().add(kEgress, 1, ipv4(), {redirect(kPort)}, kSoftware).breaks("L19"));
  EXPECT_FALSE(Rules().add(kEgress, 1, ipv4(), {redirect(kOther)}).breaks("L19"));
  const Action set = tunnel_set(ip("192.0.2.1"), ip("192.0.2.2"), kBlue, 4789);
  EXPECT_TRUE(Rules().add(kEncap, 1, ipv4(), {set, goto_chain(kEgress)}).breaks("L19"));
  EXPECT_FALSE(Rules().add(kEncap, 1, ipv4(), {set, redirect(kVxlan)}).breaks("L19"));
}

TEST(LintL21, a_jump_in_hardware_leads_to_hardware_or_to_a_group_of_software) {
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}).end(kEncap).breaks("L21"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {goto_chain(kPunted)}).end(kPunted).breaks("L21"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}).add(kEncap, 1000, Match(), {drop()}).breaks("L21"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}, kSoftware).end(kEncap).breaks("L21"));
}

TEST(LintI2, every_jump_has_a_target_in_its_own_block) {
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}).breaks("I2"));
  EXPECT_TRUE(
      Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}).add(kOther, kEncap, 1, Match(), {drop()}).breaks("I2"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {goto_chain(kEncap)}).add(kEncap, 1, Match(), {drop()}).breaks("I2"));
}

TEST(LintI3, every_way_from_a_port_ends_in_its_own_network_or_a_peers) {
  auto rules = [](Zone zone, uint32_t chain, std::vector<Action> last) {
    Rules made;
    made.add(0, 1, ipv4(), {ct_lookup(zone), goto_chain(chain)}, {false, kEthIpv4})
        .add(chain, 1, ipv4(), std::move(last));
    LintContext& context = made.context();
    context.owners = {{kPort, kBlue}, {kOther, kBlue}, {IfIndex(12), kRed}};
    context.zones = {{kBlue, Zone(1)}, {kRed, Zone(2)}};
    context.vlans = {{Vid(40), kBlue}, {Vid(50), kRed}};
    return made;
  };
  auto peering = [](Rules made) {
    made.context().peers = {{kBlue, kRed}, {kRed, kBlue}};
    return made;
  };
  const uint32_t red_nat = chain_number(Lane::guest, Group::nat, kRed);
  auto encap = [](Vni vni) {
    return std::vector<Action>{tunnel_set(ip("192.0.2.1"), ip("192.0.2.2"), vni, 4789), redirect(kVxlan)};
  };

  EXPECT_FALSE(rules(Zone(1), kNat, {redirect(kOther)}).breaks("I3"));
  EXPECT_TRUE(rules(Zone(1), kNat, {redirect(IfIndex(12))}).breaks("I3"));
  EXPECT_TRUE(rules(Zone(1), kNat, {redirect(IfIndex(13))}).breaks("I3"));
  EXPECT_TRUE(rules(Zone(2), red_nat, {redirect(IfIndex(12))}).breaks("I3"));
  EXPECT_FALSE(peering(rules(Zone(2), red_nat, {redirect(IfIndex(12))})).breaks("I3"));
  EXPECT_TRUE(peering(rules(Zone(1), red_nat, {redirect(IfIndex(12))})).breaks("I3"));
  EXPECT_FALSE(rules(Zone(1), kNat, encap(kBlue)).breaks("I3"));
  EXPECT_TRUE(rules(Zone(1), kNat, encap(kRed)).breaks("I3"));
  EXPECT_FALSE(peering(rules(Zone(1), kNat, encap(kRed))).breaks("I3"));
  EXPECT_FALSE(rules(Zone(1), kNat, {vlan_push(Vid(40)), redirect(kUplink)}).breaks("I3"));
  EXPECT_TRUE(rules(Zone(1), kNat, {vlan_push(Vid(50)), redirect(kUplink)}).breaks("I3"));
}

TEST(LintI3, what_comes_from_a_wire_ends_in_the_network_it_names) {
  auto rules = [](uint32_t vni, Zone zone, IfIndex device) {
    Rules made;
    made.add(kVxlan, 0, 1, tunnel(vni), {ct_lookup(zone), goto_chain(kNat)})
        .add(kVxlan, kNat, 1, tunnel(vni), {redirect(device)});
    made.context().owners = {{kPort, kBlue}, {kOther, kRed}};
    made.context().zones = {{kBlue, Zone(1)}, {kRed, Zone(2)}};
    return made;
  };
  EXPECT_FALSE(rules(100, Zone(1), kPort).breaks("I3"));
  EXPECT_TRUE(rules(100, Zone(1), kOther).breaks("I3"));
  EXPECT_TRUE(rules(100, Zone(2), kOther).breaks("I3"));
  EXPECT_TRUE(rules(200, Zone(1), kPort).breaks("I3"));
}

TEST(LintI4, every_chain_ends_in_a_verdict_for_everything) {
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {drop()}).breaks("I4"));
  EXPECT_TRUE(Rules().add(kNat, 1, Match(), {redirect(kOther)}).breaks("I4"));
  EXPECT_TRUE(Rules().add(0, 1, Match(), {drop()}, {false, kEthIpv4}).breaks("I4"));
  EXPECT_FALSE(Rules().add(kNat, 1, Match(), {drop()}).breaks("I4"));
  EXPECT_FALSE(Rules().add(kUplink, 0, 30, ipv4(), {drop()}, {false, kEthIpv4}).breaks("I4"));
  EXPECT_FALSE(Rules().add(kVxlan, kNat, 1, tunnel(100), {drop()}).breaks("I4"));
  EXPECT_TRUE(Rules().add(kVxlan, 0, 1, tunnel(100), {drop()}).breaks("I4"));
}

TEST(LintI4, every_rule_ends_in_a_verdict) {
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {vlan_pop()}).end(kNat).breaks("I4"));
  EXPECT_TRUE(Rules().add(kNat, 1, ipv4(), {}).end(kNat).breaks("I4"));
  EXPECT_FALSE(Rules().add(kNat, 1, ipv4(), {vlan_pop(), drop()}).end(kNat).breaks("I4"));
}

TEST(LintI5, rules_of_one_priority_that_meet_do_the_same) {
  auto rules = [](const Match& a, const Match& b, const Action& then) {
    return Rules().add(kEncap, 1, a, {drop()}).add(kEncap, 1, b, {then}).add(kEncap, 1000, Match(), {drop()});
  };
  EXPECT_TRUE(rules(to("10.0.0.0/8"), to("10.0.0.0/24"), redirect(kOther)).breaks("I5"));
  EXPECT_FALSE(rules(to("10.0.0.0/8"), to("10.0.0.0/24"), drop()).breaks("I5"));
  EXPECT_FALSE(rules(to("10.0.0.0/8"), to("11.0.0.0/24"), redirect(kOther)).breaks("I5"));
  EXPECT_TRUE(rules(to("10.0.0.0/8"), to("10.0.0.0/8"), drop()).breaks("I5"));
  EXPECT_TRUE(Rules()
                  .add(0, 1, ipv4(), {drop()}, {false, kEthIpv4})
                  .add(0, 1, Match().eth_type(kEthIpv6), {drop()}, {false, kEthIpv6})
                  .breaks("I5"));
}

TEST(Lint, ten_thousand_rules_take_about_a_second_at_most) {
  config::Config config = model::example_config();
  for (uint32_t t = 0; t < 40; ++t) {
    config::Tenant tenant = model::example_tenant("t" + std::to_string(t), 100 + t);
    for (uint8_t p = 1; p <= 7; ++p) tenant.ports.push_back(model::example_port("p" + std::to_string(p), p));
    config.tenants.push_back(tenant);
  }
  const Facts facts = model::facts_with_all_ports(config);
  const RuleSet rules = compile(config, facts);
  ASSERT_GT(rules.rules.size(), 10000U);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(lint(rules.rules, lint_context(config, facts, rules.zones)).empty());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
  // Generous, for shared machines under sanitizers; a check that looks at all pairs takes minutes.
  EXPECT_LT(took.count(), 10.0);
  RecordProperty("milliseconds", static_cast<int>(took.count() * 1000));
}

}  // namespace sepal::tc
