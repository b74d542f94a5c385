// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
// Tells which slice of a shared public address an ICMP packet belongs to, which flower has no key for.
// Hook: act_bpf in skip_hw flower filters of lane 1 group 5, for packets from outside.
// Maps: sepal_slices, read only. Looked up is the id of an echo, or the port (or id) that an error quotes of the packet
// it complains about: that packet left from the public address, so it is the quoted source port.
// Verdicts: TC_ACT_PIPE = skb->hash is the slice's number, which flower's `hash` key matches in the next chain;
// TC_ACT_UNSPEC = belongs to no slice, untouched, the rule's own verdict decides.
#include "bpf/frames.bpf.h"

#define IP_FRAGMENT_MASK 0x3fff /* more fragments, and the offset */

#define ICMP_TIMESTAMP 13
#define ICMP_TIMESTAMP_REPLY 14

struct icmp {
  __u8 type;
  __u8 code;
  __be16 checksum;
  __u8 id[2]; /* of an echo or a timestamp */
  __u8 rest[2];
};
_Static_assert(sizeof(struct icmp) == ICMP_HEADER_BYTES, "no holes");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SEPAL_SLICES_MAX);
  __type(key, struct sepal_slice_key);
  __type(value, struct sepal_slice_value);
} sepal_slices SEC(".maps");

static __always_inline bool has_id(__u8 type) {
  return type == ICMP_ECHO || type == ICMP_ECHO_REPLY || type == ICMP_TIMESTAMP || type == ICMP_TIMESTAMP_REPLY;
}

static __always_inline bool has_id6(__u8 type) { return type == ICMP6_ECHO || type == ICMP6_ECHO_REPLY; }

/* Header length in bytes; 0: not an IPv4 header. */
static __always_inline __u32 header_bytes(const struct ip4* ip) {
  __u32 bytes = (ip->version_length & 0x0f) * 4;

  return ip->version_length >> 4 == 4 && bytes >= sizeof(*ip) ? bytes : 0;
}

/* The source port of a TCP or UDP header, or the id of an ICMP one, at `offset` into port[2]. `end`: where the IP
 * packet ends in the frame; what lies behind it is padding and says nothing. */
static __always_inline bool quoted_port(struct __sk_buff* skb, __u32 offset, __u32 end, __u8 protocol, bool six,
                                        __u8* port) {
  struct icmp icmp;

  if (protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_UDP)
    return offset + 2 <= end && !bpf_skb_load_bytes(skb, offset, port, 2);
  if (protocol != (six ? IP_PROTOCOL_ICMP6 : IP_PROTOCOL_ICMP) || offset + sizeof(icmp) > end ||
      bpf_skb_load_bytes(skb, offset, &icmp, sizeof(icmp)))
    return false;
  if (six ? !has_id6(icmp.type) : !has_id(icmp.type)) return false;
  __builtin_memcpy(port, icmp.id, 2);
  return true;
}

/* Both readers fill in the key's address and port; false: nothing that a slice could own. */
static __always_inline bool read_ipv4(struct __sk_buff* skb, struct sepal_slice_key* key) {
  __u32 offset = sizeof(struct eth), bytes, end;
  struct ip6_address address;
  struct icmp icmp;
  struct ip4 ip, quoted;

  if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip))) return false;
  bytes = header_bytes(&ip);
  end = offset + bpf_ntohs(ip.total_length);
  /* Fragments were put together before; one that is still here has no place to read from. */
  if (!bytes || ip.protocol != IP_PROTOCOL_ICMP || ip.fragment & bpf_htons(IP_FRAGMENT_MASK)) return false;
  map_ipv4(&address, ip.destination);
  __builtin_memcpy(key->address, &address, sizeof(key->address));

  offset += bytes;
  if (offset + sizeof(icmp) > end || bpf_skb_load_bytes(skb, offset, &icmp, sizeof(icmp))) return false;
  if (has_id(icmp.type)) {
    __builtin_memcpy(key->port, icmp.id, 2);
    return true;
  }
  if (!is_icmp_error(icmp.type)) return false;

  offset += sizeof(icmp);
  if (offset + sizeof(quoted) > end || bpf_skb_load_bytes(skb, offset, &quoted, sizeof(quoted))) return false;
  bytes = header_bytes(&quoted);
  /* Only a first fragment shows ports. What we never sent is not quoted honestly. */
  if (!bytes || quoted.fragment & bpf_htons(IP_OFFSET_MASK) || __builtin_memcmp(quoted.source, ip.destination, 4))
    return false;
  return quoted_port(skb, offset + bytes, end, quoted.protocol, false, key->port);
}

/* Extension headers, outside or quoted, are not followed: neither an echo nor its errors need one. */
static __always_inline bool read_ipv6(struct __sk_buff* skb, struct sepal_slice_key* key) {
  __u32 offset = sizeof(struct eth), end;
  struct ip6 ip, quoted;
  struct icmp icmp;

  if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip))) return false;
  if (ip.version_class[0] >> 4 != 6 || ip.next_header != IP_PROTOCOL_ICMP6) return false;
  __builtin_memcpy(key->address, &ip.destination, sizeof(key->address));

  offset += sizeof(ip);
  end = offset + bpf_ntohs(ip.payload_length);
  if (offset + sizeof(icmp) > end || bpf_skb_load_bytes(skb, offset, &icmp, sizeof(icmp))) return false;
  if (has_id6(icmp.type)) {
    __builtin_memcpy(key->port, icmp.id, 2);
    return true;
  }
  if (!is_icmp6_error(icmp.type)) return false;

  offset += sizeof(icmp);
  if (offset + sizeof(quoted) > end || bpf_skb_load_bytes(skb, offset, &quoted, sizeof(quoted))) return false;
  if (quoted.version_class[0] >> 4 != 6 || !same_address(&quoted.source, &ip.destination)) return false;
  return quoted_port(skb, offset + sizeof(quoted), end, quoted.next_header, true, key->port);
}

static __always_inline int choose(struct __sk_buff* skb) {
  struct sepal_slice_key key = {};
  const struct sepal_slice_value* value;
  struct eth eth;
  bool readable = false;

  key.prefix_bits = 8 * (sizeof(key.address) + sizeof(key.port));
  if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth))) return TC_ACT_UNSPEC;
  if (eth.type == bpf_htons(ETHERTYPE_IPV4))
    readable = read_ipv4(skb, &key);
  else if (eth.type == bpf_htons(ETHERTYPE_IPV6))
    readable = read_ipv6(skb, &key);
  if (!readable) return TC_ACT_UNSPEC;

  value = bpf_map_lookup_elem(&sepal_slices, &key);
  /* Hash 0 means "none" to the kernel and could not be matched. */
  if (!value || !value->slice) return TC_ACT_UNSPEC;
  bpf_set_hash(skb, value->slice);
  return TC_ACT_PIPE;
}

SEC("action")
int sepal_slice(struct __sk_buff* skb) { return choose(skb); }

/* What the kernel is told; the source itself may be used under either licence named above. */
char sepal_license[] SEC("license") = "GPL";
