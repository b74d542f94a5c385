/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernels this module is built for: the only file that asks for a version. Each entry
 * says what the difference is; the rest of the module uses the names defined here.
 */
#ifndef ESIM_COMPAT_H
#define ESIM_COMPAT_H

#include <linux/netdevice.h>
#include <linux/version.h>
#include <net/devlink.h>
#include <net/dst_metadata.h>
#include <net/flow_offload.h>
#include <net/ip_tunnels.h>
#include <net/pkt_cls.h>

#define ESIM_SINCE(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

#if ESIM_SINCE(6, 12)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/* Where the kernel under us restores chains, a driver tells it in which one a packet missed. */
#if IS_ENABLED(CONFIG_NET_TC_SKB_EXT)
#define ESIM_SKB_EXT 1
#else
#define ESIM_SKB_EXT 0
#endif

/* Since 6.3 software goes on at the very action that missed (act_miss_cookie), before: at the start of the chain. */
#define ESIM_ACT_MISS (ESIM_SKB_EXT && ESIM_SINCE(6, 3))

/* What mlx5 is built with: from 6.3 on none of its tc offload without the extension, before: all but conntrack. */
#define ESIM_KERNEL_TC (ESIM_SKB_EXT || !ESIM_SINCE(6, 3))
#define ESIM_KERNEL_CT ESIM_SKB_EXT

/* What may follow a meter: since 6.2 of both colours pipe, ok, jump or drop, before only pipe and drop, in this order. */
#define ESIM_POLICE_BRANCHES ESIM_SINCE(6, 2)

/* mlx5 takes several ct actions in a rule since 6.4 and keeps a connection in one of its two tables since 6.11. */
#define ESIM_MULTI_CT	  ESIM_SINCE(6, 4)
#define ESIM_CT_ONE_TABLE ESIM_SINCE(6, 11)

/* netdev and devlink port know each other through an ndo and a later call, or (6.2) before registration. */
#define ESIM_PORT_BY_NDO !ESIM_SINCE(6, 2)

static inline void esim_port_link(struct net_device *dev, struct devlink_port *port)
{
#if !ESIM_PORT_BY_NDO
	SET_NETDEV_DEVLINK_PORT(dev, port);
#endif
}

static inline void esim_port_linked(struct net_device *dev, struct devlink_port *port)
{
#if ESIM_PORT_BY_NDO
	devlink_port_type_eth_set(port, dev);
#endif
}

static inline void esim_port_unlink(struct devlink_port *port)
{
#if ESIM_PORT_BY_NDO
	devlink_port_type_clear(port);
#endif
}

/* Port functions' operations are the device's, or (6.5) the port's own. */
#define ESIM_PORT_OPS ESIM_SINCE(6, 5)

#if !ESIM_PORT_OPS
struct devlink_port_ops;
#endif

static inline int esim_port_register(struct devlink *devlink, struct devlink_port *port, unsigned int index,
				     const struct devlink_port_ops *ops)
{
#if ESIM_PORT_OPS
	return devl_port_register_with_ops(devlink, port, index, ops);
#else
	return devl_port_register(devlink, port, index);
#endif
}

/* The core knows a driver's name itself since 6.2. */
static inline int esim_info_driver(struct devlink_info_req *req, const char *name)
{
#if ESIM_SINCE(6, 2)
	return 0;
#else
	return devlink_info_driver_name_put(req, name);
#endif
}

/* Who has the operations can be reloaded; until 6.4 it had to be said. */
static inline void esim_reloadable(struct devlink *devlink)
{
#if !ESIM_SINCE(6, 4)
	devlink_set_features(devlink, DEVLINK_F_RELOAD);
#endif
}

/* The setter of a parameter has an extack of its own since 6.10. */
#if ESIM_SINCE(6, 10)
#define ESIM_PARAM_SET_EXTACK , struct netlink_ext_ack *extack
#else
#define ESIM_PARAM_SET_EXTACK
#endif

/* A device that must stay in its netns, and one whose transmit takes no lock: features until 6.12. */
static inline void esim_pin_netns(struct net_device *dev, bool pinned)
{
#if ESIM_SINCE(6, 15)
	dev->netns_immutable = pinned;
#elif ESIM_SINCE(6, 12)
	dev->netns_local = pinned;
#else
	if (pinned)
		dev->features |= NETIF_F_NETNS_LOCAL;
	else
		dev->features &= ~NETIF_F_NETNS_LOCAL;
#endif
}

