// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Stands for another version of the neighbour program: same name, other code (it drops what its map knows and passes
// the rest), and a map that -D can rename, widen or shrink.
#include "bpf/frames.bpf.h"

#ifndef MAP
#define MAP sepal_neighbours_2
#endif
#ifndef VALUE_BYTES
#define VALUE_BYTES 8
#endif
#ifndef ENTRIES
#define ENTRIES SEPAL_NEIGHBOURS_MAX
#endif

struct value {
  __u8 bytes[VALUE_BYTES];
};

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, ENTRIES);
  __type(key, struct sepal_neighbour_key);
  __type(value, struct value);
} MAP SEC(".maps");

SEC("action")
int sepal_neigh(struct __sk_buff* skb) {
  struct sepal_neighbour_key key = {};
  struct ip6_address target;
  __u8 asked[4];

  key.prefix_bits = 8 * (sizeof(key) - sizeof(key.prefix_bits));
  key.device = skb->ifindex;
  if (bpf_skb_load_bytes(skb, 38, asked, sizeof(asked))) return TC_ACT_UNSPEC;
  map_ipv4(&target, asked);
  __builtin_memcpy(key.address, &target, sizeof(target));
  return bpf_map_lookup_elem(&MAP, &key) ? TC_ACT_SHOT : TC_ACT_OK;
}

char variant_license[] SEC("license") = "GPL";
