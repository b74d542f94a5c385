/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The objects of the simulated NIC and who offers what. A card has functions (PFs); each PF has an eswitch of its own
 * with ports: the wire's (number 0, its representor is the PF's own netdev) and one per VF (number VF + 1).
 *
 * Locks, outermost first:
 *   devlink instance > rtnl > pf->mode_sem > pf->rules_lock > pf->encap_lock, all of which may sleep;
 *   a flow table's flow_block_lock > pf->ct_lock, a spinlock against the pipeline.
 * The pipeline runs in one tasklet per PF, under RCU, and takes only spinlocks.
 */
#ifndef ESIM_H
#define ESIM_H

#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/hashtable.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "key.h"

#define ESIM_NAME	 "eswitch_sim"
#define ESIM_MAX_VFS	 120
#define ESIM_MAX_ACTIONS 48
#define ESIM_VXLAN_PORTS 4

/* Refusals carry the words of the driver this copies, with its prefix: what reads them must be right for both. */
#define ESIM_SAY(extack, text) NL_SET_ERR_MSG(extack, "mlx5_core: " text)
#define ESIM_REFUSE(extack, errno, text)                                                                               \
	({                                                                                                             \
		ESIM_SAY(extack, text);                                                                                \
		-(errno);                                                                                              \
	})

struct esim_pf;
struct esim_rule;

enum esim_drop {
	ESIM_DROP_RULE,
	ESIM_DROP_POLICE,
	ESIM_DROP_RESTORE, /* the connection of a packet that missed was not found: ct/rx_dropped of mlx5 */
	ESIM_DROP_MTU,
	ESIM_DROP_DOWN,	  /* the function behind the port is not there, not up, or the cable is out */
	ESIM_DROP_LOOP,	  /* a NIC would have gone on for ever */
	ESIM_DROP_BROKEN, /* not a frame, or an edit behind its end */
	ESIM_DROP_MEMORY,
	ESIM_N_DROPS,
};

/* Why a packet came up to its representor. */
enum esim_miss {
	ESIM_MISS_CHAIN,  /* no rule of the chain matched */
	ESIM_MISS_CT,	  /* no connection */
	ESIM_MISS_ACCEPT, /* a rule said pass or trap */
	ESIM_MISS_SLOW,	  /* a rule whose neighbour is not resolved */
	ESIM_N_MISSES,
};

struct esim_traffic {
	atomic64_t packets, bytes;
};

static inline void esim_count(struct esim_traffic *traffic, unsigned int bytes)
{
	atomic64_inc(&traffic->packets);
	atomic64_add(bytes, &traffic->bytes);
}

struct esim_port {
	struct esim_pf *pf;
	u16 number; /* 0: the wire, n: VF n - 1 */
	struct net_device __rcu *rep;
	struct net_device __rcu *far; /* the VF's netdev, or the wire */
	struct net_device *rep_dev;   /* the same two for those who hold the locks that change them */
	struct net_device *far_dev;
	struct devlink_port dl_port;
	bool dl_registered;
	u8 hw_addr[ETH_ALEN]; /* of the port function; zero: the VF chooses */
	atomic64_t hw_in, hw_out, slow_tx, legacy;
	struct esim_traffic from_far, to_far; /* the function's, by hardware and software */
	struct esim_traffic from_rep, to_rep; /* software's share: IFLA_OFFLOAD_XSTATS_CPU_HIT */
	atomic64_t miss[ESIM_N_MISSES];
	atomic64_t drops[ESIM_N_DROPS];
};

enum esim_act_kind {
	ESIM_ACT_DROP,
	ESIM_ACT_SLOW,
	ESIM_ACT_GOTO,
	ESIM_ACT_OUT,
	ESIM_ACT_ENCAP_OUT,
	ESIM_ACT_VLAN_PUSH,
	ESIM_ACT_VLAN_POP,
	ESIM_ACT_VLAN_SET,
	ESIM_ACT_EDIT,
	ESIM_ACT_METER,
	ESIM_ACT_CT,
	ESIM_ACT_CT_CLEAR,
};

