// SPDX-License-Identifier: GPL-2.0
/*
 * Flow actions → what the pipeline executes, with the refusals of the contract's §3 in their words. Header rewrites
 * have their own rules and file (parse_pedit.c).
 */
#include <linux/if_vlan.h>
#include <linux/tc_act/tc_csum.h>
#include <net/tc_act/tc_ct.h>
#include <net/vxlan.h>

#include "esim.h"

/* What a rule has said so far. */
struct said {
	bool forward, drop, go, decap, trap, wire, local;
	bool edited; /* in this segment: what joins tables begins a new one */
	int outputs, vlans, cts, meters, entries, modify;
	const struct ip_tunnel_info *encap;
	u64 outputs_seen[2];
};

static struct esim_action *add(struct esim_parse *p, enum esim_act_kind kind)
{
	struct esim_action *act = &p->rule->actions[p->rule->n_actions++];

	act->kind = kind;
	return act;
}

static int parse_goto(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry)
{
	const struct esim_caps *caps = &p->pf->caps;
	u32 max = caps->ignore_flow_level ? ~0u - 1 : 3;

	if (!caps->ignore_flow_level && entry->chain_index <= p->rule->chain)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Goto lower numbered chain isn't supported");
	if (!caps->reg_c1_loopback || !caps->modify_fwd_to_table ||
	    (!caps->multi_fdb_encap && p->pf->encap_mode != DEVLINK_ESWITCH_ENCAP_MODE_NONE))
		max = 0;
	if (entry->chain_index > max)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Requested destination chain is out of supported range");
	if ((said->decap || said->encap) && !caps->reformat_fwd_to_table)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Goto chain is not allowed if action has reformat or decap");
	add(p, ESIM_ACT_GOTO)->chain = entry->chain_index;
	said->forward = true;
	said->go = entry->chain_index;
	return 0;
}

static int parse_encap_out(struct esim_parse *p, struct said *said, struct net_device *dev, bool mirror)
{
	struct esim_encap *encap;
	struct esim_action *act;

	if (!netif_is_vxlan(dev) || !p->pf->caps.encap || p->pf->encap_mode == DEVLINK_ESWITCH_ENCAP_MODE_NONE)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Unsupported tunnel");
	if (esim_is_uplink(p->port) && !p->pf->caps.termination_table)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "devices are both uplink, can't offload forwarding");
	encap = esim_encap_get(p->pf, dev, said->encap, p->extack);
	if (IS_ERR(encap))
		return PTR_ERR(encap);
	act = add(p, ESIM_ACT_ENCAP_OUT);
	act->mirror = mirror;
	act->encap = encap;
	said->encap = NULL; /* for this output only */
	said->wire = true;
	return 0;
}

static int parse_out(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry, bool mirror)
{
	struct net_device *dev = entry->dev;
	struct esim_port *to;
	struct esim_action *act;

	if (!dev)
		return -EINVAL;
	if (mirror && !p->pf->caps.multi_path)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP,
				   "current firmware doesn't support split rule for port mirroring");
	if (said->outputs >= 32)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't support more output ports, can't offload forwarding");
	said->outputs++;
	said->forward = true;
	if (said->encap)
		return parse_encap_out(p, said, dev, mirror);
	/* To a VLAN device over a port: the tag comes along. */
	while (is_vlan_dev(dev)) {
		act = add(p, ESIM_ACT_VLAN_PUSH);
		act->vlan.tpid = vlan_dev_vlan_proto(dev);
		act->vlan.tci = vlan_dev_vlan_id(dev);
		dev = vlan_dev_real_dev(dev);
		if (++said->vlans > 2)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Total vlans used is greater than supported");
	}
	to = esim_port_of_rep(dev);
	if (!to || to->pf != p->pf) {
		/* On a tunnel device the driver says nothing. */
		if (p->tunnel)
			return -EOPNOTSUPP;
		return ESIM_REFUSE(p->extack, EOPNOTSUPP,
				   "devices are not on same switch HW, can't offload forwarding");
	}
	if (said->outputs_seen[to->number / 64] & BIT_ULL(to->number % 64))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't duplicate output to same device");
	said->outputs_seen[to->number / 64] |= BIT_ULL(to->number % 64);
	if (to == p->port && !esim_is_uplink(to))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't forward from a VF to itself");
	if (to == p->port && !p->pf->caps.termination_raw)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "devices are both uplink, can't offload forwarding");
	said->wire |= esim_is_uplink(to);
	said->local |= !esim_is_uplink(to);
	act = add(p, ESIM_ACT_OUT);
	act->mirror = mirror;
	act->port = to->number;
	if (said->edited && said->wire && said->local)
		return -EINVAL; /* only a line in the log: both internal and external destinations after a rewrite */
	return 0;
}