static inline void esim_lockless_tx(struct net_device *dev)
{
#if ESIM_SINCE(6, 12)
	dev->lltx = true;
#else
	dev->features |= NETIF_F_LLTX;
#endif
	dev->priv_flags |= IFF_NO_QUEUE;
}

/* The user's cookie of an action was renamed in 6.3, when the action's own identity came in beside it. */
static inline const struct flow_action_cookie *esim_user_cookie(const struct flow_action_entry *entry)
{
#if ESIM_SINCE(6, 3)
	return entry->user_cookie;
#else
	return entry->cookie;
#endif
}

/* Which tc action an entry comes from: known since 6.3; before, its index, unique among actions of its kind. */
static inline u64 esim_action_identity(const struct flow_action_entry *entry)
{
#if ESIM_SINCE(6, 3)
	return entry->cookie;
#else
	u64 kind;

	switch (entry->id) {
	case FLOW_ACTION_ACCEPT:
	case FLOW_ACTION_DROP:
	case FLOW_ACTION_TRAP:
	case FLOW_ACTION_GOTO:
		kind = FLOW_ACTION_ACCEPT;
		break;
	case FLOW_ACTION_MIRRED:
		kind = FLOW_ACTION_REDIRECT;
		break;
	case FLOW_ACTION_VLAN_POP:
	case FLOW_ACTION_VLAN_MANGLE:
		kind = FLOW_ACTION_VLAN_PUSH;
		break;
	case FLOW_ACTION_TUNNEL_DECAP:
		kind = FLOW_ACTION_TUNNEL_ENCAP;
		break;
	case FLOW_ACTION_ADD:
		kind = FLOW_ACTION_MANGLE;
		break;
	default:
		kind = entry->id;
	}
	return (kind + 1) << 32 | entry->hw_index;
#endif
}

static inline u64 esim_miss_cookie(const struct flow_action_entry *entry)
{
#if ESIM_SINCE(6, 3)
	return entry->miss_cookie;
#else
	return 0;
#endif
}

/* Tells software where to go on; false: no memory, the packet must be dropped. */
static inline bool esim_set_restart(struct sk_buff *skb, u32 chain, u64 miss_cookie)
{
#if ESIM_SKB_EXT
	struct tc_skb_ext *ext = tc_skb_ext_alloc(skb);

	if (!ext)
		return false;
#if ESIM_ACT_MISS
	if (miss_cookie) {
		ext->act_miss = 1;
		ext->act_miss_cookie = miss_cookie;
		return true;
	}
#endif
	ext->chain = chain;
#endif
	return true;
}

static inline void esim_restart_enable(bool on)
{
#if ESIM_SKB_EXT
	if (on)
		tc_skb_ext_tc_enable();
	else
		tc_skb_ext_tc_disable();
#endif
}

/* Texts with numbers in them came in 6.3. */
static inline int esim_refuse_flags(struct netlink_ext_ack *extack, u32 flags)
{
#if ESIM_SINCE(6, 3)
	NL_SET_ERR_MSG_FMT(extack, "mlx5_core: Unsupported match on control.flags %#x", flags);
#else
	NL_SET_ERR_MSG(extack, "mlx5_core: Match on frag first/later is not supported");
#endif
	return -EOPNOTSUPP;
}

/* Tunnel flags became a bitmap in 6.10. */
static inline struct metadata_dst *esim_tunnel_dst(bool ipv6, const struct in6_addr *src, const struct in6_addr *dst,
						   u8 tos, u8 ttl, __be16 port, __be32 vni)
{
	struct metadata_dst *md = tun_rx_dst(0);
	struct ip_tunnel_key *key;

	if (!md)
		return NULL;
	key = &md->u.tun_info.key;
	memset(key, 0, sizeof(*key));
	key->tun_id = key32_to_tunnel_id(vni);
	key->tos = tos;
	key->ttl = ttl;
	key->tp_dst = port;
	if (ipv6) {
		md->u.tun_info.mode = IP_TUNNEL_INFO_IPV6;
		key->u.ipv6.src = *src;
		key->u.ipv6.dst = *dst;
	} else {
		key->u.ipv4.src = src->s6_addr32[0];
		key->u.ipv4.dst = dst->s6_addr32[0];
	}
#if ESIM_SINCE(6, 10)
	__set_bit(IP_TUNNEL_KEY_BIT, key->tun_flags);
#else
	key->tun_flags = TUNNEL_KEY;
#endif
	return md;
}

#endif