struct esim_action {
	enum esim_act_kind kind;
	bool mirror; /* OUT, ENCAP_OUT: the packet goes on */
	union {
		u32 chain;
		u16 port;
		struct {
			__be16 tpid;
			u16 tci;
		} vlan;
		struct {
			u8 htype; /* enum flow_action_mangle_base */
			bool add;
			u16 offset;
			u32 keep, value; /* memory order, as tc has them */
		} edit;
		struct {
			struct esim_meter *meter;
			bool exceed_passes;
		} police;
		struct {
			struct esim_ct_zone *zone;
			bool nat;
			u64 miss_cookie;
		} ct;
		struct esim_encap *encap;
	};
};

/* One counter: the pipeline writes, a timer copies it, as firmware does, and STATS reports what is new since. */
struct esim_counter {
	u64 packets, bytes, used; /* used: jiffies */
	u64 cached_packets, cached_bytes, cached_used;
	u64 told_packets, told_bytes;
};

struct esim_act_stat {
	struct hlist_node node;
	u64 identity;
};

struct esim_rule {
	struct hlist_node by_cookie;
	struct hlist_node by_key;
	struct list_head all;
	struct esim_group *group;
	unsigned long cookie;
	const void *binding; /* cookies are unique within one */
	struct esim_pf *pf;
	u32 chain, prio;
	u64 sequence;
	u16 port;
	bool tunnel; /* from a tunnel device's block */
	bool match_ct;
	bool has_ct;		       /* an action that looks up */
	struct esim_tunnel *tunnel_id; /* chain 0 with goto: sets it; later chains: match it */
	bool sets_tunnel_id;
	int mappings; /* of the NIC's 16-bit objects that this rule holds */
	struct esim_key key, mask;
	struct esim_counter counter;
	u8 user_cookie[16];
	u8 user_cookie_len;
	bool lost; /* from the tables by the knob lose_all; tc knows nothing of it */
	int n_act_stats;
	struct esim_act_stat act_stats[ESIM_MAX_ACTIONS];
	struct rcu_head rcu;
	int n_actions;
	struct esim_action actions[];
};

struct esim_fault {
	spinlock_t lock;
	int count, after, error;
	u32 delay_us;
};

enum esim_op {
	ESIM_OP_REPLACE,
	ESIM_OP_DESTROY,
	ESIM_OP_STATS,
	ESIM_OP_CT,
	ESIM_OP_METER,
	ESIM_OP_ENCAP,
	ESIM_OP_MODE_SET,
	ESIM_OP_SRIOV,
	ESIM_OP_HW_ADDR,
	ESIM_N_OPS,
};
extern const char *const esim_op_names[ESIM_N_OPS];

/* What a firmware may lack, by the driver's names (contract §9); all there by default. */
struct esim_caps {
	bool ignore_flow_level, reg_c1_loopback, modify_fwd_to_table, multi_fdb_encap, reformat_fwd_to_table;
	bool termination_table, termination_raw, multi_path, flow_meter, icmp_parser, ttl_match, cvlan, vlan_actions;
	bool encap, vni_match, ct, tc, act_stats_defect, smfs, uplink_hw_tc;
	u32 max_modify, max_encap_header;
};

struct esim_limits {
	u32 rules, ct, meters, encaps, tunnels, mappings;
};

#define ESIM_REFUSALS_LEN 256

struct esim_pf {
	struct esim_card *card;
	int number;
	struct pci_dev *pdev;
	struct devlink *devlink;
	struct esim_port *ports; /* the wire's and all VFs' */
	int n_ports;
	int num_vfs;

	struct rw_semaphore mode_sem;
	u16 mode;
	u8 encap_mode;
	bool smfs, port_metadata;
	bool indirect; /* registered for tunnel devices' blocks */
	struct work_struct reset_work;
	bool resetting;

