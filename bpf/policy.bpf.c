// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Says whether the security groups of a tenant let a new connection begin; of a datagram of UDP also whether it may go
// past conntrack, and of a packet whether it answers such a one.
// Hook: act_bpf in skip_hw flower filters of group 7, before `ct commit`, and of groups 0 and 2; skb->mark tells the
// tenant and what is asked (SEPAL_MARK_*), set and cleared by the actions around it. Maps: sepal_spaces_2
// → sepal_ends_2, sepal_choices_2: read only, filled by the agent; sepal_counts: verdicts by rule; sepal_events:
// verdicts that a rule wants told, sepal_lost: those that had no room there; sepal_untracked: what went past conntrack.
// Verdicts:
//   may it begin?        TC_ACT_PIPE = yes; TC_ACT_SHOT = denied, which the action counts as its drops. What cannot be
//                        judged (no tables, headers that do not reach into the packet) is denied: conntrack has seen
//                        these headers whole before.
//   the other questions  TC_ACT_PIPE = yes; TC_ACT_UNSPEC = no, or not to be told, with the mark cleared: the next
//   rule.
// An answer is let through by what the groups say now of the flow that it answers, not by what they said then.
#include "bpf/frames.bpf.h"
#include "bpf/policy_layout.h"

#define IP6_HOP_BY_HOP 0
#define IP6_ROUTING 43
#define IP6_FRAGMENT 44
#define IP6_AUTHENTICATION 51
#define IP6_DESTINATION 60
#define IP6_EXTENSIONS_MAX 6

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SEPAL_SPACES_MAX);
  __type(key, __u32); /* VNI */
  __type(value, struct sepal_space);
} sepal_spaces_2 SEC(".maps");

/* What stands in the next two is made by the agent, as large as its content. (Sizes instead of types: clang leaves the
 * types of inner maps undefined in BTF.) */
struct sepal_prefix_map {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1);
  __uint(key_size, sizeof(struct sepal_prefix_key));
  __uint(value_size, sizeof(struct sepal_prefix_value));
};
struct sepal_choice_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __uint(key_size, sizeof(struct sepal_choice_key));
  __uint(value_size, sizeof(struct sepal_choice_value));
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, SEPAL_SPACES_MAX);
  __type(key, struct sepal_space);
  __array(values, struct sepal_prefix_map);
} sepal_ends_2 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, SEPAL_SPACES_MAX);
  __type(key, struct sepal_space);
  __array(values, struct sepal_choice_map);
} sepal_choices_2 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SEPAL_COUNTS_MAX);
  __type(key, struct sepal_count_key);
  __type(value, struct sepal_count);
} sepal_counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, SEPAL_EVENTS_BYTES);
} sepal_events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} sepal_lost SEC(".maps");

struct sepal_policy_tables {
  void* prefixes;
  void* choices;
};

static __always_inline const struct sepal_prefix_value* sepal_look_up_prefix(const struct sepal_policy_tables* tables,
                                                                             const struct sepal_prefix_key* key) {
  return bpf_map_lookup_elem(tables->prefixes, key);
}

static __always_inline const struct sepal_choice_value* sepal_look_up_choice(const struct sepal_policy_tables* tables,
                                                                             const struct sepal_choice_key* key) {
  return bpf_map_lookup_elem(tables->choices, key);
}

#include "bpf/policy.h"
#include "bpf/untracked.bpf.h"

#define UDP_HEADER_BYTES 8

/* What is judged and told of a packet. What is done with one, once it is read, are global functions: the verifier looks
 * at each once, and not again for each of the many ways that lead there. (The packet itself is no argument of theirs: a
 * kernel without BTF of its own would not know it for one.) */