static int parse_vlan(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry,
		      enum esim_act_kind kind)
{
	const struct esim_key *key = &p->rule->key, *mask = &p->rule->mask;
	struct esim_action *act;

	if (!p->pf->caps.vlan_actions)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "firmware vlan actions is not supported");
	if (kind == ESIM_ACT_VLAN_SET) {
		if (!mask->tagged || !key->tagged || key->tpid != htons(ETH_P_8021Q))
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "VLAN rewrite action must have VLAN protocol match");
		if (entry->vlan.prio != ntohs(key->tci & mask->tci) >> 13)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Changing VLAN prio is not supported");
	} else if (++said->vlans > 2) {
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Total vlans used is greater than supported");
	}
	act = add(p, kind);
	if (kind != ESIM_ACT_VLAN_POP) {
		act->vlan.tpid = entry->vlan.proto;
		act->vlan.tci = entry->vlan.vid | entry->vlan.prio << 13;
	}
	return 0;
}

static int parse_ct(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry)
{
	const struct esim_caps *caps = &p->pf->caps;
	struct esim_ct_zone *zone;
	struct esim_action *act;

	if (!caps->ct)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "mlx5 tc ct offload isn't enabled.");
	if (!caps->ignore_flow_level || !caps->reg_c1_loopback || !caps->modify_fwd_to_table)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "offload of ct action isn't available");
	if (entry->ct.action & TCA_CT_ACT_CLEAR) {
		add(p, ESIM_ACT_CT_CLEAR);
		return 0;
	}
	if (said->cts && !ESIM_MULTI_CT)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Multiple CT actions are not supported");
	if (said->outputs && !ESIM_MULTI_CT)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Can't offload mirroring with action ct");
	if (!entry->ct.flow_table)
		return -EOPNOTSUPP;
	zone = esim_ct_zone_get(p->pf, entry->ct.flow_table, entry->ct.zone);
	if (IS_ERR(zone))
		return PTR_ERR(zone);
	act = add(p, ESIM_ACT_CT);
	act->ct.zone = zone;
	act->ct.nat = entry->ct.action & TCA_CT_ACT_NAT;
	act->ct.miss_cookie = esim_miss_cookie(entry);
	said->cts++;
	said->modify++;
	said->edited = false;
	said->entries = 0;
	p->rule->has_ct = true;
	p->rule->mappings++;
	return 0;
}

static int check_police(struct esim_parse *p, const struct flow_action_entry *entry)
{
	const enum flow_action_id conform = entry->police.notexceed.act_id, exceed = entry->police.exceed.act_id;

	if (!ESIM_POLICE_BRANCHES) {
		if (conform != FLOW_ACTION_PIPE && conform != FLOW_ACTION_ACCEPT)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP,
					   "Offload not supported when conform action is not pipe or ok");
		if (exceed != FLOW_ACTION_DROP)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP,
					   "Offload not supported when exceed action is not drop");
		if (conform == FLOW_ACTION_ACCEPT && !flow_action_is_last_entry(&p->flow->action, entry))
			return ESIM_REFUSE(p->extack, EOPNOTSUPP,
					   "Offload not supported when conform action is ok, but action is not last");
		return 0;
	}
	/* "jump" is a NIC's, but not ours. */
	if ((conform != FLOW_ACTION_PIPE && conform != FLOW_ACTION_ACCEPT && conform != FLOW_ACTION_DROP) ||
	    (exceed != FLOW_ACTION_PIPE && exceed != FLOW_ACTION_ACCEPT && exceed != FLOW_ACTION_DROP))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP,
				   "Offload not supported when conform-exceed action is not pipe, ok, jump or drop");
	if (conform == FLOW_ACTION_DROP)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "not simulated: police that drops what conforms");
	return 0;
}