	struct mutex rules_lock;
	struct list_head rules;
	u64 rule_sequence;
	u32 n_rules;
	DECLARE_HASHTABLE(rules_by_cookie, 12);
	DECLARE_HASHTABLE(rules_by_key, 14);
	DECLARE_HASHTABLE(chains, 10);
	DECLARE_HASHTABLE(act_stats, 10);
	u32 n_chains, n_tables, n_mappings;
	struct list_head tunnels; /* mapped tunnels */
	struct ida tunnel_ids;
	struct list_head meters;
	u32 n_meters;

	struct list_head ct_zones;
	spinlock_t ct_lock;
	DECLARE_HASHTABLE(ct_by_cookie, 12);
	DECLARE_HASHTABLE(ct_by_tuple, 12);
	DECLARE_HASHTABLE(ct_by_translated, 12);
	struct ida zone_ids;
	u32 n_ct;

	struct mutex encap_lock;
	struct list_head encaps;
	u32 n_encaps;
	struct work_struct neigh_work;
	struct notifier_block neigh_notifier;

	struct list_head direct_blocks, indirect_blocks;

	struct sk_buff_head queue;
	struct tasklet_struct tasklet;
	struct delayed_work second;
	u32 stats_ms;

	__be16 vxlan_ports[ESIM_VXLAN_PORTS];
	struct esim_caps caps;
	struct esim_limits limits;
	struct esim_fault faults[ESIM_N_OPS];
	char refuse[ESIM_REFUSALS_LEN]; /* names of keys and actions to refuse */
	bool busy, freeze_stats, carrier, tracing;
	atomic64_t ambiguous;

	struct dentry *debugfs;
	struct esim_ring *journal, *trace;
};

/* main.c */
extern struct workqueue_struct *esim_wq;
extern unsigned int esim_max_vfs, esim_pfs;
extern bool esim_kernel_limits;

/* pci.c: the virtual bus */
struct esim_card {
	struct list_head list;
	int number;
	u8 switch_id[8];
	struct pci_sysdata sysdata;
	struct pci_bus *bus;
	u8 *config; /* 4 KiB for each of 256 functions; absent ones read as all ones */
};
struct esim_card *esim_card_create(int number);
void esim_card_destroy(struct esim_card *card);
struct esim_card *esim_card_of(struct pci_dev *pdev);
#define ESIM_VENDOR 0xe517
#define ESIM_PF_ID  0x0001
#define ESIM_VF_ID  0x0002

/* function.c: probing of PFs and VFs */
extern struct pci_driver esim_pci_driver;

/* devlink.c, params.c */
extern const struct devlink_ops esim_devlink_ops;
extern const struct devlink_port_ops esim_vf_port_ops;
int esim_params_register(struct esim_pf *pf);
void esim_params_unregister(struct esim_pf *pf);
int esim_mode_switchdev(struct esim_pf *pf);
void esim_mode_legacy(struct esim_pf *pf);
void esim_reset_fn(struct work_struct *work);
int esim_hw_addr_get(struct devlink_port *dl_port, u8 *addr, int *len, struct netlink_ext_ack *extack);
int esim_hw_addr_set(struct devlink_port *dl_port, const u8 *addr, int len, struct netlink_ext_ack *extack);

/* netdevs.c */
int esim_uplink_create(struct esim_pf *pf);
void esim_uplink_destroy(struct esim_pf *pf);
int esim_wire_create(struct esim_pf *pf);
int esim_vf_netdev_create(struct esim_port *port, struct pci_dev *vf);
void esim_far_destroy(struct esim_port *port);
int esim_reps_create(struct esim_pf *pf, int n);
void esim_reps_destroy(struct esim_pf *pf);
void esim_carrier_update(struct esim_port *port);
struct esim_port *esim_port_of_rep(const struct net_device *dev);
static inline bool esim_is_uplink(const struct esim_port *port)
{
	return port->number == 0;
}

