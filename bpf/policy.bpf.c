// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Says whether the security groups of a tenant let a new connection begin.
// Hook: act_bpf in skip_hw flower filters of group 7, before `ct commit`; skb->mark tells the tenant (SEPAL_MARK_*),
// set and cleared by the actions around it. Maps: sepal_spaces → sepal_prefixes, sepal_choices: read only, filled by
// the agent; sepal_counts: verdicts by rule; sepal_events: verdicts that a rule wants told, sepal_lost: those that had
// no room there. Verdicts: TC_ACT_PIPE = may begin; TC_ACT_SHOT = denied, which the action
// counts as its drops. What cannot be judged (no tables, headers that do not reach into the packet) is denied:
// conntrack has seen these headers whole before.
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
} sepal_spaces SEC(".maps");

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
} sepal_prefixes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, SEPAL_SPACES_MAX);
  __type(key, struct sepal_space);
  __array(values, struct sepal_choice_map);
} sepal_choices SEC(".maps");

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

/* `offset`: of the transport header. ICMP means something in its own family only. */
static __always_inline bool read_detail(struct __sk_buff* skb, __u32 offset, struct sepal_flow* flow, __u32* transport) {
  *transport = offset;
  if (flow->protocol == IP_PROTOCOL_TCP || flow->protocol == IP_PROTOCOL_UDP)
    return !bpf_skb_load_bytes(skb, offset + 2, flow->detail, 2);
  if (flow->protocol == (flow->is_ipv6 ? IP_PROTOCOL_ICMP6 : IP_PROTOCOL_ICMP))
    return !bpf_skb_load_bytes(skb, offset, flow->detail, 2);
  return true;
}

static __always_inline bool read_ipv4(struct __sk_buff* skb, struct sepal_flow* flow, __u32* transport) {
  __u32 bytes;
  struct ip4 ip;

  if (bpf_skb_load_bytes(skb, sizeof(struct eth), &ip, sizeof(ip))) return false;
  bytes = (ip.version_length & 0x0f) * 4;
  /* Fragments were put together before; what is not a first one shows no ports. */
  if (bytes < sizeof(ip) || ip.fragment & bpf_htons(IP_OFFSET_MASK)) return false;
  __builtin_memcpy(flow->source, ip.source, 4);
  __builtin_memcpy(flow->destination, ip.destination, 4);
  flow->protocol = ip.protocol;
  return read_detail(skb, sizeof(struct eth) + bytes, flow, transport);
}

static __always_inline bool read_ipv6(struct __sk_buff* skb, struct sepal_flow* flow, __u32* transport) {
  __u32 offset = sizeof(struct eth) + sizeof(struct ip6);
  struct ip6 ip;
  __u8 next[4];
  int i;

  if (bpf_skb_load_bytes(skb, sizeof(struct eth), &ip, sizeof(ip))) return false;
  __builtin_memcpy(flow->source, &ip.source, 16);
  __builtin_memcpy(flow->destination, &ip.destination, 16);
  flow->is_ipv6 = 1;
  flow->protocol = ip.next_header;
  /* As conntrack does (ipv6_skip_exthdr), so that both mean the same protocol. */
  for (i = 0; i < IP6_EXTENSIONS_MAX; ++i) {
    if (flow->protocol != IP6_HOP_BY_HOP && flow->protocol != IP6_ROUTING && flow->protocol != IP6_FRAGMENT &&
        flow->protocol != IP6_AUTHENTICATION && flow->protocol != IP6_DESTINATION)
      return read_detail(skb, offset, flow, transport);
    if (bpf_skb_load_bytes(skb, offset, next, sizeof(next))) return false;
    if (flow->protocol == IP6_FRAGMENT) {
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

/* Called for what a rule logs only. */
static __always_inline void tell(struct __sk_buff* skb, __u8 kind, const struct sepal_flow* flow, __u32 transport,
                                 const struct sepal_verdict* verdict) {
  bool let_out = verdict->sides[SEPAL_EGRESS].enforced_rule & SEPAL_RULE_ALLOWS;
  struct sepal_event* event = bpf_ringbuf_reserve(&sepal_events, sizeof(*event), 0);
  __u32 only = 0;
  __u64* lost;

  if (!event) {
    lost = bpf_map_lookup_elem(&sepal_lost, &only);
    if (lost) ++*lost;
    return;
  }
  event->time = bpf_ktime_get_ns();
  event->vni = skb->mark & SEPAL_MARK_VNI;
  event->device = skb->ifindex;
  event->egress = sepal_telling_rule(&verdict->sides[SEPAL_EGRESS]);
  event->ingress = let_out ? sepal_telling_rule(&verdict->sides[SEPAL_INGRESS]) : SEPAL_RULE_NO_GROUPS;
  __builtin_memcpy(event->source, flow->source, 16);
  __builtin_memcpy(event->destination, flow->destination, 16);
  event->is_ipv6 = flow->is_ipv6;
  event->protocol = flow->protocol;
  event->kind = kind;
  event->from_peer = skb->mark & SEPAL_MARK_FROM_PEER ? 1 : 0;
  event->source_port[0] = event->source_port[1] = 0;
  if (flow->protocol == IP_PROTOCOL_TCP || flow->protocol == IP_PROTOCOL_UDP)
    bpf_skb_load_bytes(skb, transport, event->source_port, 2);
  event->detail[0] = flow->detail[0];
  event->detail[1] = flow->detail[1];
  bpf_ringbuf_submit(event, 0);
}

static __always_inline int decide(struct __sk_buff* skb) {
  __u32 vni = skb->mark & SEPAL_MARK_VNI;
  const struct sepal_space* current = bpf_map_lookup_elem(&sepal_spaces, &vni);
  struct sepal_policy_tables tables;
  struct sepal_verdict verdict;
  struct sepal_flow flow = {};
  struct sepal_space space;
  struct eth eth;
  bool readable = false;
  __u32 transport = 0;
  __u8 event;

  if (!current) return TC_ACT_SHOT;
  space = *current; /* once: both maps below are of this policy, whatever comes meanwhile */
  tables.prefixes = bpf_map_lookup_elem(&sepal_prefixes, &space);
  if (!tables.prefixes) return TC_ACT_SHOT;
  tables.choices = bpf_map_lookup_elem(&sepal_choices, &space);
  if (!tables.choices) return TC_ACT_SHOT;

  if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth))) return TC_ACT_SHOT;
  if (eth.type == bpf_htons(ETHERTYPE_IPV4))
    readable = read_ipv4(skb, &flow, &transport);
  else if (eth.type == bpf_htons(ETHERTYPE_IPV6))
    readable = read_ipv6(skb, &flow, &transport);
  if (!readable) return TC_ACT_SHOT;

  verdict = sepal_judge(&tables, &flow, skb->mark & SEPAL_MARK_FROM_PEER);
  count(vni, &verdict.sides[SEPAL_EGRESS]);
  /* Who is not let out has not knocked at the other door. */
  if (verdict.sides[SEPAL_EGRESS].enforced_rule & SEPAL_RULE_ALLOWS) count(vni, &verdict.sides[SEPAL_INGRESS]);
  event = sepal_event_of(&verdict);
  if (event) tell(skb, event, &flow, transport, &verdict);
  return verdict.allowed ? TC_ACT_PIPE : TC_ACT_SHOT;
}

SEC("action")
int sepal_policy(struct __sk_buff* skb) { return decide(skb); }

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
