// SPDX-License-Identifier: GPL-2.0
/*
 * tc's blocks: binding them to representors (directly) and to tunnel devices (indirectly, while in switchdev mode),
 * and the three commands on rules that arrive through them, without RTNL.
 */
#include <net/vxlan.h>

#include "esim.h"

/* A block of one device; the identity within which tc's cookies are unique. */
struct binding {
	struct list_head list;
	struct esim_pf *pf;
	struct esim_port *port;
	struct net_device *dev;
	bool tunnel;
};

static bool chains_supported(const struct esim_pf *pf)
{
	return pf->caps.reg_c1_loopback && pf->caps.modify_fwd_to_table &&
	       (pf->caps.multi_fdb_encap || pf->encap_mode == DEVLINK_ESWITCH_ENCAP_MODE_NONE);
}

static int check_place(struct esim_pf *pf, const struct flow_cls_common_offload *common)
{
	u32 chain_max = pf->caps.ignore_flow_level ? ~0u - 1 : 3, prio_max = pf->caps.ignore_flow_level ? 65535 : 16;

	if (!chains_supported(pf)) {
		chain_max = 0;
		prio_max = 1;
	}
	if (common->chain_index > chain_max)
		return ESIM_REFUSE(common->extack, EOPNOTSUPP, "Requested chain is out of supported range");
	if (common->prio > prio_max)
		return ESIM_REFUSE(common->extack, EOPNOTSUPP, "Requested priority is out of supported range");
	return 0;
}

static void take_user_cookie(struct esim_rule *rule, const struct flow_action *actions)
{
	const struct flow_action_entry *act;
	int i;

	flow_action_for_each (i, act, actions) {
		const struct flow_action_cookie *cookie = esim_user_cookie(act);

		if (cookie && cookie->cookie_len <= sizeof(rule->user_cookie)) {
			rule->user_cookie_len = cookie->cookie_len;
			memcpy(rule->user_cookie, cookie->cookie, cookie->cookie_len);
		}
	}
}

static int rule_create(struct binding *binding, struct flow_cls_offload *f)
{
	struct esim_pf *pf = binding->pf;
	struct esim_parse p = {
		.pf = pf,
		.port = binding->port,
		.filter_dev = binding->dev,
		.tunnel = binding->tunnel,
		.f = f,
		.flow = flow_cls_offload_flow_rule(f),
		.extack = f->common.extack,
	};
	struct esim_rule *rule = kzalloc(struct_size(rule, actions, ESIM_MAX_ACTIONS), GFP_KERNEL);
	int err;

	if (!rule)
		return -ENOMEM;
	p.rule = rule;
	rule->pf = pf;
	rule->binding = binding;
	rule->cookie = f->cookie;
	rule->chain = f->common.chain_index;
	rule->prio = f->common.prio;
	rule->port = binding->port->number;
	rule->tunnel = binding->tunnel;
	take_user_cookie(rule, &p.flow->action);
	mutex_lock(&pf->rules_lock);
	if (esim_rule_find(pf, f->cookie, binding))
		err = -EEXIST;
	else
		err = esim_parse_match(&p);
	if (!err)
		err = esim_parse_actions(&p);
	if (!err)
		err = esim_act_stats_add(&p);
	if (!err)
		err = esim_rule_add(rule, p.extack);
	if (err)
		esim_rule_free(rule);
	mutex_unlock(&pf->rules_lock);
	return err;
}

static int replace(struct binding *binding, struct flow_cls_offload *f)
{
	struct esim_pf *pf = binding->pf;
	int err;

	/* As on a card whose eswitch is held by a change of mode: try again later. */
	if (!down_read_trylock(&pf->mode_sem))
		return -EBUSY;
	if (READ_ONCE(pf->busy) || READ_ONCE(pf->resetting)) {
		err = -EBUSY;
	} else if (READ_ONCE(pf->mode) != DEVLINK_ESWITCH_MODE_SWITCHDEV || !pf->ports[0].rep_dev) {
		err = -EOPNOTSUPP;
	} else if (!tc_can_offload_extack(binding->tunnel ? pf->ports[0].rep_dev : binding->dev, f->common.extack)) {
		err = -EOPNOTSUPP;
	} else {
		err = esim_fault(pf, ESIM_OP_REPLACE);
		if (!err)
			err = check_place(pf, &f->common);
		if (!err)
			err = rule_create(binding, f);
	}
	up_read(&pf->mode_sem);
	return err;
}

