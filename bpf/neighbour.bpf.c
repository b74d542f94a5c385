// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Answers ARP requests and IPv6 neighbour solicitations in place of those that are asked for; on guests' ports it looks
// first at who speaks: in these and in what is no question (replies, announcements, neighbour advertisements).
// Hook: act_bpf in skip_hw flower filters of group 6, where a question arrives (ports, uplink).
// Maps: sepal_neighbours_2, read only. Who answers, and what is whose, is decided there alone; this file only knows the
// two protocols.
// Verdicts: TC_ACT_PIPE = the packet is now the answer, the next action (a redirect to the device it came from) sends
// it; TC_ACT_UNSPEC = not ours to answer, the rule's own verdict decides; TC_ACT_SHOT = a guest that says it is who it
// is not, counted by act_bpf apart from what the rule's verdict drops, and marked SEPAL_NEIGHBOUR_FORGED. What is
// malformed is nobody's word: TC_ACT_UNSPEC.
#include "bpf/frames.bpf.h"

#define ETHERTYPE_ARP 0x0806
#define VLAN_TPID 0x8100
#define VLAN_VID_MASK 0x0fff

#define ARP_REQUEST 1
#define ARP_REPLY 2

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_ROUTER 0x80 /* flags of an advertisement, RFC 4861 section 4.4 */
#define ND_SOLICITED 0x40
#define ND_OVERRIDE 0x20
#define ND_SOURCE_LINK 1 /* options */
#define ND_TARGET_LINK 2
/* Options of a question, in units of 8 bytes: link-layer address and nonce are one each. Longer questions are nobody's
 * we know, and a bound is what the verifier wants too. */
#define ND_OPTION_UNITS_MAX 16

#define ADDRESS_BITS (8 * (sizeof(struct sepal_neighbour_key) - sizeof(__u32))) /* prefix_bits of one address */

struct arp_frame {
  __u16 unused; /* puts all that follows at its natural alignment */
  struct eth eth;
  __be16 hardware;
  __be16 protocol;
  __u8 hardware_length;
  __u8 protocol_length;
  __be16 operation;
  __u8 sender_mac[6];
  __u8 sender_ip[4];
  __u8 target_mac[6];
  __u8 target_ip[4];
};
#define ARP_FRAME_BYTES 42
_Static_assert(sizeof(struct arp_frame) == 2 + ARP_FRAME_BYTES, "no holes");

/* A solicitation up to its options; an advertisement up to its one option. */
struct nd_frame {
  __u16 unused;
  struct eth eth;
  struct ip6 ip;
  __u8 type;
  __u8 code;
  __u16 checksum;
  __u8 flags; /* of an advertisement */
  __u8 reserved[3];
  struct ip6_address target;
};
#define ND_FRAME_BYTES 78
#define ND_ICMP_BYTES 24
_Static_assert(sizeof(struct nd_frame) == 2 + ND_FRAME_BYTES, "no holes");

struct nd_question {
  struct nd_frame head;
  __u8 options[ND_OPTION_UNITS_MAX][8];
};

struct nd_answer {
  struct nd_frame head;
  __u8 option_type;
  __u8 option_units;
  __u8 mac[6];
};
#define ND_ANSWER_BYTES 86
_Static_assert(sizeof(struct nd_answer) == 2 + ND_ANSWER_BYTES, "no holes");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SEPAL_NEIGHBOURS_MAX);
  __type(key, struct sepal_neighbour_key);
  __type(value, struct sepal_neighbour_value);
} sepal_neighbours_2 SEC(".maps");

static __always_inline bool is_group(const __u8* mac) { return mac[0] & 1; }

