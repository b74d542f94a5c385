// SPDX-License-Identifier: GPL-2.0
/*
 * The parser: headers of a frame → key. Like a NIC's, it reads through two VLAN tags and IPv6 extension headers, and
 * through one VXLAN header to the ports it knows.
 */
#include <linux/icmp.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/ipv6.h>
#include <net/vxlan.h>

#include "esim.h"

/* n bytes at that place, or NULL when the frame is shorter. */
static const void *at_offset(const struct sk_buff *skb, unsigned int offset, unsigned int n)
{
	return offset + n <= skb->len ? skb->data + offset : NULL;
}

static void read_l4(const struct sk_buff *skb, unsigned int offset, struct esim_key *key, struct esim_layout *at)
{
	const struct tcphdr *tcp;
	const struct udphdr *udp;
	const struct icmphdr *icmp;

	switch (key->proto) {
	case IPPROTO_TCP:
		tcp = at_offset(skb, offset, sizeof(*tcp));
		if (!tcp)
			return;
		key->sport = tcp->source;
		key->dport = tcp->dest;
		key->tcp_flags = *(const __be16 *)((const u8 *)tcp + 12) & htons(0x0fff);
		break;
	case IPPROTO_UDP:
		udp = at_offset(skb, offset, sizeof(*udp));
		if (!udp)
			return;
		key->sport = udp->source;
		key->dport = udp->dest;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		icmp = at_offset(skb, offset, 4);
		if (!icmp)
			return;
		key->icmp_type = icmp->type;
		key->icmp_code = icmp->code;
		break;
	default:
		return;
	}
	at->l4 = offset;
}

static void read_ipv4(const struct sk_buff *skb, unsigned int offset, struct esim_key *key, struct esim_layout *at)
{
	const struct iphdr *ip = at_offset(skb, offset, sizeof(*ip));

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return;
	at->l3 = offset;
	key->proto = ip->protocol;
	key->tos = ip->tos;
	key->ttl = ip->ttl;
	key->frag = ip->frag_off & htons(IP_MF | IP_OFFSET) ? 0xff : 0;
	key->saddr.s6_addr32[0] = ip->saddr;
	key->daddr.s6_addr32[0] = ip->daddr;
	at->later_fragment = ip->frag_off & htons(IP_OFFSET);
	if (!at->later_fragment)
		read_l4(skb, offset + ip->ihl * 4, key, at);
}

static void read_ipv6(const struct sk_buff *skb, unsigned int offset, struct esim_key *key, struct esim_layout *at)
{
	const struct ipv6hdr *ip = at_offset(skb, offset, sizeof(*ip));
	const struct ipv6_opt_hdr *option;
	const struct frag_hdr *frag;
	int headers;
	u8 next;

	if (!ip || ip->version != 6)
		return;
	at->l3 = offset;
	key->tos = ipv6_get_dsfield(ip);
	key->ttl = ip->hop_limit;
	key->saddr = ip->saddr;
	key->daddr = ip->daddr;
	next = ip->nexthdr;
	offset += sizeof(*ip);
	for (headers = 0; headers < 8; headers++) {
		switch (next) {
		case NEXTHDR_HOP:
		case NEXTHDR_ROUTING:
		case NEXTHDR_DEST:
			option = at_offset(skb, offset, 8);
			if (!option)
				return;
			next = option->nexthdr;
			offset += ipv6_optlen(option);
			continue;
		case NEXTHDR_FRAGMENT:
			frag = at_offset(skb, offset, sizeof(*frag));
			if (!frag)
				return;
			key->frag = 0xff;
			at->later_fragment = frag->frag_off & htons(IP6_OFFSET);
			next = frag->nexthdr;
			offset += sizeof(*frag);
			continue;
		}
		break;
	}
	key->proto = next;
	if (!at->later_fragment)
		read_l4(skb, offset, key, at);
}

bool esim_key_read(const struct sk_buff *skb, unsigned int offset, struct esim_key *key, struct esim_layout *at)
{
	const struct ethhdr *eth = at_offset(skb, offset, sizeof(*eth));
	const struct vlan_hdr *vlan;
	__be16 type;

	memset(at, 0, sizeof(*at));
	/* What is not of a header is kept: all of it lies behind tcp_flags, but for the padding between. */
	memset(key, 0, offsetof(struct esim_key, ct));
	if (!eth)
		return false;
	ether_addr_copy(key->dst, eth->h_dest);
	ether_addr_copy(key->src, eth->h_source);
	type = eth->h_proto;
	offset += sizeof(*eth);
	while (eth_type_vlan(type) && at->tags < 2) {
		vlan = at_offset(skb, offset, sizeof(*vlan));
		if (!vlan)
			return false;
		if (!at->tags) {
			key->tagged = 0xff;
			key->tpid = type;
			key->tci = vlan->h_vlan_TCI;
		} else {
			key->ctagged = 0xff;
			key->ctpid = type;
			key->ctci = vlan->h_vlan_TCI;
		}
		at->tags++;
		type = vlan->h_vlan_encapsulated_proto;
		offset += sizeof(*vlan);
	}
	key->eth_type = type;
	if (type == htons(ETH_P_IP))
		read_ipv4(skb, offset, key, at);
	else if (type == htons(ETH_P_IPV6))
		read_ipv6(skb, offset, key, at);
	return true;
}

unsigned int esim_key_read_tunnel(const struct sk_buff *skb, const struct esim_key *outer, const struct esim_layout *at,
				  const __be16 *ports, int n_ports, struct esim_key *key)
{
	struct esim_layout inner_at;
	const struct vxlanhdr *vxlan;
	unsigned int inner;
	int i;

	if (outer->proto != IPPROTO_UDP || outer->frag || !at->l4)
		return 0;
	for (i = 0; i < n_ports; i++)
		if (ports[i] && ports[i] == outer->dport)
			break;
	vxlan = at_offset(skb, at->l4 + sizeof(struct udphdr), sizeof(*vxlan));
	if (i == n_ports || !vxlan || !(vxlan->vx_flags & VXLAN_HF_VNI))
		return 0;
	inner = at->l4 + sizeof(struct udphdr) + sizeof(*vxlan);
	*key = *outer;
	if (!esim_key_read(skb, inner, key, &inner_at))
		return 0;
	key->vni = vxlan_vni(vxlan->vx_vni);
	key->enc_family = outer->eth_type == htons(ETH_P_IPV6) ? 6 : 4;
	key->enc_src = outer->saddr;
	key->enc_dst = outer->daddr;
	key->enc_sport = outer->sport;
	key->enc_dport = outer->dport;
	key->enc_tos = outer->tos;
	key->enc_ttl = outer->ttl;
	return inner;
}
