/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* What security groups say to a new connection. Compiled for the kernel (policy.bpf.c, the first packet) and into the
 * agent (policy/judge.cpp: live connections after a change, `explain`, tests), so that both judge by the same code.
 * Whoever includes this says first how to look into the tables:
 *
 *   struct sepal_policy_tables;
 *   const struct sepal_prefix_value *sepal_look_up_prefix(const struct sepal_policy_tables *,
 *                                                         const struct sepal_prefix_key *);
 *   const struct sepal_choice_value *sepal_look_up_choice(const struct sepal_policy_tables *,
 *                                                         const struct sepal_choice_key *);
 *
 * How the tables come to be is policy/compile.cpp's: one pair of them for each tenant. The cost of a verdict does not
 * depend on how many rules there are: for each of the two ends a hash lookup, and where it is no address of a port here
 * a longest-prefix lookup, finds who it is; then, for the one or two sides that are a port with groups, one hash lookup
 * for each name the other end has (its groups, the networks of rules that contain it; SEPAL_SELECTORS_MAX at most) and
 * a longest-prefix lookup of the port where a name's rules speak of more than one range of ports. */
#ifndef SEPAL_BPF_POLICY_H
#define SEPAL_BPF_POLICY_H

#include "bpf/policy_layout.h"

/* Calls `step(index, context)` for 0, 1 … count - 1 until it returns other than 0. In the kernel by a helper, so that
 * the verifier looks at one step and not at all of them. */
#ifdef __bpf__
#define sepal_repeat(count, step, context) bpf_loop(count, step, context, 0)
#else
static inline void sepal_repeat(__u32 count, long (*step)(__u32, void*), void* context) {
  for (__u32 index = 0; index < count && step(index, context) == 0; ++index) {
  }
}
#endif

/* A new connection as its first packet shows it, with the destination that a translation leads to. */
struct sepal_flow {
  __u8 source[16] __attribute__((aligned(4))); /* IPv4: the first four bytes, and 0 */
  __u8 destination[16];
  __u8 is_ipv6;
  __u8 protocol;  /* IPPROTO_* */
  __u8 detail[2]; /* destination port of TCP and UDP, type and code of ICMP and ICMPv6; else 0 */
};

/* What one end's groups say. Not judged (no groups): SEPAL_RULE_OPEN twice. */
struct sepal_side {
  __u32 rule;          /* of all groups, as if all were enforced */
  __u32 enforced_rule; /* of those that are */
};

struct sepal_verdict {
  struct sepal_side sides[2]; /* enum sepal_direction */
  __u32 allowed;
};

/* The lower one, without a branch. */
SEPAL_JUDGE_INLINE __u64 sepal_lower(__u64 a, __u64 b) { return a ^ ((a ^ b) & (__u64)((__s64)(b - a) >> 63)); }

SEPAL_JUDGE_INLINE void sepal_prefer(struct sepal_choice* best, const struct sepal_choice* found) {
  best->all = sepal_lower(best->all, found->all);
  best->enforced = sepal_lower(best->enforced, found->enforced);
}

/* Whether the rules that an entry stands for speak of this port, or type and code. */
SEPAL_JUDGE_INLINE int sepal_speaks_of(const struct sepal_by_port* ports, __u32 detail) {
  return ports->table || (detail >= ports->first && detail <= ports->last);
}

/* The rules of `policy` that name the other end `selector`. */
SEPAL_JUDGE_INLINE void sepal_consider(const struct sepal_policy_tables* tables, __u32 policy, __u32 selector,
                                       const struct sepal_flow* flow, struct sepal_choice* best) {
  struct sepal_choice_key key = {policy, selector, flow->protocol};
  const struct sepal_choice_value* value = sepal_look_up_choice(tables, &key);
  const struct sepal_prefix_value* ports;

  if (!value || !sepal_speaks_of(&value->by_port, (__u32)flow->detail[0] << 8 | flow->detail[1])) {
    key.protocol = SEPAL_PROTOCOL_ANY;
    value = sepal_look_up_choice(tables, &key);
  }
  if (!value) return;
  if (value->by_port.table) {
    struct sepal_prefix_key port = {SEPAL_PREFIX_FIXED_BITS + 16, value->by_port.table, {0}};

    port.bytes[0] = flow->detail[0];
    port.bytes[1] = flow->detail[1];
    ports = sepal_look_up_prefix(tables, &port);
    if (ports) sepal_prefer(best, &ports->choice);
  } else {
    sepal_prefer(best, &value->by_port.choice);
  }
}

/* What a walk over the names of the other end carries. */
struct sepal_walk {
  const struct sepal_policy_tables* tables;
  const struct sepal_flow* flow;
  struct sepal_choice best;
  __u32 policy;
  __u32 set;
};

/* The name at `index`; not 0: there is none. */
static long sepal_next_name(__u32 index, void* context) {
  struct sepal_walk* walk = (struct sepal_walk*)context;
  struct sepal_choice_key page = {SEPAL_POLICY_SETS, walk->set, index / SEPAL_SELECTORS_PER_PAGE};
  const struct sepal_choice_value* list = sepal_look_up_choice(walk->tables, &page);
  __u32 selector;

  if (!list) return 1;
  selector = list->selectors[index % SEPAL_SELECTORS_PER_PAGE];
  if (!selector) return 1;
  sepal_consider(walk->tables, walk->policy, selector, walk->flow, &walk->best);
  return 0;
}

