// SPDX-License-Identifier: GPL-2.0
/*
 * The pipeline: frames from functions go through the tables of their eswitch in a tasklet, one after another, never in
 * the transmit path of the netdev they came by. Representors' frames go straight to their function.
 */
#include <linux/if_vlan.h>

#include "esim.h"

/* More than anything a card is sold for, less than for ever: hardware has no guard against loops. */
#define STEPS_MAX 512
#define HEADROOM  128
#define QUEUE_MAX 8192

struct packet {
	struct esim_port *port;
	struct sk_buff *skb;
	struct esim_key key;
	struct esim_layout at;
	struct esim_restart restart, ct_restart; /* the second as the last ct would have it */
	struct esim_key tunnel_key;
	unsigned int decap; /* bytes in front of the inner frame; 0: nothing to decapsulate */
	char way[192];	    /* for the trace */
	int way_len;
};

struct queued {
	struct esim_port *port;
	bool from_rep;
};

static struct queued *queued(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct queued) > sizeof(skb->cb));
	return (struct queued *)skb->cb;
}

static __printf(2, 3) void note(struct packet *p, const char *format, ...)
{
	va_list args;

	if (!READ_ONCE(p->port->pf->tracing) || p->way_len >= sizeof(p->way) - 1)
		return;
	va_start(args, format);
	p->way_len += vscnprintf(p->way + p->way_len, sizeof(p->way) - p->way_len, format, args);
	va_end(args);
}

void esim_drop(struct esim_port *port, struct sk_buff *skb, enum esim_drop reason)
{
	atomic64_inc(&port->drops[reason]);
	if (reason == ESIM_DROP_RULE)
		consume_skb(skb);
	else
		kfree_skb(skb);
}

void esim_deliver_far(struct esim_port *port, struct sk_buff *skb, struct esim_port *blame)
{
	struct net_device *far = rcu_dereference(port->far), *rep = rcu_dereference(port->rep);
	unsigned int len = skb->len, mtu = far ? far->mtu : 0;

	/* The core asks it which netns it leaves; what a packet has of one went when it came. */
	skb->dev = far;
	/* The uplink's own limit is the port's. */
	if (esim_is_uplink(port) && rep)
		mtu = min(mtu, rep->mtu);
	if (!far || !netif_running(far) || !netif_carrier_ok(far)) {
		esim_drop(blame, skb, ESIM_DROP_DOWN);
	} else if (len > mtu + ETH_HLEN + VLAN_HLEN) {
		esim_drop(blame, skb, ESIM_DROP_MTU);
	} else if (dev_forward_skb(far, skb) == NET_RX_SUCCESS) {
		esim_count(&port->to_far, len);
	}
}

static bool reread(struct packet *p)
{
	return esim_key_read(p->skb, 0, &p->key, &p->at);
}

static void decapsulate(struct packet *p, const struct esim_rule *rule)
{
	skb_pull(p->skb, p->decap);
	p->decap = 0;
	reread(p);
	if (rule->sets_tunnel_id)
		p->key.tun_id = p->restart.tunnel_id = rule->tunnel_id->id;
}

enum verdict { GO_ON, NEXT_RULE, DONE };

static enum verdict lose(struct packet *p, enum esim_drop reason)
{
	esim_drop(p->port, p->skb, reason);
	return DONE;
}

static enum verdict miss(struct packet *p, enum esim_miss why)
{
	note(p, " miss%d", why);
	esim_miss(p->port, p->skb, &p->restart, why);
	return DONE;
}

static void set_ct(struct packet *p, const struct esim_ct_result *ct)
{
	p->key.ct_state = ct->state;
	p->key.ct_zone = ct->zone;
	p->key.ct_mark = ct->mark;
	memcpy(p->key.ct_label, ct->label, sizeof(p->key.ct_label));
	p->restart.ct_restore_id = ct->restore_id;
}

static enum verdict run_ct(struct packet *p, const struct esim_rule *rule, const struct esim_action *act)
{
	struct esim_ct_result ct;

	p->restart.chain = rule->chain;
	p->restart.miss_cookie = act->ct.miss_cookie;
	p->ct_restart = p->restart;
	if (esim_ct_execute(act->ct.zone, act->ct.nat, p->skb, &p->key, &p->at, &ct)) {
		note(p, " ct");
		reread(p);
		set_ct(p, &ct);
		p->restart.miss_cookie = 0;
		return GO_ON;
	}
	return miss(p, ESIM_MISS_CT);
}

static enum verdict run_out(struct packet *p, const struct esim_action *act)
{
	struct esim_port *to =
		act->kind == ESIM_ACT_ENCAP_OUT ? &p->port->pf->ports[0] : &p->port->pf->ports[act->port];
	struct sk_buff *skb = p->skb;