static int parse_police(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry)
{
	struct esim_meter *meter;
	struct esim_action *act;
	int err;

	if (!p->pf->caps.flow_meter)
		return -EOPNOTSUPP;
	err = check_police(p, entry);
	if (err)
		return err;
	meter = esim_meter_get(p->pf, entry, p->extack);
	if (IS_ERR(meter))
		return PTR_ERR(meter);
	act = add(p, ESIM_ACT_METER);
	act->police.meter = meter;
	act->police.exceed_passes = entry->police.exceed.act_id != FLOW_ACTION_DROP;
	said->meters++;
	said->modify++;
	said->edited = false;
	said->entries = 0;
	return 0;
}

static int parse_csum(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry)
{
	const u32 possible = TCA_CSUM_UPDATE_FLAG_IPV4HDR | TCA_CSUM_UPDATE_FLAG_TCP | TCA_CSUM_UPDATE_FLAG_UDP;

	if (!said->edited)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "TC csum action is only offloaded with pedit");
	if (entry->csum_flags & ~possible)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't offload TC csum action for some header/s");
	return 0; /* the hardware keeps them right anyhow */
}

static void add_edit(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry)
{
	struct esim_action *act = add(p, ESIM_ACT_EDIT);

	act->edit.htype = entry->mangle.htype;
	act->edit.add = entry->id == FLOW_ACTION_ADD;
	act->edit.offset = entry->mangle.offset;
	act->edit.keep = entry->mangle.mask;
	act->edit.value = entry->mangle.val;
	said->edited = true;
}

static int parse_one(struct esim_parse *p, struct said *said, const struct flow_action_entry *entry)
{
	switch (entry->id) {
	case FLOW_ACTION_ACCEPT:
		add(p, ESIM_ACT_SLOW);
		said->forward = true;
		return 0;
	case FLOW_ACTION_TRAP:
		if (p->flow->action.num_entries != 1)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "action trap is supported as a sole action only");
		add(p, ESIM_ACT_SLOW);
		said->forward = true;
		return 0;
	case FLOW_ACTION_DROP:
		add(p, ESIM_ACT_DROP);
		said->drop = true;
		return 0;
	case FLOW_ACTION_GOTO:
		return parse_goto(p, said, entry);
	case FLOW_ACTION_REDIRECT:
		return parse_out(p, said, entry, false);
	case FLOW_ACTION_MIRRED:
		return parse_out(p, said, entry, true);
	case FLOW_ACTION_REDIRECT_INGRESS:
		return ESIM_REFUSE(p->extack, EOPNOTSUPP,
				   "redirect to ingress is supported only for OVS internal ports");
	case FLOW_ACTION_VLAN_PUSH:
		return parse_vlan(p, said, entry, ESIM_ACT_VLAN_PUSH);
	case FLOW_ACTION_VLAN_POP:
		return parse_vlan(p, said, entry, ESIM_ACT_VLAN_POP);
	case FLOW_ACTION_VLAN_MANGLE:
		return parse_vlan(p, said, entry, ESIM_ACT_VLAN_SET);
	case FLOW_ACTION_TUNNEL_ENCAP:
		if (!entry->tunnel)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Zero tunnel attributes is not supported");
		if (said->encap)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't duplicate encap action");
		said->encap = entry->tunnel;
		return 0;
	case FLOW_ACTION_TUNNEL_DECAP:
		said->decap = true; /* a flag: the packet is decapsulated in chain 0, whoever says it where */
		return 0;
	case FLOW_ACTION_MANGLE:
	case FLOW_ACTION_ADD:
		add_edit(p, said, entry);
		return 0;
	case FLOW_ACTION_CSUM:
		return parse_csum(p, said, entry);
	case FLOW_ACTION_CT:
		return parse_ct(p, said, entry);
	case FLOW_ACTION_POLICE:
		return parse_police(p, said, entry);
	default:
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Not implemented offload action");
	}
}

