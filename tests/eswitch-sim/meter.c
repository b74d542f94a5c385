// SPDX-License-Identifier: GPL-2.0
/*
 * Police: token buckets by the tc action's index, so that one index in several rules is one meter, as in mlx5. Bytes
 * are those of the IP packet.
 */
#include <linux/math64.h>

#include "esim.h"

static int check(const struct flow_action_entry *act, struct netlink_ext_ack *extack)
{
	if (act->police.peakrate_bytes_ps || act->police.avrate || act->police.overhead)
		return ESIM_REFUSE(extack, EOPNOTSUPP,
				   "Offload not supported when peakrate/avrate/overhead is configured");
	if (!act->police.rate_bytes_ps && !act->police.rate_pkt_ps)
		return -EOPNOTSUPP; /* by size of packet only */
	if (act->police.rate_bytes_ps ? !act->police.burst : !act->police.burst_pkt)
		return -EINVAL;
	return 0;
}

static struct esim_meter *find(struct esim_pf *pf, u32 index)
{
	struct esim_meter *meter;

	list_for_each_entry (meter, &pf->meters, list)
		if (meter->index == index)
			return meter;
	return NULL;
}

/* Under rules_lock, as everything here but esim_meter_passes(). */
struct esim_meter *esim_meter_get(struct esim_pf *pf, const struct flow_action_entry *act,
				  struct netlink_ext_ack *extack)
{
	struct esim_meter *meter = find(pf, act->hw_index);
	int err = check(act, extack);

	if (!err && !meter)
		err = esim_fault(pf, ESIM_OP_METER);
	if (!err && !meter && pf->n_meters >= pf->limits.meters)
		err = -ENOSPC;
	if (err)
		return ERR_PTR(err);
	if (!meter) {
		meter = kzalloc(sizeof(*meter), GFP_KERNEL);
		if (!meter)
			return ERR_PTR(-ENOMEM);
		spin_lock_init(&meter->lock);
		meter->index = act->hw_index;
		meter->packets = !act->police.rate_bytes_ps;
		list_add_tail(&meter->list, &pf->meters);
		pf->n_meters++;
	}
	spin_lock_bh(&meter->lock);
	meter->rate = meter->packets ? act->police.rate_pkt_ps : act->police.rate_bytes_ps;
	meter->burst = meter->packets ? act->police.burst_pkt : min_t(u64, act->police.burst, 0x7fffffff);
	if (!meter->refs) {
		meter->tokens = meter->burst * NSEC_PER_SEC;
		meter->then = ktime_get_ns();
	}
	spin_unlock_bh(&meter->lock);
	meter->refs++;
	return meter;
}

void esim_meter_put(struct esim_pf *pf, struct esim_meter *meter)
{
	if (--meter->refs)
		return;
	list_del(&meter->list);
	pf->n_meters--;
	kfree_rcu(meter, rcu);
}

bool esim_meter_passes(struct esim_meter *meter, unsigned int bytes)
{
	u64 cost = (meter->packets ? 1 : bytes) * (u64)NSEC_PER_SEC, now, elapsed;
	bool passes;

	spin_lock_bh(&meter->lock);
	now = ktime_get_ns();
	/* Longer than a second fills any burst worth the name, and keeps the product in 64 bits. */
	elapsed = min_t(u64, now - meter->then, NSEC_PER_SEC);
	meter->then = now;
	if (check_mul_overflow(elapsed, meter->rate, &elapsed))
		elapsed = meter->burst * NSEC_PER_SEC;
	meter->tokens = min(meter->tokens + elapsed, meter->burst * NSEC_PER_SEC);
	passes = meter->tokens >= cost;
	if (passes) {
		meter->tokens -= cost;
		meter->passed++;
	} else {
		meter->dropped++;
	}
	spin_unlock_bh(&meter->lock);
	return passes;
}

/* An action on its own (tc actions add action police ...): only police has a home in the NIC. */
int esim_setup_act(struct esim_pf *pf, struct flow_offload_action *act)
{
	struct esim_meter *meter;
	int err = 0;

	if (act->id != FLOW_ACTION_POLICE || !pf->caps.flow_meter || !pf->caps.tc)
		return -EOPNOTSUPP;
	mutex_lock(&pf->rules_lock);
	meter = find(pf, act->index);
	switch (act->command) {
	case FLOW_ACT_REPLACE:
		meter = esim_meter_get(pf, &act->action.entries[0], act->extack);
		if (IS_ERR(meter)) {
			err = PTR_ERR(meter);
		} else if (meter->standalone) {
			meter->refs--; /* changed, not new */
		} else {
			meter->standalone = true;
		}
		break;
	case FLOW_ACT_DESTROY:
		if (!meter || !meter->standalone) {
			err = -ENOENT;
			break;
		}
		meter->standalone = false;
		esim_meter_put(pf, meter);
		break;
	case FLOW_ACT_STATS:
		if (!meter) {
			err = -ENOENT;
			break;
		}
		flow_stats_update(&act->stats, 0,
				  meter->passed + meter->dropped - meter->told_passed - meter->told_dropped,
				  meter->dropped - meter->told_dropped, jiffies, FLOW_ACTION_HW_STATS_DELAYED);
		meter->told_passed = meter->passed;
		meter->told_dropped = meter->dropped;
		break;
	default:
		err = -EOPNOTSUPP;
	}
	mutex_unlock(&pf->rules_lock);
	if (act->command != FLOW_ACT_STATS)
		esim_ring_add(pf->journal, "action %s index=%u result=%d",
			      act->command == FLOW_ACT_REPLACE ? "replace" : "destroy", act->index, err);
	return err;
}