static __always_inline bool is_station(const __u8* mac) {
  return !is_group(mac) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

/* 0: the same. A number, so that several are put together without a branch for each. */
static __always_inline __u8 difference(const __u8* a, const __u8* b) {
  __u8 differ = 0;

  for (int i = 0; i < 6; i++) differ |= a[i] ^ b[i];
  return differ;
}

static __always_inline bool same_mac(const __u8* a, const __u8* b) { return !difference(a, b); }

/* What is known of an address where this packet came in, or of the device with none of its bits; NULL: nothing. */
static __always_inline const struct sepal_neighbour_value* look_up(const struct __sk_buff* skb,
                                                                   const struct ip6_address* address,
                                                                   __u32 prefix_bits) {
  struct sepal_neighbour_key key = {};

  key.prefix_bits = prefix_bits;
  /* At ingress skb->dev is where the packet came in, and where the redirect beside us sends it back. */
  key.device = skb->ifindex;
  if (skb->vlan_present) {
    /* A service tag (802.1ad) with the same number is another network. */
    if (skb->vlan_proto != bpf_htons(VLAN_TPID)) return NULL;
    key.vlan = skb->vlan_tci & VLAN_VID_MASK;
  }
  __builtin_memcpy(key.address, address, sizeof(key.address));
  return bpf_map_lookup_elem(&sepal_neighbours_2, &key);
}

/* Who answers for `address` where this packet came in; NULL: nobody. */
static __always_inline const struct sepal_neighbour_value* find(const struct __sk_buff* skb,
                                                                const struct ip6_address* address) {
  const struct sepal_neighbour_value* value = look_up(skb, address, ADDRESS_BITS);

  if (!value || (value->answer != SEPAL_ANSWER_NEIGHBOUR && value->answer != SEPAL_ANSWER_GATEWAY)) return NULL;
  return value;
}

/* The guest whose port the packet came in at; NULL: it came from a wire, where nobody vouches for anybody. (A port with
 * the prefix ::/0 has that instead of the guard.) */
static __always_inline const struct sepal_neighbour_value* guest_of(const struct __sk_buff* skb) {
  const struct ip6_address none = {};
  const struct sepal_neighbour_value* value = look_up(skb, &none, SEPAL_NEIGHBOUR_DEVICE_BITS);

  if (!value || (value->answer != SEPAL_ANSWER_GUARD && value->answer != SEPAL_ANSWER_SILENT)) return NULL;
  return value;
}

static __always_inline bool is_sent_by(const struct eth* eth, const struct sepal_neighbour_value* guest) {
  return !is_station(guest->mac) || same_mac(eth->from, guest->mac);
}

/* Whether a guest may say of an address that it is its own. A gateway's never is, whatever its prefixes cover; another
 * link-local one is for the guest to choose. */
static __always_inline bool is_own(const struct __sk_buff* skb, const struct ip6_address* address) {
  const struct sepal_neighbour_value* value = look_up(skb, address, ADDRESS_BITS);

  if (!value || value->answer == SEPAL_ANSWER_GATEWAY) return false;
  return value->answer == SEPAL_ANSWER_SILENT || value->own || is_link_local6(address);
}

static __always_inline int forged(struct __sk_buff* skb) {
  skb->mark = SEPAL_NEIGHBOUR_FORGED;
  return TC_ACT_SHOT;
}

/* When memory runs out the question stays as it was, at most shorter: the rule's own verdict is as good for it. */
static __always_inline int send_back(struct __sk_buff* skb, const struct eth* frame, __u32 bytes) {
  return replace_frame(skb, frame, bytes) == TC_ACT_PIPE ? TC_ACT_PIPE : TC_ACT_UNSPEC;
}

/* A question sent to one station is that station's to answer: neighbours check this way that the other is still there.
 */
static __always_inline bool is_for(const struct eth* eth, const struct sepal_neighbour_value* who) {
  return is_station(eth->from) && (is_group(eth->to) || same_mac(eth->to, who->mac));
}

/* A sender of 0.0.0.0 says nothing of itself: it is the probe of RFC 5227. */
static __always_inline bool is_honest_arp(const struct __sk_buff* skb, const struct arp_frame* frame) {
  const struct sepal_neighbour_value* guest = guest_of(skb);
  struct ip6_address sender;

  if (!guest) return true;
  if (!is_sent_by(&frame->eth, guest) || !same_mac(frame->sender_mac, frame->eth.from)) return false;
  map_ipv4(&sender, frame->sender_ip);
  return !sender.words[3] || is_own(skb, &sender);
}

static __always_inline int answer_arp(struct __sk_buff* skb) {
  struct arp_frame frame = {};
  const struct sepal_neighbour_value* who;
  struct ip6_address target;

  if (bpf_skb_load_bytes(skb, 0, &frame.eth, ARP_FRAME_BYTES)) return TC_ACT_UNSPEC;
  if (frame.hardware != bpf_htons(1) || frame.protocol != bpf_htons(ETHERTYPE_IPV4) || frame.hardware_length != 6 ||
      frame.protocol_length != 4 ||
      (frame.operation != bpf_htons(ARP_REQUEST) && frame.operation != bpf_htons(ARP_REPLY)))
    return TC_ACT_UNSPEC;
  if (!is_honest_arp(skb, &frame)) return forged(skb);
  if (frame.operation != bpf_htons(ARP_REQUEST)) return TC_ACT_UNSPEC;
  /* Multicast, reserved and broadcast addresses ask nothing. 0.0.0.0 does: it is the probe of RFC 5227. */
  if (!is_station(frame.sender_mac) || frame.sender_ip[0] >= 224) return TC_ACT_UNSPEC;
  /* Gratuitous: an announcement, not a question. */
  if (!((frame.sender_ip[0] ^ frame.target_ip[0]) | (frame.sender_ip[1] ^ frame.target_ip[1]) |
        (frame.sender_ip[2] ^ frame.target_ip[2]) | (frame.sender_ip[3] ^ frame.target_ip[3])))
    return TC_ACT_UNSPEC;

  map_ipv4(&target, frame.target_ip);
  who = find(skb, &target);
  if (!who || !is_for(&frame.eth, who)) return TC_ACT_UNSPEC;

  __builtin_memcpy(frame.eth.to, frame.sender_mac, 6);
  __builtin_memcpy(frame.eth.from, who->mac, 6);
  frame.operation = bpf_htons(ARP_REPLY);
  __builtin_memcpy(frame.target_mac, frame.sender_mac, 6);
  __builtin_memcpy(frame.sender_mac, who->mac, 6);
  /* Swap the two addresses; the question's padding goes, drivers add their own. */
  __builtin_memcpy(frame.target_ip, frame.sender_ip, 4);
  __builtin_memcpy(frame.sender_ip, &target.bytes[12], 4);
  return send_back(skb, &frame.eth, ARP_FRAME_BYTES);
}

/* One's complement sum of an ICMPv6 message of `length` bytes (a multiple of 4) with its pseudo header, folded: 0xffff
 * for a message whose checksum is right. Negative: not computable. */
static __always_inline __s64 icmp6_sum(const struct ip6* ip, const void* message, __u64 length) {
  __be32 rest[2] = {bpf_htonl((__u32)length), bpf_htonl(IP_PROTOCOL_ICMP6)};
  __s64 sum;

  sum = bpf_csum_diff(NULL, 0, (__be32*)&ip->source, 2 * sizeof(struct ip6_address), 0);
  if (sum >= 0) sum = bpf_csum_diff(NULL, 0, rest, sizeof(rest), (__wsum)sum);
  if (sum >= 0) sum = bpf_csum_diff(NULL, 0, (__be32*)message, length, (__wsum)sum);
  if (sum < 0) return sum;
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
  return (sum & 0xffff) + (sum >> 16);
}

/* What the options of a message say. */
struct nd_links {
  __u8 asker[6]; /* the first link-layer address of its sender; before reading: who sent the frame */
  bool any;
  __u8 differ; /* from who sent the frame; 0: none does */
};

/* RFC 4861 sections 7.1.1, 7.1.2 and 4.6: walks the options, `units` of 8 bytes. False: the message is to be ignored.
 * `kind`: the option that names its sender. */
static __always_inline bool read_options(const struct nd_question* question, __u64 units, __u8 kind,
                                         struct nd_links* links) {
  __u64 next = 0;

#pragma unroll
  for (__u64 i = 0; i < ND_OPTION_UNITS_MAX; i++) {
    const __u8* option = question->options[i];

    if (i >= units) break;
    if (i != next) continue;
    if (!option[1]) return false;
    if (option[0] == kind) {
      if (option[1] != 1 || !is_station(&option[2])) return false;
      links->differ |= difference(&option[2], question->head.eth.from);
      if (!links->any) __builtin_memcpy(links->asker, &option[2], 6);
      links->any = true;
    }
    next += option[1];
  }
  return next == units;
}

static __always_inline bool is_solicited_node(const struct ip6_address* group, const struct ip6_address* target) {
  return group->words[0] == bpf_htonl(0xff020000) && !group->words[1] && group->words[2] == bpf_htonl(1) &&
         group->words[3] == (target->words[3] | bpf_htonl(0xff000000));
}

/* Duplicate detection, from ::, says nothing of its sender. */
static __always_inline bool is_honest_nd(const struct __sk_buff* skb, const struct nd_frame* frame, __u8 link_differs) {
  const struct sepal_neighbour_value* guest = guest_of(skb);

  if (!guest) return true;
  if (!is_sent_by(&frame->eth, guest) || link_differs) return false;
  if (!is_unspecified6(&frame->ip.source) && !is_own(skb, &frame->ip.source)) return false;
  return frame->type != ND_ADVERTISEMENT || is_own(skb, &frame->target);
}

static __always_inline int answer_nd(struct __sk_buff* skb) {
  struct nd_question question = {};
  struct nd_answer reply = {};
  struct nd_links links = {};
  const struct sepal_neighbour_value* who;
  bool duplicate_detection;
  __u64 length, options;
  __s64 sum;

  if (bpf_skb_load_bytes(skb, 0, &question.head.eth, ND_FRAME_BYTES)) return TC_ACT_UNSPEC;
  /* Hop limit 255 proves that no router has passed it on: the asker is on this link. */
  if (question.head.ip.version_class[0] >> 4 != 6 || question.head.ip.next_header != IP_PROTOCOL_ICMP6 ||
      question.head.ip.hop_limit != 255 || question.head.code ||
      (question.head.type != ND_SOLICITATION && question.head.type != ND_ADVERTISEMENT))
    return TC_ACT_UNSPEC;

  length = bpf_ntohs(question.head.ip.payload_length);
  if (length < ND_ICMP_BYTES || length % 8) return TC_ACT_UNSPEC;
  options = length - ND_ICMP_BYTES;
  if (options > sizeof(question.options)) return TC_ACT_UNSPEC;
  /* True already; said once more on the very register that the verifier looks at, where no optimization reaches. */
  asm volatile("%0 &= 0xff" : "+r"(options));
  if (options > sizeof(question.options)) return TC_ACT_UNSPEC;
  asm volatile("" : "+r"(options));
  if (options >= 8 && bpf_skb_load_bytes(skb, ND_FRAME_BYTES, question.options, options)) return TC_ACT_UNSPEC;
  if (icmp6_sum(&question.head.ip, &question.head.type, ND_ICMP_BYTES + options) != 0xffff) return TC_ACT_UNSPEC;

  if (is_multicast6(&question.head.target) || is_unspecified6(&question.head.target)) return TC_ACT_UNSPEC;
  __builtin_memcpy(links.asker, question.head.eth.from, 6);
  if (!read_options(&question, options / 8, question.head.type == ND_SOLICITATION ? ND_SOURCE_LINK : ND_TARGET_LINK,
                    &links))
    return TC_ACT_UNSPEC;
  if (!is_honest_nd(skb, &question.head, links.differ)) return forged(skb);
  if (question.head.type != ND_SOLICITATION || is_multicast6(&question.head.ip.source) ||
      same_address(&question.head.ip.source, &question.head.target))
    return TC_ACT_UNSPEC;
  duplicate_detection = is_unspecified6(&question.head.ip.source);
  if (duplicate_detection && (links.any || !is_solicited_node(&question.head.ip.destination, &question.head.target)))
    return TC_ACT_UNSPEC;

  who = find(skb, &question.head.target);
  if (!who || !is_for(&question.head.eth, who)) return TC_ACT_UNSPEC;

  reply.head.eth.type = question.head.eth.type;
  __builtin_memcpy(reply.head.eth.from, who->mac, 6);
  reply.head.ip.version_class[0] = 6 << 4;
  reply.head.ip.payload_length = bpf_htons(ND_ANSWER_BYTES - 54);
  reply.head.ip.next_header = IP_PROTOCOL_ICMP6;
  reply.head.ip.hop_limit = 255;
  reply.head.ip.source = question.head.target;
  reply.head.type = ND_ADVERTISEMENT;
  reply.head.target = question.head.target;
  reply.option_type = ND_TARGET_LINK;
  reply.option_units = 1;
  __builtin_memcpy(reply.mac, who->mac, 6);
  /* RFC 4861 section 7.2.8: who answers by proxy leaves Override clear, so that the neighbour's own answer wins. */
  if (who->answer == SEPAL_ANSWER_GATEWAY) reply.head.flags = ND_ROUTER | ND_OVERRIDE;
  if (duplicate_detection) {
    /* The asker has no address yet: the answer goes to all nodes, ff02::1, and is not a solicited one. */
    reply.head.eth.to[0] = 0x33;
    reply.head.eth.to[1] = 0x33;
    reply.head.eth.to[5] = 1;
    reply.head.ip.destination.words[0] = bpf_htonl(0xff020000);
    reply.head.ip.destination.words[3] = bpf_htonl(1);
  } else {
    __builtin_memcpy(reply.head.eth.to, links.asker, 6);
    reply.head.ip.destination = question.head.ip.source;
    reply.head.flags |= ND_SOLICITED;
  }
  sum = icmp6_sum(&reply.head.ip, &reply.head.type, ND_ANSWER_BYTES - 54);
  if (sum < 0) return TC_ACT_UNSPEC;
  reply.head.checksum = ~(__u16)sum;
  return send_back(skb, &reply.head.eth, ND_ANSWER_BYTES);
}

static __always_inline int answer(struct __sk_buff* skb) {
  struct eth eth;

  if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth))) return TC_ACT_UNSPEC;
  if (eth.type == bpf_htons(ETHERTYPE_ARP)) return answer_arp(skb);
  if (eth.type == bpf_htons(ETHERTYPE_IPV6)) return answer_nd(skb);
  return TC_ACT_UNSPEC;
}

SEC("action")
int sepal_neigh(struct __sk_buff* skb) { return answer(skb); }

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
