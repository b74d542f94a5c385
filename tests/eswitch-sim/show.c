// SPDX-License-Identifier: GPL-2.0
/*
 * A rule as one line of key=value: its place, its identity, its match in flower's words, its actions in order.
 */
#include <linux/seq_file.h>

#include "esim.h"

static void show_bits(struct seq_file *s, const char *name, const void *value, const void *mask, int len)
{
	if (!memchr_inv(mask, 0, len))
		return;
	seq_printf(s, " %s=%*phN", name, len, value);
	if (memchr_inv(mask, 0xff, len))
		seq_printf(s, "/%*phN", len, mask);
}

#define SHOW(s, rule, name) show_bits(s, #name, &(rule)->key.name, &(rule)->mask.name, sizeof((rule)->key.name))

static void show_address(struct seq_file *s, const char *name, const struct in6_addr *value,
			 const struct in6_addr *mask, bool ipv6)
{
	if (!memchr_inv(mask, 0, sizeof(*mask)))
		return;
	if (ipv6)
		seq_printf(s, " %s=%pI6c/%pI6c", name, value, mask);
	else
		seq_printf(s, " %s=%pI4/%pI4", name, value, mask);
}

static void show_number(struct seq_file *s, const char *name, u32 value, u32 mask, u32 full)
{
	if (mask == full)
		seq_printf(s, " %s=%u", name, value);
	else if (mask)
		seq_printf(s, " %s=0x%x/0x%x", name, value, mask);
}

static void show_match(struct seq_file *s, const struct esim_rule *rule)
{
	const struct esim_key *key = &rule->key, *mask = &rule->mask;
	bool ipv6 = key->eth_type == htons(ETH_P_IPV6);

	SHOW(s, rule, dst);
	SHOW(s, rule, src);
	if (mask->eth_type)
		seq_printf(s, " eth_type=%04x", ntohs(key->eth_type));
	if (mask->tagged)
		seq_printf(s, " tagged=%d", !!key->tagged);
	if (key->tagged)
		seq_printf(s, " tpid=%04x", ntohs(key->tpid));
	show_number(s, "vlan", ntohs(key->tci), ntohs(mask->tci), 0xfff);
	if (key->ctagged)
		seq_printf(s, " ctpid=%04x", ntohs(key->ctpid));
	show_number(s, "cvlan", ntohs(key->ctci), ntohs(mask->ctci), 0xfff);
	show_number(s, "ip_proto", key->proto, mask->proto, 0xff);
	show_number(s, "tos", key->tos, mask->tos, 0xff);
	show_number(s, "ttl", key->ttl, mask->ttl, 0xff);
	if (mask->frag)
		seq_printf(s, " frag=%d", !!key->frag);
	show_address(s, "src_ip", &key->saddr, &mask->saddr, ipv6);
	show_address(s, "dst_ip", &key->daddr, &mask->daddr, ipv6);
	show_number(s, "src_port", ntohs(key->sport), ntohs(mask->sport), 0xffff);
	show_number(s, "dst_port", ntohs(key->dport), ntohs(mask->dport), 0xffff);
	show_number(s, "tcp_flags", ntohs(key->tcp_flags), ntohs(mask->tcp_flags), 0xffff);
	show_number(s, "icmp_type", key->icmp_type, mask->icmp_type, 0xff);
	show_number(s, "icmp_code", key->icmp_code, mask->icmp_code, 0xff);
	show_number(s, "ct_state", key->ct_state, mask->ct_state, 0xffff);
	show_number(s, "ct_zone", key->ct_zone, mask->ct_zone, 0xffff);
	show_number(s, "ct_mark", key->ct_mark, mask->ct_mark, ~0u);
	show_bits(s, "ct_label", key->ct_label, mask->ct_label, sizeof(key->ct_label));
	show_number(s, "tun_id", key->tun_id, mask->tun_id, ~0u);
	show_number(s, "vni", ntohl(key->vni), ntohl(mask->vni), ~0u);
	show_address(s, "enc_src_ip", &key->enc_src, &mask->enc_src, key->enc_family == 6);
	show_address(s, "enc_dst_ip", &key->enc_dst, &mask->enc_dst, key->enc_family == 6);
	show_number(s, "enc_src_port", ntohs(key->enc_sport), ntohs(mask->enc_sport), 0xffff);
	show_number(s, "enc_dst_port", ntohs(key->enc_dport), ntohs(mask->enc_dport), 0xffff);
	show_number(s, "enc_tos", key->enc_tos, mask->enc_tos, 0xff);
	show_number(s, "enc_ttl", key->enc_ttl, mask->enc_ttl, 0xff);
}

