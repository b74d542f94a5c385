/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* Layout of the maps of security groups: what policy/compile.cpp fills in, bpf/policy.h reads and the loader moves
 * into the kernel. Compiled as C for the kernel and as C++ for the agent. The rule of bpf/shared.h about changing a
 * struct holds here too. */
#ifndef SEPAL_BPF_POLICY_LAYOUT_H
#define SEPAL_BPF_POLICY_LAYOUT_H

#include <linux/bpf.h>

#include "bpf/shared.h"

#ifdef __bpf__
#define SEPAL_JUDGE_INLINE static __attribute__((always_inline)) inline
#else
#define SEPAL_JUDGE_INLINE static inline
#endif

#define SEPAL_SELECTORS_PER_PAGE 8
#define SEPAL_SELECTORS_MAX 32 /* names that one address has */

enum sepal_direction {
  SEPAL_EGRESS = 0, /* the source's groups judge the destination */
  SEPAL_INGRESS = 1,
};

/* --- one rule in a word ------------------------------------------------------------------------------------------- */

#define SEPAL_RULE_ALLOWS 0x80000000U
#define SEPAL_RULE_LOGS 0x40000000U
#define SEPAL_RULE_ID 0x3fffffffU

/* Ids below SEPAL_RULE_FIRST stand for no rule of a group. 0: nothing was found, which denies. */
enum {
  SEPAL_RULE_DEFAULT_EGRESS = 1,  /* no rule matches */
  SEPAL_RULE_DEFAULT_INGRESS = 2, /* the same */
  SEPAL_RULE_NOT_ENFORCED = 3,    /* all groups of the port are audited */
  SEPAL_RULE_NO_GROUPS = 4,       /* the end is no port here, or one without groups */
  SEPAL_RULE_FIRST = 16,
};
#define SEPAL_RULE_OPEN (SEPAL_RULE_ALLOWS | SEPAL_RULE_NO_GROUPS)

/* Which rule decides: rank << 32 | rule. The lowest rank does, so the lowest number does. Ranks stay below 2^31, so
 * that a difference's sign tells which is lower: a comparison would make the verifier follow both its outcomes. */
#define SEPAL_RANK_SHIFT 32
#define SEPAL_RANK_NONE 0x7fffffffULL
#define SEPAL_DECIDED_BY_NONE (SEPAL_RANK_NONE << SEPAL_RANK_SHIFT) /* rule 0, which denies */

struct sepal_choice {
  __u64 all;      /* among all groups */
  __u64 enforced; /* among those that are enforced */
};

/* --- maps of prefixes, one LPM trie for each tenant --------------------------------------------------------------- */

/* Tables within it. Addresses: who an end is. The rest: ports (or ICMP types and codes), 16 bits, for one
 * (policy, selector, protocol). */
enum {
  SEPAL_TABLE_IPV4 = 0,
  SEPAL_TABLE_IPV6 = 1,
  SEPAL_TABLE_PORTS = 2, /* and up */
};
#define SEPAL_PREFIX_FIXED_BITS 32 /* the table is always matched whole */

struct sepal_prefix_key {
  __u32 prefix_bits; /* SEPAL_PREFIX_FIXED_BITS + length */
  __u32 table;
  __u8 bytes[16]; /* address, or port; network byte order */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_prefix_key) == 24, "layout shared with the kernel");

struct sepal_end {
  __u32 set;           /* its selectors; 0: none but "any" */
  __u32 networks_only; /* those that are networks, for somebody with this address in a peer's network */
  /* Of the port that may send from here, and of the one that packets to here are delivered to: + enum sepal_direction;
   * 0: no port of ours, or one without groups. */
  __u32 egress_policy;
  __u32 ingress_policy;
};

struct sepal_prefix_value {
  union {
    struct sepal_end end;
    struct sepal_choice choice;
  };
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_prefix_value) == 16, "layout shared with the kernel");

/* --- maps of choices, one hash map for each tenant ---------------------------------------------------------------- */

#define SEPAL_POLICY_SETS 0            /* as policy: not a choice but a page of a set of selectors */
#define SEPAL_POLICY_HOSTS 0xfffffffeU /* as policy: not a choice but the end that an address is; + 1: an IPv6 one */
#define SEPAL_SELECTOR_ANY 0
#define SEPAL_PROTOCOL_ANY 256

struct sepal_choice_key {
  __u32 policy;   /* of a combination of groups, + enum sepal_direction; or SEPAL_POLICY_SETS, SEPAL_POLICY_HOSTS */
  __u32 selector; /* a name of the other end; or the set; or the first half of a host's hash */
  __u32 protocol; /* IPPROTO_* or SEPAL_PROTOCOL_ANY; or the page; or the second half */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_choice_key) == 12, "layout shared with the kernel");

/* `table` 0: one choice for all ports (or types and codes) from `first` to `last`; of the others the entry for any
 * protocol speaks. */
struct sepal_by_port {
  struct sepal_choice choice;
  __u32 table; /* of prefixes */
  __u16 first; /* host byte order */
  __u16 last;
  __u32 zero[2];
};

/* A port's own address, which need not be looked for in the trie. Its key is made of a hash, so the address stands
 * here: of those with the same key one has an entry, and the others are in the trie only. */
struct sepal_host {
  struct sepal_end end;
  __u8 address[16]; /* IPv4: the first four bytes */
};

struct sepal_choice_value {
  union {
    __u32 selectors[SEPAL_SELECTORS_PER_PAGE]; /* of a set; ends with 0 where it does not fill the page */
    struct sepal_by_port by_port;
    struct sepal_host host;
  };
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_choice_value) == 32, "layout shared with the kernel");

/* An address is 16 bytes, of IPv4 the first four and 0, and is looked at by words. */
typedef __u32 __attribute__((may_alias)) sepal_word;