/* legacy.c: the MAC switch of legacy mode */
void esim_legacy_switch(struct esim_port *from, struct sk_buff *skb, bool from_host);

/* offload.c: tc's blocks */
int esim_setup_tc(struct net_device *dev, enum tc_setup_type type, void *data);
int esim_indirect_start(struct esim_pf *pf);
void esim_indirect_stop(struct esim_pf *pf);

/* parse_*.c: flower → rule, with mlx5's refusals */
struct esim_parse {
	struct esim_pf *pf;
	struct esim_port *port;	       /* of the block; the wire's for a tunnel device */
	struct net_device *filter_dev; /* what tc has the filter on */
	bool tunnel;
	struct flow_cls_offload *f;
	struct flow_rule *flow;
	struct netlink_ext_ack *extack;
	struct esim_rule *rule;
};
int esim_parse_match(struct esim_parse *p);
int esim_parse_actions(struct esim_parse *p);
struct esim_pedit;
int esim_parse_pedits(struct esim_parse *p, int *n_modify);

/* tables.c */
int esim_rule_add(struct esim_rule *rule, struct netlink_ext_ack *extack);
struct esim_rule *esim_rule_find(struct esim_pf *pf, unsigned long cookie, const void *binding);
void esim_rule_remove(struct esim_rule *rule);
void esim_rule_free(struct esim_rule *rule);
void esim_rules_lose(struct esim_pf *pf);
/* The best rule of a chain for a packet; `tunnel_key` is what rules of tunnel devices match, in chain 0. */
struct esim_rule *esim_lookup(struct esim_pf *pf, u32 chain, const struct esim_key *key,
			      const struct esim_key *tunnel_key);
void esim_counters_refresh(struct esim_pf *pf);

/* mapping.c: the NIC's small numbers: mapped tunnels, per-action statistics */
struct esim_tunnel {
	struct list_head list;
	struct rcu_head rcu;
	u32 id;
	int refs;
	int ifindex;
	struct esim_key key, mask; /* enc_* and vni only */
};
int esim_tunnel_get(struct esim_pf *pf, struct esim_rule *rule, int ifindex, struct netlink_ext_ack *extack);
struct esim_tunnel *esim_tunnel_find(struct esim_pf *pf, u32 id); /* under RCU */
void esim_tunnel_put(struct esim_pf *pf, struct esim_tunnel *tunnel);
int esim_act_stats_add(struct esim_parse *p);
void esim_act_stats_remove(struct esim_rule *rule);

/* meter.c */
struct esim_meter {
	struct list_head list;
	struct rcu_head rcu;
	u32 index; /* of the tc action */
	int refs;
	spinlock_t lock;
	bool packets;
	u64 rate, burst; /* per second, of bytes or packets */
	u64 tokens;	 /* in 1/NSEC_PER_SEC of those */
	u64 then;	 /* ns */
	u64 passed, dropped, told_passed, told_dropped;
	bool standalone; /* held by an action of its own */
};
struct esim_meter *esim_meter_get(struct esim_pf *pf, const struct flow_action_entry *act,
				  struct netlink_ext_ack *extack);
void esim_meter_put(struct esim_pf *pf, struct esim_meter *meter);
bool esim_meter_passes(struct esim_meter *meter, unsigned int bytes);
int esim_setup_act(struct esim_pf *pf, struct flow_offload_action *act);

/* ct.c */
struct esim_ct_zone {
	struct list_head list;
	struct rcu_head rcu;
	struct esim_pf *pf;
	struct nf_flowtable *table;
	u16 zone;
	int id; /* what the hardware has room for are its last eight bits */
	int refs;
};
struct esim_ct_result {
	u32 mark, label[4];
	u16 state, zone;
	u8 restore_id;
};
struct esim_ct_zone *esim_ct_zone_get(struct esim_pf *pf, struct nf_flowtable *table, u16 zone);
void esim_ct_zone_put(struct esim_ct_zone *zone);
/* Looks the packet up and, with nat, translates it; false: no such connection. */
bool esim_ct_execute(struct esim_ct_zone *zone, bool nat, struct sk_buff *skb, const struct esim_key *key,
		     const struct esim_layout *at, struct esim_ct_result *result);
