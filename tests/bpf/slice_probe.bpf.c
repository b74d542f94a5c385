// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// The slice program, and what it leaves as the packet's hash, which a test run does not give out.
// skb->cb in: [0] not 0: puts on a VLAN tag with this id first. Out: [1] the hash before, [2] after.
#include "bpf/slice.bpf.c"

SEC("action")
int probe(struct __sk_buff* skb) {
  int verdict;

  if (skb->cb[0] && bpf_skb_vlan_push(skb, bpf_htons(0x8100), skb->cb[0])) return TC_ACT_SHOT;
  skb->cb[1] = skb->hash;
  verdict = choose(skb);
  skb->cb[2] = skb->hash;
  return verdict;
}
