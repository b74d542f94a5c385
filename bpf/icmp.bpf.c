// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Says in ICMP what a router says: it answers echo requests to the gateway, and tells a sender whose packet ends here
// because of its TTL, or because it is too big (RFC 792, RFC 1191, RFC 4443; what is never complained about: RFC 1122
// section 3.2.2).
// Hook: act_bpf in skip_hw flower filters: of group 6 for echo requests, whose destination the rule has matched; of
// group 5 for expired TTLs and of group 0 for packets that are too big, for which the action before it sets skb->mark
// to SEPAL_ICMP_EXPIRED, or to SEPAL_ICMP_TOO_BIG with the MTU. Maps: none.
// Verdicts: TC_ACT_PIPE = the packet is now what is to be said, and the next action, a redirect to the device it came
// from, sends it; what came out of a tunnel has got the tunnel key that leads back. TC_ACT_UNSPEC = nothing is said,
// untouched but for the mark, which is cleared, the rule's own verdict decides; TC_ACT_SHOT = half rewritten when
// memory ran out.
#include "bpf/frames.bpf.h"

#define ICMP_FRAGMENTATION_NEEDED 4 /* the code */
#define ICMP_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP6_INFORMATIONAL 128 /* and up; below are errors */
#define ICMP6_REDIRECT 137

#define IP_FRAGMENT_MASK 0x3fff /* more fragments, and the offset */
#define IP_DONT_FRAGMENT 0x4000
#define CLASS_CONTROL 0xc0 /* precedence of internetwork control: RFC 1812 section 4.3.2.5 */
#define TTL_FRESH 64

/* Bytes of the packet that are quoted: whoever sent it finds addresses and ports there, behind options, too. A multiple
 * of 4, so that what is not filled may be summed as zeros. */
#define QUOTE_BYTES_MAX 128
#define QUOTE_BYTES_MIN 28

struct icmp {
  __u8 type;
  __u8 code;
  __be16 checksum;
  __be32 rest;
};

struct error4 {
  __u16 unused; /* puts all that follows at its natural alignment */
  struct eth eth;
  struct ip4 ip;
  struct icmp icmp;
  __u8 quote[QUOTE_BYTES_MAX];
};

struct error6 {
  __u16 unused;
  struct eth eth;
  struct ip6 ip;
  struct icmp icmp;
  __u8 quote[QUOTE_BYTES_MAX];
};
_Static_assert(sizeof(struct error4) == 2 + 42 + QUOTE_BYTES_MAX && sizeof(struct error6) == 2 + 62 + QUOTE_BYTES_MAX,
               "no holes");

/* One's complement sum, folded. Negative: not computable. */
static __always_inline __s64 fold(__s64 sum) {
  if (sum < 0) return sum;
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
  return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __s64 sum_of(const void* bytes, __u32 size, __s64 before) {
  return before < 0 ? before : bpf_csum_diff(NULL, 0, (__be32*)bytes, size, (__wsum)before);
}

/* How many bytes of a packet of `bytes` are quoted; 0: too short to be one. The bound is said on the very register that
 * the verifier looks at, where no optimization reaches. */
static __always_inline __u64 quoted_bytes(const struct __sk_buff* skb, __u64 bytes) {
  if (bytes > skb->len - sizeof(struct eth)) return 0;
  if (bytes > QUOTE_BYTES_MAX) bytes = QUOTE_BYTES_MAX;
  asm volatile("%0 &= 0xff" : "+r"(bytes));
  if (bytes < QUOTE_BYTES_MIN || bytes > QUOTE_BYTES_MAX) return 0;
  return bytes;
}

/* Out of a tunnel: back to where it came from, in the same network. bpf_skb_get_tunnel_key names the sender "remote"
 * and us "local", and bpf_skb_set_tunnel_key means by these the receiver and us: the same words, the other way. */
static __always_inline int lead_back(struct __sk_buff* skb) {
  struct bpf_tunnel_key key = {};
  __u64 flags = 0;

  if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
    flags = BPF_F_TUNINFO_IPV6;
    if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), flags)) return TC_ACT_PIPE; /* in no tunnel */
  }
  key.tunnel_tos = 0;
  key.tunnel_ttl = 0; /* the route's */
  key.tunnel_label = 0;
  return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags | BPF_F_ZERO_CSUM_TX) ? TC_ACT_SHOT : TC_ACT_PIPE;
}

/* The same frame's addresses, the other way round. False: not from one station to one. */
static __always_inline bool turn(struct eth* eth) {
  __u8 to[6];

  if ((eth->to[0] | eth->from[0]) & 1) return false;
  __builtin_memcpy(to, eth->to, 6);
  __builtin_memcpy(eth->to, eth->from, 6);
  __builtin_memcpy(eth->from, to, 6);
  return true;
}

