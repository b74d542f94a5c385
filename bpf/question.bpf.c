// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Copies what a guest asks the agent: DHCP, and router solicitations; and what a guest whose MAC address is not
// configured says of neighbours, marked SEPAL_QUESTION_OVERHEARD. Which frames come here the rules decide, behind a
// token bucket; this file only looks that it is one of the first two, where it is not marked, and that it fits.
// Hook: act_bpf in skip_hw flower filters of group 6, on guests' ports that are told something or whose MAC is open.
// Maps: sepal_questions, the ring that the agent reads; sepal_heard, what became of the packets, counted on each CPU.
// Verdicts: TC_ACT_PIPE = the agent has it, the next action (a drop) ends the packet; TC_ACT_SHOT = nobody has it: the
// ring was full (the agent is away, and whoever asks will ask again), or it is no question. The action counts those.
// What is marked goes on in any case (TC_ACT_PIPE), and is not heard while others' questions need the room.
#include "bpf/frames.bpf.h"

#define ND_ROUTER_SOLICITATION 133
/* Ethernet and IPv4. A bound from below and not "not 0": from that 6.1 would conclude nothing. */
#define QUESTION_BYTES_MIN (sizeof(struct eth) + sizeof(struct ip4))

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, SEPAL_QUESTIONS_BYTES);
} sepal_questions SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct sepal_heard);
} sepal_heard SEC(".maps");

static __always_inline bool is_question(struct __sk_buff* skb) {
  __u8 protocol, type;
  __be16 eth_type;

  if (bpf_skb_load_bytes(skb, offsetof(struct eth, type), &eth_type, sizeof(eth_type))) return false;
  if (eth_type == bpf_htons(ETHERTYPE_IPV4))
    return !bpf_skb_load_bytes(skb, sizeof(struct eth) + offsetof(struct ip4, protocol), &protocol, 1) &&
           protocol == IP_PROTOCOL_UDP;
  if (eth_type != bpf_htons(ETHERTYPE_IPV6) ||
      bpf_skb_load_bytes(skb, sizeof(struct eth) + offsetof(struct ip6, next_header), &protocol, 1))
    return false;
  if (protocol == IP_PROTOCOL_UDP) return true;
  return protocol == IP_PROTOCOL_ICMP6 && !bpf_skb_load_bytes(skb, sizeof(struct eth) + sizeof(struct ip6), &type, 1) &&
         type == ND_ROUTER_SOLICITATION;
}

static __always_inline int hear(struct __sk_buff* skb, bool any) {
  __u32 zero = 0;
  __u64 length = skb->len;
  struct sepal_question* question;
  struct sepal_heard* heard;

  heard = bpf_map_lookup_elem(&sepal_heard, &zero);
  if (!heard) return TC_ACT_SHOT;
  if (!any && !is_question(skb)) {
    heard->ignored++;
    return TC_ACT_SHOT;
  }
  if (length < QUESTION_BYTES_MIN || length > SEPAL_QUESTION_BYTES) {
    heard->unreadable++;
    return TC_ACT_SHOT;
  }
  /* What is overheard leaves room for questions: who says it will say it again. */
  if (any && bpf_ringbuf_query(&sepal_questions, BPF_RB_AVAIL_DATA) > SEPAL_QUESTIONS_BYTES / 4) return TC_ACT_PIPE;
  question = bpf_ringbuf_reserve(&sepal_questions, sizeof(*question), 0);
  if (!question) {
    heard->lost++;
    return TC_ACT_SHOT;
  }
  /* True already; said once more on the very register that the verifier looks at, where no optimization reaches. */
  asm volatile("%0 &= 0x7ff" : "+r"(length));
  if (length < QUESTION_BYTES_MIN || length > SEPAL_QUESTION_BYTES) goto unreadable;
  asm volatile("" : "+r"(length));
  if (bpf_skb_load_bytes(skb, 0, question->frame, length)) goto unreadable;
  question->device = skb->ifindex;
  question->length = length;
  bpf_ringbuf_submit(question, 0);
  heard->heard++;
  return TC_ACT_PIPE;

unreadable:
  bpf_ringbuf_discard(question, 0);
  heard->unreadable++;
  return TC_ACT_SHOT;
}

SEC("action")
int sepal_question(struct __sk_buff* skb) {
  bool overheard = skb->mark == SEPAL_QUESTION_OVERHEARD;
  int verdict = hear(skb, overheard);

  return overheard ? TC_ACT_PIPE : verdict;
}

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
