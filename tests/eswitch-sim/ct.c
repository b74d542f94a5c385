// SPDX-License-Identifier: GPL-2.0
/*
 * Connections: what act_ct's flow tables hand over, one entry per direction, found by zone and 5-tuple. Entries come
 * and go from a work queue that holds the flow table's lock, so nothing here takes a lock held around joining one.
 */
#include <linux/jhash.h>
#include <linux/seq_file.h>
#include <linux/tcp.h>
#include <net/netfilter/nf_flow_table.h>
#include <net/tc_act/tc_ct.h>

#include "esim.h"

#define EDITS_MAX 12

struct tuple {
	struct in6_addr saddr, daddr;
	__be16 sport, dport;
	u16 zone;
	u8 proto, family;
};

/* A translation, in the packet's byte order. */
struct edit {
	u8 htype, len;
	u16 offset;
	u8 value[4];
};

struct entry {
	struct hlist_node by_cookie, by_tuple, by_translated;
	unsigned long cookie;
	struct esim_ct_zone *zone;
	struct tuple tuple, translated;
	unsigned long connection; /* nf_conn and its ctinfo, as act_ct puts them on a packet */
	u32 mark, label[4];
	u16 state;
	int n_edits;
	struct edit edits[EDITS_MAX];
	struct esim_counter counter;
};

static u32 hash_of(const struct tuple *tuple)
{
	return jhash(tuple, sizeof(*tuple), 0);
}

static struct entry *find_cookie(struct esim_ct_zone *zone, unsigned long cookie)
{
	struct entry *entry;

	hash_for_each_possible (zone->pf->ct_by_cookie, entry, by_cookie, cookie)
		if (entry->cookie == cookie && entry->zone == zone)
			return entry;
	return NULL;
}

static struct entry *find_tuple(struct esim_pf *pf, const struct tuple *tuple)
{
	struct entry *entry;

	hash_for_each_possible (pf->ct_by_tuple, entry, by_tuple, hash_of(tuple))
		if (!memcmp(&entry->tuple, tuple, sizeof(*tuple)))
			return entry;
	return NULL;
}

static struct entry *find_translated(struct esim_pf *pf, const struct tuple *tuple)
{
	struct entry *entry;

	hash_for_each_possible (pf->ct_by_translated, entry, by_translated, hash_of(tuple))
		if (!memcmp(&entry->translated, tuple, sizeof(*tuple)))
			return entry;
	return NULL;
}

/* --- entries from act_ct --- */

static int read_match(struct entry *entry, const struct flow_rule *rule)
{
	struct tuple *tuple = &entry->tuple;
	struct flow_match_control control;
	struct flow_match_basic basic;
	struct flow_match_ports ports;

	flow_rule_match_control(rule, &control);
	flow_rule_match_basic(rule, &basic);
	tuple->proto = basic.key->ip_proto;
	if (control.key->addr_type == FLOW_DISSECTOR_KEY_IPV4_ADDRS) {
		struct flow_match_ipv4_addrs match;

		flow_rule_match_ipv4_addrs(rule, &match);
		tuple->family = 4;
		tuple->saddr.s6_addr32[0] = match.key->src;
		tuple->daddr.s6_addr32[0] = match.key->dst;
	} else if (control.key->addr_type == FLOW_DISSECTOR_KEY_IPV6_ADDRS) {
		struct flow_match_ipv6_addrs match;

		flow_rule_match_ipv6_addrs(rule, &match);
		tuple->family = 6;
		tuple->saddr = match.key->src;
		tuple->daddr = match.key->dst;
	} else {
		return -EOPNOTSUPP;
	}
	if (flow_rule_match_key(rule, FLOW_DISSECTOR_KEY_PORTS)) {
		flow_rule_match_ports(rule, &ports);
		tuple->sport = ports.key->src;
		tuple->dport = ports.key->dst;
	}
	tuple->zone = entry->zone->zone;
	entry->translated = *tuple;
	return 0;
}

static void translate_tuple(struct tuple *tuple, const struct edit *edit)
{
	switch (edit->htype) {
	case FLOW_ACT_MANGLE_HDR_TYPE_IP4:
		memcpy(edit->offset == offsetof(struct iphdr, saddr) ? &tuple->saddr : &tuple->daddr, edit->value, 4);
		break;
	case FLOW_ACT_MANGLE_HDR_TYPE_IP6:
		if (edit->offset < offsetof(struct ipv6hdr, daddr))
			memcpy((u8 *)&tuple->saddr + edit->offset - offsetof(struct ipv6hdr, saddr), edit->value, 4);
		else
			memcpy((u8 *)&tuple->daddr + edit->offset - offsetof(struct ipv6hdr, daddr), edit->value, 4);
		break;
	default:
		memcpy(edit->offset ? &tuple->dport : &tuple->sport, edit->value, 2);
	}
}