struct sepal_case {
  struct sepal_flow flow;
  __u8 source_port[2]; /* of TCP and UDP, else 0 */
  __u16 from_peer;
  __u32 offset; /* of the transport header */
  __u32 end;    /* of the IP packet: what lies behind is padding */
  __u32 asked;  /* SEPAL_MARK_*: what the rule asks */
  __u8 quoted;  /* not 0: an ICMP error, and the flow is the one it is about */
  __u8 usual;   /* not 0: no fragment, and the TTL is far from its end */
  __u16 zero;
  __u32 vni;
  __u32 device;
  struct sepal_verdict verdict;
};

static __always_inline bool is_usual_ttl(__u8 ttl) { return ttl >= SEPAL_USUAL_TTL_MIN && ttl <= SEPAL_USUAL_TTL_MAX; }

/* `offset`: of the transport header. ICMP means something in its own family only. */
static __always_inline bool read_detail(struct __sk_buff* skb, __u32 offset, struct sepal_case* it) {
  struct sepal_flow* flow = &it->flow;
  __u8 ports[4];

  it->offset = offset;
  if (flow->protocol == IP_PROTOCOL_TCP || flow->protocol == IP_PROTOCOL_UDP) {
    if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports))) return false;
    __builtin_memcpy(it->source_port, ports, 2);
    __builtin_memcpy(flow->detail, ports + 2, 2);
    return true;
  }
  if (flow->protocol == (flow->is_ipv6 ? IP_PROTOCOL_ICMP6 : IP_PROTOCOL_ICMP))
    return !bpf_skb_load_bytes(skb, offset, flow->detail, 2);
  return true;
}

static __always_inline bool read_ipv4(struct __sk_buff* skb, struct sepal_case* it) {
  struct sepal_flow* flow = &it->flow;
  __u32 bytes;
  struct ip4 ip;

  if (bpf_skb_load_bytes(skb, sizeof(struct eth), &ip, sizeof(ip))) return false;
  bytes = (ip.version_length & 0x0f) * 4;
  /* Fragments were put together before; what is not a first one shows no ports. */
  if (bytes < sizeof(ip) || ip.fragment & bpf_htons(IP_OFFSET_MASK)) return false;
  it->end = sizeof(struct eth) + bpf_ntohs(ip.total_length);
  __builtin_memcpy(flow->source, ip.source, 4);
  __builtin_memcpy(flow->destination, ip.destination, 4);
  flow->protocol = ip.protocol;
  it->usual = is_usual_ttl(ip.ttl) && !(ip.fragment & bpf_htons(IP_MORE_FRAGMENTS));
  return read_detail(skb, sizeof(struct eth) + bytes, it);
}

static __always_inline bool read_ipv6(struct __sk_buff* skb, struct sepal_case* it) {
  struct sepal_flow* flow = &it->flow;
  __u32 offset = sizeof(struct eth) + sizeof(struct ip6);
  struct ip6 ip;
  __u8 next[4];
  int i;

  if (bpf_skb_load_bytes(skb, sizeof(struct eth), &ip, sizeof(ip))) return false;
  __builtin_memcpy(flow->source, &ip.source, 16);
  __builtin_memcpy(flow->destination, &ip.destination, 16);
  flow->is_ipv6 = 1;
  flow->protocol = ip.next_header;
  it->usual = is_usual_ttl(ip.hop_limit);
  it->end = offset + bpf_ntohs(ip.payload_length);
  /* As conntrack does (ipv6_skip_exthdr), so that both mean the same protocol. */
  for (i = 0; i < IP6_EXTENSIONS_MAX; ++i) {
    if (flow->protocol != IP6_HOP_BY_HOP && flow->protocol != IP6_ROUTING && flow->protocol != IP6_FRAGMENT &&
        flow->protocol != IP6_AUTHENTICATION && flow->protocol != IP6_DESTINATION)
      return read_detail(skb, offset, it);
    if (bpf_skb_load_bytes(skb, offset, next, sizeof(next))) return false;
    if (flow->protocol == IP6_FRAGMENT) {
      it->usual = 0;
      if (next[2] || next[3] & 0xf8) return false; /* not a first fragment */
      offset += 8;
    } else if (flow->protocol == IP6_AUTHENTICATION) {
      offset += (next[1] + 2) * 4;
    } else {
      offset += (next[1] + 1) * 8;
    }
    flow->protocol = next[0];
  }
  return false;
}

