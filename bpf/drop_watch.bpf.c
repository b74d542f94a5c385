// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Tells of packets that our filters drop, while somebody looks.
// Hook: the return of tcf_action_exec(), through which every filter's actions run: final drops, policers, act_ct and
// the programs of act_bpf alike. Loaded by `sepalctl drops --follow` alone and gone with it: nobody else pays. Maps:
// sepal_drops, the ring that is told into. Changes nothing. What hardware drops never comes here.
#include "bpf/drop_watch.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <stdbool.h>
/* After bpf_helpers.h, which it stands on. */
#include <bpf/bpf_core_read.h>

#define SEPAL_ACT_SHOT 2
#define SEPAL_DST_METADATA 0x0080
#define SEPAL_NO_MAC_HEADER 0xffff

/* As much of the kernel's structs as is read here; the loader finds the members in the running kernel. */
#define KERNEL __attribute__((preserve_access_index))

struct ns_common {
  unsigned int inum;
} KERNEL;
struct net {
  struct ns_common ns;
} KERNEL;
typedef struct {
  struct net* net;
} KERNEL possible_net_t;
struct net_device {
  int ifindex;
  possible_net_t nd_net;
} KERNEL;
struct sk_buff {
  struct net_device* dev;
  unsigned long _skb_refdst;
  unsigned int len;
  __u32 mark;
  __u16 vlan_proto;
  __u16 vlan_tci;
  __u16 mac_header;
  unsigned int tail;
  unsigned char* head;
} KERNEL;
/* Before 6.2 a bit says whether there is a tag. */
struct sk_buff___before_6_2 {
  __u8 vlan_present : 1;
} KERNEL;
struct dst_entry {
  unsigned short flags;
} KERNEL;
struct ip_tunnel_key {
  __u64 tun_id; /* big endian */
} KERNEL;
struct ip_tunnel_info {
  struct ip_tunnel_key key;
} KERNEL;
struct metadata_dst {
  struct dst_entry dst;
  union {
    struct ip_tunnel_info tun_info;
  } u;
} KERNEL;
struct tc_cookie {
  __u8* data;
  __u32 len;
} KERNEL;
struct tc_action {
  __u32 tcfa_index;
  struct tc_cookie* user_cookie;
} KERNEL;
struct tc_action___before_6_3 {
  struct tc_cookie* act_cookie;
} KERNEL;

/* Of whom to tell, and how many in a second. Set before loading. Who is not wanted takes no turn from who is. */
const volatile __u32 sepal_netns = 0;
const volatile __u8 sepal_cookie[SEPAL_DROP_COOKIE_ZONE] = {}; /* what the cookies of these filters begin with */
const volatile __u32 sepal_cookie_bytes = 0;                   /* so many of it count */
const volatile __u32 sepal_per_second = 0;

__u64 sepal_second = 0;
__u64 sepal_in_second = 0;
__u64 sepal_not_told = 0;

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 512 * 1024);
} sepal_drops SEC(".maps");

static __always_inline struct tc_action* action_at(struct tc_action** actions, int at) {
  struct tc_action* action = 0;

  bpf_probe_read_kernel(&action, sizeof(action), actions + at);
  return action;
}

static __always_inline bool is_wanted(struct tc_action* last) {
  struct tc_action___before_6_3* old = (void*)last;
  struct tc_cookie* cookie;
  __u8 begin[sizeof(sepal_cookie)];
  unsigned int i;

  if (bpf_core_field_exists(last->user_cookie))
    cookie = BPF_CORE_READ(last, user_cookie);
  else
    cookie = BPF_CORE_READ(old, act_cookie);
  if (!cookie || BPF_CORE_READ(cookie, len) < sizeof(begin)) return false;
  if (bpf_probe_read_kernel(begin, sizeof(begin), BPF_CORE_READ(cookie, data))) return false;
  for (i = 0; i < sizeof(begin); ++i)
    if (i < sepal_cookie_bytes && begin[i] != sepal_cookie[i]) return false;
  return true;
}