/* act_ct gives addresses and ports in host order, ports as 16-bit values at their own offset. */
static int read_edit(struct entry *entry, const struct flow_action_entry *act)
{
	struct edit *edit = &entry->edits[entry->n_edits];
	bool l4 =
		act->mangle.htype == FLOW_ACT_MANGLE_HDR_TYPE_TCP || act->mangle.htype == FLOW_ACT_MANGLE_HDR_TYPE_UDP;

	if (entry->n_edits == EDITS_MAX)
		return -EOPNOTSUPP;
	edit->htype = act->mangle.htype;
	edit->offset = act->mangle.offset;
	edit->len = l4 ? 2 : 4;
	if (l4)
		put_unaligned_be16(act->mangle.val, edit->value);
	else
		put_unaligned_be32(act->mangle.val, edit->value);
	translate_tuple(&entry->translated, edit);
	entry->n_edits++;
	return 0;
}

static int read_actions(struct entry *entry, const struct flow_rule *rule)
{
	const struct flow_action_entry *act;
	int i, err;

	flow_action_for_each (i, act, &rule->action) {
		if (act->id == FLOW_ACTION_MANGLE) {
			err = read_edit(entry, act);
			if (err)
				return err;
		} else if (act->id == FLOW_ACTION_CT_METADATA) {
			entry->connection = act->ct_metadata.cookie;
			entry->mark = act->ct_metadata.mark;
			memcpy(entry->label, act->ct_metadata.labels, sizeof(entry->label));
			entry->state = ESIM_CT_TRK | (act->ct_metadata.orig_dir ? 0 : ESIM_CT_RPL);
			entry->state |= (entry->connection & NFCT_INFOMASK) == IP_CT_NEW ? ESIM_CT_NEW : ESIM_CT_EST;
		}
	}
	return entry->connection ? 0 : -EOPNOTSUPP;
}

static void unlink_entry(struct entry *entry)
{
	hash_del(&entry->by_cookie);
	hash_del(&entry->by_tuple);
	hash_del(&entry->by_translated);
	entry->zone->pf->n_ct--;
}

static int entry_add(struct esim_ct_zone *zone, struct flow_cls_offload *f)
{
	struct esim_pf *pf = zone->pf;
	struct entry *entry, *old;
	int err = esim_fault(pf, ESIM_OP_CT);

	if (err)
		return err;
	entry = kzalloc(sizeof(*entry), GFP_KERNEL);
	if (!entry)
		return -ENOMEM;
	entry->zone = zone;
	entry->cookie = f->cookie;
	err = read_match(entry, f->rule);
	if (!err)
		err = read_actions(entry, f->rule);
	spin_lock_bh(&pf->ct_lock);
	/* The same cookie again is an update: one-way UDP that was answered. */
	old = find_cookie(zone, f->cookie);
	if (!err && !old && pf->n_ct >= pf->limits.ct)
		err = -ENOSPC;
	if (!err) {
		if (old)
			unlink_entry(old);
		hash_add(pf->ct_by_cookie, &entry->by_cookie, entry->cookie);
		hash_add(pf->ct_by_tuple, &entry->by_tuple, hash_of(&entry->tuple));
		hash_add(pf->ct_by_translated, &entry->by_translated, hash_of(&entry->translated));
		pf->n_ct++;
	}
	spin_unlock_bh(&pf->ct_lock);
	kfree(err ? entry : old);
	return err;
}

static int entry_remove(struct esim_ct_zone *zone, struct flow_cls_offload *f)
{
	struct entry *entry;

	spin_lock_bh(&zone->pf->ct_lock);
	entry = find_cookie(zone, f->cookie);
	if (entry)
		unlink_entry(entry);
	spin_unlock_bh(&zone->pf->ct_lock);
	kfree(entry);
	return entry ? 0 : -ENOENT;
}

