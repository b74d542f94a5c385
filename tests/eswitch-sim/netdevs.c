// SPDX-License-Identifier: GPL-2.0
/*
 * The netdevs: the uplink (the PF's own, which stays over a change of mode), VF representors, VFs, and the wire, the
 * far end of the uplink's cable. Transmitting only queues: the pipeline runs elsewhere (pipeline.c).
 */
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <net/udp_tunnel.h>

#include "esim.h"

struct netdev_priv {
	struct esim_port *port;
};

static struct esim_port *port_of(const struct net_device *dev)
{
	return ((struct netdev_priv *)netdev_priv(dev))->port;
}

/* --- the side of the host: uplink and representors --- */

static netdev_tx_t rep_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct esim_port *port = port_of(dev);

	esim_count(&port->from_rep, skb->len);
	esim_from_rep(port, skb);
	return NETDEV_TX_OK;
}

static int rep_open(struct net_device *dev)
{
	struct esim_port *port = port_of(dev);

	/* A representor's state is the administrative state of the VF's port; the uplink's carrier is the cable's. */
	if (!esim_is_uplink(port))
		netif_carrier_on(dev);
	esim_carrier_update(port);
	return 0;
}

static int rep_stop(struct net_device *dev)
{
	struct esim_port *port = port_of(dev);

	if (!esim_is_uplink(port))
		netif_carrier_off(dev);
	esim_carrier_update(port);
	return 0;
}

static int rep_set_features(struct net_device *dev, netdev_features_t features)
{
	struct esim_port *port = port_of(dev);

	if (!esim_is_uplink(port) || !((dev->features ^ features) & NETIF_F_HW_TC) || (features & NETIF_F_HW_TC))
		return 0;
	if (!READ_ONCE(port->pf->n_rules))
		return 0;
	netdev_err(dev, "Active offloaded tc filters, can't turn hw_tc_offload off\n");
	return -EINVAL;
}

static void fill_stats(struct rtnl_link_stats64 *stats, struct esim_traffic *rx, struct esim_traffic *tx)
{
	stats->rx_packets = atomic64_read(&rx->packets);
	stats->rx_bytes = atomic64_read(&rx->bytes);
	stats->tx_packets = atomic64_read(&tx->packets);
	stats->tx_bytes = atomic64_read(&tx->bytes);
}

/* As mlx5: a representor's counters are those of the whole port, software's share is asked for by name. */
static void rep_stats(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct esim_port *port = port_of(dev);

	fill_stats(stats, &port->from_far, &port->to_far);
}

static bool rep_has_offload_stats(const struct net_device *dev, int attr)
{
	return attr == IFLA_OFFLOAD_XSTATS_CPU_HIT;
}

static int rep_offload_stats(int attr, const struct net_device *dev, void *data)
{
	struct esim_port *port = port_of(dev);

	if (attr != IFLA_OFFLOAD_XSTATS_CPU_HIT)
		return -EINVAL;
	memset(data, 0, sizeof(struct rtnl_link_stats64));
	fill_stats(data, &port->to_rep, &port->from_rep);
	return 0;
}

#if ESIM_PORT_BY_NDO
static struct devlink_port *rep_devlink_port(struct net_device *dev)
{
	return &port_of(dev)->dl_port;
}
#endif

static const struct net_device_ops rep_ops = {
	.ndo_open = rep_open,
	.ndo_stop = rep_stop,
	.ndo_start_xmit = rep_xmit,
	.ndo_setup_tc = esim_setup_tc,
	.ndo_set_features = rep_set_features,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_get_stats64 = rep_stats,
	.ndo_has_offload_stats = rep_has_offload_stats,
	.ndo_get_offload_stats = rep_offload_stats,
#if ESIM_PORT_BY_NDO
	.ndo_get_devlink_port = rep_devlink_port,
#endif
};

struct esim_port *esim_port_of_rep(const struct net_device *dev)
{
	return dev->netdev_ops == &rep_ops ? port_of(dev) : NULL;
}

/* --- the far side: VFs and the wire --- */

