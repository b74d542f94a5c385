// SPDX-License-Identifier: GPL-2.0
/*
 * A flower match → value and mask, with the refusals of the contract's §2 in their words. What the hardware cannot
 * see, or sees otherwise than software, is decided here: implicit untagged, masks of zone and label, ignored enc_*.
 */
#include <linux/icmp.h>

#include "esim.h"

#define KEY_BIT(name) BIT_ULL(FLOW_DISSECTOR_KEY_##name)

static const u64 known_keys = KEY_BIT(META) | KEY_BIT(CONTROL) | KEY_BIT(BASIC) | KEY_BIT(ETH_ADDRS) | KEY_BIT(VLAN) |
			      KEY_BIT(CVLAN) | KEY_BIT(IPV4_ADDRS) | KEY_BIT(IPV6_ADDRS) | KEY_BIT(PORTS) |
			      KEY_BIT(ENC_KEYID) | KEY_BIT(ENC_IPV4_ADDRS) | KEY_BIT(ENC_IPV6_ADDRS) |
			      KEY_BIT(ENC_PORTS) | KEY_BIT(ENC_CONTROL) | KEY_BIT(TCP) | KEY_BIT(IP) | KEY_BIT(CT) |
			      KEY_BIT(ENC_IP) | KEY_BIT(ENC_OPTS) | KEY_BIT(ICMP);

/* Names for the knob "refuse", in the order they are asked for. */
static const struct {
	enum flow_dissector_key_id id;
	const char *name;
} key_names[] = {
	{FLOW_DISSECTOR_KEY_ETH_ADDRS, "mac"},
	{FLOW_DISSECTOR_KEY_VLAN, "vlan"},
	{FLOW_DISSECTOR_KEY_CVLAN, "cvlan"},
	{FLOW_DISSECTOR_KEY_IPV4_ADDRS, "ipv4"},
	{FLOW_DISSECTOR_KEY_IPV6_ADDRS, "ipv6"},
	{FLOW_DISSECTOR_KEY_PORTS, "ports"},
	{FLOW_DISSECTOR_KEY_TCP, "tcp_flags"},
	{FLOW_DISSECTOR_KEY_IP, "tos_ttl"},
	{FLOW_DISSECTOR_KEY_ICMP, "icmp"},
	{FLOW_DISSECTOR_KEY_CT, "ct_state"},
	{FLOW_DISSECTOR_KEY_ENC_KEYID, "enc_key_id"},
};

static bool uses(const struct esim_parse *p, enum flow_dissector_key_id id)
{
	return flow_rule_match_key(p->flow, id);
}

static int refuse_by_knob(struct esim_parse *p)
{
	struct flow_match_control control;
	int i;

	if (uses(p, FLOW_DISSECTOR_KEY_CONTROL)) {
		flow_rule_match_control(p->flow, &control);
		if (control.mask->flags && esim_refused(p->pf, "ip_flags"))
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Unsupported key");
	}
	for (i = 0; i < ARRAY_SIZE(key_names); i++) {
		/* Both families' bits are set for an address of either. */
		if (!uses(p, key_names[i].id) || !esim_refused(p->pf, key_names[i].name))
			continue;
		if (key_names[i].id == FLOW_DISSECTOR_KEY_IPV4_ADDRS ||
		    key_names[i].id == FLOW_DISSECTOR_KEY_IPV6_ADDRS) {
			flow_rule_match_control(p->flow, &control);
			if (control.key->addr_type != key_names[i].id)
				continue;
		}
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Unsupported key");
	}
	return 0;
}

static int parse_meta(struct esim_parse *p)
{
	struct flow_match_meta match;
	struct net_device *dev;

	if (!uses(p, FLOW_DISSECTOR_KEY_META))
		return 0;
	flow_rule_match_meta(p->flow, &match);
#if ESIM_SINCE(6, 5)
	if (match.mask->l2_miss)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Can't match on \"l2_miss\"");
#endif
	if (!match.mask->ingress_ifindex)
		return 0;
	if (match.mask->ingress_ifindex != 0xffffffff)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Unsupported ingress ifindex mask");
	rcu_read_lock();
	dev = dev_get_by_index_rcu(dev_net(p->filter_dev), match.key->ingress_ifindex);
	rcu_read_unlock();
	if (!dev)
		return ESIM_REFUSE(p->extack, ENOENT, "Can't find the ingress port to match on");
	if (dev != p->filter_dev)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Can't match on the ingress filter port");
	return 0;
}

