// SPDX-License-Identifier: GPL-2.0
/*
 * The devlink instance: eswitch mode, inline mode, encap mode, reload, info, and the functions behind VF ports. The
 * core calls all of it with the instance's lock held. Refusals are the contract's §1.
 */
#include "esim.h"

static struct esim_pf *pf_of(struct devlink *devlink)
{
	return devlink_priv(devlink);
}

/* Software's wish becomes the uplink's feature, as a driver's does when the representor takes over. */
static void uplink_want_hw_tc(struct esim_pf *pf)
{
	struct net_device *dev = pf->ports[0].rep_dev;

	if (!pf->caps.uplink_hw_tc || !pf->caps.tc || !dev)
		return;
	rtnl_lock();
	dev->wanted_features |= NETIF_F_HW_TC;
	netdev_update_features(dev);
	rtnl_unlock();
}

static void uplink_pin(struct esim_pf *pf, bool pinned)
{
	if (!pf->ports[0].rep_dev)
		return;
	rtnl_lock();
	esim_pin_netns(pf->ports[0].rep_dev, pinned);
	rtnl_unlock();
}

int esim_mode_switchdev(struct esim_pf *pf)
{
	int i, err;

	WRITE_ONCE(pf->mode, DEVLINK_ESWITCH_MODE_SWITCHDEV);
	uplink_pin(pf, true);
	err = esim_reps_create(pf, pf->num_vfs);
	if (!err)
		err = esim_indirect_start(pf);
	if (err) {
		esim_mode_legacy(pf);
		return err;
	}
	uplink_want_hw_tc(pf);
	for (i = 1; i <= pf->num_vfs; i++)
		esim_carrier_update(&pf->ports[i]);
	return 0;
}

void esim_mode_legacy(struct esim_pf *pf)
{
	int i;

	esim_indirect_stop(pf);
	esim_reps_destroy(pf);
	WRITE_ONCE(pf->mode, DEVLINK_ESWITCH_MODE_LEGACY);
	uplink_pin(pf, false);
	for (i = 1; i <= pf->num_vfs; i++)
		esim_carrier_update(&pf->ports[i]);
}

static int mode_get(struct devlink *devlink, u16 *mode)
{
	*mode = pf_of(devlink)->mode;
	return 0;
}

static int mode_change(struct esim_pf *pf, u16 mode, struct netlink_ext_ack *extack)
{
	int err = 0;

	if (mode != DEVLINK_ESWITCH_MODE_LEGACY && mode != DEVLINK_ESWITCH_MODE_SWITCHDEV)
		return -EINVAL;
	if (mode == pf->mode)
		return 0;
	if (!down_write_trylock(&pf->mode_sem))
		return ESIM_REFUSE(extack, EBUSY, "Can't change mode, E-Switch is busy");
	/* Every offloaded filter is a user of the eswitch. */
	if (pf->n_rules || pf->busy)
		err = ESIM_REFUSE(extack, EBUSY, "Can't change mode, E-Switch is busy");
	if (!err)
		err = esim_fault(pf, ESIM_OP_MODE_SET);
	if (!err && mode == DEVLINK_ESWITCH_MODE_SWITCHDEV) {
		err = esim_mode_switchdev(pf);
		if (err)
			ESIM_SAY(extack, "Failed setting eswitch to offloads");
	} else if (!err) {
		esim_mode_legacy(pf);
	}
	up_write(&pf->mode_sem);
	return err;
}

static int mode_set(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack)
{
	struct esim_pf *pf = pf_of(devlink);
	int err = mode_change(pf, mode, extack);

	esim_ring_add(pf->journal, "mode_set mode=%s result=%d",
		      mode == DEVLINK_ESWITCH_MODE_SWITCHDEV ? "switchdev" : "legacy", err);
	return err;
}

/* As a device that needs no inlined headers at all: "none" is what it has and all it takes. */
static int inline_mode_get(struct devlink *devlink, u8 *mode)
{
	*mode = DEVLINK_ESWITCH_INLINE_MODE_NONE;
	return 0;
}

static int inline_mode_set(struct devlink *devlink, u8 mode, struct netlink_ext_ack *extack)
{
	if (mode != DEVLINK_ESWITCH_INLINE_MODE_NONE)
		return ESIM_REFUSE(extack, EOPNOTSUPP, "Inline mode can't be set");
	return 0;
}

static int encap_mode_get(struct devlink *devlink, enum devlink_eswitch_encap_mode *mode)
{
	struct esim_pf *pf = pf_of(devlink);

	*mode = pf->caps.encap ? pf->encap_mode : DEVLINK_ESWITCH_ENCAP_MODE_NONE;
	return 0;
}