static int destroy(struct binding *binding, struct flow_cls_offload *f)
{
	struct esim_pf *pf = binding->pf;
	struct esim_rule *rule;
	int err = esim_fault(pf, ESIM_OP_DESTROY);

	mutex_lock(&pf->rules_lock);
	rule = esim_rule_find(pf, f->cookie, binding);
	/* tc forgets the filter whatever we say, so an injected error must not leave a rule whose filter is gone. */
	if (rule)
		esim_rule_remove(rule);
	mutex_unlock(&pf->rules_lock);
	return rule ? err : -ENOENT;
}

static int stats(struct binding *binding, struct flow_cls_offload *f)
{
	struct esim_pf *pf = binding->pf;
	struct esim_rule *rule;
	int err = esim_fault(pf, ESIM_OP_STATS);

	if (err)
		return err;
	mutex_lock(&pf->rules_lock);
	rule = esim_rule_find(pf, f->cookie, binding);
	if (rule) {
		struct esim_counter *c = &rule->counter;

		flow_stats_update(&f->stats, c->cached_bytes - c->told_bytes, c->cached_packets - c->told_packets, 0,
				  c->cached_used, FLOW_ACTION_HW_STATS_DELAYED);
		c->told_bytes = c->cached_bytes;
		c->told_packets = c->cached_packets;
	}
	mutex_unlock(&pf->rules_lock);
	return rule ? 0 : -ENOENT;
}

static void note(struct binding *binding, const char *op, const struct flow_cls_offload *f, int err)
{
	const struct netlink_ext_ack *extack = f->common.extack;

	esim_ring_add(binding->pf->journal, "%s dev=%s chain=%u prio=%u cookie=%lx result=%d%s%s", op,
		      binding->dev->name, f->common.chain_index, f->common.prio, f->cookie, err,
		      err && extack && extack->_msg ? " text=" : "", err && extack && extack->_msg ? extack->_msg : "");
}

static int block_cb(enum tc_setup_type type, void *data, void *priv)
{
	struct flow_cls_offload *f = data;
	struct binding *binding = priv;
	int err;

	if (type != TC_SETUP_CLSFLOWER)
		return -EOPNOTSUPP;
	switch (f->command) {
	case FLOW_CLS_REPLACE:
		err = replace(binding, f);
		note(binding, "replace", f, err);
		return err;
	case FLOW_CLS_DESTROY:
		err = destroy(binding, f);
		if (err != -ENOENT)
			note(binding, "destroy", f, err);
		return err;
	case FLOW_CLS_STATS:
		return stats(binding, f);
	default:
		return -EOPNOTSUPP;
	}
}

static struct binding *binding_find(struct list_head *bindings, const struct net_device *dev)
{
	struct binding *binding;

	list_for_each_entry (binding, bindings, list)
		if (binding->dev == dev)
			return binding;
	return NULL;
}

static void binding_release(void *priv)
{
	struct binding *binding = priv;

	list_del(&binding->list);
	kfree(binding);
}

static struct binding *binding_create(struct list_head *bindings, struct esim_port *port, struct net_device *dev,
				      bool tunnel)
{
	struct binding *binding = kzalloc(sizeof(*binding), GFP_KERNEL);

	if (!binding)
		return NULL;
	binding->pf = port->pf;
	binding->port = port;
	binding->dev = dev;
	binding->tunnel = tunnel;
	list_add_tail(&binding->list, bindings);
	return binding;
}

static LIST_HEAD(direct_cbs);
static LIST_HEAD(indirect_cbs);

