/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* Flows of UDP whose first datagram was let go past conntrack (map sepal_untracked): what is asked of one, and what is
 * noted. Included by policy.bpf.c only. Most of what UDP asks is answered once; a flow that goes on after that is
 * conntrack's, so a note is about one question and one answer, and the place of whatever there is more of. */
#ifndef SEPAL_BPF_UNTRACKED_H
#define SEPAL_BPF_UNTRACKED_H

#include "bpf/frames.bpf.h"
#include "bpf/policy_layout.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SEPAL_UNTRACKED_BUCKETS);
  __type(key, __u32);
  __type(value, struct sepal_untracked_bucket);
} sepal_untracked SEC(".maps");

enum sepal_recalled {
  SEPAL_RECALLED_NOTHING, /* no such flow */
  SEPAL_RECALLED_FLOW,    /* it is one: this is another of its datagrams */
  SEPAL_RECALLED_FORMER,  /* conntrack had it, in either direction; so long ago that it may have forgotten it */
  SEPAL_RECALLED_ANSWER,  /* this is the first that answers one */
  SEPAL_RECALLED_MORE,    /* it answers one that conntrack has, or has from now on */
};

static __always_inline __u32 mix(__u32 hash, __u32 word) {
  hash = (hash ^ word) * 0x9e3779b1U;
  return hash ^ hash >> 15;
}

static __always_inline __u32 hash_end(const __u8* address, const __u8* port) {
  const __u32* words = (const __u32*)address;
  __u32 hash = mix(mix(mix(mix(0, words[0]), words[1]), words[2]), words[3]);

  return mix(hash, port[0] << 8 | port[1]);
}

/* Of both directions the same. */
static __always_inline struct sepal_untracked_bucket* bucket_of(const struct sepal_untracked_tuple* tuple) {
  __u32 ends = hash_end(tuple->source, tuple->source_port) + hash_end(tuple->destination, tuple->destination_port);
  __u32 number = mix(mix(0, ends), tuple->network) & (SEPAL_UNTRACKED_BUCKETS - 1);

  return bpf_map_lookup_elem(&sepal_untracked, &number);
}

/* 1 or 0 without a branch, of which the verifier would follow both ends, way by way. The barriers hide from clang what
 * this computes, for it would make branches of that. */
static __always_inline __u64 is_zero(__u64 word) {
  __u64 negative = -word;

  barrier_var(negative);
  word = (word | negative) >> 63 ^ 1;
  barrier_var(word);
  return word;
}

static __always_inline __u64 is_fresh(__u64 now, __u64 since) {
  __u64 beyond = now - since - SEPAL_UNTRACKED_NS;

  barrier_var(beyond);
  beyond = beyond >> 63 & (is_zero(since) ^ 1);
  barrier_var(beyond);
  return beyond;
}

static __always_inline __u64 is_same(const struct sepal_untracked_tuple* a, const struct sepal_untracked_tuple* b) {
  const __u64* x = (const __u64*)a;
  const __u64* y = (const __u64*)b;

  return is_zero((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/* The place that holds this tuple; `found`: whether one does. No tuple of a packet is all zero, as free places are. */
static __always_inline __u64 place_of(const struct sepal_untracked_bucket* bucket,
                                      const struct sepal_untracked_tuple* tuple, __u64* found) {
  __u64 place = 0, same, i;

  *found = 0;
#pragma unroll
  for (i = 0; i < SEPAL_UNTRACKED_WAYS; ++i) {
    same = is_same(&bucket->flows[i].tuple, tuple);
    *found |= same;
    place |= i & -same;
  }
  return place;
}

/* For the verifier: within the bucket, whatever it lost track of before. */
static __always_inline struct sepal_untracked_flow* flow_at(struct sepal_untracked_bucket* bucket, __u64 place) {
  barrier_var(place);
  return &bucket->flows[place & (SEPAL_UNTRACKED_WAYS - 1)];
}

static __always_inline void turn(struct sepal_untracked_tuple* to, const struct sepal_untracked_tuple* from) {
  __builtin_memcpy(to->source, from->destination, 16);
  __builtin_memcpy(to->destination, from->source, 16);
  __builtin_memcpy(to->source_port, from->destination_port, 2);
  __builtin_memcpy(to->destination_port, from->source_port, 2);
  to->network = from->network;
}

/* What is known of the flow that `tuple` is a datagram of. `seen`: this is one, and there is more of the flow than one
 * question and one answer, which is noted; else somebody only asks. */
__attribute__((noinline)) int sepal_recall(const struct sepal_untracked_tuple* tuple, __u64 now, __u32 seen) {
  struct sepal_untracked_bucket* bucket;
  struct sepal_untracked_tuple turned;
  struct sepal_untracked_flow* flow;
  struct sepal_untracked_flow* other;
  int recalled = SEPAL_RECALLED_NOTHING;
  __u64 mine, answered;

  if (!tuple) return SEPAL_RECALLED_NOTHING;
  bucket = bucket_of(tuple);
  if (!bucket) return SEPAL_RECALLED_NOTHING;
  turn(&turned, tuple);
  bpf_spin_lock(&bucket->lock);
  flow = flow_at(bucket, place_of(bucket, tuple, &mine));
  other = flow_at(bucket, place_of(bucket, &turned, &answered));
  if (mine && is_fresh(now, flow->since)) {
    recalled = SEPAL_RECALLED_FLOW;
    if (seen) flow->state = SEPAL_UNTRACKED_TRACKED;
  } else if (answered && is_fresh(now, other->since)) {
    recalled = other->state == SEPAL_UNTRACKED_ASKED ? SEPAL_RECALLED_ANSWER : SEPAL_RECALLED_MORE;
    if (seen) other->state = other->state == SEPAL_UNTRACKED_ASKED ? SEPAL_UNTRACKED_ANSWERED : SEPAL_UNTRACKED_TRACKED;
  } else if ((mine && flow->state == SEPAL_UNTRACKED_TRACKED) ||
             (answered && other->state == SEPAL_UNTRACKED_TRACKED)) {
    recalled = SEPAL_RECALLED_FORMER;
  }
  bpf_spin_unlock(&bucket->lock);
  return recalled;
}

/* Whether a flow is noted, in this state: there is a place, and nobody was faster. */
__attribute__((noinline)) int sepal_note(const struct sepal_untracked_tuple* tuple, __u64 now, __u32 state) {
  struct sepal_untracked_bucket* bucket;
  struct sepal_untracked_flow* flow;
  __u64 place, found, free, i;
  int noted = 0;

  if (!tuple) return 0;
  bucket = bucket_of(tuple);
  if (!bucket) return 0;
  bpf_spin_lock(&bucket->lock);
  place = place_of(bucket, tuple, &found);
#pragma unroll
  for (i = 0; i < SEPAL_UNTRACKED_WAYS; ++i) {
    free = is_fresh(now, bucket->flows[i].since) ^ 1;
    place |= i & -(free & (found ^ 1));
    found |= free;
  }
  flow = flow_at(bucket, place);
  if (found && !is_fresh(now, flow->since)) {
    flow->tuple = *tuple;
    flow->since = now;
    flow->state = state;
    noted = 1;
  }
  bpf_spin_unlock(&bucket->lock);
  return noted;
}

#endif
