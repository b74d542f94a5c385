/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* Structs of the maps that the eBPF programs read and the agent writes. Compiled as C for the kernel and as C++ for the
 * agent: plain types only, every size asserted. */
#ifndef SEPAL_BPF_SHARED_H
#define SEPAL_BPF_SHARED_H

#include <linux/types.h>

#ifdef __cplusplus
#define SEPAL_STATIC_ASSERT static_assert
#else
#define SEPAL_STATIC_ASSERT _Static_assert
#endif

/* Maps outlive programs: a new program takes over the map that an older one left pinned under the same name, contents
 * and all. So whoever changes a struct below, in size or in meaning, renames its map in the *.bpf.c file too
 * (sepal_slices_2): the agent fills the new one, and the old one lives as long as rules still run the old program. */

/* Bounds of what the kernel allocates, entry by entry, never at once. */
#define SEPAL_NEIGHBOURS_MAX 65536
#define SEPAL_SLICES_MAX 65536

/* Map sepal_neighbours_2 (LPM trie): who answers for an address, and on a guest's port whose it is. `device` and `vlan`
 * are always matched whole; prefix_bits = 64 + (96 for IPv4) + prefix length. IPv4 addresses are v4-mapped:
 * ::ffff:a.b.c.d. (So an IPv6 prefix of less than 96 bits that covers ::ffff:0:0/96 would answer ARP as well; only ::/0
 * to ::/80 do, and no link has those.) A guest's port has an entry for each family as a whole, 0.0.0.0/0 and ::/0: by
 * ::/0 it is known as one. */
#define SEPAL_NEIGHBOUR_DEVICE_BITS 64 /* prefix_bits of ::/0 */
struct sepal_neighbour_key {
  __u32 prefix_bits;
  __u32 device; /* ifindex where the question arrives, host order */
  __u16 vlan;   /* VLAN id of the question's tag, 0 untagged, host order */
  __u16 zero;
  __u8 address[16]; /* network byte order */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_neighbour_key) == 28, "layout shared with the kernel");

enum sepal_answer {
  SEPAL_ANSWER_SILENT = 0,    /* the port's own address: duplicate detection must find nobody */
  SEPAL_ANSWER_NEIGHBOUR = 1, /* proxy for an on-link neighbour */
  SEPAL_ANSWER_GATEWAY = 2,   /* the router itself (R flag in neighbour advertisements) */
  SEPAL_ANSWER_GUARD = 3,     /* nobody; the device is a guest's, and who speaks there must be the port's own */
};

struct sepal_neighbour_value {
  __u8 answer; /* enum sepal_answer */
  __u8 own;    /* 1: a neighbour's, and the port's own as well: of a subnet within one of its prefixes */
  __u8 mac[6]; /* what is answered; SILENT and GUARD: the port's own, all zero where nobody knows it */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_neighbour_value) == 8, "layout shared with the kernel");

/* skb->mark as program sepal_neigh leaves it on what it drops: a guest that is not who it says it is. */
#define SEPAL_NEIGHBOUR_FORGED 0x40000U

/* Map sepal_slices (LPM trie): which slice of a shared public address an ICMP id or quoted port belongs to.
 * prefix_bits = 128 + number of leading port bits that count. */
struct sepal_slice_key {
  __u32 prefix_bits;
  __u8 address[16]; /* public address, IPv4 v4-mapped, network byte order */
  __u8 port[2];     /* echo id or quoted port, network byte order */
  __u8 zero[2];
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_slice_key) == 24, "layout shared with the kernel");

struct sepal_slice_value {
  __u32 slice; /* goes into skb->hash, never 0 */
};

/* skb->mark for program sepal_icmp, set by the action before it; 0: an echo request. Beside TOO_BIG stands the MTU. */
#define SEPAL_ICMP_EXPIRED 0x10000U
#define SEPAL_ICMP_TOO_BIG 0x20000U
#define SEPAL_ICMP_MTU 0xffffU

/* Who speaks to guests where no configured gateway is meant. */
#define SEPAL_GATEWAY_IPV4 {169, 254, 1, 1} /* and fe80::1 */

/* Map sepal_questions (ring buffer): frames of guests for the agent. The longest question is DHCP in a full Ethernet
 * frame; the ring holds some 170 of whatever length, more than one turn of the agent takes. */
#define SEPAL_QUESTION_BYTES 1514
#define SEPAL_QUESTIONS_BYTES (256 * 1024)

/* skb->mark for program sepal_question: whatever it is, the agent may hear it, and the packet goes on. */
#define SEPAL_QUESTION_OVERHEARD 1U

struct sepal_question {
  __u32 device; /* ifindex where it came in */
  __u32 length; /* of the frame; what follows it is not to be read */
  __u8 frame[SEPAL_QUESTION_BYTES];
  __u8 unused[6];
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_question) == 1528, "layout shared with the kernel");

/* Map sepal_heard (one entry for each CPU): what became of what came to the program. */
struct sepal_heard {
  __u64 heard;      /* the agent has it */
  __u64 lost;       /* the ring was full */
  __u64 unreadable; /* longer than a question */
  __u64 ignored;    /* no question */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_heard) == 32, "layout shared with the kernel");

/* Map sepal_rooms (hash by VNI): what a tenant may begin, as the agent says after it has counted its connections. */
struct sepal_room {
  __u64 begun_max; /* one more may begin while it has begun less, ever (map sepal_begun) */
  __u64 until;     /* CLOCK_MONOTONIC, ns: later there is no bound, for nobody counts */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_room) == 16, "layout shared with the kernel");

#endif