static __always_inline void count(__u32 vni, const struct sepal_side* side) {
  struct sepal_count fresh = {};
  bool allowed = side->enforced_rule & SEPAL_RULE_ALLOWS;
  bool audited = allowed && !(side->rule & SEPAL_RULE_ALLOWS);
  struct sepal_count_key key = {vni, (audited ? side->rule : side->enforced_rule) & SEPAL_RULE_ID};
  struct sepal_count* counter;

  if (key.rule == SEPAL_RULE_NO_GROUPS) return;
  counter = bpf_map_lookup_elem(&sepal_counts, &key);
  if (!counter) {
    bpf_map_update_elem(&sepal_counts, &key, &fresh, BPF_NOEXIST);
    counter = bpf_map_lookup_elem(&sepal_counts, &key);
    if (!counter) return;
  }
  if (audited)
    ++counter->audited;
  else if (allowed)
    ++counter->allowed;
  else
    ++counter->denied;
}

static __always_inline void tell(const struct sepal_case* it, __u8 kind) {
  bool let_out = it->verdict.sides[SEPAL_EGRESS].enforced_rule & SEPAL_RULE_ALLOWS;
  struct sepal_event* event = bpf_ringbuf_reserve(&sepal_events, sizeof(*event), 0);
  __u32 only = 0;
  __u64* lost;

  if (!event) {
    lost = bpf_map_lookup_elem(&sepal_lost, &only);
    if (lost) ++*lost;
    return;
  }
  event->time = bpf_ktime_get_ns();
  event->vni = it->vni;
  event->device = it->device;
  event->egress = sepal_telling_rule(&it->verdict.sides[SEPAL_EGRESS]);
  event->ingress = let_out ? sepal_telling_rule(&it->verdict.sides[SEPAL_INGRESS]) : SEPAL_RULE_NO_GROUPS;
  __builtin_memcpy(event->source, it->flow.source, 16);
  __builtin_memcpy(event->destination, it->flow.destination, 16);
  event->is_ipv6 = it->flow.is_ipv6;
  event->protocol = it->flow.protocol;
  event->kind = kind;
  event->from_peer = it->from_peer;
  __builtin_memcpy(event->source_port, it->source_port, 2);
  __builtin_memcpy(event->detail, it->flow.detail, 2);
  bpf_ringbuf_submit(event, 0);
}

/* Counts the verdict and tells whoever wants to hear of it. */
__attribute__((noinline)) int sepal_account(const struct sepal_case* it) {
  __u8 event;

  if (!it) return 0;
  count(it->vni, &it->verdict.sides[SEPAL_EGRESS]);
  /* Who is not let out has not knocked at the other door. */
  if (it->verdict.sides[SEPAL_EGRESS].enforced_rule & SEPAL_RULE_ALLOWS)
    count(it->vni, &it->verdict.sides[SEPAL_INGRESS]);
  event = sepal_event_of(&it->verdict);
  if (event) tell(it, event);
  return 0;
}

static __always_inline bool read_packet(struct __sk_buff* skb, struct sepal_case* it) {
  struct eth eth;

  if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth))) return false;
  if (eth.type == bpf_htons(ETHERTYPE_IPV4)) return read_ipv4(skb, it);
  if (eth.type == bpf_htons(ETHERTYPE_IPV6)) return read_ipv6(skb, it);
  return false;
}

/* An ICMP error becomes the datagram that it quotes; its own source may be any router. False: it is no error, or quotes
 * something else, or what its receiver never sent. */
