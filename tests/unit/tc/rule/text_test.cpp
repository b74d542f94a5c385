#include <gtest/gtest.h>

#include "tc/rule/build.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::tc {
namespace {

TEST(Text, a_rule_is_one_line_in_the_order_of_tc_filter_show) {
  Rule rule;
  rule.id = {IfIndex(7), 0x2000064, 1, kEthAll, 0x1234};
  rule.spec.match.ct_state(kCtTrk | kCtEst).eth_type(kEthIpv4);
  rule.spec.skip_hw = true;
  rule.spec.actions = {goto_chain(0x3000064)};
  EXPECT_EQ(to_text(rule),
            "dev 7 chain 0x2000064 prio 1 protocol all handle 0x1234 eth_type ipv4 ct_state +trk+est skip_hw "
            "action goto chain 0x3000064");
}

TEST(Text, a_rule_without_keys_has_its_actions_only) {
  Rule rule;
  rule.id = {IfIndex(7), 0, 1000, kEthIpv6, 1};
  rule.spec.actions = {drop()};
  EXPECT_EQ(to_text(rule), "dev 7 chain 0x0 prio 1000 protocol ipv6 handle 0x1 action drop");
}

TEST(Text, keys_have_the_words_of_iproute2) {
  EXPECT_EQ(
      to_text(
          Match().eth_type(kEthVlan).set(Key::vlan_id, 291).set(Key::vlan_prio, 5).set(Key::vlan_eth_type, kEthIpv4)),
      "vlan_id 291 vlan_prio 5 vlan_ethtype ip eth_type 802.1Q");
  EXPECT_EQ(to_text(Match().mac(Key::dst_mac, *MacAddr::parse("02:00:00:00:00:0a"))), "dst_mac 02:00:00:00:00:0a");
  const uint8_t value[6] = {0x01, 0x80, 0xc2, 0, 0, 0};
  const uint8_t mask[6] = {0xff, 0xff, 0xff, 0, 0, 0};
  EXPECT_EQ(to_text(Match().set_bytes(Key::src_mac, value, mask)), "src_mac 01:80:c2:00:00:00/ff:ff:ff:00:00:00");
  EXPECT_EQ(to_text(Match().eth_type(kEthIpv6).set(Key::ip_proto, kProtoIcmpv6).set(Key::icmp_type, 135)),
            "eth_type ipv6 ip_proto icmpv6 icmp_type 135");
  EXPECT_EQ(to_text(Match().set(Key::ip_proto, 47).set(Key::ip_tos, 0x10, 0xfc).set(Key::ip_ttl, 0, 0xfe)),
            "ip_proto 47 ip_tos 0x10/0xfc ip_ttl 0/0xfe");
  EXPECT_EQ(to_text(Match()
                        .ip(Key::dst_ip4, *IpPrefix::parse("192.0.2.0/24"))
                        .ip(Key::src_ip4, IpPrefix::host(IpAddr::v4(192, 0, 2, 1)))),
            "dst_ip 192.0.2.0/24 src_ip 192.0.2.1");
  EXPECT_EQ(to_text(Match().ip(Key::dst_ip4, *IpPrefix::parse("2001:db8::/32"))), "dst_ip 2001:db8::/32");
  EXPECT_EQ(to_text(Match().set(Key::dst_ip4, 0x0a000001, 0xff0000ff)), "dst_ip 10.0.0.1/255.0.0.255");
  EXPECT_EQ(to_text(Match().set(Key::dst_port, 1024, 0xfc00).set(Key::src_port, 80).set(Key::tcp_flags, 0, 0x12)),
            "dst_port 1024/0xfc00 src_port 80 tcp_flags 0x0/0x12");
  EXPECT_EQ(to_text(Match()
                        .eth_type(kEthArp)
                        .set(Key::arp_op, 1)
                        .ip(Key::arp_tip, *IpPrefix::parse("192.0.2.1/32"))
                        .ip(Key::arp_sip, *IpPrefix::parse("192.0.2.0/24"))),
            "eth_type arp arp_op request arp_tip 192.0.2.1 arp_sip 192.0.2.0/24");
  EXPECT_EQ(to_text(Match().set(Key::ip_flags, kIpFlagFrag, kIpFlagFrag)), "ip_flags frag");
  EXPECT_EQ(to_text(Match().set(Key::ip_flags, kIpFlagFrag, 3)), "ip_flags frag/nofirstfrag");
  EXPECT_EQ(to_text(Match()
                        .set(Key::enc_key_id, 100)
                        .ip(Key::enc_dst_ip4, *IpPrefix::parse("192.0.2.1/32"))
                        .set(Key::enc_dst_port, 4789)),
            "enc_key_id 100 enc_dst_ip 192.0.2.1 enc_dst_port 4789");
  EXPECT_EQ(to_text(Match()
                        .ct_state(kCtTrk | kCtNew, kCtRpl)
                        .set(Key::ct_zone, 5)
                        .set(Key::ct_mark, 1, 1)
                        .set(Key::hash, 0x1234)),
            "ct_state +trk+new-rpl ct_zone 5 ct_mark 0x1/0x1 hash 0x1234");
}

TEST(Text, actions_have_the_words_of_iproute2) {
  EXPECT_EQ(to_text(drop()), "action drop");
  EXPECT_EQ(to_text(pass()), "action pass");
  EXPECT_EQ(to_text(Action{Gact{}}), "action pipe");
  EXPECT_EQ(to_text(redirect(IfIndex(7))), "action mirred egress redirect dev 7");
  EXPECT_EQ(to_text(Action{Mirred{IfIndex(8), true, true}}), "action mirred ingress mirror dev 8");
  EXPECT_EQ(to_text(vlan_pop()), "action vlan pop");
  EXPECT_EQ(to_text(vlan_push(Vid(291))), "action vlan push id 291 protocol 802.1Q");
  EXPECT_EQ(to_text(Action{VlanAction{VlanAction::Kind::modify, Vid(5), kEthQinq, 3}}),
            "action vlan modify id 5 protocol 802.1ad priority 3");
  EXPECT_EQ(to_text(tunnel_set(IpAddr::v4(192, 0, 2, 1), IpAddr::v4(192, 0, 2, 2), Vni(100), 4789)),
            "action tunnel_key set src_ip 192.0.2.1 dst_ip 192.0.2.2 id 100 dst_port 4789 nocsum");
  EXPECT_EQ(to_text(tunnel_unset()), "action tunnel_key unset");
  EXPECT_EQ(to_text(csum(kCsumIpv4Header | kCsumTcp | kCsumUdp)), "action csum ip4h tcp udp");
  EXPECT_EQ(to_text(police_packets(1000, 50)), "action police pkts_rate 1000 pkts_burst 50 conform-exceed drop/pipe");
  EXPECT_EQ(to_text(police_size(1514)), "action police mtu 1514 conform-exceed pipe/continue");
  EXPECT_EQ(to_text(Action{Police{125000, 10000, 0, 0, {Control::drop, 0}, {Control::pass, 0}}}),
            "action police rate 125000bps burst 10000b conform-exceed drop/pass");
  EXPECT_EQ(to_text(Action{SkbeditMark{5, 0xff}}), "action skbedit mark 0x5/0xff");
  EXPECT_EQ(to_text(bpf("sepal_neigh", {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}, Control::drop)),
            "action bpf name sepal_neigh tag 0123456789abcdef drop");
  EXPECT_EQ(to_text(Action{UnknownAction{"sample"}}), "action sample (not shown)");
}

TEST(Text, a_name_somebody_gave_neither_breaks_the_line_nor_speaks_to_the_terminal) {
  EXPECT_EQ(to_text(bpf("a\nb\x1b[2J", {}, Control::drop)),
            "action bpf name a\\x0ab\\x1b[2J tag 0000000000000000 drop");
  EXPECT_EQ(to_text(bpf("größe", {}, Control::drop)), "action bpf name größe tag 0000000000000000 drop");
  EXPECT_EQ(to_text(Action{UnknownAction{"a\tb\x7f"}}), "action a\\x09b\\x7f (not shown)");
}

TEST(Text, conntrack_actions_read_like_their_commands) {
  EXPECT_EQ(to_text(ct_lookup(Zone(5))), "action ct zone 5 nat");
  EXPECT_EQ(to_text(ct_commit(Zone(5), 1, 0xffffffff)), "action ct commit zone 5 mark 0x1");
  EXPECT_EQ(to_text(ct_commit_snat(Zone(5), *IpAddr::parse("203.0.113.7"), PortRange{1024, 2047}, 3, 3)),
            "action ct commit zone 5 mark 0x3/0x3 nat src addr 203.0.113.7 port 1024-2047");
  Ct clear;
  clear.clear = true;
  EXPECT_EQ(to_text(Action{clear}), "action ct clear");
}

TEST(Text, a_router_s_rewrite_is_shown_by_its_fields) {
  const MacAddr source = *MacAddr::parse("02:00:00:00:12:34");
  const MacAddr destination = *MacAddr::parse("02:00:00:00:56:78");
  EXPECT_EQ(
      to_text(rewrite_macs_and_ttl(source, destination, Family::ipv4)),
      "action pedit ex munge eth dst set 02:00:00:00:56:78 munge eth src set 02:00:00:00:12:34 munge ip ttl add 255");
  EXPECT_EQ(to_text(rewrite_macs_and_ttl(source, destination, Family::ipv6)),
            "action pedit ex munge eth dst set 02:00:00:00:56:78 munge eth src set 02:00:00:00:12:34 "
            "munge ip6 hoplimit add 255");
}

TEST(Text, a_rewrite_of_something_else_is_shown_by_its_words) {
  using H = PeditKey::Header;
  using C = PeditKey::Command;
  EXPECT_EQ(to_text(Action{
                Pedit{{{H::eth, C::set, 4, 0x12340000, 0xffff0000}, {H::ip4, C::set, 16, 0xc0000201, 0xffffffff}}}}),
            "action pedit ex munge eth offset 4 set 0x12340000/0xffff0000 munge ip dst set 192.0.2.1");
  EXPECT_EQ(to_text(Action{Pedit{{{H::tcp, C::set, 0, 0x00000050, 0x0000ffff}}}}),
            "action pedit ex munge tcp dport set 80");
  EXPECT_EQ(to_text(Action{Pedit{{{H::network, C::add, 4, 1, 0xff}}}}),
            "action pedit ex munge network offset 4 add 0x1/0xff");
}

TEST(Text, shared_indices_and_unusual_verdicts_stand_behind_the_action) {
  Action action = csum(kCsumIpv4Header);
  action.unusual_verdict = Verdict{Control::pass, 0};
  action.index = 12;
  EXPECT_EQ(to_text(action), "action csum ip4h pass index 12");
}

}  // namespace
}  // namespace sepal::tc
