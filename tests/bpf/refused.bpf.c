// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// A program that every kernel's verifier refuses: it reads what its map may not hold.
#include "bpf/frames.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SEPAL_NEIGHBOURS_MAX);
  __type(key, struct sepal_neighbour_key);
  __type(value, struct sepal_neighbour_value);
} sepal_neighbours_2 SEC(".maps");

SEC("action")
int sepal_neigh(struct __sk_buff* skb) {
  struct sepal_neighbour_key key = {};
  const struct sepal_neighbour_value* value;

  key.device = skb->ifindex;
  value = bpf_map_lookup_elem(&sepal_neighbours_2, &key);
  return value->answer;
}

char refused_license[] SEC("license") = "GPL";