static __always_inline bool read_quoted(struct __sk_buff* skb, struct sepal_case* it) {
  struct sepal_flow* flow = &it->flow;
  __u32 offset = it->offset + ICMP_HEADER_BYTES;
  __u8 type = flow->detail[0];
  __u8 ports[4];
  struct ip4 ip;
  struct ip6 ip6;

  if (flow->protocol != (flow->is_ipv6 ? IP_PROTOCOL_ICMP6 : IP_PROTOCOL_ICMP)) return false;
  if (flow->is_ipv6) {
    if (!is_icmp6_error(type)) return false;
    if (bpf_skb_load_bytes(skb, offset, &ip6, sizeof(ip6)) || ip6.next_header != IP_PROTOCOL_UDP) return false;
    if (!same_address(&ip6.source, (const struct ip6_address*)flow->destination)) return false;
    __builtin_memcpy(flow->source, &ip6.source, 16);
    __builtin_memcpy(flow->destination, &ip6.destination, 16);
    offset += sizeof(ip6);
  } else {
    if (!is_icmp_error(type)) return false;
    if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.protocol != IP_PROTOCOL_UDP) return false;
    if (ip.version_length != 0x45 || ip.fragment & bpf_htons(IP_OFFSET_MASK) ||
        __builtin_memcmp(ip.source, flow->destination, 4))
      return false;
    __builtin_memcpy(flow->source, ip.source, 4);
    __builtin_memcpy(flow->destination, ip.destination, 4);
    offset += sizeof(ip);
  }
  if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports))) return false;
  flow->protocol = IP_PROTOCOL_UDP;
  __builtin_memcpy(it->source_port, ports, 2);
  __builtin_memcpy(flow->detail, ports + 2, 2);
  return true;
}

static __always_inline bool is_dhcp(const __u8* port) {
  __u16 number = port[0] << 8 | port[1];

  return number == 67 || number == 68 || number == 546 || number == 547;
}

/* Not what is unusual, nor what conntrack would not take, nor DHCP, of which group 7 has more to say. */
static __always_inline bool may_be_let_go(struct __sk_buff* skb, const struct sepal_case* it) {
  __u8 udp[UDP_HEADER_BYTES];
  __u32 bytes;

  if (!it->usual || it->flow.protocol != IP_PROTOCOL_UDP || is_dhcp(it->source_port) || is_dhcp(it->flow.detail))
    return false;
  if (bpf_skb_load_bytes(skb, it->offset, udp, sizeof(udp))) return false;
  bytes = udp[4] << 8 | udp[5];
  return bytes >= UDP_HEADER_BYTES && it->offset + bytes <= it->end && it->offset + bytes <= skb->len;
}

static __always_inline void tuple_of(const struct sepal_case* it, struct sepal_untracked_tuple* tuple) {
  __builtin_memcpy(tuple->source, it->flow.source, 16);
  __builtin_memcpy(tuple->destination, it->flow.destination, 16);
  __builtin_memcpy(tuple->source_port, it->source_port, 2);
  __builtin_memcpy(tuple->destination_port, it->flow.detail, 2);
  tuple->network = it->vni | (it->flow.is_ipv6 ? SEPAL_UNTRACKED_IPV6 : 0);
}

/* What was read becomes the flow that it answers. */
static __always_inline void turn_case(struct sepal_case* it, const struct sepal_untracked_tuple* read) {
  __builtin_memcpy(it->flow.source, read->destination, 16);
  __builtin_memcpy(it->flow.destination, read->source, 16);
  __builtin_memcpy(it->source_port, read->destination_port, 2);
  __builtin_memcpy(it->flow.detail, read->source_port, 2);
}

/* What the security groups say; 0: there are none to ask. */
__attribute__((noinline)) int sepal_judge_case(struct sepal_case* it) {
  const struct sepal_space* current;
  struct sepal_policy_tables tables;
  struct sepal_space space;
  __u32 vni;

  if (!it) return 0;
  vni = it->vni;
  current = bpf_map_lookup_elem(&sepal_spaces_2, &vni);
  if (!current) return 0;
  space = *current; /* once: both maps below are of this policy, whatever comes meanwhile */
  tables.prefixes = bpf_map_lookup_elem(&sepal_ends_2, &space);
  if (!tables.prefixes) return 0;
  tables.choices = bpf_map_lookup_elem(&sepal_choices_2, &space);
  if (!tables.choices) return 0;
  it->verdict = sepal_judge(&tables, &it->flow, it->from_peer);
  return 1;
}