static __always_inline bool has_turn(__u64 now) {
  __u64 second = now / 1000000000;

  if (sepal_second != second) {
    sepal_second = second;
    sepal_in_second = 0;
  }
  if (__sync_fetch_and_add(&sepal_in_second, 1) < sepal_per_second) return true;
  __sync_fetch_and_add(&sepal_not_told, 1);
  return false;
}

static __always_inline __u16 tag_of(struct sk_buff* skb) {
  struct sk_buff___before_6_2* old = (void*)skb;

  if (bpf_core_field_exists(old->vlan_present)) {
    if (!BPF_CORE_READ_BITFIELD_PROBED(old, vlan_present)) return 0;
  } else if (!BPF_CORE_READ(skb, vlan_proto)) {
    return 0;
  }
  return (BPF_CORE_READ(skb, vlan_tci) & 0x0fff) | 0x1000;
}

static __always_inline __u32 tunnel_of(struct sk_buff* skb) {
  struct metadata_dst* dst = (void*)(BPF_CORE_READ(skb, _skb_refdst) & ~1UL);

  if (!dst || !(BPF_CORE_READ(dst, dst.flags) & SEPAL_DST_METADATA)) return 0;
  return (__u32)__builtin_bswap64(BPF_CORE_READ(dst, u.tun_info.key.tun_id));
}

static __always_inline void capture(struct sk_buff* skb, struct sepal_drop* drop) {
  unsigned char* head = BPF_CORE_READ(skb, head);
  __u32 begin = BPF_CORE_READ(skb, mac_header);
  __u32 end = BPF_CORE_READ(skb, tail);
  __u32 size;

  drop->captured = 0;
  if (begin == SEPAL_NO_MAC_HEADER || end <= begin) return;
  size = end - begin;
  if (size > SEPAL_DROP_BYTES_MAX) size = SEPAL_DROP_BYTES_MAX;
  if (bpf_probe_read_kernel(drop->packet, size, head + begin)) return;
  drop->captured = size;
}

/* int tcf_action_exec(struct sk_buff *skb, struct tc_action **actions, int nr_actions, struct tcf_result *res), and
 * what it returned. */
SEC("fexit/tcf_action_exec")
int sepal_watch(void* arguments) {
  struct tc_action** actions;
  struct net_device* dev;
  struct sepal_drop* drop;
  struct sk_buff* skb;
  __u64 value = 0;
  int count;
  __u64 now;
  int i;

  /* By the helper: 6.1's verifier lets nobody read an argument that is a pointer to a pointer. */
  if (bpf_get_func_ret(arguments, &value) || (int)value != SEPAL_ACT_SHOT) return 0;
  if (bpf_get_func_arg(arguments, 0, &value)) return 0;
  skb = (void*)value;
  if (bpf_get_func_arg(arguments, 1, &value)) return 0;
  actions = (void*)value;
  if (bpf_get_func_arg(arguments, 2, &value)) return 0;
  count = (int)value;
  if (count <= 0) return 0;
  dev = BPF_CORE_READ(skb, dev);
  if (BPF_CORE_READ(dev, nd_net.net, ns.inum) != sepal_netns) return 0;
  if (!is_wanted(action_at(actions, count - 1))) return 0;
  now = bpf_ktime_get_ns();
  if (!has_turn(now)) return 0;
  drop = bpf_ringbuf_reserve(&sepal_drops, sizeof(*drop), 0);
  if (!drop) {
    __sync_fetch_and_add(&sepal_not_told, 1);
    return 0;
  }
  drop->time = now;
  drop->device = BPF_CORE_READ(dev, ifindex);
  drop->bytes = BPF_CORE_READ(skb, len);
  drop->mark = BPF_CORE_READ(skb, mark);
  drop->vni = tunnel_of(skb);
  drop->vlan = tag_of(skb);
  drop->actions = count;
  for (i = 0; i < SEPAL_DROP_ACTIONS_MAX; ++i) {
    struct tc_action* action = i < count ? action_at(actions, i) : 0;

    drop->indexes[i] = action ? BPF_CORE_READ(action, tcfa_index) : 0;
  }
  capture(skb, drop);
  bpf_ringbuf_submit(drop, 0);
  return 0;
}

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
