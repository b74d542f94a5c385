// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Holds a tenant to the number of connections that it may have at once.
// Hook: act_bpf in skip_hw flower filters of group 7, of tenants with such a bound, between the verdict of security
// groups and `ct commit`: what comes here becomes an entry of conntrack. skb->mark tells the tenant (SEPAL_MARK_VNI),
// set and cleared by the actions around it. Maps: sepal_rooms, read only, from the agent, which counts what conntrack
// holds; sepal_begun, how many a tenant has begun, ever. Verdicts: TC_ACT_PIPE = may begin; TC_ACT_SHOT = no room,
// which the action counts as its drops. Where nobody has counted, or not for a while, there is no bound: an agent that
// is away stops nobody. CPUs that ask in the same moment may each begin one more.
#include "bpf/frames.bpf.h"
#include "bpf/policy_layout.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SEPAL_SPACES_MAX);
  __type(key, __u32); /* VNI */
  __type(value, struct sepal_room);
} sepal_rooms SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SEPAL_SPACES_MAX);
  __type(key, __u32); /* VNI */
  __type(value, __u64);
} sepal_begun SEC(".maps");

SEC("action")
int sepal_room(struct __sk_buff* skb) {
  __u32 vni = skb->mark & SEPAL_MARK_VNI;
  const struct sepal_room* room = bpf_map_lookup_elem(&sepal_rooms, &vni);
  __u64* begun;

  if (!room) return TC_ACT_PIPE;
  begun = bpf_map_lookup_elem(&sepal_begun, &vni);
  if (!begun) return TC_ACT_PIPE;
  if (*begun >= room->begun_max && bpf_ktime_get_ns() < room->until) return TC_ACT_SHOT;
  __sync_fetch_and_add(begun, 1);
  return TC_ACT_PIPE;
}

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