static __be16 tci_of(const struct flow_dissector_key_vlan *vlan)
{
	return htons(vlan->vlan_id | vlan->vlan_priority << 13);
}

static int parse_vlan(struct esim_parse *p, bool l2_plus)
{
	struct esim_key *key = &p->rule->key, *mask = &p->rule->mask;
	struct flow_match_vlan match;

	if (uses(p, FLOW_DISSECTOR_KEY_VLAN)) {
		flow_rule_match_vlan(p->flow, &match);
		mask->tagged = key->tagged = 0xff;
		mask->tpid = htons(0xffff);
		key->tpid = match.key->vlan_tpid;
		mask->tci = tci_of(match.mask);
		key->tci = tci_of(match.key);
	} else if (l2_plus) {
		/* A rule that names any header but no VLAN means untagged frames, whatever software makes of it. */
		mask->tagged = 0xff;
	}
	if (!uses(p, FLOW_DISSECTOR_KEY_CVLAN))
		return 0;
	if (!p->pf->caps.cvlan)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Matching on CVLAN is not supported");
	flow_rule_match_cvlan(p->flow, &match);
	mask->ctagged = key->ctagged = 0xff;
	mask->ctpid = htons(0xffff);
	key->ctpid = match.key->vlan_tpid;
	mask->ctci = tci_of(match.mask);
	key->ctci = tci_of(match.key);
	return 0;
}

static int parse_l3(struct esim_parse *p)
{
	struct esim_key *key = &p->rule->key, *mask = &p->rule->mask;
	struct flow_match_control control;
	u16 addr_type = 0;

	if (uses(p, FLOW_DISSECTOR_KEY_CONTROL)) {
		flow_rule_match_control(p->flow, &control);
		addr_type = control.key->addr_type;
		if (control.mask->flags & ~FLOW_DIS_IS_FRAGMENT)
			return esim_refuse_flags(p->extack, control.mask->flags);
		if (control.mask->flags) {
			mask->frag = 0xff;
			key->frag = control.key->flags & FLOW_DIS_IS_FRAGMENT ? 0xff : 0;
		}
	}
	if (addr_type == FLOW_DISSECTOR_KEY_IPV4_ADDRS) {
		struct flow_match_ipv4_addrs match;

		flow_rule_match_ipv4_addrs(p->flow, &match);
		key->saddr.s6_addr32[0] = match.key->src;
		mask->saddr.s6_addr32[0] = match.mask->src;
		key->daddr.s6_addr32[0] = match.key->dst;
		mask->daddr.s6_addr32[0] = match.mask->dst;
	} else if (addr_type == FLOW_DISSECTOR_KEY_IPV6_ADDRS) {
		struct flow_match_ipv6_addrs match;

		flow_rule_match_ipv6_addrs(p->flow, &match);
		key->saddr = match.key->src;
		mask->saddr = match.mask->src;
		key->daddr = match.key->dst;
		mask->daddr = match.mask->dst;
	}
	if (uses(p, FLOW_DISSECTOR_KEY_IP)) {
		struct flow_match_ip match;

		flow_rule_match_ip(p->flow, &match);
		if (match.mask->ttl && !p->pf->caps.ttl_match)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Matching on TTL is not supported");
		key->tos = match.key->tos;
		mask->tos = match.mask->tos;
		key->ttl = match.key->ttl;
		mask->ttl = match.mask->ttl;
	}
	return 0;
}

static int parse_l4(struct esim_parse *p)
{
	struct esim_key *key = &p->rule->key, *mask = &p->rule->mask;
	u8 proto = mask->proto ? key->proto : 0;

	if (uses(p, FLOW_DISSECTOR_KEY_PORTS)) {
		struct flow_match_ports match;

		flow_rule_match_ports(p->flow, &match);
		if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
			return ESIM_REFUSE(p->extack, EINVAL,
					   "Only UDP and TCP transports are supported for L4 matching");
		key->sport = match.key->src;
		mask->sport = match.mask->src;
		key->dport = match.key->dst;
		mask->dport = match.mask->dst;
	}
	if (uses(p, FLOW_DISSECTOR_KEY_TCP)) {
		struct flow_match_tcp match;

		flow_rule_match_tcp(p->flow, &match);
		key->tcp_flags = match.key->flags;
		mask->tcp_flags = match.mask->flags;
	}
	if (uses(p, FLOW_DISSECTOR_KEY_ICMP)) {
		struct flow_match_icmp match;

		flow_rule_match_icmp(p->flow, &match);
		if (proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6)
			return ESIM_REFUSE(p->extack, EINVAL, "Code and type matching only with ICMP and ICMPv6");
		if (!p->pf->caps.icmp_parser && proto == IPPROTO_ICMP)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Match on Flex protocols for ICMP is not supported");
		if (!p->pf->caps.icmp_parser)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP,
					   "Match on Flex protocols for ICMPV6 is not supported");
		key->icmp_type = match.key->type;
		mask->icmp_type = match.mask->type;
		key->icmp_code = match.key->code;
		mask->icmp_code = match.mask->code;
	}
	return 0;
}

