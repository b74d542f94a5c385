// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// The neighbour program as a packet with a VLAN tag meets it. A test run takes no tag in, so this puts one on, calls
// the very source of the program, and tells what became of the tag. skb->cb in: [0] protocol of the tag, host order,
// [1] its TCI. Out: [2] is there a tag, [3] protocol, [4] TCI.
#include "bpf/neighbour.bpf.c"

SEC("action")
int probe(struct __sk_buff* skb) {
  int verdict;

  if (bpf_skb_vlan_push(skb, bpf_htons(skb->cb[0]), skb->cb[1])) return TC_ACT_SHOT;
  verdict = answer(skb);
  skb->cb[2] = skb->vlan_present;
  skb->cb[3] = bpf_ntohs(skb->vlan_proto);
  skb->cb[4] = skb->vlan_tci;
  return verdict;
}