/* Names for the knob "refuse". */
static const char *const action_names[NUM_FLOW_ACTIONS] = {
	[FLOW_ACTION_ACCEPT] = "pass",
	[FLOW_ACTION_DROP] = "drop",
	[FLOW_ACTION_GOTO] = "goto",
	[FLOW_ACTION_REDIRECT] = "redirect",
	[FLOW_ACTION_MIRRED] = "mirror",
	[FLOW_ACTION_VLAN_PUSH] = "vlan_push",
	[FLOW_ACTION_VLAN_POP] = "vlan_pop",
	[FLOW_ACTION_TUNNEL_ENCAP] = "tunnel_set",
	[FLOW_ACTION_TUNNEL_DECAP] = "tunnel_unset",
	[FLOW_ACTION_MANGLE] = "pedit",
	[FLOW_ACTION_ADD] = "pedit_add",
	[FLOW_ACTION_CT] = "ct",
	[FLOW_ACTION_POLICE] = "police",
};

static int check_stats_types(struct esim_parse *p)
{
	const struct flow_action_entry *entry;
	int i;

	flow_action_for_each (i, entry, &p->flow->action) {
		if (entry->hw_stats != p->flow->action.entries[0].hw_stats)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Mixing HW stats types for actions is not supported");
		if (!(entry->hw_stats & FLOW_ACTION_HW_STATS_DELAYED))
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Flow action HW stats type is not supported");
	}
	return 0;
}

static int check_whole(struct esim_parse *p, struct said *said)
{
	const struct esim_action *last = p->rule->n_actions ? &p->rule->actions[p->rule->n_actions - 1] : NULL;

	if (!said->forward && !said->drop)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Rule must have at least one forward/drop action");
	if (said->forward && said->drop)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Rule cannot support forward+drop action");
	/* Each segment needs its own verdict; ct or police in the last place leaves one without. */
	if (last && (last->kind == ESIM_ACT_CT || last->kind == ESIM_ACT_METER))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Rule must have at least one forward/drop action");
	if (said->drop && said->edited)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Drop with modify header action is not supported");
	if (said->decap && said->go)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Decap with goto isn't supported");
	if (p->tunnel && said->go && !p->pf->caps.reg_c1_loopback)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP,
				   "Chains on tunnel devices isn't supported without register loopback support");
	if (said->modify + (p->tunnel && said->go) > p->pf->caps.max_modify)
		return ESIM_REFUSE(p->extack, ENOSPC, "too many pedit actions, can't offload");
	return 0;
}

int esim_parse_actions(struct esim_parse *p)
{
	struct said said = {};
	struct flow_action_entry *entry;
	int i, err;

	if (!flow_action_has_entries(&p->flow->action))
		return ESIM_REFUSE(p->extack, EINVAL, "Flow action doesn't have any entries");
	err = check_stats_types(p);
	if (err)
		return err;
	flow_action_for_each (i, entry, &p->flow->action) {
		const char *name = entry->id < NUM_FLOW_ACTIONS ? action_names[entry->id] : NULL;

		if (name && esim_refused(p->pf, name))
			return ESIM_REFUSE(p->extack, EOPNOTSUPP, "Not implemented offload action");
		/* The driver would write behind an array of 32 here; the most helpful thing is to say so. Two more
		 * per output are our own room, for a VLAN device's tags. */
		if (++said.entries > 32 || p->rule->n_actions > ESIM_MAX_ACTIONS - 3)
			return ESIM_REFUSE(p->extack, E2BIG, "not simulated: more than 32 actions in a segment");
		err = parse_one(p, &said, entry);
		if (err)
			return err;
	}
	err = esim_parse_pedits(p, &said.modify);
	if (!err)
		err = check_whole(p, &said);
	if (err || !p->tunnel)
		return err;
	/* In chain 0 a goto takes the whole tunnel key along as one number, which later chains must ask for. */
	p->rule->sets_tunnel_id = !p->rule->chain && said.go;
	if (p->rule->sets_tunnel_id || p->rule->chain)
		err = esim_tunnel_get(p->pf, p->rule, p->filter_dev->ifindex, p->extack);
	return err;
}
