// One row per key of a flower match: attribute, mask attribute, byte order, and what must be matched besides for the
// kernel to look at it. Encoder, decoder and the check before encoding all read these rows. Governed by linux/pkt_cls.h
// (TCA_FLOWER_KEY_*); orders and conditions by fl_policy, fl_set_key() and fl_dump_key() in net/sched/cls_flower.c.
#pragma once

#include <linux/pkt_cls.h>

#include <cstdint>

#include "tc/rule/match.hpp"

namespace sepal::tc {

enum class WireOrder : uint8_t { network, host };

// What the rest of the match must say; else fl_set_key() skips the attribute without a word, and the filter matches
// more than it was written for. "ip" means the EtherType behind the tag when there is one.
enum class Needs : uint8_t { nothing, vlan, ip, tcp, udp, sctp, icmp, icmpv6, arp };

struct KeyRow {
  Key key;
  uint16_t attr;
  uint16_t mask_attr;  // TCA_FLOWER_UNSPEC: none, the kernel takes all bits
  WireOrder order;
  Needs needs;
};

// A key with several rows is written by the one whose needs are met.
inline constexpr KeyRow kFlowerKeys[] = {
    {Key::vlan_id, TCA_FLOWER_KEY_VLAN_ID, TCA_FLOWER_UNSPEC, WireOrder::host, Needs::vlan},
    {Key::vlan_prio, TCA_FLOWER_KEY_VLAN_PRIO, TCA_FLOWER_UNSPEC, WireOrder::host, Needs::vlan},
    {Key::vlan_eth_type, TCA_FLOWER_KEY_VLAN_ETH_TYPE, TCA_FLOWER_UNSPEC, WireOrder::network, Needs::vlan},
    {Key::dst_mac, TCA_FLOWER_KEY_ETH_DST, TCA_FLOWER_KEY_ETH_DST_MASK, WireOrder::network, Needs::nothing},
    {Key::src_mac, TCA_FLOWER_KEY_ETH_SRC, TCA_FLOWER_KEY_ETH_SRC_MASK, WireOrder::network, Needs::nothing},
    {Key::eth_type, TCA_FLOWER_KEY_ETH_TYPE, TCA_FLOWER_UNSPEC, WireOrder::network, Needs::nothing},
    {Key::ip_proto, TCA_FLOWER_KEY_IP_PROTO, TCA_FLOWER_UNSPEC, WireOrder::network, Needs::ip},
    {Key::ip_tos, TCA_FLOWER_KEY_IP_TOS, TCA_FLOWER_KEY_IP_TOS_MASK, WireOrder::network, Needs::ip},
    {Key::ip_ttl, TCA_FLOWER_KEY_IP_TTL, TCA_FLOWER_KEY_IP_TTL_MASK, WireOrder::network, Needs::ip},
    {Key::dst_ip4, TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV4_DST_MASK, WireOrder::network, Needs::nothing},
    {Key::src_ip4, TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK, WireOrder::network, Needs::nothing},
    {Key::dst_ip6, TCA_FLOWER_KEY_IPV6_DST, TCA_FLOWER_KEY_IPV6_DST_MASK, WireOrder::network, Needs::nothing},
    {Key::src_ip6, TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK, WireOrder::network, Needs::nothing},
    {Key::dst_port, TCA_FLOWER_KEY_TCP_DST, TCA_FLOWER_KEY_TCP_DST_MASK, WireOrder::network, Needs::tcp},
    {Key::dst_port, TCA_FLOWER_KEY_UDP_DST, TCA_FLOWER_KEY_UDP_DST_MASK, WireOrder::network, Needs::udp},
    {Key::dst_port, TCA_FLOWER_KEY_SCTP_DST, TCA_FLOWER_KEY_SCTP_DST_MASK, WireOrder::network, Needs::sctp},
    {Key::src_port, TCA_FLOWER_KEY_TCP_SRC, TCA_FLOWER_KEY_TCP_SRC_MASK, WireOrder::network, Needs::tcp},
    {Key::src_port, TCA_FLOWER_KEY_UDP_SRC, TCA_FLOWER_KEY_UDP_SRC_MASK, WireOrder::network, Needs::udp},
    {Key::src_port, TCA_FLOWER_KEY_SCTP_SRC, TCA_FLOWER_KEY_SCTP_SRC_MASK, WireOrder::network, Needs::sctp},
    {Key::tcp_flags, TCA_FLOWER_KEY_TCP_FLAGS, TCA_FLOWER_KEY_TCP_FLAGS_MASK, WireOrder::network, Needs::tcp},
    {Key::icmp_type, TCA_FLOWER_KEY_ICMPV4_TYPE, TCA_FLOWER_KEY_ICMPV4_TYPE_MASK, WireOrder::network, Needs::icmp},
    {Key::icmp_type, TCA_FLOWER_KEY_ICMPV6_TYPE, TCA_FLOWER_KEY_ICMPV6_TYPE_MASK, WireOrder::network, Needs::icmpv6},
    {Key::icmp_code, TCA_FLOWER_KEY_ICMPV4_CODE, TCA_FLOWER_KEY_ICMPV4_CODE_MASK, WireOrder::network, Needs::icmp},
    {Key::icmp_code, TCA_FLOWER_KEY_ICMPV6_CODE, TCA_FLOWER_KEY_ICMPV6_CODE_MASK, WireOrder::network, Needs::icmpv6},
    {Key::arp_op, TCA_FLOWER_KEY_ARP_OP, TCA_FLOWER_KEY_ARP_OP_MASK, WireOrder::network, Needs::arp},
    {Key::arp_tip, TCA_FLOWER_KEY_ARP_TIP, TCA_FLOWER_KEY_ARP_TIP_MASK, WireOrder::network, Needs::arp},
    {Key::arp_sip, TCA_FLOWER_KEY_ARP_SIP, TCA_FLOWER_KEY_ARP_SIP_MASK, WireOrder::network, Needs::arp},
    {Key::ip_flags, TCA_FLOWER_KEY_FLAGS, TCA_FLOWER_KEY_FLAGS_MASK, WireOrder::network, Needs::nothing},
    {Key::enc_key_id, TCA_FLOWER_KEY_ENC_KEY_ID, TCA_FLOWER_UNSPEC, WireOrder::network, Needs::nothing},
    {Key::enc_dst_ip4, TCA_FLOWER_KEY_ENC_IPV4_DST, TCA_FLOWER_KEY_ENC_IPV4_DST_MASK, WireOrder::network,
     Needs::nothing},
    {Key::enc_src_ip4, TCA_FLOWER_KEY_ENC_IPV4_SRC, TCA_FLOWER_KEY_ENC_IPV4_SRC_MASK, WireOrder::network,
     Needs::nothing},
    {Key::enc_dst_ip6, TCA_FLOWER_KEY_ENC_IPV6_DST, TCA_FLOWER_KEY_ENC_IPV6_DST_MASK, WireOrder::network,
     Needs::nothing},
    {Key::enc_src_ip6, TCA_FLOWER_KEY_ENC_IPV6_SRC, TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK, WireOrder::network,
     Needs::nothing},
    {Key::enc_dst_port, TCA_FLOWER_KEY_ENC_UDP_DST_PORT, TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK, WireOrder::network,
     Needs::nothing},
    {Key::ct_state, TCA_FLOWER_KEY_CT_STATE, TCA_FLOWER_KEY_CT_STATE_MASK, WireOrder::host, Needs::nothing},
    {Key::ct_zone, TCA_FLOWER_KEY_CT_ZONE, TCA_FLOWER_KEY_CT_ZONE_MASK, WireOrder::host, Needs::nothing},
    {Key::ct_mark, TCA_FLOWER_KEY_CT_MARK, TCA_FLOWER_KEY_CT_MARK_MASK, WireOrder::host, Needs::nothing},
    {Key::hash, TCA_FLOWER_KEY_HASH, TCA_FLOWER_KEY_HASH_MASK, WireOrder::host, Needs::nothing},
};

}  // namespace sepal::tc