/* Puts the connection a missed packet belongs to back on it, by the headers it has now. */
bool esim_ct_restore(struct esim_pf *pf, u8 restore_id, struct sk_buff *skb, const struct esim_key *key);
void esim_ct_lose(struct esim_pf *pf);
void esim_ct_show(struct seq_file *s, struct esim_pf *pf);
void esim_ct_refresh(struct esim_pf *pf);

/* edit.c: changes to a linear frame, checksums kept right; false: not possible on this frame */
bool esim_edit_word(struct sk_buff *skb, const struct esim_layout *at, u8 htype, u16 offset, u32 keep, u32 value,
		    bool add);
bool esim_edit_bytes(struct sk_buff *skb, const struct esim_layout *at, u8 htype, u16 offset, const void *value,
		     u8 len);
bool esim_vlan_push(struct sk_buff *skb, __be16 tpid, u16 tci);
bool esim_vlan_pop(struct sk_buff *skb);
bool esim_vlan_set(struct sk_buff *skb, u16 vid);

/* pipeline.c */
void esim_pipeline_start(struct esim_pf *pf);
void esim_pipeline_stop(struct esim_pf *pf);
void esim_from_far(struct esim_port *port, struct sk_buff *skb);
void esim_from_rep(struct esim_port *port, struct sk_buff *skb);
void esim_deliver_far(struct esim_port *port, struct sk_buff *skb, struct esim_port *blame);
void esim_drop(struct esim_port *port, struct sk_buff *skb, enum esim_drop reason);

/* miss.c: a packet's way up */
struct esim_restart {
	u32 chain;
	u64 miss_cookie;
	u32 tunnel_id;
	u8 ct_restore_id;
};
void esim_miss(struct esim_port *port, struct sk_buff *skb, const struct esim_restart *restart, enum esim_miss why);

/* tunnel.c: UDP ports, tunnel devices' rules; encap.c: headers and neighbours */
bool esim_vxlan_port_known(const struct esim_pf *pf, __be16 port);
int esim_tunnel_match(struct esim_parse *p);
struct esim_encap *esim_encap_get(struct esim_pf *pf, struct net_device *tunnel_dev, const struct ip_tunnel_info *info,
				  struct netlink_ext_ack *extack);
void esim_encap_put(struct esim_pf *pf, struct esim_encap *encap);
bool esim_encap_ready(const struct esim_encap *encap);
bool esim_encap_push(struct esim_encap *encap, struct sk_buff *skb, const struct esim_key *key);
void esim_encaps_keep_alive(struct esim_pf *pf);
void esim_encap_show(struct seq_file *s, struct esim_pf *pf);
void esim_encap_name(const struct esim_encap *encap, char *text, size_t len);
int esim_encap_start(struct esim_pf *pf);
void esim_encap_stop(struct esim_pf *pf);
extern const struct udp_tunnel_nic_info esim_udp_tunnels;

/* faults.c */
void esim_faults_init(struct esim_pf *pf);
int esim_fault(struct esim_pf *pf, enum esim_op op); /* 0 or the injected -errno; sleeps for the injected delay */
bool esim_refused(struct esim_pf *pf, const char *name);
extern const struct file_operations esim_fault_fops;

/* journal.c: rings of lines */
struct esim_ring *esim_ring_create(u32 lines);
void esim_ring_destroy(struct esim_ring *ring);
__printf(2, 3) void esim_ring_add(struct esim_ring *ring, const char *format, ...);
extern const struct file_operations esim_ring_fops;

/* show.c, debugfs.c */
void esim_rule_show(struct seq_file *s, const struct esim_rule *rule);
void esim_debugfs_create(struct esim_pf *pf);
void esim_debugfs_init(void);
void esim_debugfs_exit(void);

#endif
