// SPDX-License-Identifier: GPL-2.0
/*
 * Encapsulations: one header per tunnel key and device, shared by the rules that use it. Route and next hop are looked
 * up once, when the first rule comes, and not followed (contract §6.3); the neighbour is, and while it is not resolved
 * the rules are a way to software only.
 */
#include <linux/if_vlan.h>
#include <linux/jhash.h>
#include <linux/seq_file.h>
#include <linux/udp.h>
#include <net/arp.h>
#include <net/ip6_route.h>
#include <net/ipv6_stubs.h>
#include <net/neighbour.h>
#include <net/netevent.h>
#include <net/route.h>
#include <net/vxlan.h>

#include "esim.h"

#define HEADER_MAX 96

struct esim_encap {
	struct list_head list;
	struct rcu_head rcu;
	int refs;
	/* What makes it the same encapsulation. */
	struct ip_tunnel_key key;
	bool ipv6;
	int tunnel_ifindex;
	/* What was found out once. */
	int route_ifindex;
	struct in6_addr next_hop;
	u8 ttl;
	struct in6_addr source;
	/* The header, and what follows the neighbour. */
	spinlock_t lock;
	bool ready;
	u8 header[HEADER_MAX];
	u8 len, l3, l4;
	u64 packets, kept_alive_packets;
	unsigned long kept_alive;
};

static struct neigh_table *table_of(const struct esim_encap *encap)
{
	return encap->ipv6 ? ipv6_stub->nd_tbl : &arp_tbl;
}

static const void *remote(const struct esim_encap *encap)
{
	return encap->ipv6 ? (const void *)&encap->key.u.ipv6.dst : (const void *)&encap->key.u.ipv4.dst;
}

static struct dst_entry *route(struct esim_encap *encap, struct net *net, int oif)
{
	if (encap->ipv6) {
		struct flowi6 fl6 = {.daddr = encap->key.u.ipv6.dst,
				     .saddr = encap->key.u.ipv6.src,
				     .flowi6_oif = oif,
				     .flowi6_proto = IPPROTO_UDP};
		struct dst_entry *dst = ipv6_stub->ipv6_dst_lookup_flow(net, NULL, &fl6, NULL);

		if (IS_ERR(dst))
			return dst;
		encap->source = fl6.saddr;
		encap->ttl = encap->key.ttl ? encap->key.ttl : ip6_dst_hoplimit(dst);
		return dst;
	} else {
		struct flowi4 fl4 = {.daddr = encap->key.u.ipv4.dst,
				     .saddr = encap->key.u.ipv4.src,
				     .flowi4_oif = oif,
				     .flowi4_proto = IPPROTO_UDP};
		struct rtable *rt = ip_route_output_key(net, &fl4);

		if (IS_ERR(rt))
			return ERR_CAST(rt);
		if (rt->rt_type != RTN_UNICAST) {
			ip_rt_put(rt);
			return ERR_PTR(-ENETUNREACH);
		}
		encap->source.s6_addr32[0] = fl4.saddr;
		encap->ttl = encap->key.ttl ? encap->key.ttl : ip4_dst_hoplimit(&rt->dst);
		return &rt->dst;
	}
}

