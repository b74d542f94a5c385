// SPDX-License-Identifier: GPL-2.0
/*
 * The NIC's small numbers, which end and collide: mapped tunnels (the exact enc_* tuple of a chain-0 goto, which later
 * chains match as one number), and the driver's table of per-action statistics with its defect.
 */
#include <linux/jhash.h>

#include "esim.h"

static void enc_part(const struct esim_key *from, struct esim_key *to)
{
	memset(to, 0, sizeof(*to));
	to->vni = from->vni;
	to->enc_family = from->enc_family;
	to->enc_src = from->enc_src;
	to->enc_dst = from->enc_dst;
	to->enc_sport = from->enc_sport;
	to->enc_dport = from->enc_dport;
	to->enc_tos = from->enc_tos;
	to->enc_ttl = from->enc_ttl;
}

static void forget_enc(struct esim_key *key)
{
	struct esim_key enc;
	int i;

	/* What is in the part is taken out of the whole; the words of neither overlap otherwise. */
	enc_part(key, &enc);
	for (i = 0; i < ESIM_KEY_WORDS; i++)
		((u64 *)key)[i] ^= ((u64 *)&enc)[i];
}

int esim_tunnel_get(struct esim_pf *pf, struct esim_rule *rule, int ifindex, struct netlink_ext_ack *extack)
{
	struct esim_key key, mask;
	struct esim_tunnel *tunnel;
	int id;

	enc_part(&rule->key, &key);
	enc_part(&rule->mask, &mask);
	list_for_each_entry (tunnel, &pf->tunnels, list)
		if (tunnel->ifindex == ifindex && !memcmp(&tunnel->key, &key, sizeof(key)) &&
		    !memcmp(&tunnel->mask, &mask, sizeof(mask)))
			goto found;
	id = ida_alloc_range(&pf->tunnel_ids, 1, pf->limits.tunnels, GFP_KERNEL);
	if (id < 0)
		return -EBUSY;
	tunnel = kzalloc(sizeof(*tunnel), GFP_KERNEL);
	if (!tunnel) {
		ida_free(&pf->tunnel_ids, id);
		return -ENOMEM;
	}
	tunnel->id = id;
	tunnel->ifindex = ifindex;
	tunnel->key = key;
	tunnel->mask = mask;
	list_add_tail_rcu(&tunnel->list, &pf->tunnels);
found:
	tunnel->refs++;
	rule->tunnel_id = tunnel;
	if (rule->chain) {
		forget_enc(&rule->key);
		forget_enc(&rule->mask);
		rule->key.tun_id = tunnel->id;
		rule->mask.tun_id = ~0u;
	}
	return 0;
}

void esim_tunnel_put(struct esim_pf *pf, struct esim_tunnel *tunnel)
{
	if (--tunnel->refs)
		return;
	list_del_rcu(&tunnel->list);
	ida_free(&pf->tunnel_ids, tunnel->id);
	kfree_rcu(tunnel, rcu);
}

struct esim_tunnel *esim_tunnel_find(struct esim_pf *pf, u32 id)
{
	struct esim_tunnel *tunnel;

	list_for_each_entry_rcu (tunnel, &pf->tunnels, list)
		if (tunnel->id == id)
			return tunnel;
	return NULL;
}

static bool forget_act_stat(struct esim_pf *pf, u64 identity)
{
	struct esim_act_stat *stat;

	hash_for_each_possible (pf->act_stats, stat, node, identity)
		if (stat->identity == identity) {
			hash_del(&stat->node);
			return true;
		}
	return false;
}

/* Rules with ct or police keep their actions' statistics in a table that knows actions, not rules: the same action in
 * a second rule is EEXIST, and cleaning up takes the first rule's entries with it (contract §3.12). */
int esim_act_stats_add(struct esim_parse *p)
{
	struct esim_rule *rule = p->rule;
	const struct flow_action_entry *entry;
	bool concerned = rule->has_ct, clash = false;
	int i;

	flow_action_for_each (i, entry, &p->flow->action)
		concerned |= entry->id == FLOW_ACTION_POLICE;
	if (!concerned || !p->pf->caps.act_stats_defect)
		return 0;
	flow_action_for_each (i, entry, &p->flow->action) {
		struct esim_act_stat *stat = &rule->act_stats[rule->n_act_stats];
		u64 identity = esim_action_identity(entry);

		if (entry->id == FLOW_ACTION_POLICE || rule->n_act_stats == ESIM_MAX_ACTIONS)
			continue;
		/* A pedit is one action of many entries. */
		if (rule->n_act_stats && stat[-1].identity == identity)
			continue;
		if (forget_act_stat(p->pf, identity)) {
			clash = true;
			continue;
		}
		stat->identity = identity;
		hash_add(p->pf->act_stats, &stat->node, identity);
		rule->n_act_stats++;
	}
	if (!clash)
		return 0;
	esim_act_stats_remove(rule);
	return -EEXIST;
}

void esim_act_stats_remove(struct esim_rule *rule)
{
	while (rule->n_act_stats)
		hash_del(&rule->act_stats[--rule->n_act_stats].node);
}
