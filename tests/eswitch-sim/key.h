/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet as the hardware's parser sees it, and as a rule's value and mask: one fixed struct, compared as words.
 * Everything is in network byte order as on the wire but where the type says otherwise.
 */
#ifndef ESIM_KEY_H
#define ESIM_KEY_H

#include <linux/in6.h>
#include <linux/skbuff.h>
#include <linux/types.h>

/* ct_state bits as flower's user-space ABI numbers them. */
#define ESIM_CT_NEW BIT(0)
#define ESIM_CT_EST BIT(1)
#define ESIM_CT_REL BIT(2)
#define ESIM_CT_TRK BIT(3)
#define ESIM_CT_INV BIT(4)
#define ESIM_CT_RPL BIT(5)

struct esim_key {
	u8 dst[6];
	u8 src[6];
	__be16 eth_type; /* behind all tags */
	__be16 tpid, tci, ctpid, ctci;
	u8 tagged, ctagged; /* 0xff or 0 */
	u8 proto, tos, ttl;
	u8 frag; /* 0xff or 0 */
	u8 icmp_type, icmp_code;
	__be16 sport, dport;
	__be16 tcp_flags;
	struct in6_addr saddr, daddr; /* IPv4 in the first four bytes */
	/* clang-format off */
	struct_group(ct, /* host order */
		u16 ct_state;
		u16 ct_zone;
		u32 ct_mark;
		u32 ct_label[4];
	);
	/* clang-format on */
	u32 tun_id; /* the mapped tunnel, 0 before decapsulation */
	u16 port;   /* the ingress port's number + 1 */
	u8 enc_family;
	u8 enc_tos, enc_ttl;
	u8 pad0;
	__be16 enc_sport, enc_dport;
	__be32 vni; /* as flower has it: the 24 bits on the right */
	struct in6_addr enc_src, enc_dst;
} __aligned(8);

#define ESIM_KEY_WORDS (sizeof(struct esim_key) / sizeof(u64))

/* Offsets into the packet of what the key was read from; 0: not there. */
struct esim_layout {
	u16 l3, l4;
	u8 tags;
	bool later_fragment;
};

/* Reads the headers of a linear frame that begins at skb->data; leaves ct, tun_id, port and enc_* alone. Returns
 * false for a frame the parser cannot read at all. */
bool esim_key_read(const struct sk_buff *skb, unsigned int offset, struct esim_key *key, struct esim_layout *at);

/* Is this VXLAN to one of the ports the NIC knows? Then reads the outer header into enc_* of `key`, the inner frame
 * into its rest, and returns the length of what goes in front of the inner frame; else 0. */
unsigned int esim_key_read_tunnel(const struct sk_buff *skb, const struct esim_key *outer, const struct esim_layout *at,
				  const __be16 *ports, int n_ports, struct esim_key *key);

#endif