static __always_inline bool is_one_host(const __u8* address) {
  return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

/* `mtu`: what the packet is too big for; 0: its TTL has expired. */
static __always_inline int tell_ipv4(struct __sk_buff* skb, __u32 mtu) {
  struct error4 error = {};
  __u32 header;
  struct ip4 ip;
  __u64 quote;
  __s64 sum;
  __u8 type;
  int back;

  if (bpf_skb_load_bytes(skb, 0, &error.eth, sizeof(error.eth)) ||
      bpf_skb_load_bytes(skb, sizeof(error.eth), &ip, sizeof(ip)) || !turn(&error.eth))
    return TC_ACT_UNSPEC;
  header = (ip.version_length & 0x0f) * 4;
  if (ip.version_length >> 4 != 4 || header < sizeof(ip) || ip.fragment & bpf_htons(IP_OFFSET_MASK) ||
      !is_one_host(ip.source) || !is_one_host(ip.destination))
    return TC_ACT_UNSPEC;
  if (mtu && !(ip.fragment & bpf_htons(IP_DONT_FRAGMENT))) return TC_ACT_UNSPEC;
  if (ip.protocol == IP_PROTOCOL_ICMP) {
    if (bpf_skb_load_bytes(skb, sizeof(error.eth) + header, &type, sizeof(type))) return TC_ACT_UNSPEC;
    if (type == ICMP_UNREACHABLE || type == ICMP_QUENCH || type == ICMP_REDIRECT || type == ICMP_TIME_EXCEEDED ||
        type == ICMP_PARAMETER_PROBLEM)
      return TC_ACT_UNSPEC;
  }
  quote = quoted_bytes(skb, bpf_ntohs(ip.total_length));
  if (!quote || bpf_skb_load_bytes(skb, sizeof(error.eth), error.quote, quote)) return TC_ACT_UNSPEC;

  error.ip.version_length = 0x45;
  error.ip.service = CLASS_CONTROL;
  error.ip.total_length = bpf_htons((__u16)(sizeof(error.ip) + sizeof(error.icmp) + quote));
  error.ip.ttl = TTL_FRESH;
  error.ip.protocol = IP_PROTOCOL_ICMP;
  __builtin_memcpy(error.ip.source, (__u8[])SEPAL_GATEWAY_IPV4, 4);
  __builtin_memcpy(error.ip.destination, ip.source, 4);
  sum = fold(sum_of(&error.ip, sizeof(error.ip), 0));
  if (sum < 0) return TC_ACT_UNSPEC;
  error.ip.checksum = ~(__u16)sum;
  error.icmp.type = mtu ? ICMP_UNREACHABLE : ICMP_TIME_EXCEEDED;
  error.icmp.code = mtu ? ICMP_FRAGMENTATION_NEEDED : 0;
  error.icmp.rest = bpf_htonl(mtu);
  sum = fold(sum_of(&error.icmp, sizeof(error.icmp) + QUOTE_BYTES_MAX, 0));
  if (sum < 0) return TC_ACT_UNSPEC;
  error.icmp.checksum = ~(__u16)sum;
  back = replace_frame(skb, &error.eth, sizeof(error) - sizeof(error.unused) - QUOTE_BYTES_MAX + quote);
  return back == TC_ACT_PIPE ? lead_back(skb) : back;
}

static __always_inline int tell_ipv6(struct __sk_buff* skb, __u32 mtu) {
  struct error6 error = {};
  struct ip6 ip;
  __be32 rest[2];
  __u64 quote;
  __s64 sum;
  __u8 type;
  int back;

  if (bpf_skb_load_bytes(skb, 0, &error.eth, sizeof(error.eth)) ||
      bpf_skb_load_bytes(skb, sizeof(error.eth), &ip, sizeof(ip)) || !turn(&error.eth))
    return TC_ACT_UNSPEC;
  if (ip.version_class[0] >> 4 != 6 || is_multicast6(&ip.source) || is_unspecified6(&ip.source) ||
      is_multicast6(&ip.destination))
    return TC_ACT_UNSPEC;
  /* An error behind extension headers is not recognized: it would have to be made for that. */
  if (ip.next_header == IP_PROTOCOL_ICMP6) {
    if (bpf_skb_load_bytes(skb, sizeof(error.eth) + sizeof(ip), &type, sizeof(type))) return TC_ACT_UNSPEC;
    if (type < ICMP6_INFORMATIONAL || type == ICMP6_REDIRECT) return TC_ACT_UNSPEC;
  }
  quote = quoted_bytes(skb, sizeof(ip) + bpf_ntohs(ip.payload_length));
  if (!quote || bpf_skb_load_bytes(skb, sizeof(error.eth), error.quote, quote)) return TC_ACT_UNSPEC;

  error.ip.version_class[0] = 6 << 4;
  error.ip.payload_length = bpf_htons((__u16)(sizeof(error.icmp) + quote));
  error.ip.next_header = IP_PROTOCOL_ICMP6;
  error.ip.hop_limit = TTL_FRESH;
  error.ip.source.words[0] = bpf_htonl(0xfe800000);
  error.ip.source.words[3] = bpf_htonl(1);
  error.ip.destination = ip.source;
  error.icmp.type = mtu ? ICMP6_TOO_BIG : ICMP6_TIME_EXCEEDED;
  error.icmp.rest = bpf_htonl(mtu);
  rest[0] = bpf_htonl((__u32)(sizeof(error.icmp) + quote));
  rest[1] = bpf_htonl(IP_PROTOCOL_ICMP6);
  sum = sum_of(&error.ip.source, 2 * sizeof(struct ip6_address), 0);
  sum = sum_of(rest, sizeof(rest), sum);
  sum = fold(sum_of(&error.icmp, sizeof(error.icmp) + QUOTE_BYTES_MAX, sum));
  if (sum < 0) return TC_ACT_UNSPEC;
  error.icmp.checksum = ~(__u16)sum;
  back = replace_frame(skb, &error.eth, sizeof(error) - sizeof(error.unused) - QUOTE_BYTES_MAX + quote);
  return back == TC_ACT_PIPE ? lead_back(skb) : back;
}

/* The request becomes its reply where it stands, for its payload may be long. Swapped addresses sum up as before; the
 * type and, in IPv4, the TTL change their checksums. */
static __always_inline int echo_ipv4(struct __sk_buff* skb) {
  const __u32 at = sizeof(struct eth);
  __be16 ttl_before, ttl_after;
  __u8 source[4];
  struct eth eth;
  struct ip4 ip;
  __u32 header;
  __u8 type;

  if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) || bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || !turn(&eth))
    return TC_ACT_UNSPEC;
  header = (ip.version_length & 0x0f) * 4;
  /* Options would have to be answered one by one. */
  if (ip.version_length != 0x45 || ip.protocol != IP_PROTOCOL_ICMP || ip.fragment & bpf_htons(IP_FRAGMENT_MASK) ||
      !is_one_host(ip.source) || bpf_skb_load_bytes(skb, at + header, &type, sizeof(type)) || type != ICMP_ECHO)
    return TC_ACT_UNSPEC;

  ttl_before = bpf_htons((__u16)(ip.ttl << 8 | ip.protocol));
  ttl_after = bpf_htons(TTL_FRESH << 8 | IP_PROTOCOL_ICMP);
  __builtin_memcpy(source, ip.source, 4);
  __builtin_memcpy(ip.source, ip.destination, 4);
  __builtin_memcpy(ip.destination, source, 4);
  ip.ttl = TTL_FRESH;
  type = ICMP_ECHO_REPLY;
  if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
      bpf_skb_store_bytes(skb, at, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
      bpf_l3_csum_replace(skb, at + __builtin_offsetof(struct ip4, checksum), ttl_before, ttl_after, 2) ||
      bpf_l4_csum_replace(skb, at + header + __builtin_offsetof(struct icmp, checksum), bpf_htons(ICMP_ECHO << 8), 0,
                          2) ||
      bpf_skb_store_bytes(skb, at + header, &type, sizeof(type), 0))
    return TC_ACT_SHOT;
  return TC_ACT_PIPE;
}

