// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/esim/PCI-NAME/: what the NIC knows, and the knobs. Files are lines of key=value in a stable order;
 * README.md lists them.
 */
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "esim.h"

static struct dentry *root;

static int rules_show(struct seq_file *s, void *unused)
{
	struct esim_pf *pf = s->private;
	struct esim_rule *rule;

	mutex_lock(&pf->rules_lock);
	list_for_each_entry (rule, &pf->rules, all)
		esim_rule_show(s, rule);
	mutex_unlock(&pf->rules_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(rules);

static int ct_show(struct seq_file *s, void *unused)
{
	esim_ct_show(s, s->private);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ct);

static int encaps_show(struct seq_file *s, void *unused)
{
	esim_encap_show(s, s->private);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(encaps);

static int meters_show(struct seq_file *s, void *unused)
{
	struct esim_pf *pf = s->private;
	struct esim_meter *meter;

	mutex_lock(&pf->rules_lock);
	list_for_each_entry (meter, &pf->meters, list)
		seq_printf(s, "index=%u unit=%s rate=%llu burst=%llu rules=%d passed=%llu dropped=%llu\n", meter->index,
			   meter->packets ? "packets" : "bytes", meter->rate, meter->burst, meter->refs, meter->passed,
			   meter->dropped);
	mutex_unlock(&pf->rules_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(meters);

static int ports_show(struct seq_file *s, void *unused)
{
	static const char *const misses[] = {"chain", "ct", "accept", "slow"};
	static const char *const drops[] = {"rule", "police", "restore", "mtu", "down", "loop", "broken", "memory"};
	struct esim_pf *pf = s->private;
	int i, j;

	BUILD_BUG_ON(ARRAY_SIZE(misses) != ESIM_N_MISSES || ARRAY_SIZE(drops) != ESIM_N_DROPS);
	for (i = 0; i <= pf->num_vfs; i++) {
		struct esim_port *port = &pf->ports[i];

		seq_printf(s, "port=%d hw_in=%lld hw_out=%lld slow_tx=%lld legacy=%lld", i, atomic64_read(&port->hw_in),
			   atomic64_read(&port->hw_out), atomic64_read(&port->slow_tx), atomic64_read(&port->legacy));
		for (j = 0; j < ESIM_N_MISSES; j++)
			seq_printf(s, " miss_%s=%lld", misses[j], atomic64_read(&port->miss[j]));
		for (j = 0; j < ESIM_N_DROPS; j++)
			seq_printf(s, " drop_%s=%lld", drops[j], atomic64_read(&port->drops[j]));
		seq_putc(s, '\n');
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ports);

static int totals_show(struct seq_file *s, void *unused)
{
	struct esim_pf *pf = s->private;

	mutex_lock(&pf->rules_lock);
	seq_printf(s, "rules=%u chains=%u tables=%u mappings=%u meters=%u encaps=%u ct=%u ambiguous=%lld restart=%s\n",
		   pf->n_rules, pf->n_chains, pf->n_tables, pf->n_mappings, pf->n_meters, pf->n_encaps, pf->n_ct,
		   atomic64_read(&pf->ambiguous),
		   ESIM_ACT_MISS  ? "action"
		   : ESIM_SKB_EXT ? "chain"
				  : "none");
	mutex_unlock(&pf->rules_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(totals);

static int lose_all(void *data, u64 value)
{
	struct esim_pf *pf = data;

	esim_rules_lose(pf);
	esim_ct_lose(pf);
	esim_ring_add(pf->journal, "lose_all");
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(lose_all_fops, NULL, lose_all, "%llu\n");

static int reset(void *data, u64 value)
{
	struct esim_pf *pf = data;

	queue_work(esim_wq, &pf->reset_work);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(reset_fops, NULL, reset, "%llu\n");

static int carrier_get(void *data, u64 *value)
{
	*value = ((struct esim_pf *)data)->carrier;
	return 0;
}

static int carrier_set(void *data, u64 value)
{
	struct esim_pf *pf = data;

	WRITE_ONCE(pf->carrier, value);
	esim_carrier_update(&pf->ports[0]);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(carrier_fops, carrier_get, carrier_set, "%llu\n");

static int refuse_show(struct seq_file *s, void *unused)
{
	seq_printf(s, "%s\n", ((struct esim_pf *)s->private)->refuse);
	return 0;
}

static int refuse_open(struct inode *inode, struct file *file)
{
	return single_open(file, refuse_show, inode->i_private);
}

static ssize_t refuse_write(struct file *file, const char __user *buffer, size_t len, loff_t *pos)
{
	struct esim_pf *pf = ((struct seq_file *)file->private_data)->private;
	char text[ESIM_REFUSALS_LEN] = {};

	if (len >= sizeof(text) || copy_from_user(text, buffer, len))
		return -EINVAL;
	mutex_lock(&pf->rules_lock);
	strscpy(pf->refuse, strim(text), sizeof(pf->refuse));
	mutex_unlock(&pf->rules_lock);
	return len;
}

static const struct file_operations refuse_fops = {
	.owner = THIS_MODULE,
	.open = refuse_open,
	.read = seq_read,
	.write = refuse_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static void create_caps(struct esim_pf *pf, struct dentry *dir)
{
	struct esim_caps *caps = &pf->caps;
	const struct {
		const char *name;
		bool *value;
	} flags[] = {
		{"ignore_flow_level", &caps->ignore_flow_level},
		{"reg_c1_loopback", &caps->reg_c1_loopback},
		{"fdb_modify_header_fwd_to_table", &caps->modify_fwd_to_table},
		{"multi_fdb_encap", &caps->multi_fdb_encap},
		{"reformat_and_fwd_to_table", &caps->reformat_fwd_to_table},
		{"termination_table", &caps->termination_table},
		{"termination_table_raw_traffic", &caps->termination_raw},
		{"multi_path", &caps->multi_path},
		{"flow_meter", &caps->flow_meter},
		{"flex_parser_icmp", &caps->icmp_parser},
		{"ttl_match", &caps->ttl_match},
		{"cvlan", &caps->cvlan},
		{"vlan_actions", &caps->vlan_actions},
		{"encap", &caps->encap},
		{"vni_match", &caps->vni_match},
		{"ct", &caps->ct},
		{"tc", &caps->tc},
		{"smfs", &caps->smfs},
		{"act_stats_defect", &caps->act_stats_defect},
		{"uplink_hw_tc", &caps->uplink_hw_tc},
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		debugfs_create_bool(flags[i].name, 0600, dir, flags[i].value);
	debugfs_create_u32("max_modify_header_actions", 0600, dir, &caps->max_modify);
	debugfs_create_u32("max_encap_header_size", 0600, dir, &caps->max_encap_header);
}

void esim_debugfs_create(struct esim_pf *pf)
{
	struct dentry *dir = debugfs_create_dir(pci_name(pf->pdev), root), *sub;
	int i;

	pf->debugfs = dir;
	debugfs_create_file("rules", 0400, dir, pf, &rules_fops);
	debugfs_create_file("ct", 0400, dir, pf, &ct_fops);
	debugfs_create_file("meters", 0400, dir, pf, &meters_fops);
	debugfs_create_file("encaps", 0400, dir, pf, &encaps_fops);
	debugfs_create_file("ports", 0400, dir, pf, &ports_fops);
	debugfs_create_file("totals", 0400, dir, pf, &totals_fops);
	debugfs_create_file("journal", 0600, dir, pf->journal, &esim_ring_fops);
	debugfs_create_file("trace", 0600, dir, pf->trace, &esim_ring_fops);
	debugfs_create_bool("tracing", 0600, dir, &pf->tracing);
	debugfs_create_u32("cap_rules", 0600, dir, &pf->limits.rules);
	debugfs_create_u32("cap_ct", 0600, dir, &pf->limits.ct);
	debugfs_create_u32("cap_meters", 0600, dir, &pf->limits.meters);
	debugfs_create_u32("cap_encaps", 0600, dir, &pf->limits.encaps);
	debugfs_create_u32("cap_tunnels", 0600, dir, &pf->limits.tunnels);
	debugfs_create_u32("cap_mappings", 0600, dir, &pf->limits.mappings);
	debugfs_create_u32("stats_ms", 0600, dir, &pf->stats_ms);
	debugfs_create_bool("busy", 0600, dir, &pf->busy);
	debugfs_create_bool("freeze_stats", 0600, dir, &pf->freeze_stats);
	debugfs_create_file_unsafe("carrier", 0600, dir, pf, &carrier_fops);
	debugfs_create_file_unsafe("lose_all", 0200, dir, pf, &lose_all_fops);
	debugfs_create_file_unsafe("reset", 0200, dir, pf, &reset_fops);
	debugfs_create_file("refuse", 0600, dir, pf, &refuse_fops);
	create_caps(pf, debugfs_create_dir("caps", dir));
	sub = debugfs_create_dir("fail", dir);
	for (i = 0; i < ESIM_N_OPS; i++)
		debugfs_create_file(esim_op_names[i], 0600, sub, &pf->faults[i], &esim_fault_fops);
	sub = debugfs_create_dir("delay_us", dir);
	for (i = 0; i < ESIM_N_OPS; i++)
		debugfs_create_u32(esim_op_names[i], 0600, sub, &pf->faults[i].delay_us);
}

void esim_debugfs_init(void)
{
	root = debugfs_create_dir("esim", NULL);
}

void esim_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
}
