/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* What drop_watch.bpf.c tells of one dropped packet. Never pinned: both sides are of one build. */
#ifndef SEPAL_BPF_DROP_WATCH_H
#define SEPAL_BPF_DROP_WATCH_H

#include "bpf/shared.h"

#define SEPAL_DROP_ACTIONS_MAX 8
#define SEPAL_DROP_BYTES_MAX 128

/* What filters are chosen by: the beginning of their cookie, as tc/rule/cookie.cpp lays it out. */
#define SEPAL_DROP_COOKIE_INSTANCE 6 /* bytes: all of an instance of sepal */
#define SEPAL_DROP_COOKIE_ZONE 8     /* with the zone behind it: those of one tenant */

struct sepal_drop {
  __u64 time;   /* CLOCK_MONOTONIC, nanoseconds */
  __u32 device; /* ifindex */
  __u32 bytes;  /* of the packet, from its network header or its MAC header on, as the hook has it */
  __u32 mark;
  __u32 vni;     /* of the tunnel it came out of; 0: none */
  __u32 actions; /* of the filter; numbers of the first of them: */
  __u32 indexes[SEPAL_DROP_ACTIONS_MAX];
  __u16 vlan;                        /* the tag that the kernel keeps beside the packet, 0x1000 added; 0: none */
  __u16 captured;                    /* bytes of: */
  __u8 packet[SEPAL_DROP_BYTES_MAX]; /* from the destination MAC on */
};
SEPAL_STATIC_ASSERT(sizeof(struct sepal_drop) == 192, "layout shared with the kernel");

#endif