static void build_header(struct esim_encap *encap, const struct net_device *dev)
{
	struct ethhdr *eth = (struct ethhdr *)encap->header;
	struct vxlanhdr *vxlan;
	struct udphdr *udp;
	__be16 *proto = &eth->h_proto;

	ether_addr_copy(eth->h_source, dev->dev_addr);
	encap->l3 = ETH_HLEN;
	if (is_vlan_dev(dev)) {
		struct vlan_hdr *vlan = (struct vlan_hdr *)(encap->header + ETH_HLEN);

		eth->h_proto = vlan_dev_vlan_proto(dev);
		vlan->h_vlan_TCI = htons(vlan_dev_vlan_id(dev));
		proto = &vlan->h_vlan_encapsulated_proto;
		encap->l3 += VLAN_HLEN;
	}
	*proto = htons(encap->ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	if (encap->ipv6) {
		struct ipv6hdr *ip = (struct ipv6hdr *)(encap->header + encap->l3);

		ip6_flow_hdr(ip, encap->key.tos, 0);
		ip->nexthdr = IPPROTO_UDP;
		ip->hop_limit = encap->ttl;
		ip->saddr = encap->source;
		ip->daddr = encap->key.u.ipv6.dst;
		encap->l4 = encap->l3 + sizeof(*ip);
	} else {
		struct iphdr *ip = (struct iphdr *)(encap->header + encap->l3);

		ip->version = 4;
		ip->ihl = 5;
		ip->tos = encap->key.tos;
		ip->ttl = encap->ttl;
		ip->protocol = IPPROTO_UDP;
		ip->saddr = encap->source.s6_addr32[0];
		ip->daddr = encap->key.u.ipv4.dst;
		encap->l4 = encap->l3 + sizeof(*ip);
	}
	udp = (struct udphdr *)(encap->header + encap->l4);
	udp->dest = encap->key.tp_dst;
	vxlan = (struct vxlanhdr *)(udp + 1);
	vxlan->vx_flags = VXLAN_HF_VNI;
	vxlan->vx_vni = vxlan_vni_field(tunnel_id_to_key32(encap->key.tun_id));
	encap->len = encap->l4 + sizeof(*udp) + sizeof(*vxlan);
}

static void take_neighbour(struct esim_pf *pf, struct esim_encap *encap, struct neighbour *n)
{
	bool valid, changed;
	u8 mac[ETH_ALEN] = {};

	read_lock_bh(&n->lock);
	valid = n->nud_state & NUD_VALID && !n->dead;
	if (valid)
		ether_addr_copy(mac, n->ha);
	read_unlock_bh(&n->lock);
	spin_lock_bh(&encap->lock);
	changed = encap->ready != valid;
	ether_addr_copy(encap->header, mac);
	WRITE_ONCE(encap->ready, valid);
	spin_unlock_bh(&encap->lock);
	if (changed)
		esim_ring_add(pf->journal, "encap %s", valid ? "resolved" : "slow");
	if (!valid)
		neigh_event_send(n, NULL);
}

static int resolve(struct esim_pf *pf, struct esim_encap *encap, struct net_device *tunnel_dev)
{
	struct vxlan_dev *vxlan = netdev_priv(tunnel_dev);
	struct neighbour *n;
	struct dst_entry *dst;

	/* Software finds tunnel devices in the first netns only. */
	if (!net_eq(vxlan->net, &init_net))
		return -EOPNOTSUPP;
	dst = route(encap, vxlan->net, vxlan->cfg.remote_ifindex);
	if (IS_ERR(dst))
		return PTR_ERR(dst);
	n = dst_neigh_lookup(dst, remote(encap));
	if (!n) {
		dst_release(dst);
		return -ENOMEM;
	}
	encap->route_ifindex = dst->dev->ifindex;
	memcpy(&encap->next_hop, n->primary_key, encap->ipv6 ? 16 : 4);
	build_header(encap, dst->dev);
	take_neighbour(pf, encap, n);
	neigh_release(n);
	dst_release(dst);
	return encap->len > pf->caps.max_encap_header ? -EOPNOTSUPP : 0;
}

static bool same_key(const struct ip_tunnel_key *a, const struct ip_tunnel_key *b, bool ipv6)
{
	return a->tun_id == b->tun_id && a->tos == b->tos && a->ttl == b->ttl && a->tp_src == b->tp_src &&
	       a->tp_dst == b->tp_dst && !memcmp(&a->tun_flags, &b->tun_flags, sizeof(a->tun_flags)) &&
	       !memcmp(&a->u, &b->u, ipv6 ? sizeof(a->u.ipv6) : sizeof(a->u.ipv4));
}

struct esim_encap *esim_encap_get(struct esim_pf *pf, struct net_device *tunnel_dev, const struct ip_tunnel_info *info,
				  struct netlink_ext_ack *extack)
{
	bool ipv6 = info->mode & IP_TUNNEL_INFO_IPV6;
	struct esim_encap *encap;
	int err;

	if (!esim_vxlan_port_known(pf, info->key.tp_dst)) {
		ESIM_SAY(extack, "vxlan udp dport was not registered with the HW");
		return ERR_PTR(-EOPNOTSUPP);
	}
	mutex_lock(&pf->encap_lock);
	list_for_each_entry (encap, &pf->encaps, list)
		if (encap->ipv6 == ipv6 && encap->tunnel_ifindex == tunnel_dev->ifindex &&
		    same_key(&encap->key, &info->key, ipv6)) {
			encap->refs++;
			goto out;
		}
	err = esim_fault(pf, ESIM_OP_ENCAP);
	if (!err && pf->n_encaps >= pf->limits.encaps)
		err = -ENOSPC;
	encap = err ? NULL : kzalloc(sizeof(*encap), GFP_KERNEL);
	if (!encap) {
		encap = ERR_PTR(err ? err : -ENOMEM);
		goto out;
	}
	spin_lock_init(&encap->lock);
	encap->key = info->key;
	encap->ipv6 = ipv6;
	encap->tunnel_ifindex = tunnel_dev->ifindex;
	encap->refs = 1;
	err = resolve(pf, encap, tunnel_dev);
	if (err) {
		kfree(encap);
		encap = ERR_PTR(err);
		goto out;
	}
	list_add_tail(&encap->list, &pf->encaps);
	pf->n_encaps++;
out:
	mutex_unlock(&pf->encap_lock);
	return encap;
}

void esim_encap_put(struct esim_pf *pf, struct esim_encap *encap)
{
	mutex_lock(&pf->encap_lock);
	if (!--encap->refs) {
		list_del(&encap->list);
		pf->n_encaps--;
		kfree_rcu(encap, rcu);
	}
	mutex_unlock(&pf->encap_lock);
}

bool esim_encap_ready(const struct esim_encap *encap)
{
	return READ_ONCE(encap->ready);
}

bool esim_encap_push(struct esim_encap *encap, struct sk_buff *skb, const struct esim_key *key)
{
	unsigned int inner = skb->len;
	struct udphdr *udp;
	u8 *header;
	u32 hash;

	if (skb_cow_head(skb, encap->len))
		return false;
	/* Of the inner flow, as a NIC hashes it. */
	hash = jhash(&key->saddr, 32, key->proto ^ (__force u32)key->sport << 16 ^ (__force u32)key->dport);
	header = skb_push(skb, encap->len);
	spin_lock_bh(&encap->lock);
	memcpy(header, encap->header, encap->len);
	encap->packets++;
	spin_unlock_bh(&encap->lock);
	udp = (struct udphdr *)(header + encap->l4);
	udp->source = htons(0xc000 | (hash & 0x3fff));
	udp->len = htons(inner + sizeof(*udp) + sizeof(struct vxlanhdr));
	if (encap->ipv6) {
		((struct ipv6hdr *)(header + encap->l3))->payload_len = udp->len;
	} else {
		struct iphdr *ip = (struct iphdr *)(header + encap->l3);

		ip->tot_len = htons(ntohs(udp->len) + sizeof(*ip));
		ip->check = ip_fast_csum(ip, ip->ihl);
	}
	return true;
}

/* --- neighbours --- */

static struct neighbour *find_neighbour(struct esim_encap *encap)
{
	struct net_device *dev = dev_get_by_index(&init_net, encap->route_ifindex);
	struct neighbour *n = NULL;

	if (dev) {
		n = neigh_lookup(table_of(encap), &encap->next_hop, dev);
		dev_put(dev);
	}
	return n;
}

static void neigh_work_fn(struct work_struct *work)
{
	struct esim_pf *pf = container_of(work, struct esim_pf, neigh_work);
	struct esim_encap *encap;

	mutex_lock(&pf->encap_lock);
	list_for_each_entry (encap, &pf->encaps, list) {
		struct neighbour *n = find_neighbour(encap);

		if (!n)
			continue;
		take_neighbour(pf, encap, n);
		neigh_release(n);
	}
	mutex_unlock(&pf->encap_lock);
}

static int neigh_event(struct notifier_block *notifier, unsigned long event, void *data)
{
	struct esim_pf *pf = container_of(notifier, struct esim_pf, neigh_notifier);

	if (event == NETEVENT_NEIGH_UPDATE)
		queue_work(esim_wq, &pf->neigh_work);
	return NOTIFY_DONE;
}

/* Software sees none of the traffic that keeps a neighbour in use: the driver says so in its place, every 5 s. */
void esim_encaps_keep_alive(struct esim_pf *pf)
{
	struct esim_encap *encap;

	mutex_lock(&pf->encap_lock);
	list_for_each_entry (encap, &pf->encaps, list) {
		struct neighbour *n;

		if (encap->packets == encap->kept_alive_packets || time_before(jiffies, encap->kept_alive + 5 * HZ))
			continue;
		encap->kept_alive_packets = encap->packets;
		encap->kept_alive = jiffies;
		n = find_neighbour(encap);
		if (n) {
			neigh_event_send(n, NULL);
			neigh_release(n);
		}
	}
	mutex_unlock(&pf->encap_lock);
}

int esim_encap_start(struct esim_pf *pf)
{
	INIT_WORK(&pf->neigh_work, neigh_work_fn);
	pf->neigh_notifier.notifier_call = neigh_event;
	return register_netevent_notifier(&pf->neigh_notifier);
}

void esim_encap_stop(struct esim_pf *pf)
{
	unregister_netevent_notifier(&pf->neigh_notifier);
	cancel_work_sync(&pf->neigh_work);
}

void esim_encap_name(const struct esim_encap *encap, char *text, size_t len)
{
	u32 vni = ntohl(tunnel_id_to_key32(encap->key.tun_id));

	if (encap->ipv6)
		snprintf(text, len, "vni:%u,src:%pI6c,dst:%pI6c,dport:%u", vni, &encap->source, &encap->key.u.ipv6.dst,
			 ntohs(encap->key.tp_dst));
	else
		snprintf(text, len, "vni:%u,src:%pI4,dst:%pI4,dport:%u", vni, &encap->source, &encap->key.u.ipv4.dst,
			 ntohs(encap->key.tp_dst));
}

void esim_encap_show(struct seq_file *s, struct esim_pf *pf)
{
	struct esim_encap *encap;
	char name[128];

	mutex_lock(&pf->encap_lock);
	list_for_each_entry (encap, &pf->encaps, list) {
		esim_encap_name(encap, name, sizeof(name));
		seq_printf(s, "%s ttl=%u route_ifindex=%d mac=%pM state=%s rules=%d packets=%llu\n", name, encap->ttl,
			   encap->route_ifindex, encap->header, encap->ready ? "resolved" : "slow", encap->refs,
			   encap->packets);
	}
	mutex_unlock(&pf->encap_lock);
}