SEPAL_JUDGE_INLINE struct sepal_choice_key sepal_host_key(const __u8* address, __u8 is_ipv6) {
  const sepal_word* words = (const sepal_word*)address;
  struct sepal_choice_key key = {SEPAL_POLICY_HOSTS + is_ipv6, words[0] ^ words[2] * 0x9e3779b1U,
                                 words[1] ^ words[3] * 0x9e3779b1U};

  return key;
}

SEPAL_JUDGE_INLINE int sepal_is_host(const struct sepal_host* host, const __u8* address) {
  const sepal_word* a = (const sepal_word*)host->address;
  const sepal_word* b = (const sepal_word*)address;

  return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0;
}

/* --- maps of the host --------------------------------------------------------------------------------------------- */

/* sepal_spaces_2 (hash): VNI → the tenant's tables. This one entry is what makes a new policy true for all of a
 * tenant's ports at once: packets read it once. sepal_ends_2 and sepal_choices_2 (hash of maps) lead from it to the
 * tables. */
struct sepal_space {
  __u64 id; /* hash of the tables' content */
};

/* sepal_counts (per-CPU hash): verdicts by rule. */
struct sepal_count_key {
  __u32 vni;
  __u32 rule; /* id */
};
struct sepal_count {
  __u64 allowed;
  __u64 denied;
  __u64 audited; /* passed, though the rule (of an audited group) denies */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_count) == 24, "layout shared with the kernel");

/* sepal_events (ring buffer): verdicts that somebody wants to hear of, each a struct sepal_event. Nobody has to read
 * them: when the ring is full the packet goes on, and sepal_lost (per-CPU array of one __u64) counts. */
enum sepal_event_kind {
  SEPAL_EVENT_NONE = 0,
  SEPAL_EVENT_ALLOWED = 1,
  SEPAL_EVENT_DENIED = 2,
  SEPAL_EVENT_AUDITED = 3, /* passed, though a rule of an audited group denies */
};
struct sepal_event {
  __u64 time; /* CLOCK_MONOTONIC, nanoseconds */
  __u32 vni;
  __u32 device; /* ifindex where the packet is */
  __u32 egress; /* the rule that decides on each side, a word as above; SEPAL_RULE_NO_GROUPS: nobody was asked */
  __u32 ingress;
  __u8 source[16]; /* IPv4: the first four bytes; network byte order, and so are the ports */
  __u8 destination[16];
  __u8 is_ipv6;
  __u8 protocol;
  __u8 kind;      /* enum sepal_event_kind */
  __u8 from_peer; /* the source is in another tenant's network */
  __u8 source_port[2];
  __u8 detail[2]; /* as in struct sepal_flow */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_event) == 64, "layout shared with the kernel");

#define SEPAL_EVENTS_BYTES (256 * 1024) /* of the ring: some 3600 events, each with the ring's 8 bytes */

#define SEPAL_SPACES_MAX 16384
#define SEPAL_COUNTS_MAX 1048576

/* sepal_untracked (array of buckets): flows of UDP whose first datagram was let go past conntrack, so that its answer
 * is known for one. A flow, in either direction, belongs into one bucket only and takes a free place of it; nothing is
 * ever pushed out. A flow that finds no place is tracked, as all others are. */
#define SEPAL_UNTRACKED_BUCKETS 32768 /* a power of two; 232 bytes each */
#define SEPAL_UNTRACKED_WAYS 4
#define SEPAL_UNTRACKED_NS 30000000000ULL /* how long an answer is one: nf_conntrack_udp_timeout */
#define SEPAL_UNTRACKED_IPV6 0x80000000U  /* in `network` */

/* Eight-byte words, to be compared as such. */
struct sepal_untracked_tuple {
  __u8 source[16]; /* IPv4: the first four bytes; network byte order, and so are the ports */
  __u8 destination[16];
  __u8 source_port[2];
  __u8 destination_port[2];
  __u32 network; /* VNI, and SEPAL_UNTRACKED_IPV6 */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_untracked_tuple) == 40, "layout shared with the kernel");

enum sepal_untracked_state {
  SEPAL_UNTRACKED_ASKED = 0,    /* the first datagram is gone */
  SEPAL_UNTRACKED_ANSWERED = 1, /* and one answer */
  SEPAL_UNTRACKED_TRACKED = 2,  /* there was more: conntrack has the flow */
};

struct sepal_untracked_flow {
  struct sepal_untracked_tuple tuple; /* of the first datagram */
  __u64 since;                        /* CLOCK_MONOTONIC, nanoseconds; 0: a place that was never taken */
  __u32 state;                        /* enum sepal_untracked_state */
  __u32 zero;
};

struct sepal_untracked_bucket {
  struct bpf_spin_lock lock;
  __u32 zero;
  struct sepal_untracked_flow flows[SEPAL_UNTRACKED_WAYS];
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_untracked_bucket) == 232, "layout shared with the kernel");

/* What may be let go has a TTL from … to. */
#define SEPAL_USUAL_TTL_MIN 64
#define SEPAL_USUAL_TTL_MAX 191

/* skb->mark, as the rule that runs the program sets it for the time of the verdict. What is asked: whether a connection
 * may begin; or, by LET_GO and ANSWERS, */
#define SEPAL_MARK_VNI 0x00ffffffU
#define SEPAL_MARK_FROM_PEER 0x01000000U
#define SEPAL_MARK_LET_GO 0x02000000U  /* whether this datagram, which is not tracked yet, need not be */
#define SEPAL_MARK_NOTES 0x08000000U   /* no question: what may begin is conntrack's, and is to be noted so */
#define SEPAL_MARK_ANSWERS 0x04000000U /* whether this packet answers one that was let go, or is an error about it */

#endif