/* `policy` says who judges and in which direction, `set` what the other end is called. */
SEPAL_JUDGE_INLINE void sepal_judge_side(const struct sepal_policy_tables* tables, __u32 policy, __u32 set,
                                         const struct sepal_flow* flow, struct sepal_side* side) {
  /* A table that lacks an entry fails closed. */
  struct sepal_walk walk = {tables, flow, {SEPAL_DECIDED_BY_NONE, SEPAL_DECIDED_BY_NONE}, policy, set};

  sepal_consider(tables, policy, SEPAL_SELECTOR_ANY, flow, &walk.best);
  if (set) sepal_repeat(SEPAL_SELECTORS_MAX, sepal_next_name, &walk);
  side->rule = (__u32)walk.best.all;
  side->enforced_rule = (__u32)walk.best.enforced;
}

/* Who an address is; nobody's comes to zeros. By value: a pointer into one of two maps, or none, would have the
 * verifier follow all that comes after for each of the three. */
SEPAL_JUDGE_INLINE struct sepal_end sepal_find_end(const struct sepal_policy_tables* tables, const __u8* address,
                                                   __u8 is_ipv6) {
  struct sepal_prefix_key key = {0}; /* with a value clang would keep a template in .rodata, which is one more map */
  struct sepal_choice_key host = sepal_host_key(address, is_ipv6);
  const struct sepal_choice_value* known = sepal_look_up_choice(tables, &host);
  const struct sepal_prefix_value* found;
  struct sepal_end end = {0};

  if (known && sepal_is_host(&known->host, address)) return known->host.end;
  if (is_ipv6) {
    key.prefix_bits = SEPAL_PREFIX_FIXED_BITS + 128;
    key.table = SEPAL_TABLE_IPV6;
    __builtin_memcpy(key.bytes, address, 16);
  } else {
    key.prefix_bits = SEPAL_PREFIX_FIXED_BITS + 32;
    key.table = SEPAL_TABLE_IPV4;
    __builtin_memcpy(key.bytes, address, 4);
  }
  found = sepal_look_up_prefix(tables, &key);
  if (found) end = found->end;
  return end;
}

/* `from_peer`: the source is in another tenant's network, whose groups have judged it already, and its address says
 * nothing about groups here. */
SEPAL_JUDGE_INLINE struct sepal_verdict sepal_judge(const struct sepal_policy_tables* tables,
                                                    const struct sepal_flow* flow, __u32 from_peer) {
  struct sepal_verdict verdict = {{{SEPAL_RULE_OPEN, SEPAL_RULE_OPEN}, {SEPAL_RULE_OPEN, SEPAL_RULE_OPEN}}, 0};
  const struct sepal_end source = sepal_find_end(tables, flow->source, flow->is_ipv6);
  const struct sepal_end destination = sepal_find_end(tables, flow->destination, flow->is_ipv6);

  if (source.egress_policy && !from_peer)
    sepal_judge_side(tables, source.egress_policy + SEPAL_EGRESS, destination.set, flow, &verdict.sides[SEPAL_EGRESS]);
  if (destination.ingress_policy)
    sepal_judge_side(tables, destination.ingress_policy + SEPAL_INGRESS, from_peer ? source.networks_only : source.set,
                     flow, &verdict.sides[SEPAL_INGRESS]);
  verdict.allowed =
      verdict.sides[SEPAL_EGRESS].enforced_rule & verdict.sides[SEPAL_INGRESS].enforced_rule & SEPAL_RULE_ALLOWS;
  return verdict;
}

/* The rule to name for one side: the one that decides, or the audited one that would. */
SEPAL_JUDGE_INLINE __u32 sepal_telling_rule(const struct sepal_side* side) {
  if (!(side->enforced_rule & SEPAL_RULE_ALLOWS)) return side->enforced_rule;
  if (!(side->rule & SEPAL_RULE_ALLOWS)) return side->rule;
  return (side->enforced_rule & SEPAL_RULE_ID) == SEPAL_RULE_NOT_ENFORCED ? side->rule : side->enforced_rule;
}

/* Whether a rule wants this verdict told, and as what. */
SEPAL_JUDGE_INLINE __u8 sepal_event_of(const struct sepal_verdict* verdict) {
  const struct sepal_side* egress = &verdict->sides[SEPAL_EGRESS];
  const struct sepal_side* ingress = &verdict->sides[SEPAL_INGRESS];
  __u32 first = sepal_telling_rule(egress);
  __u32 second = sepal_telling_rule(ingress);

  if (!(egress->enforced_rule & SEPAL_RULE_ALLOWS))
    return first & SEPAL_RULE_LOGS ? SEPAL_EVENT_DENIED : SEPAL_EVENT_NONE;
  if (!(ingress->enforced_rule & SEPAL_RULE_ALLOWS))
    return second & SEPAL_RULE_LOGS ? SEPAL_EVENT_DENIED : SEPAL_EVENT_NONE;
  if (!((first | second) & SEPAL_RULE_LOGS)) return SEPAL_EVENT_NONE;
  if ((first & SEPAL_RULE_LOGS && !(first & SEPAL_RULE_ALLOWS)) ||
      (second & SEPAL_RULE_LOGS && !(second & SEPAL_RULE_ALLOWS)))
    return SEPAL_EVENT_AUDITED;
  return SEPAL_EVENT_ALLOWED;
}

#endif
