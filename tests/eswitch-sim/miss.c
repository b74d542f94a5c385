// SPDX-License-Identifier: GPL-2.0
/*
 * The way up: a packet the hardware could not finish comes to its representor, or to the tunnel device it would have
 * come by in software, with what the kernel can restore: chain, or the action that missed, and connection.
 */
#include <net/dst_metadata.h>

#include "esim.h"

static struct net_device *restore_tunnel(struct esim_pf *pf, u32 id, struct metadata_dst **md)
{
	struct esim_tunnel *tunnel = esim_tunnel_find(pf, id);

	if (!tunnel)
		return NULL;
	/* What the rule did not ask for was not kept, and reads as zero. */
	*md = esim_tunnel_dst(tunnel->key.enc_family == 6, &tunnel->key.enc_src, &tunnel->key.enc_dst,
			      tunnel->key.enc_tos, tunnel->key.enc_ttl, tunnel->key.enc_dport, tunnel->key.vni);
	return *md ? dev_get_by_index_rcu(&init_net, tunnel->ifindex) : NULL;
}

void esim_miss(struct esim_port *port, struct sk_buff *skb, const struct esim_restart *restart, enum esim_miss why)
{
	struct net_device *rep = rcu_dereference(port->rep), *dev = rep;
	struct metadata_dst *md = NULL;
	enum esim_drop reason;
	struct esim_layout at;
	struct esim_key key = {};
	unsigned int len = skb->len;

	atomic64_inc(&port->miss[why]);
	if (!rep || !netif_running(rep)) {
		reason = ESIM_DROP_DOWN;
		goto drop;
	}
	esim_key_read(skb, 0, &key, &at);
	if (restart->tunnel_id) {
		dev = restore_tunnel(port->pf, restart->tunnel_id, &md);
		if (!dev) {
			reason = ESIM_DROP_RESTORE;
			goto drop;
		}
	}
	if (skb->len < ETH_HLEN) {
		reason = ESIM_DROP_BROKEN;
		goto drop;
	}
	skb->protocol = eth_type_trans(skb, dev);
	if (ESIM_SKB_EXT && restart->ct_restore_id && !esim_ct_restore(port->pf, restart->ct_restore_id, skb, &key)) {
		reason = ESIM_DROP_RESTORE;
		goto drop;
	}
	if ((restart->chain || restart->miss_cookie) && !esim_set_restart(skb, restart->chain, restart->miss_cookie)) {
		reason = ESIM_DROP_MEMORY;
		goto drop;
	}
	if (md)
		skb_dst_set(skb, &md->dst);
	esim_count(&port->to_rep, len);
	netif_receive_skb(skb);
	return;
drop:
	if (md)
		dst_release(&md->dst);
	esim_drop(port, skb, reason);
}