static int encap_mode_set(struct devlink *devlink, enum devlink_eswitch_encap_mode mode, struct netlink_ext_ack *extack)
{
	struct esim_pf *pf = pf_of(devlink);
	int err = 0;

	if (mode != DEVLINK_ESWITCH_ENCAP_MODE_NONE && (mode != DEVLINK_ESWITCH_ENCAP_MODE_BASIC || !pf->caps.encap))
		return -EOPNOTSUPP;
	if (!down_write_trylock(&pf->mode_sem))
		return ESIM_REFUSE(extack, EBUSY, "Can't change mode, E-Switch is busy");
	if (pf->encap_mode != mode && pf->mode == DEVLINK_ESWITCH_MODE_SWITCHDEV && pf->n_rules)
		err = ESIM_REFUSE(extack, EOPNOTSUPP, "Can't set encapsulation when flows are configured");
	if (!err)
		pf->encap_mode = mode;
	up_write(&pf->mode_sem);
	esim_ring_add(pf->journal, "encap_mode_set mode=%d result=%d", mode, err);
	return err;
}

/* What a reload and a recovery of the firmware have in common: mode legacy, netdevs new, rules gone. */
static void netdevs_down(struct esim_pf *pf)
{
	/* No new rule; removing the netdevs removes the old ones through tc. */
	WRITE_ONCE(pf->resetting, true);
	esim_mode_legacy(pf);
	esim_uplink_destroy(pf);
}

static int netdevs_up(struct esim_pf *pf)
{
	WRITE_ONCE(pf->resetting, false);
	return esim_uplink_create(pf);
}

static int reload_down(struct devlink *devlink, bool netns_change, enum devlink_reload_action action,
		       enum devlink_reload_limit limit, struct netlink_ext_ack *extack)
{
	struct esim_pf *pf = pf_of(devlink);

	if (netns_change)
		return -EOPNOTSUPP;
	if (pf->num_vfs)
		ESIM_SAY(extack, "reload while VFs are present is unfavorable");
	netdevs_down(pf);
	esim_ring_add(pf->journal, "reload");
	return 0;
}

static int reload_up(struct devlink *devlink, enum devlink_reload_action action, enum devlink_reload_limit limit,
		     u32 *actions_performed, struct netlink_ext_ack *extack)
{
	*actions_performed = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT);
	return netdevs_up(pf_of(devlink));
}

/* The knob "reset": what a fatal error and its recovery leave behind. */
void esim_reset_fn(struct work_struct *work)
{
	struct esim_pf *pf = container_of(work, struct esim_pf, reset_work);
	int err;

	devl_lock(pf->devlink);
	netdevs_down(pf);
	err = netdevs_up(pf);
	devl_unlock(pf->devlink);
	esim_ring_add(pf->journal, "reset result=%d", err);
}

static int info_get(struct devlink *devlink, struct devlink_info_req *req, struct netlink_ext_ack *extack)
{
	int err = esim_info_driver(req, ESIM_NAME);

	return err ? err : devlink_info_version_running_put(req, "fw.version", "0.0.1");
}

int esim_hw_addr_get(struct devlink_port *dl_port, u8 *addr, int *len, struct netlink_ext_ack *extack)
{
	struct esim_port *port = container_of(dl_port, struct esim_port, dl_port);

	if (esim_is_uplink(port))
		return -EOPNOTSUPP;
	ether_addr_copy(addr, port->hw_addr);
	*len = ETH_ALEN;
	return 0;
}

int esim_hw_addr_set(struct devlink_port *dl_port, const u8 *addr, int len, struct netlink_ext_ack *extack)
{
	struct esim_port *port = container_of(dl_port, struct esim_port, dl_port);
	int err;

	if (esim_is_uplink(port) || len != ETH_ALEN)
		return -EOPNOTSUPP;
	if (is_multicast_ether_addr(addr))
		return -EINVAL;
	err = esim_fault(port->pf, ESIM_OP_HW_ADDR);
	if (!err)
		ether_addr_copy(port->hw_addr, addr); /* the VF's driver reads it when it binds next */
	esim_ring_add(port->pf->journal, "hw_addr vf=%d addr=%pM result=%d", port->number - 1, addr, err);
	return err;
}

const struct devlink_ops esim_devlink_ops = {
	.reload_actions = BIT(DEVLINK_RELOAD_ACTION_DRIVER_REINIT),
	.reload_down = reload_down,
	.reload_up = reload_up,
	.eswitch_mode_get = mode_get,
	.eswitch_mode_set = mode_set,
	.eswitch_inline_mode_get = inline_mode_get,
	.eswitch_inline_mode_set = inline_mode_set,
	.eswitch_encap_mode_get = encap_mode_get,
	.eswitch_encap_mode_set = encap_mode_set,
	.info_get = info_get,
#if !ESIM_PORT_OPS
	.port_function_hw_addr_get = esim_hw_addr_get,
	.port_function_hw_addr_set = esim_hw_addr_set,
#endif
};

#if ESIM_PORT_OPS
const struct devlink_port_ops esim_vf_port_ops = {
	.port_fn_hw_addr_get = esim_hw_addr_get,
	.port_fn_hw_addr_set = esim_hw_addr_set,
};
#endif