static void show_action(struct seq_file *s, const struct esim_action *act)
{
	static const char *const headers[] = {"?", "eth", "ip", "ip6", "tcp", "udp"};
	char name[128];

	switch (act->kind) {
	case ESIM_ACT_DROP:
		seq_puts(s, "drop");
		break;
	case ESIM_ACT_SLOW:
		seq_puts(s, "slow");
		break;
	case ESIM_ACT_GOTO:
		seq_printf(s, "goto:%u", act->chain);
		break;
	case ESIM_ACT_OUT:
		seq_printf(s, "%s:%u", act->mirror ? "mirror" : "out", act->port);
		break;
	case ESIM_ACT_ENCAP_OUT:
		esim_encap_name(act->encap, name, sizeof(name));
		seq_printf(s, "%s(%s,%s)", act->mirror ? "encap_mirror" : "encap_out", name,
			   esim_encap_ready(act->encap) ? "resolved" : "slow");
		break;
	case ESIM_ACT_VLAN_PUSH:
		seq_printf(s, "vlan_push:%u", act->vlan.tci & 0xfff);
		break;
	case ESIM_ACT_VLAN_POP:
		seq_puts(s, "vlan_pop");
		break;
	case ESIM_ACT_VLAN_SET:
		seq_printf(s, "vlan_set:%u", act->vlan.tci & 0xfff);
		break;
	case ESIM_ACT_EDIT:
		seq_printf(s, "%s:%s+%u:%*phN/%*phN", act->edit.add ? "add" : "set",
			   act->edit.htype < ARRAY_SIZE(headers) ? headers[act->edit.htype] : "?", act->edit.offset, 4,
			   &act->edit.value, 4, &act->edit.keep);
		break;
	case ESIM_ACT_METER:
		seq_printf(s, "meter:%u", act->police.meter->index);
		break;
	case ESIM_ACT_CT:
		seq_printf(s, "ct:%u%s", act->ct.zone->zone, act->ct.nat ? "+nat" : "");
		break;
	case ESIM_ACT_CT_CLEAR:
		seq_puts(s, "ct_clear");
		break;
	}
}

void esim_rule_show(struct seq_file *s, const struct esim_rule *rule)
{
	int i;

	seq_printf(s, "seq=%llu chain=%u prio=%u port=%u tunnel=%d packets=%llu bytes=%llu", rule->sequence,
		   rule->chain, rule->prio, rule->port, rule->tunnel, READ_ONCE(rule->counter.packets),
		   READ_ONCE(rule->counter.bytes));
	if (rule->user_cookie_len)
		seq_printf(s, " cookie=%*phN", rule->user_cookie_len, rule->user_cookie);
	if (rule->lost)
		seq_puts(s, " lost=1");
	show_match(s, rule);
	if (rule->sets_tunnel_id)
		seq_printf(s, " sets_tun_id=%u", rule->tunnel_id->id);
	seq_puts(s, " actions=");
	for (i = 0; i < rule->n_actions; i++) {
		if (i)
			seq_putc(s, ';');
		show_action(s, &rule->actions[i]);
	}
	seq_putc(s, '\n');
}