static int entry_stats(struct esim_ct_zone *zone, struct flow_cls_offload *f)
{
	struct entry *entry;

	spin_lock_bh(&zone->pf->ct_lock);
	entry = find_cookie(zone, f->cookie);
	if (entry) {
		struct esim_counter *c = &entry->counter;

		flow_stats_update(&f->stats, c->cached_bytes - c->told_bytes, c->cached_packets - c->told_packets, 0,
				  c->cached_used, FLOW_ACTION_HW_STATS_DELAYED);
		c->told_bytes = c->cached_bytes;
		c->told_packets = c->cached_packets;
	}
	spin_unlock_bh(&zone->pf->ct_lock);
	return entry ? 0 : -ENOENT;
}

static int ct_cb(enum tc_setup_type type, void *data, void *priv)
{
	struct flow_cls_offload *f = data;
	struct esim_ct_zone *zone = priv;
	int err;

	if (type != TC_SETUP_CLSFLOWER)
		return -EOPNOTSUPP;
	switch (f->command) {
	case FLOW_CLS_REPLACE:
		err = entry_add(zone, f);
		esim_ring_add(zone->pf->journal, "ct_add zone=%u cookie=%lx result=%d", zone->zone, f->cookie, err);
		return err;
	case FLOW_CLS_DESTROY:
		err = entry_remove(zone, f);
		esim_ring_add(zone->pf->journal, "ct_del zone=%u cookie=%lx result=%d", zone->zone, f->cookie, err);
		return err;
	case FLOW_CLS_STATS:
		return entry_stats(zone, f);
	default:
		return -EOPNOTSUPP;
	}
}

/* --- zones, under rules_lock --- */

struct esim_ct_zone *esim_ct_zone_get(struct esim_pf *pf, struct nf_flowtable *table, u16 number)
{
	struct esim_ct_zone *zone;
	int err;

	list_for_each_entry (zone, &pf->ct_zones, list)
		if (zone->table == table) {
			zone->refs++;
			return zone;
		}
	zone = kzalloc(sizeof(*zone), GFP_KERNEL);
	if (!zone)
		return ERR_PTR(-ENOMEM);
	zone->pf = pf;
	zone->table = table;
	zone->zone = number;
	zone->refs = 1;
	zone->id = ida_alloc_min(&pf->zone_ids, 1, GFP_KERNEL);
	err = zone->id < 0 ? zone->id : nf_flow_table_offload_add_cb(table, ct_cb, zone);
	if (err) {
		if (zone->id > 0)
			ida_free(&pf->zone_ids, zone->id);
		kfree(zone);
		return ERR_PTR(err);
	}
	list_add_tail_rcu(&zone->list, &pf->ct_zones);
	return zone;
}

void esim_ct_zone_put(struct esim_ct_zone *zone)
{
	struct esim_pf *pf = zone->pf;
	struct hlist_node *next;
	struct entry *entry;
	int bucket;

	if (--zone->refs)
		return;
	nf_flow_table_offload_del_cb(zone->table, ct_cb, zone);
	spin_lock_bh(&pf->ct_lock);
	hash_for_each_safe (pf->ct_by_cookie, bucket, next, entry, by_cookie)
		if (entry->zone == zone) {
			unlink_entry(entry);
			kfree(entry);
		}
	spin_unlock_bh(&pf->ct_lock);
	list_del_rcu(&zone->list);
	ida_free(&pf->zone_ids, zone->id);
	kfree_rcu(zone, rcu);
}

/* --- packets --- */

static bool read_packet(struct tuple *tuple, const struct esim_key *key)
{
	memset(tuple, 0, sizeof(*tuple));
	if (key->eth_type == htons(ETH_P_IP))
		tuple->family = 4;
	else if (key->eth_type == htons(ETH_P_IPV6))
		tuple->family = 6;
	else
		return false;
	tuple->proto = key->proto;
	tuple->saddr = key->saddr;
	tuple->daddr = key->daddr;
	tuple->sport = key->sport;
	tuple->dport = key->dport;
	return key->proto == IPPROTO_TCP || key->proto == IPPROTO_UDP || key->proto == IPPROTO_GRE;
}

