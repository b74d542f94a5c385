// SPDX-License-Identifier: GPL-2.0
/*
 * The eswitch's tables: chains hold one table per priority, a table holds one group per distinct mask, a group's rules
 * are found by hash. Changed under rules_lock, searched under RCU.
 */
#include <linux/jhash.h>

#include "esim.h"

struct esim_chain {
	struct hlist_node node;
	struct rcu_head rcu;
	u32 number;
	struct list_head tables; /* best priority first */
};

struct esim_table {
	struct list_head list;
	struct rcu_head rcu;
	struct esim_chain *chain;
	struct list_head groups;
	u32 prio;
	u32 size; /* with device-managed steering; 0: no limit */
	int n_groups;
};

struct esim_group {
	struct list_head list;
	struct rcu_head rcu;
	struct esim_table *table;
	struct esim_key mask;
	bool tunnel; /* matches the inner headers and enc_* of what is still encapsulated */
	u32 seed;
	u32 n_rules, capacity; /* capacity 0: no limit */
};

static struct esim_chain *chain_find(struct esim_pf *pf, u32 number)
{
	struct esim_chain *chain;

	hash_for_each_possible_rcu (pf->chains, chain, node, number, lockdep_is_held(&pf->rules_lock))
		if (chain->number == number)
			return chain;
	return NULL;
}

static u32 hash_masked(const struct esim_key *key, const struct esim_group *group, u64 *masked)
{
	int i;

	for (i = 0; i < ESIM_KEY_WORDS; i++)
		masked[i] = ((const u64 *)key)[i] & ((const u64 *)&group->mask)[i];
	return jhash2((const u32 *)masked, ESIM_KEY_WORDS * 2, group->seed);
}

static struct esim_rule *group_lookup(struct esim_pf *pf, struct esim_group *group, const struct esim_key *key)
{
	u64 masked[ESIM_KEY_WORDS];
	u32 hash = hash_masked(key, group, masked);
	struct esim_rule *rule;

	hash_for_each_possible_rcu (pf->rules_by_key, rule, by_key, hash)
		if (READ_ONCE(rule->group) == group && !memcmp(&rule->key, masked, sizeof(masked)))
			return rule;
	return NULL;
}

struct esim_rule *esim_lookup(struct esim_pf *pf, u32 chain_number, const struct esim_key *key,
			      const struct esim_key *tunnel_key)
{
	struct esim_chain *chain = chain_find(pf, chain_number);
	struct esim_rule *found = NULL, *rule;
	struct esim_table *table;
	struct esim_group *group;

	if (!chain)
		return NULL;
	list_for_each_entry_rcu (table, &chain->tables, list) {
		list_for_each_entry_rcu (group, &table->groups, list) {
			if (group->tunnel && !tunnel_key)
				continue;
			rule = group_lookup(pf, group, group->tunnel ? tunnel_key : key);
			if (!rule)
				continue;
			/* Hardware promises nothing when two rules of one priority match. */
			if (found)
				atomic64_inc(&pf->ambiguous);
			else
				found = rule;
		}
		if (found)
			return found;
	}
	return NULL;
}

static struct esim_chain *chain_get(struct esim_pf *pf, u32 number)
{
	struct esim_chain *chain = chain_find(pf, number);

	if (chain)
		return chain;
	chain = kzalloc(sizeof(*chain), GFP_KERNEL);
	if (!chain)
		return ERR_PTR(-ENOMEM);
	/* A chain costs one of the 16-bit numbers that tell software where a packet missed. */
	if (number && pf->n_mappings >= pf->limits.mappings) {
		kfree(chain);
		return ERR_PTR(-EBUSY);
	}
	pf->n_mappings += !!number;
	pf->n_chains++;
	chain->number = number;
	INIT_LIST_HEAD(&chain->tables);
	hash_add_rcu(pf->chains, &chain->node, number);
	return chain;
}

static void chain_put(struct esim_pf *pf, struct esim_chain *chain)
{
	if (!list_empty(&chain->tables))
		return;
	hash_del_rcu(&chain->node);
	pf->n_mappings -= !!chain->number;
	pf->n_chains--;
	kfree_rcu(chain, rcu);
}

static struct esim_table *table_get(struct esim_pf *pf, struct esim_chain *chain, u32 prio)
{
	struct list_head *before = &chain->tables;
	struct esim_table *table;

	list_for_each_entry (table, &chain->tables, list) {
		if (table->prio == prio)
			return table;
		if (table->prio > prio)
			break;
		before = &table->list;
	}
	table = kzalloc(sizeof(*table), GFP_KERNEL);
	if (!table)
		return NULL;
	table->chain = chain;
	table->prio = prio;
	INIT_LIST_HEAD(&table->groups);
	/* Device-managed steering hands out its pool of table sizes from the large end (contract §4.3). */
	if (!pf->smfs || !pf->caps.smfs)
		table->size = pf->n_tables < 16 ? 1 << 20 : pf->n_tables < 271 ? 1 << 16 : 128;
	pf->n_tables++;
	list_add_rcu(&table->list, before);
	return table;
}

static void table_put(struct esim_pf *pf, struct esim_table *table)
{
	struct esim_chain *chain = table->chain;

	if (list_empty(&table->groups)) {
		list_del_rcu(&table->list);
		pf->n_tables--;
		kfree_rcu(table, rcu);
	}
	chain_put(pf, chain);
}

static struct esim_group *group_get(struct esim_table *table, const struct esim_rule *rule)
{
	bool tunnel = rule->tunnel && !rule->chain;
	struct esim_group *group;