static int bind_direct(struct esim_port *port, struct net_device *dev, struct flow_block_offload *f)
{
	struct binding *binding;
	struct flow_block_cb *cb;

	if (!port->pf->caps.tc)
		return -EOPNOTSUPP;
	if (binding_find(&port->pf->direct_blocks, dev))
		return -EBUSY;
	binding = binding_create(&port->pf->direct_blocks, port, dev, false);
	if (!binding)
		return -ENOMEM;
	cb = flow_block_cb_alloc(block_cb, binding, binding, binding_release);
	if (IS_ERR(cb)) {
		binding_release(binding);
		return PTR_ERR(cb);
	}
	flow_block_cb_add(cb, f);
	list_add_tail(&cb->driver_list, &direct_cbs);
	return 0;
}

static int unbind_direct(struct esim_port *port, struct net_device *dev, struct flow_block_offload *f)
{
	struct binding *binding = binding_find(&port->pf->direct_blocks, dev);
	struct flow_block_cb *cb = binding ? flow_block_cb_lookup(f->block, block_cb, binding) : NULL;

	if (!cb)
		return -EOPNOTSUPP;
	flow_block_cb_remove(cb, f);
	list_del(&cb->driver_list);
	return 0;
}

int esim_setup_tc(struct net_device *dev, enum tc_setup_type type, void *data)
{
	struct flow_block_offload *f = data;
	struct esim_port *port = esim_port_of_rep(dev);

	if (type != TC_SETUP_BLOCK || f->binder_type != FLOW_BLOCK_BINDER_TYPE_CLSACT_INGRESS)
		return -EOPNOTSUPP;
	f->unlocked_driver_cb = true;
	f->driver_block_list = &direct_cbs;
	switch (f->command) {
	case FLOW_BLOCK_BIND:
		return bind_direct(port, dev, f);
	case FLOW_BLOCK_UNBIND:
		return unbind_direct(port, dev, f);
	default:
		return -EOPNOTSUPP;
	}
}

static int bind_indirect(struct esim_pf *pf, struct net_device *dev, struct Qdisc *sch, struct flow_block_offload *f,
			 void *data, void (*cleanup)(struct flow_block_cb *cb))
{
	struct binding *binding;
	struct flow_block_cb *cb;

	if (binding_find(&pf->indirect_blocks, dev))
		return -EEXIST;
	binding = binding_create(&pf->indirect_blocks, &pf->ports[0], dev, true);
	if (!binding)
		return -ENOMEM;
	cb = flow_indr_block_cb_alloc(block_cb, binding, binding, binding_release, f, dev, sch, data, pf, cleanup);
	if (IS_ERR(cb)) {
		binding_release(binding);
		return PTR_ERR(cb);
	}
	flow_block_cb_add(cb, f);
	list_add_tail(&cb->driver_list, &indirect_cbs);
	return 0;
}

static int indirect_cb(struct net_device *dev, struct Qdisc *sch, void *priv, enum tc_setup_type type, void *type_data,
		       void *data, void (*cleanup)(struct flow_block_cb *cb))
{
	struct flow_block_offload *f = type_data;
	struct esim_pf *pf = priv;
	struct binding *binding;
	struct flow_block_cb *cb;

	/* Without a device: an action on its own. */
	if (!dev)
		return type == TC_SETUP_ACT ? esim_setup_act(pf, data) : -EOPNOTSUPP;
	if (type != TC_SETUP_BLOCK || !netif_is_vxlan(dev) || !pf->caps.tc ||
	    f->binder_type != FLOW_BLOCK_BINDER_TYPE_CLSACT_INGRESS)
		return -EOPNOTSUPP;
	f->unlocked_driver_cb = true;
	f->driver_block_list = &indirect_cbs;
	if (f->command == FLOW_BLOCK_BIND)
		return bind_indirect(pf, dev, sch, f, data, cleanup);
	binding = binding_find(&pf->indirect_blocks, dev);
	cb = binding ? flow_block_cb_lookup(f->block, block_cb, binding) : NULL;
	if (!cb)
		return -ENOENT;
	flow_indr_block_cb_remove(cb, f);
	list_del(&cb->driver_list);
	return 0;
}

int esim_indirect_start(struct esim_pf *pf)
{
	int err = flow_indr_dev_register(indirect_cb, pf);

	pf->indirect = !err;
	return err;
}

void esim_indirect_stop(struct esim_pf *pf)
{
	if (!pf->indirect)
		return;
	flow_indr_dev_unregister(indirect_cb, pf, binding_release);
	pf->indirect = false;
}
