// SPDX-License-Identifier: GPL-2.0
/*
 * Legacy mode: the card's own small switch. Known addresses are those of the functions; everything else of a VF or of
 * the PF goes to the wire, everything else from the wire is dropped, groups are flooded.
 */
#include "esim.h"

static void to_host(struct esim_port *uplink, struct sk_buff *skb)
{
	struct net_device *dev = rcu_dereference(uplink->rep);
	unsigned int len = skb->len;

	skb->dev = dev;
	if (!dev || !netif_running(dev))
		esim_drop(uplink, skb, ESIM_DROP_DOWN);
	else if (dev_forward_skb(dev, skb) == NET_RX_SUCCESS)
		esim_count(&uplink->to_rep, len);
}

static void flood(struct esim_pf *pf, struct esim_port *from, bool from_host, struct sk_buff *skb)
{
	struct sk_buff *copy;
	int i;

	for (i = 1; i <= pf->num_vfs; i++) {
		if (&pf->ports[i] == from)
			continue;
		copy = skb_copy(skb, GFP_ATOMIC);
		if (copy)
			esim_deliver_far(&pf->ports[i], copy, &pf->ports[i]);
	}
	if (!from_host) {
		copy = skb_copy(skb, GFP_ATOMIC);
		if (copy)
			to_host(&pf->ports[0], copy);
	}
	if (from_host || !esim_is_uplink(from))
		esim_deliver_far(&pf->ports[0], skb, from);
	else
		consume_skb(skb);
}

/* `from` is where the frame came in; the PF's own frames come from its host. */
void esim_legacy_switch(struct esim_port *from, struct sk_buff *skb, bool from_host)
{
	struct esim_pf *pf = from->pf;
	struct net_device *host = rcu_dereference(pf->ports[0].rep);
	const u8 *dst = skb->data;
	int i;

	atomic64_inc(&from->legacy);
	if (is_multicast_ether_addr(dst)) {
		flood(pf, from, from_host, skb);
		return;
	}
	for (i = 1; i <= pf->num_vfs; i++) {
		struct net_device *far = rcu_dereference(pf->ports[i].far);

		if (far && ether_addr_equal(far->dev_addr, dst)) {
			esim_deliver_far(&pf->ports[i], skb, from);
			return;
		}
	}
	if (!from_host && host && ether_addr_equal(host->dev_addr, dst))
		to_host(&pf->ports[0], skb);
	else if (from_host || !esim_is_uplink(from))
		esim_deliver_far(&pf->ports[0], skb, from);
	else
		consume_skb(skb);
}