bool esim_ct_execute(struct esim_ct_zone *zone, bool nat, struct sk_buff *skb, const struct esim_key *key,
		     const struct esim_layout *at, struct esim_ct_result *result)
{
	const __be16 ends = htons(0x0005); /* FIN, RST */
	struct esim_pf *pf = zone->pf;
	struct entry *entry;
	struct tuple tuple;
	int i;

	if (!read_packet(&tuple, key) || (key->proto != IPPROTO_GRE && !at->l4))
		return false;
	if (key->proto == IPPROTO_TCP && key->tcp_flags & ends)
		return false;
	tuple.zone = zone->zone;
	spin_lock_bh(&pf->ct_lock);
	entry = find_tuple(pf, &tuple);
	/* A translated connection is in the table of lookups with nat, on older kernels untranslated in the other too.
	 */
	if (entry && entry->n_edits && !nat && ESIM_CT_ONE_TABLE)
		entry = NULL;
	if (entry) {
		for (i = 0; nat && i < entry->n_edits; i++)
			esim_edit_bytes(skb, at, entry->edits[i].htype, entry->edits[i].offset, entry->edits[i].value,
					entry->edits[i].len);
		*result = (struct esim_ct_result){
			.mark = entry->mark, .state = entry->state, .zone = zone->zone, .restore_id = zone->id};
		memcpy(result->label, entry->label, sizeof(result->label));
		entry->counter.packets++;
		entry->counter.bytes += skb->len;
		entry->counter.used = jiffies;
	}
	spin_unlock_bh(&pf->ct_lock);
	return entry;
}

bool esim_ct_restore(struct esim_pf *pf, u8 restore_id, struct sk_buff *skb, const struct esim_key *key)
{
	struct esim_ct_zone *zone, *found = NULL;
	struct entry *entry = NULL;
	struct tuple tuple;

	list_for_each_entry_rcu (zone, &pf->ct_zones, list)
		if ((u8)zone->id == restore_id) {
			found = zone;
			break;
		}
	if (!found || !read_packet(&tuple, key))
		return false;
	tuple.zone = found->zone;
	spin_lock_bh(&pf->ct_lock);
	/* As long as the entry is there, its flow holds the connection. */
	entry = find_tuple(pf, &tuple);
	if (!entry)
		entry = find_translated(pf, &tuple);
	if (entry)
		tcf_ct_flow_table_restore_skb(skb, entry->connection);
	spin_unlock_bh(&pf->ct_lock);
	return entry;
}

/* A firmware that lost its memory: connections no longer match, and nobody is told. */
void esim_ct_lose(struct esim_pf *pf)
{
	struct entry *entry;
	int bucket;

	spin_lock_bh(&pf->ct_lock);
	hash_for_each (pf->ct_by_cookie, bucket, entry, by_cookie) {
		hash_del(&entry->by_tuple);
		hash_del(&entry->by_translated);
	}
	spin_unlock_bh(&pf->ct_lock);
}

void esim_ct_refresh(struct esim_pf *pf)
{
	struct entry *entry;
	int bucket;

	if (READ_ONCE(pf->freeze_stats))
		return;
	spin_lock_bh(&pf->ct_lock);
	hash_for_each (pf->ct_by_cookie, bucket, entry, by_cookie) {
		entry->counter.cached_packets = entry->counter.packets;
		entry->counter.cached_bytes = entry->counter.bytes;
		entry->counter.cached_used = entry->counter.used;
	}
	spin_unlock_bh(&pf->ct_lock);
}

static void show_tuple(struct seq_file *s, const char *name, const struct tuple *t)
{
	if (t->family == 4)
		seq_printf(s, " %s=%pI4:%u>%pI4:%u", name, &t->saddr, ntohs(t->sport), &t->daddr, ntohs(t->dport));
	else
		seq_printf(s, " %s=[%pI6c]:%u>[%pI6c]:%u", name, &t->saddr, ntohs(t->sport), &t->daddr,
			   ntohs(t->dport));
}

void esim_ct_show(struct seq_file *s, struct esim_pf *pf)
{
	struct entry *entry;
	int bucket;

	spin_lock_bh(&pf->ct_lock);
	hash_for_each (pf->ct_by_cookie, bucket, entry, by_cookie) {
		seq_printf(s, "zone=%u proto=%u state=%s%s mark=%u", entry->tuple.zone, entry->tuple.proto,
			   entry->state & ESIM_CT_NEW ? "new" : "est", entry->state & ESIM_CT_RPL ? "+rpl" : "",
			   entry->mark);
		show_tuple(s, "tuple", &entry->tuple);
		if (entry->n_edits)
			show_tuple(s, "translated", &entry->translated);
		seq_printf(s, " packets=%llu bytes=%llu\n", entry->counter.packets, entry->counter.bytes);
	}
	spin_unlock_bh(&pf->ct_lock);
}