	if (act->mirror) {
		skb = skb_copy_expand(p->skb, HEADROOM, 0, GFP_ATOMIC);
		if (!skb) {
			atomic64_inc(&p->port->drops[ESIM_DROP_MEMORY]);
			return GO_ON;
		}
	}
	note(p, " out%u", to->number);
	if (act->kind == ESIM_ACT_ENCAP_OUT && !esim_encap_push(act->encap, skb, &p->key)) {
		esim_drop(p->port, skb, ESIM_DROP_MEMORY);
	} else {
		atomic64_inc(&to->hw_out);
		esim_deliver_far(to, skb, p->port);
	}
	return act->mirror ? GO_ON : DONE;
}

static enum verdict run(struct packet *p, const struct esim_rule *rule, const struct esim_action *act)
{
	bool done = true;

	switch (act->kind) {
	case ESIM_ACT_DROP:
		return lose(p, ESIM_DROP_RULE);
	case ESIM_ACT_SLOW:
		/* To the end of tc's tables, with the packet as it is now. Nobody writes down a chain on the way, so
		 * that software begins at chain 0, or where the last ct would have sent it. */
		p->restart.chain = p->ct_restart.chain;
		p->restart.miss_cookie = p->ct_restart.miss_cookie;
		return miss(p, ESIM_MISS_ACCEPT);
	case ESIM_ACT_GOTO:
		p->restart.chain = act->chain;
		return NEXT_RULE;
	case ESIM_ACT_OUT:
	case ESIM_ACT_ENCAP_OUT:
		return run_out(p, act);
	case ESIM_ACT_METER:
		if (p->at.l3 && !esim_meter_passes(act->police.meter, p->skb->len - p->at.l3) &&
		    !act->police.exceed_passes)
			return lose(p, ESIM_DROP_POLICE);
		if (!p->at.l3 && !esim_meter_passes(act->police.meter, p->skb->len - ETH_HLEN) &&
		    !act->police.exceed_passes)
			return lose(p, ESIM_DROP_POLICE);
		return GO_ON;
	case ESIM_ACT_CT:
		return run_ct(p, rule, act);
	case ESIM_ACT_CT_CLEAR:
		memset(&p->key.ct, 0, sizeof(p->key.ct));
		p->restart.ct_restore_id = 0;
		return GO_ON;
	case ESIM_ACT_VLAN_PUSH:
		done = esim_vlan_push(p->skb, act->vlan.tpid, act->vlan.tci);
		break;
	case ESIM_ACT_VLAN_POP:
		done = esim_vlan_pop(p->skb);
		break;
	case ESIM_ACT_VLAN_SET:
		done = esim_vlan_set(p->skb, act->vlan.tci);
		break;
	case ESIM_ACT_EDIT:
		/* A header that is not there is not rewritten: the rule's match should have asked for it. */
		esim_edit_word(p->skb, &p->at, act->edit.htype, act->edit.offset, act->edit.keep, act->edit.value,
			       act->edit.add);
		break;
	}
	if (!done || !reread(p))
		return lose(p, ESIM_DROP_BROKEN);
	return GO_ON;
}

/* A rule whose neighbour is not resolved is in hardware as a way to software only, for the packet as it came. */
static bool is_slow(const struct esim_rule *rule)
{
	int i;

	for (i = 0; i < rule->n_actions; i++)
		if (rule->actions[i].kind == ESIM_ACT_ENCAP_OUT && !esim_encap_ready(rule->actions[i].encap))
			return true;
	return false;
}

/* Before 6.3 the driver looks the connection up first and does all else of the rule after it, so that a miss leaves
 * the packet as it came, for software to do the whole rule. */
static const struct esim_action *ct_first(const struct esim_rule *rule)
{
	int i;

	if (ESIM_ACT_MISS || !rule->has_ct)
		return NULL;
	for (i = 0; i < rule->n_actions; i++)
		if (rule->actions[i].kind == ESIM_ACT_CT)
			return &rule->actions[i];
	return NULL;
}

static enum verdict run_rule(struct packet *p, struct esim_rule *rule)
{
	const struct esim_action *first;
	enum verdict verdict = GO_ON;
	int i;

	note(p, " %u/%u", rule->chain, rule->prio);
	p->restart.chain = rule->chain;
	p->restart.miss_cookie = 0;
	if (is_slow(rule))
		return miss(p, ESIM_MISS_SLOW);
	if (rule->tunnel && !rule->chain)
		decapsulate(p, rule);
	first = ct_first(rule);
	if (first) {
		verdict = run_ct(p, rule, first);
		if (verdict == DONE)
			return DONE;
	}
	WRITE_ONCE(rule->counter.packets, rule->counter.packets + 1);
	WRITE_ONCE(rule->counter.bytes, rule->counter.bytes + p->skb->len);
	WRITE_ONCE(rule->counter.used, jiffies);
	for (i = 0; i < rule->n_actions; i++) {
		if (&rule->actions[i] == first)
			continue;
		verdict = run(p, rule, &rule->actions[i]);
		if (verdict != GO_ON)
			return verdict;
	}
	/* Only mirrors, and nothing that ends the packet: it is used up. */
	consume_skb(p->skb);
	return DONE;
}