static netdev_tx_t far_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct esim_port *port = port_of(dev);

	esim_count(&port->from_far, skb->len);
	esim_from_far(port, skb);
	return NETDEV_TX_OK;
}

static int far_open(struct net_device *dev)
{
	esim_carrier_update(port_of(dev));
	return 0;
}

static int far_stop(struct net_device *dev)
{
	esim_carrier_update(port_of(dev));
	return 0;
}

static void far_stats(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct esim_port *port = port_of(dev);

	fill_stats(stats, &port->to_far, &port->from_far);
}

static const struct net_device_ops far_ops = {
	.ndo_open = far_open,
	.ndo_stop = far_stop,
	.ndo_start_xmit = far_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_get_stats64 = far_stats,
};

static void set_carrier(struct net_device *dev, bool on)
{
	if (on)
		netif_carrier_on(dev);
	else
		netif_carrier_off(dev);
}

/* The core sets the bit before ndo_open and clears it before ndo_stop, so that both see the state to come. */
static bool is_up(const struct net_device *dev)
{
	return dev && test_bit(__LINK_STATE_START, &dev->state);
}

void esim_carrier_update(struct esim_port *port)
{
	struct net_device *rep, *far;
	bool legacy = READ_ONCE(port->pf->mode) == DEVLINK_ESWITCH_MODE_LEGACY;

	rcu_read_lock();
	rep = rcu_dereference(port->rep);
	far = rcu_dereference(port->far);
	if (esim_is_uplink(port)) {
		bool cable = READ_ONCE(port->pf->carrier);

		if (rep)
			set_carrier(rep, cable && is_up(far));
		if (far)
			set_carrier(far, cable);
	} else if (far) {
		set_carrier(far, legacy || is_up(rep));
	}
	rcu_read_unlock();
}

/* --- birth and death --- */

static void drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	struct esim_port *port = port_of(dev);

	strscpy(info->driver, ESIM_NAME, sizeof(info->driver));
	strscpy(info->bus_info, dev->dev.parent ? dev_name(dev->dev.parent) : "", sizeof(info->bus_info));
	snprintf(info->fw_version, sizeof(info->fw_version), "port %u", port->number);
}

static const struct ethtool_ops ethtool = {.get_drvinfo = drvinfo, .get_link = ethtool_op_get_link};

static struct net_device *make_netdev(struct esim_port *port, const struct net_device_ops *ops, struct device *parent)
{
	struct net_device *dev = alloc_etherdev(sizeof(struct netdev_priv));

	if (!dev)
		return NULL;
	((struct netdev_priv *)netdev_priv(dev))->port = port;
	dev->netdev_ops = ops;
	dev->ethtool_ops = &ethtool;
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = 9978;
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE; /* as NICs' drivers do: while it is up, too */
	esim_lockless_tx(dev);
	eth_hw_addr_random(dev);
	if (parent)
		SET_NETDEV_DEV(dev, parent);
	netif_carrier_off(dev);
	return dev;
}

static int far_register(struct esim_port *port, struct net_device *dev)
{
	int err;

	/* Before registration: who opens it at once asks for the carrier. */
	rcu_assign_pointer(port->far, dev);
	err = register_netdev(dev);
	if (err) {
		RCU_INIT_POINTER(port->far, NULL);
		synchronize_net();
		free_netdev(dev);
		return err;
	}
	port->far_dev = dev;
	esim_carrier_update(port);
	return 0;
}

int esim_vf_netdev_create(struct esim_port *port, struct pci_dev *vf)
{
	struct net_device *dev = make_netdev(port, &far_ops, &vf->dev);

	if (!dev)
		return -ENOMEM;
	if (!is_zero_ether_addr(port->hw_addr))
		eth_hw_addr_set(dev, port->hw_addr);
	return far_register(port, dev);
}

int esim_wire_create(struct esim_pf *pf)
{
	struct net_device *dev = make_netdev(&pf->ports[0], &far_ops, NULL);

	if (!dev)
		return -ENOMEM;
	snprintf(dev->name, IFNAMSIZ, "wire%dp%d", pf->card->number, pf->number);
	return far_register(&pf->ports[0], dev);
}

