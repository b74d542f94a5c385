// SPDX-License-Identifier: GPL-2.0
/*
 * The rules of header rewriting (contract §3.9): which fields there are, that nobody writes the same bits twice, that
 * a field is written in one piece, and how many modify-header actions it costs.
 */
#include <linux/bitops.h>

#include "esim.h"

#define HEADER_BYTES 64

struct field {
	u8 htype, offset, bytes;
	u32 bits;     /* of those bytes, big-endian: what may be written */
	bool address; /* of IP, for which the protocol must be known */
};

#define ETH FLOW_ACT_MANGLE_HDR_TYPE_ETH
#define IP4 FLOW_ACT_MANGLE_HDR_TYPE_IP4
#define IP6 FLOW_ACT_MANGLE_HDR_TYPE_IP6
#define TCP FLOW_ACT_MANGLE_HDR_TYPE_TCP
#define UDP FLOW_ACT_MANGLE_HDR_TYPE_UDP

static const struct field fields[] = {
	{ETH, 0, 4, ~0u},	 {ETH, 4, 2, 0xffff},	  {ETH, 6, 4, ~0u},	   {ETH, 10, 2, 0xffff},
	{ETH, 12, 2, 0xffff},	 {IP4, 1, 1, 0xfc},	  {IP4, 8, 1, 0xff},	   {IP4, 12, 4, ~0u, true},
	{IP4, 16, 4, ~0u, true}, {IP6, 0, 2, 0x0fc0},	  {IP6, 7, 1, 0xff},	   {IP6, 8, 4, ~0u, true},
	{IP6, 12, 4, ~0u, true}, {IP6, 16, 4, ~0u, true}, {IP6, 20, 4, ~0u, true}, {IP6, 24, 4, ~0u, true},
	{IP6, 28, 4, ~0u, true}, {IP6, 32, 4, ~0u, true}, {IP6, 36, 4, ~0u, true}, {TCP, 0, 2, 0xffff},
	{TCP, 2, 2, 0xffff},	 {TCP, 13, 1, 0xff},	  {UDP, 0, 2, 0xffff},	   {UDP, 2, 2, 0xffff},
};

struct esim_pedit {
	u8 set[UDP + 1][HEADER_BYTES], add[UDP + 1][HEADER_BYTES];
};

static u32 read_bits(const u8 *bytes, int n)
{
	u32 value = 0;

	while (n--)
		value = value << 8 | *bytes++;
	return value;
}

static int collect(struct esim_parse *p, struct esim_pedit *pedit, const struct flow_action_entry *entry)
{
	bool adds = entry->id == FLOW_ACTION_ADD;
	u32 written = ~entry->mangle.mask;
	u8 *bytes;
	int i;

	if (entry->mangle.htype == FLOW_ACT_MANGLE_UNSPEC)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "legacy pedit isn't offloaded");
	if (entry->mangle.htype > UDP || entry->mangle.offset > HEADER_BYTES - 4)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "attempt to offload an unsupported field");
	bytes = (adds ? pedit->add : pedit->set)[entry->mangle.htype] + entry->mangle.offset;
	for (i = 0; i < 4; i++) {
		u8 byte = ((u8 *)&written)[i]; /* memory order is the packet's */

		if (bytes[i] & byte)
			return ESIM_REFUSE(p->extack, EOPNOTSUPP,
					   "curr_pmask and new mask same. Acting twice on same location");
		bytes[i] |= byte;
	}
	return 0;
}

/* The protocol must be one whose checksums the hardware can follow. */
static bool l4_known(const struct esim_rule *rule)
{
	u8 proto = rule->mask.proto == 0xff ? rule->key.proto : 0;

	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

static bool contiguous(u32 bits)
{
	bits >>= __ffs(bits);
	return !(bits & (bits + 1));
}

static int check_field(struct esim_parse *p, struct esim_pedit *pedit, const struct field *field, int *n_modify)
{
	const struct esim_rule *rule = p->rule;
	u8 *set_at = pedit->set[field->htype] + field->offset, *add_at = pedit->add[field->htype] + field->offset;
	u32 set = read_bits(set_at, field->bytes) & field->bits, adds = read_bits(add_at, field->bytes) & field->bits;
	int i;

	for (i = 0; i < field->bytes; i++) {
		u8 known = field->bits >> (8 * (field->bytes - 1 - i));

		set_at[i] &= ~known;
		add_at[i] &= ~known;
	}
	if (!set && !adds)
		return 0;
	if (set && adds)
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't set and add to the same HW field");
	if (!contiguous(set | adds))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "rewrite of few sub-fields isn't supported");
	if ((field->htype == IP4 || field->htype == IP6) && rule->mask.eth_type != htons(0xffff))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't offload re-write of non TCP/UDP");
	if (field->address && !l4_known(rule))
		return ESIM_REFUSE(p->extack, EOPNOTSUPP, "can't offload re-write of non TCP/UDP");
	(*n_modify)++;
	return 0;
}

int esim_parse_pedits(struct esim_parse *p, int *n_modify)
{
	struct esim_pedit *pedit = kzalloc(sizeof(*pedit), GFP_KERNEL);
	const struct flow_action_entry *entry;
	int i, err = 0;

	if (!pedit)
		return -ENOMEM;
	flow_action_for_each (i, entry, &p->flow->action) {
		if (entry->id != FLOW_ACTION_MANGLE && entry->id != FLOW_ACTION_ADD)
			continue;
		err = collect(p, pedit, entry);
		if (err)
			goto out;
	}
	for (i = 0; i < ARRAY_SIZE(fields) && !err; i++)
		err = check_field(p, pedit, &fields[i], n_modify);
	if (!err && memchr_inv(pedit, 0, sizeof(*pedit)))
		err = ESIM_REFUSE(p->extack, EOPNOTSUPP, "attempt to offload an unsupported field");
out:
	kfree(pedit);
	return err;
}