static void execute(struct packet *p)
{
	struct esim_pf *pf = p->port->pf;
	struct esim_rule *rule;
	enum verdict verdict;
	int step;

	if (!reread(p)) {
		lose(p, ESIM_DROP_BROKEN);
		return;
	}
	p->key.port = p->port->number + 1;
	if (esim_is_uplink(p->port))
		p->decap = esim_key_read_tunnel(p->skb, &p->key, &p->at, pf->vxlan_ports, ESIM_VXLAN_PORTS,
						&p->tunnel_key);
	for (step = 0; step < STEPS_MAX; step++) {
		rule = esim_lookup(pf, p->restart.chain, &p->key, p->decap ? &p->tunnel_key : NULL);
		if (!rule) {
			miss(p, ESIM_MISS_CHAIN);
			return;
		}
		if (!step)
			atomic64_inc(&p->port->hw_in);
		verdict = run_rule(p, rule);
		if (verdict == DONE)
			return;
	}
	lose(p, ESIM_DROP_LOOP);
}

/* A private, linear, writable copy with room for an encapsulation in front. */
static struct sk_buff *own(struct sk_buff *skb)
{
	struct sk_buff *copy;

	if (!skb_cloned(skb) && !skb_shared(skb) && !skb_is_nonlinear(skb) && skb_headroom(skb) >= HEADROOM)
		return skb;
	copy = skb_copy_expand(skb, HEADROOM, 0, GFP_ATOMIC);
	consume_skb(skb);
	return copy;
}

static void handle(struct sk_buff *skb)
{
	struct esim_port *port = queued(skb)->port;
	bool from_rep = queued(skb)->from_rep, legacy;
	struct packet p = {.port = port};

	skb = own(skb);
	if (!skb) {
		atomic64_inc(&port->drops[ESIM_DROP_MEMORY]);
		return;
	}
	legacy = READ_ONCE(port->pf->mode) == DEVLINK_ESWITCH_MODE_LEGACY;
	if (legacy) {
		esim_legacy_switch(port, skb, from_rep);
	} else if (from_rep) {
		atomic64_inc(&port->slow_tx);
		esim_deliver_far(port, skb, port);
	} else {
		p.skb = skb;
		execute(&p);
		if (p.way_len)
			esim_ring_add(port->pf->trace, "port=%u proto=%04x ip_proto=%u%s", port->number,
				      ntohs(p.key.eth_type), p.key.proto, p.way);
	}
}

static void pipeline_fn(struct tasklet_struct *tasklet)
{
	struct esim_pf *pf = from_tasklet(pf, tasklet, tasklet);
	struct sk_buff *skb;
	int budget = 128;

	rcu_read_lock();
	while (budget-- && (skb = skb_dequeue(&pf->queue)))
		handle(skb);
	rcu_read_unlock();
	if (!skb_queue_empty(&pf->queue))
		tasklet_schedule(&pf->tasklet);
}

static void enqueue(struct esim_port *port, struct sk_buff *skb, bool from_rep)
{
	struct esim_pf *pf = port->pf;

	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb || skb_queue_len(&pf->queue) >= QUEUE_MAX) {
		atomic64_inc(&port->drops[ESIM_DROP_MEMORY]);
		kfree_skb(skb);
		return;
	}
	skb_orphan(skb);
	skb_scrub_packet(skb, true);
	skb->dev = NULL; /* it may be gone before the packet is */
	*queued(skb) = (struct queued){.port = port, .from_rep = from_rep};
	skb_queue_tail(&pf->queue, skb);
	tasklet_schedule(&pf->tasklet);
}

void esim_from_far(struct esim_port *port, struct sk_buff *skb)
{
	enqueue(port, skb, false);
}

void esim_from_rep(struct esim_port *port, struct sk_buff *skb)
{
	enqueue(port, skb, true);
}

static void second_fn(struct work_struct *work)
{
	struct esim_pf *pf = container_of(work, struct esim_pf, second.work);

	esim_counters_refresh(pf);
	esim_ct_refresh(pf);
	esim_encaps_keep_alive(pf);
	queue_delayed_work(esim_wq, &pf->second, msecs_to_jiffies(READ_ONCE(pf->stats_ms)));
}

void esim_pipeline_start(struct esim_pf *pf)
{
	skb_queue_head_init(&pf->queue);
	tasklet_setup(&pf->tasklet, pipeline_fn);
	INIT_DELAYED_WORK(&pf->second, second_fn);
	queue_delayed_work(esim_wq, &pf->second, HZ);
}

void esim_pipeline_stop(struct esim_pf *pf)
{
	cancel_delayed_work_sync(&pf->second);
	tasklet_kill(&pf->tasklet);
	skb_queue_purge(&pf->queue);
}