void esim_far_destroy(struct esim_port *port)
{
	struct net_device *dev = port->far_dev;

	if (!dev)
		return;
	port->far_dev = NULL;
	RCU_INIT_POINTER(port->far, NULL);
	unregister_netdev(dev);
	free_netdev(dev);
}

static int rep_register(struct esim_port *port, struct net_device *dev)
{
	struct devlink_port_attrs attrs = {};
	struct esim_pf *pf = port->pf;
	int err;

	memset(&port->dl_port, 0, sizeof(port->dl_port));
	attrs.switch_id.id_len = sizeof(pf->card->switch_id);
	memcpy(attrs.switch_id.id, pf->card->switch_id, attrs.switch_id.id_len);
	if (esim_is_uplink(port)) {
		attrs.flavour = DEVLINK_PORT_FLAVOUR_PHYSICAL;
		attrs.phys.port_number = pf->number;
		devlink_port_attrs_set(&port->dl_port, &attrs);
	} else {
		port->dl_port.attrs.switch_id = attrs.switch_id;
		devlink_port_attrs_pci_vf_set(&port->dl_port, 0, pf->number, port->number - 1, false);
	}
	err = esim_port_register(pf->devlink, &port->dl_port, esim_is_uplink(port) ? 0xffff : port->number,
				 esim_is_uplink(port) ? NULL : &esim_vf_port_ops);
	if (err)
		return err;
	esim_port_link(dev, &port->dl_port);
	rcu_assign_pointer(port->rep, dev);
	err = register_netdev(dev);
	if (err) {
		RCU_INIT_POINTER(port->rep, NULL);
		synchronize_net();
		devl_port_unregister(&port->dl_port);
		return err;
	}
	esim_port_linked(dev, &port->dl_port);
	port->rep_dev = dev;
	esim_carrier_update(port);
	return 0;
}

static void rep_destroy(struct esim_port *port)
{
	struct net_device *dev = port->rep_dev;

	if (!dev)
		return;
	port->rep_dev = NULL;
	esim_port_unlink(&port->dl_port);
	RCU_INIT_POINTER(port->rep, NULL);
	unregister_netdev(dev);
	free_netdev(dev);
	devl_port_unregister(&port->dl_port);
}

int esim_uplink_create(struct esim_pf *pf)
{
	struct net_device *dev = make_netdev(&pf->ports[0], &rep_ops, &pf->pdev->dev);
	int err;

	if (!dev)
		return -ENOMEM;
	eth_hw_addr_set(dev, (u8[]){0x02, 0xe5, 0x17, 0, pf->card->number, pf->number});
	if (pf->caps.tc)
		dev->hw_features |= NETIF_F_HW_TC;
	dev->udp_tunnel_nic_info = &esim_udp_tunnels;
	dev->hw_features |= NETIF_F_RX_UDP_TUNNEL_PORT;
	dev->features |= NETIF_F_RX_UDP_TUNNEL_PORT;
	err = rep_register(&pf->ports[0], dev);
	if (err)
		free_netdev(dev);
	return err;
}

void esim_uplink_destroy(struct esim_pf *pf)
{
	rep_destroy(&pf->ports[0]);
}

int esim_reps_create(struct esim_pf *pf, int n)
{
	int i, err;

	for (i = 1; i <= n; i++) {
		struct net_device *dev = make_netdev(&pf->ports[i], &rep_ops, &pf->pdev->dev);

		if (!dev) {
			err = -ENOMEM;
			goto undo;
		}
		esim_pin_netns(dev, true);
		if (pf->caps.tc) {
			dev->hw_features |= NETIF_F_HW_TC;
			dev->features |= NETIF_F_HW_TC;
		}
		err = rep_register(&pf->ports[i], dev);
		if (err) {
			free_netdev(dev);
			goto undo;
		}
	}
	return 0;
undo:
	esim_reps_destroy(pf);
	return err;
}

void esim_reps_destroy(struct esim_pf *pf)
{
	int i;

	for (i = 1; i < pf->n_ports; i++)
		rep_destroy(&pf->ports[i]);
}