static __always_inline int echo_ipv6(struct __sk_buff* skb) {
  const __u32 at = sizeof(struct eth);
  struct ip6_address source;
  struct eth eth;
  struct ip6 ip;
  __u8 type;

  if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) || bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || !turn(&eth))
    return TC_ACT_UNSPEC;
  if (ip.version_class[0] >> 4 != 6 || ip.next_header != IP_PROTOCOL_ICMP6 || is_multicast6(&ip.source) ||
      is_unspecified6(&ip.source) || is_multicast6(&ip.destination) ||
      bpf_skb_load_bytes(skb, at + sizeof(ip), &type, sizeof(type)) || type != ICMP6_ECHO)
    return TC_ACT_UNSPEC;

  source = ip.source;
  ip.source = ip.destination;
  ip.destination = source;
  ip.hop_limit = TTL_FRESH;
  type = ICMP6_ECHO_REPLY;
  if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
      bpf_skb_store_bytes(skb, at, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
      bpf_l4_csum_replace(skb, at + sizeof(ip) + __builtin_offsetof(struct icmp, checksum), bpf_htons(ICMP6_ECHO << 8),
                          bpf_htons(ICMP6_ECHO_REPLY << 8), 2) ||
      bpf_skb_store_bytes(skb, at + sizeof(ip), &type, sizeof(type), 0))
    return TC_ACT_SHOT;
  return TC_ACT_PIPE;
}

static __always_inline int say(struct __sk_buff* skb) {
  __u32 why = skb->mark & (SEPAL_ICMP_EXPIRED | SEPAL_ICMP_TOO_BIG);
  __u32 mtu = why & SEPAL_ICMP_TOO_BIG ? skb->mark & SEPAL_ICMP_MTU : 0;
  struct eth eth;

  skb->mark = 0; /* for whoever goes on to the next rule */
  /* A tagged frame is no guest's packet; the rules behind say so. */
  if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) || (mtu && skb->vlan_present)) return TC_ACT_UNSPEC;
  if (eth.type == bpf_htons(ETHERTYPE_IPV4)) return why ? tell_ipv4(skb, mtu) : echo_ipv4(skb);
  if (eth.type == bpf_htons(ETHERTYPE_IPV6)) return why ? tell_ipv6(skb, mtu) : echo_ipv6(skb);
  return TC_ACT_UNSPEC;
}

SEC("action")
int sepal_icmp(struct __sk_buff* skb) { return say(skb); }

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
