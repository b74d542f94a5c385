/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* Headers on the wire as structs, and the few operations on frames that the programs share. Included by *.bpf.c only.
 * Frames are read and written by bpf_skb_load_bytes and bpf_skb_store_bytes, not by direct access: a question that a
 * driver left in page fragments, or a reassembled packet, is then no special case. An 802.1Q tag is never in the bytes:
 * the kernel moves it beside the packet before ingress filters run. */
#ifndef SEPAL_BPF_FRAMES_H
#define SEPAL_BPF_FRAMES_H

/* libbpf's headers need the kernel's before them. */
// clang-format off
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
// clang-format on

#include "bpf/shared.h"

#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif

#ifndef NULL
#define NULL ((void*)0)
#endif

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define IP_OFFSET_MASK 0x1fff /* of ip4.fragment */
#define IP_MORE_FRAGMENTS 0x2000
#define IP_PROTOCOL_ICMP 1
#define IP_PROTOCOL_TCP 6
#define IP_PROTOCOL_UDP 17
#define IP_PROTOCOL_ICMP6 58

#define ICMP_HEADER_BYTES 8 /* and of ICMPv6 */

/* Types of ICMP and ICMPv6. */
#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG 2
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129

struct eth {
  __u8 to[6];
  __u8 from[6];
  __be16 type;
};

struct ip4 {
  __u8 version_length;
  __u8 service;
  __be16 total_length;
  __be16 id;
  __be16 fragment;
  __u8 ttl;
  __u8 protocol;
  __be16 checksum;
  __u8 source[4];
  __u8 destination[4];
};

struct ip6_address {
  union {
    __u8 bytes[16];
    __be32 words[4];
  };
};

struct ip6 {
  __u8 version_class[4];
  __be16 payload_length;
  __u8 next_header;
  __u8 hop_limit;
  struct ip6_address source;
  struct ip6_address destination;
};
_Static_assert(sizeof(struct eth) == 14 && sizeof(struct ip4) == 20 && sizeof(struct ip6) == 40, "no holes");

/* Whether a packet of this type quotes the one that it is about. */
static __always_inline bool is_icmp_error(__u8 type) {
  return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

static __always_inline bool is_icmp6_error(__u8 type) {
  return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM;
}

static __always_inline bool is_multicast6(const struct ip6_address* a) { return a->bytes[0] == 0xff; }

static __always_inline bool is_link_local6(const struct ip6_address* a) {
  return (a->words[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool is_unspecified6(const struct ip6_address* a) {
  return !(a->words[0] | a->words[1] | a->words[2] | a->words[3]);
}

static __always_inline bool same_address(const struct ip6_address* a, const struct ip6_address* b) {
  return !((a->words[0] ^ b->words[0]) | (a->words[1] ^ b->words[1]) | (a->words[2] ^ b->words[2]) |
           (a->words[3] ^ b->words[3]));
}

/* ::ffff:a.b.c.d */
static __always_inline void map_ipv4(struct ip6_address* to, const __u8* address) {
  to->words[0] = 0;
  to->words[1] = 0;
  to->words[2] = bpf_htonl(0xffff);
  __builtin_memcpy(&to->bytes[12], address, 4);
}

/* The packet becomes `frame`. The checksum a NIC computed over the packet (CHECKSUM_COMPLETE) begins behind the
 * Ethernet header, so only what follows it may be accounted there. The longer part first: when memory for writing runs
 * out (TC_ACT_SHOT), the frame is as it was but for its length. */
static __always_inline int replace_frame(struct __sk_buff* skb, const struct eth* frame, __u32 bytes) {
  if (bpf_skb_change_tail(skb, bytes, 0)) return TC_ACT_UNSPEC;
  if (bpf_skb_store_bytes(skb, sizeof(*frame), frame + 1, bytes - sizeof(*frame), BPF_F_RECOMPUTE_CSUM) ||
      bpf_skb_store_bytes(skb, 0, frame, sizeof(*frame), 0))
    return TC_ACT_SHOT;
  return TC_ACT_PIPE;
}

#endif
