// SPDX-License-Identifier: GPL-2.0
/*
 * Changes to a linear frame. Checksums follow by difference, as a NIC's do: a wrong one stays wrong, and the first
 * fragment of a datagram stays right.
 */
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/checksum.h>

#include "esim.h"

static __sum16 *l4_sum(struct sk_buff *skb, const struct esim_layout *at, u8 proto)
{
	if (!at->l4)
		return NULL;
	if (proto == IPPROTO_TCP)
		return &((struct tcphdr *)(skb->data + at->l4))->check;
	if (proto == IPPROTO_UDP)
		return &((struct udphdr *)(skb->data + at->l4))->check;
	/* ICMPv6 sums the addresses too. */
	if (proto == IPPROTO_ICMPV6)
		return (__sum16 *)(skb->data + at->l4 + 2);
	return NULL;
}

/* `from` and `to` are bytes of L4 or of its pseudo header; at an odd place the caller pads to an even one. */
static void follow_l4(struct sk_buff *skb, const struct esim_layout *at, u8 proto, __wsum difference)
{
	__sum16 *sum = l4_sum(skb, at, proto);

	if (!sum || (proto == IPPROTO_UDP && !*sum))
		return;
	*sum = csum_fold(csum_add(difference, ~csum_unfold(*sum)));
	if (proto == IPPROTO_UDP && !*sum)
		*sum = CSUM_MANGLED_0;
}

static u8 ip_proto(const struct sk_buff *skb, const struct esim_layout *at)
{
	struct esim_layout again;
	struct esim_key key = {};

	return esim_key_read(skb, 0, &key, &again) ? key.proto : 0;
}

static bool header_start(const struct esim_layout *at, u8 htype, u8 version, unsigned int *start)
{
	switch (htype) {
	case FLOW_ACT_MANGLE_HDR_TYPE_ETH:
		*start = 0;
		return true;
	case FLOW_ACT_MANGLE_HDR_TYPE_IP4:
		*start = at->l3;
		return at->l3 && version == 4;
	case FLOW_ACT_MANGLE_HDR_TYPE_IP6:
		*start = at->l3;
		return at->l3 && version == 6;
	case FLOW_ACT_MANGLE_HDR_TYPE_TCP:
	case FLOW_ACT_MANGLE_HDR_TYPE_UDP:
		*start = at->l4;
		return at->l4;
	default:
		return false;
	}
}

/* Replaces `len` bytes (even, at an even place of their header) and lets the checksums follow. */
static bool put(struct sk_buff *skb, const struct esim_layout *at, u8 htype, u16 offset, const u8 *bytes, u8 len)
{
	u8 version = at->l3 ? skb->data[at->l3] >> 4 : 0;
	u8 old[4], *place;
	unsigned int start;
	__wsum difference;

	if (!header_start(at, htype, version, &start) || start + offset + len > skb->len)
		return false;
	place = skb->data + start + offset;
	memcpy(old, place, len);
	memcpy(place, bytes, len);
	difference = csum_sub(csum_partial(bytes, len, 0), csum_partial(old, len, 0));
	if (htype == FLOW_ACT_MANGLE_HDR_TYPE_IP4) {
		struct iphdr *ip = (struct iphdr *)(skb->data + at->l3);

		ip->check = csum_fold(csum_add(difference, ~csum_unfold(ip->check)));
		if (offset >= offsetof(struct iphdr, saddr) && ip->protocol != IPPROTO_ICMP)
			follow_l4(skb, at, ip->protocol, difference);
	} else if (htype == FLOW_ACT_MANGLE_HDR_TYPE_IP6) {
		if (offset >= offsetof(struct ipv6hdr, saddr))
			follow_l4(skb, at, ip_proto(skb, at), difference);
	} else if (htype != FLOW_ACT_MANGLE_HDR_TYPE_ETH) {
		follow_l4(skb, at, htype == FLOW_ACT_MANGLE_HDR_TYPE_TCP ? IPPROTO_TCP : IPPROTO_UDP, difference);
	}
	return true;
}

bool esim_edit_bytes(struct sk_buff *skb, const struct esim_layout *at, u8 htype, u16 offset, const void *value, u8 len)
{
	return put(skb, at, htype, offset, value, len);
}

/* One 32-bit word, with mask and value in memory order as tc's pedit has them. */
bool esim_edit_word(struct sk_buff *skb, const struct esim_layout *at, u8 htype, u16 offset, u32 keep, u32 value,
		    bool add)
{
	u8 version = at->l3 ? skb->data[at->l3] >> 4 : 0;
	unsigned int start;
	u32 word, result;

	if (!header_start(at, htype, version, &start) || start + offset + sizeof(word) > skb->len)
		return false;
	memcpy(&word, skb->data + start + offset, sizeof(word));
	if (add)
		result = (word & keep) | ((word + value) & ~keep);
	else
		result = (word & keep) | (value & ~keep);
	if (result == word)
		return true;
	return put(skb, at, htype, offset, (u8 *)&result, sizeof(result));
}

bool esim_vlan_push(struct sk_buff *skb, __be16 tpid, u16 tci)
{
	struct vlan_ethhdr *eth;

	if (skb_cow_head(skb, VLAN_HLEN) || skb->len < ETH_HLEN)
		return false;
	skb_push(skb, VLAN_HLEN);
	memmove(skb->data, skb->data + VLAN_HLEN, 2 * ETH_ALEN);
	eth = (struct vlan_ethhdr *)skb->data;
	eth->h_vlan_proto = tpid;
	eth->h_vlan_TCI = htons(tci);
	return true;
}

/* An untagged frame stays as it is, as in hardware. */
bool esim_vlan_pop(struct sk_buff *skb)
{
	struct vlan_ethhdr *eth = (struct vlan_ethhdr *)skb->data;

	if (skb->len < VLAN_ETH_HLEN || !eth_type_vlan(eth->h_vlan_proto))
		return true;
	memmove(skb->data + VLAN_HLEN, skb->data, 2 * ETH_ALEN);
	skb_pull(skb, VLAN_HLEN);
	return true;
}

bool esim_vlan_set(struct sk_buff *skb, u16 vid)
{
	struct vlan_ethhdr *eth = (struct vlan_ethhdr *)skb->data;

	if (skb->len >= VLAN_ETH_HLEN && eth_type_vlan(eth->h_vlan_proto))
		eth->h_vlan_TCI = (eth->h_vlan_TCI & htons(~VLAN_VID_MASK)) | htons(vid & VLAN_VID_MASK);
	return true;
}