static int parse_ct(struct esim_parse *p)
{
	const u16 seen = ESIM_CT_TRK | ESIM_CT_NEW | ESIM_CT_EST | ESIM_CT_RPL, never = ESIM_CT_REL | ESIM_CT_INV;
	struct esim_key *key = &p->rule->key, *mask = &p->rule->mask;
	struct flow_match_ct match;
	int i;

	if (!uses(p, FLOW_DISSECTOR_KEY_CT))
		return 0;
	if (!p->pf->caps.ct)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "mlx5 tc ct offload isn't enabled.");
	if (!p->pf->caps.ignore_flow_level || !p->pf->caps.reg_c1_loopback || !p->pf->caps.modify_fwd_to_table)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "offload of ct matching isn't available");
	flow_rule_match_ct(p->flow, &match);
	if (match.mask->ct_state & ~(seen | never))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP,
				   "only ct_state trk, est, new and rpl are supported for offload");
	if (match.key->ct_state & match.mask->ct_state & ESIM_CT_REL)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "matching on ct_state +rel isn't supported");
	if (match.key->ct_state & match.mask->ct_state & ESIM_CT_INV)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "matching on ct_state +inv isn't supported");
	/* -rel and -inv are true of all the hardware knows. */
	mask->ct_state = match.mask->ct_state & seen;
	key->ct_state = match.key->ct_state;
	if (match.mask->ct_zone) {
		mask->ct_zone = 0xffff;
		key->ct_zone = match.key->ct_zone;
	}
	mask->ct_mark = match.mask->ct_mark;
	key->ct_mark = match.key->ct_mark;
	/* A label is compared as one number: the masked value with the connection's whole label. */
	if (memchr_inv(match.mask->ct_labels, 0, sizeof(match.mask->ct_labels))) {
		memset(mask->ct_label, 0xff, sizeof(mask->ct_label));
		for (i = 0; i < 4; i++)
			key->ct_label[i] = match.key->ct_labels[i] & match.mask->ct_labels[i];
	}
	p->rule->match_ct = true;
	return 0;
}

int esim_parse_match(struct esim_parse *p)
{
	struct esim_key *key = &p->rule->key, *mask = &p->rule->mask;
	u64 used = p->flow->match.dissector->used_keys;
	int err;

	if (used & ~known_keys)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Unsupported key");
	err = refuse_by_knob(p);
	if (err)
		return err;
	/* enc_* on another device than a tunnel's is not looked at: a match the rule silently lacks. */
	if (p->tunnel)
		err = esim_tunnel_match(p);
	if (!err)
		err = parse_meta(p);
	if (err)
		return err;
	if (uses(p, FLOW_DISSECTOR_KEY_BASIC)) {
		struct flow_match_basic match;

		flow_rule_match_basic(p->flow, &match);
		key->eth_type = match.key->n_proto;
		mask->eth_type = match.mask->n_proto;
		key->proto = match.key->ip_proto;
		mask->proto = match.mask->ip_proto;
	}
	if (uses(p, FLOW_DISSECTOR_KEY_ETH_ADDRS)) {
		struct flow_match_eth_addrs match;

		flow_rule_match_eth_addrs(p->flow, &match);
		memcpy(key->dst, match.key->dst, ETH_ALEN);
		memcpy(mask->dst, match.mask->dst, ETH_ALEN);
		memcpy(key->src, match.key->src, ETH_ALEN);
		memcpy(mask->src, match.mask->src, ETH_ALEN);
	}
	err = parse_l3(p);
	if (!err)
		err = parse_l4(p);
	if (!err)
		err = parse_vlan(p, mask->eth_type || mask->proto || mask->frag || mask->ttl || mask->tos ||
					    !is_zero_ether_addr(mask->dst) || !is_zero_ether_addr(mask->src));
	if (!err)
		err = parse_ct(p);
	key->port = p->port->number + 1;
	mask->port = 0xffff;
	return err;
}
