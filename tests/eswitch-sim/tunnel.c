// SPDX-License-Identifier: GPL-2.0
/*
 * Tunnel devices: the UDP ports the NIC takes for VXLAN, and what a rule on such a device must match (contract §6.2).
 */
#include <net/udp_tunnel.h>

#include "esim.h"

static int set_port(struct net_device *dev, unsigned int table, unsigned int entry, struct udp_tunnel_info *info)
{
	struct esim_port *port = esim_port_of_rep(dev);

	WRITE_ONCE(port->pf->vxlan_ports[1 + entry], info->port);
	return 0;
}

static int unset_port(struct net_device *dev, unsigned int table, unsigned int entry, struct udp_tunnel_info *info)
{
	struct esim_port *port = esim_port_of_rep(dev);

	WRITE_ONCE(port->pf->vxlan_ports[1 + entry], 0);
	return 0;
}

const struct udp_tunnel_nic_info esim_udp_tunnels = {
	.set_port = set_port,
	.unset_port = unset_port,
	.flags = UDP_TUNNEL_NIC_INFO_MAY_SLEEP | UDP_TUNNEL_NIC_INFO_STATIC_IANA_VXLAN,
	.tables = {{.n_entries = ESIM_VXLAN_PORTS - 1, .tunnel_types = UDP_TUNNEL_TYPE_VXLAN}},
};

bool esim_vxlan_port_known(const struct esim_pf *pf, __be16 port)
{
	int i;

	for (i = 0; port && i < ESIM_VXLAN_PORTS; i++)
		if (READ_ONCE(pf->vxlan_ports[i]) == port)
			return true;
	return false;
}

/* Fills enc_* and the VNI; on error says why. */
static int match(struct esim_parse *p, const char **why)
{
	struct esim_key *key = &p->rule->key, *mask = &p->rule->mask;
	struct flow_match_control control;
	struct flow_match_ports ports;

	if (!flow_rule_match_key(p->flow, FLOW_DISSECTOR_KEY_ENC_PORTS)) {
		*why = "UDP tunnel decap filter must include enc_dst_port condition";
		return -EOPNOTSUPP;
	}
	flow_rule_match_enc_ports(p->flow, &ports);
	if (ports.mask->dst != htons(0xffff)) {
		*why = "UDP tunnel decap filter must match enc_dst_port fully";
		return -EOPNOTSUPP;
	}
	if (!esim_vxlan_port_known(p->pf, ports.key->dst)) {
		*why = "Matched UDP dst port is not registered as a VXLAN port";
		return -EOPNOTSUPP;
	}
	key->enc_dport = ports.key->dst;
	mask->enc_dport = ports.mask->dst;
	key->enc_sport = ports.key->src & ports.mask->src;
	mask->enc_sport = ports.mask->src;
	if (flow_rule_match_key(p->flow, FLOW_DISSECTOR_KEY_ENC_KEYID)) {
		struct flow_match_enc_keyid keyid;

		flow_rule_match_enc_keyid(p->flow, &keyid);
		if (keyid.mask->keyid && !p->pf->caps.vni_match) {
			*why = "Matching on VXLAN VNI is not supported";
			return -EOPNOTSUPP;
		}
		key->vni = keyid.key->keyid & keyid.mask->keyid;
		mask->vni = keyid.mask->keyid;
	}
	if (flow_rule_match_key(p->flow, FLOW_DISSECTOR_KEY_ENC_OPTS)) {
		*why = "Matching on VxLAN GBP is not supported";
		return -EOPNOTSUPP;
	}
	if (flow_rule_match_key(p->flow, FLOW_DISSECTOR_KEY_ENC_IP)) {
		struct flow_match_ip ip;

		flow_rule_match_enc_ip(p->flow, &ip);
		key->enc_tos = ip.key->tos & ip.mask->tos;
		mask->enc_tos = ip.mask->tos;
		key->enc_ttl = ip.key->ttl & ip.mask->ttl;
		mask->enc_ttl = ip.mask->ttl;
	}
	if (!flow_rule_match_key(p->flow, FLOW_DISSECTOR_KEY_ENC_CONTROL))
		return 0;
	flow_rule_match_enc_control(p->flow, &control);
	if (control.mask->flags) {
		*why = "Unsupported match on enc_control.flags";
		return -EOPNOTSUPP;
	}
	mask->enc_family = 0xff;
	if (control.key->addr_type == FLOW_DISSECTOR_KEY_IPV4_ADDRS) {
		struct flow_match_ipv4_addrs addrs;

		flow_rule_match_enc_ipv4_addrs(p->flow, &addrs);
		key->enc_family = 4;
		key->enc_src.s6_addr32[0] = addrs.key->src & addrs.mask->src;
		mask->enc_src.s6_addr32[0] = addrs.mask->src;
		key->enc_dst.s6_addr32[0] = addrs.key->dst & addrs.mask->dst;
		mask->enc_dst.s6_addr32[0] = addrs.mask->dst;
	} else if (control.key->addr_type == FLOW_DISSECTOR_KEY_IPV6_ADDRS) {
		struct flow_match_ipv6_addrs addrs;
		int i;

		flow_rule_match_enc_ipv6_addrs(p->flow, &addrs);
		key->enc_family = 6;
		mask->enc_src = addrs.mask->src;
		mask->enc_dst = addrs.mask->dst;
		for (i = 0; i < 4; i++) {
			key->enc_src.s6_addr32[i] = addrs.key->src.s6_addr32[i] & addrs.mask->src.s6_addr32[i];
			key->enc_dst.s6_addr32[i] = addrs.key->dst.s6_addr32[i] & addrs.mask->dst.s6_addr32[i];
		}
	}
	return 0;
}

int esim_tunnel_match(struct esim_parse *p)
{
	const char *why = NULL;
	int err = match(p, &why);

	if (err) {
		/* The driver's last word hides its first; the journal keeps both. */
		esim_ring_add(p->pf->journal, "tunnel match refused: %s", why);
		ESIM_SAY(p->extack, "Failed to parse tunnel attributes");
	}
	return err;
}