	list_for_each_entry (group, &table->groups, list)
		if (group->tunnel == tunnel && !memcmp(&group->mask, &rule->mask, sizeof(group->mask)))
			return group;
	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return NULL;
	group->table = table;
	group->mask = rule->mask;
	group->tunnel = tunnel;
	group->seed = jhash_2words(table->chain->number, table->prio, jhash(&group->mask, sizeof(group->mask), tunnel));
	if (table->size)
		group->capacity = table->n_groups < 15 ? (table->size - 2) / 16 : 1;
	table->n_groups++;
	list_add_tail_rcu(&group->list, &table->groups);
	return group;
}

static void group_put(struct esim_pf *pf, struct esim_group *group)
{
	struct esim_table *table = group->table;

	if (!group->n_rules) {
		list_del_rcu(&group->list);
		table->n_groups--;
		kfree_rcu(group, rcu);
	}
	table_put(pf, table);
}

static int link_rule(struct esim_pf *pf, struct esim_rule *rule)
{
	struct esim_chain *chain = chain_get(pf, rule->chain);
	u64 masked[ESIM_KEY_WORDS];
	struct esim_table *table;
	struct esim_group *group;
	u32 hash;

	if (IS_ERR(chain))
		return PTR_ERR(chain);
	table = table_get(pf, chain, rule->prio);
	if (!table) {
		chain_put(pf, chain);
		return -ENOMEM;
	}
	group = group_get(table, rule);
	if (!group) {
		table_put(pf, table);
		return -ENOMEM;
	}
	if (group->capacity && group->n_rules >= group->capacity) {
		group_put(pf, group);
		return -ENOSPC;
	}
	hash = hash_masked(&rule->key, group, masked);
	memcpy(&rule->key, masked, sizeof(masked));
	group->n_rules++;
	rule->group = group;
	hash_add_rcu(pf->rules_by_key, &rule->by_key, hash);
	return 0;
}

static void unlink_rule(struct esim_pf *pf, struct esim_rule *rule)
{
	if (!rule->group)
		return;
	hash_del_rcu(&rule->by_key);
	rule->group->n_rules--;
	group_put(pf, rule->group);
	WRITE_ONCE(rule->group, NULL);
}

int esim_rule_add(struct esim_rule *rule, struct netlink_ext_ack *extack)
{
	struct esim_pf *pf = rule->pf;
	int err;

	if (pf->n_rules >= pf->limits.rules)
		return -ENOSPC;
	if (pf->n_mappings + rule->mappings > pf->limits.mappings)
		return -EBUSY;
	err = link_rule(pf, rule);
	if (err)
		return err;
	pf->n_mappings += rule->mappings;
	WRITE_ONCE(pf->n_rules, pf->n_rules + 1);
	rule->sequence = ++pf->rule_sequence;
	list_add_tail(&rule->all, &pf->rules);
	hash_add(pf->rules_by_cookie, &rule->by_cookie, rule->cookie);
	return 0;
}

struct esim_rule *esim_rule_find(struct esim_pf *pf, unsigned long cookie, const void *binding)
{
	struct esim_rule *rule;

	hash_for_each_possible (pf->rules_by_cookie, rule, by_cookie, cookie)
		if (rule->cookie == cookie && rule->binding == binding)
			return rule;
	return NULL;
}

void esim_rule_remove(struct esim_rule *rule)
{
	struct esim_pf *pf = rule->pf;

	unlink_rule(pf, rule);
	hash_del(&rule->by_cookie);
	list_del(&rule->all);
	WRITE_ONCE(pf->n_rules, pf->n_rules - 1);
	pf->n_mappings -= rule->mappings;
	esim_rule_free(rule);
}

/* Gives back what the rule holds; the pipeline may be reading it and them for one more grace period. */
void esim_rule_free(struct esim_rule *rule)
{
	int i;

	esim_act_stats_remove(rule);
	if (rule->tunnel_id)
		esim_tunnel_put(rule->pf, rule->tunnel_id);
	for (i = 0; i < rule->n_actions; i++) {
		struct esim_action *act = &rule->actions[i];

		if (act->kind == ESIM_ACT_CT)
			esim_ct_zone_put(act->ct.zone);
		else if (act->kind == ESIM_ACT_METER)
			esim_meter_put(rule->pf, act->police.meter);
		else if (act->kind == ESIM_ACT_ENCAP_OUT)
			esim_encap_put(rule->pf, act->encap);
	}
	kfree_rcu(rule, rcu);
}

/* As a firmware that lost its memory: nothing matches any more, and tc still says in_hw. */
void esim_rules_lose(struct esim_pf *pf)
{
	struct esim_rule *rule;

	mutex_lock(&pf->rules_lock);
	list_for_each_entry (rule, &pf->rules, all) {
		unlink_rule(pf, rule);
		rule->lost = true;
	}
	mutex_unlock(&pf->rules_lock);
}

void esim_counters_refresh(struct esim_pf *pf)
{
	struct esim_rule *rule;

	if (READ_ONCE(pf->freeze_stats))
		return;
	mutex_lock(&pf->rules_lock);
	list_for_each_entry (rule, &pf->rules, all) {
		rule->counter.cached_packets = READ_ONCE(rule->counter.packets);
		rule->counter.cached_bytes = READ_ONCE(rule->counter.bytes);
		rule->counter.cached_used = READ_ONCE(rule->counter.used);
	}
	mutex_unlock(&pf->rules_lock);
}