/* Where there is no yes: what may not begin is dropped; for the other questions the next rule goes on. */
static __always_inline int refusal(__u32 asked) {
  return asked & (SEPAL_MARK_LET_GO | SEPAL_MARK_ANSWERS) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

__attribute__((noinline)) int sepal_decide(struct sepal_case* it) {
  int recalled = SEPAL_RECALLED_NOTHING;
  struct sepal_untracked_tuple tuple = {};
  bool let_go, answers, answer;
  __u64 now = 0;

  if (!it) return TC_ACT_SHOT;
  let_go = it->asked & SEPAL_MARK_LET_GO;
  answers = it->asked & SEPAL_MARK_ANSWERS;
  if ((let_go || answers) && it->from_peer) return refusal(it->asked); /* nobody asks so */
  if (it->flow.protocol == IP_PROTOCOL_UDP && !it->from_peer) {
    tuple_of(it, &tuple);
    now = bpf_ktime_get_ns();
    recalled = sepal_recall(&tuple, now, !it->quoted);
    answer = recalled == SEPAL_RECALLED_ANSWER || recalled == SEPAL_RECALLED_MORE;
    if (let_go && recalled != SEPAL_RECALLED_NOTHING && recalled != SEPAL_RECALLED_ANSWER) return refusal(it->asked);
    if (answers && !answer && !(it->quoted && recalled == SEPAL_RECALLED_FLOW)) return refusal(it->asked);
    if (answer && (answers || let_go)) turn_case(it, &tuple);
  }
  if (!sepal_judge_case(it)) return refusal(it->asked);
  if (answers) return it->verdict.allowed ? TC_ACT_PIPE : TC_ACT_UNSPEC;
  if (let_go) {
    if (!it->verdict.allowed) return TC_ACT_UNSPEC;
    if (recalled == SEPAL_RECALLED_ANSWER) return TC_ACT_PIPE;
    if (!sepal_note(&tuple, now, SEPAL_UNTRACKED_ASKED)) return TC_ACT_UNSPEC;
  } else if (now && recalled != SEPAL_RECALLED_FLOW && it->verdict.allowed && it->asked & SEPAL_MARK_NOTES) {
    sepal_note(&tuple, now, SEPAL_UNTRACKED_TRACKED);
  }
  /* What went past conntrack first was counted then; that it may not begin any more was not. */
  if (recalled != SEPAL_RECALLED_FLOW || !it->verdict.allowed) sepal_account(it);
  return it->verdict.allowed ? TC_ACT_PIPE : TC_ACT_SHOT;
}

static __always_inline int read_and_decide(struct __sk_buff* skb) {
  struct sepal_case it = {};

  it.asked = skb->mark;
  it.vni = it.asked & SEPAL_MARK_VNI;
  it.device = skb->ifindex;
  it.from_peer = it.asked & SEPAL_MARK_FROM_PEER ? 1 : 0;
  if (!read_packet(skb, &it)) return refusal(it.asked);
  if (it.asked & SEPAL_MARK_LET_GO && !may_be_let_go(skb, &it)) return refusal(it.asked);
  it.quoted = it.asked & SEPAL_MARK_ANSWERS && it.flow.protocol != IP_PROTOCOL_UDP;
  if (it.quoted && !read_quoted(skb, &it)) return refusal(it.asked);
  return sepal_decide(&it);
}

SEC("action")
int sepal_policy(struct __sk_buff* skb) {
  int verdict = read_and_decide(skb);

  if (verdict == TC_ACT_UNSPEC) skb->mark = 0;
  return verdict;
}

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
