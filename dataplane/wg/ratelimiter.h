/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Handshake messages per source under load: a token bucket per IPv4 address or IPv6 /64, 20 a
 * second and 5 at once. Memory is bounded: when all entries are in use by sources active just now,
 * a new source is refused (fail closed) and counted. The caller serializes calls.
 */
#include <stdbool.h>
#include <stdint.h>

#include "messages.h"
#include "tailplane/net.h"

#define RATELIMITER_PER_SECOND 20
#define RATELIMITER_BURST 5
#define RATELIMITER_ENTRIES 65536

struct ratelimiter_entry;

struct ratelimiter {
	struct ratelimiter_entry *entries;
	uint32_t *buckets; /* heads of chains of entries, by keyed hash */
	uint32_t n_entries, n_buckets;
	uint32_t free; /* chain of unused entries */
	uint32_t used;
	uint64_t swept;        /* when all entries were last looked at for idle ones */
	uint64_t refused_full; /* sources refused for want of an entry */
	uint8_t hash_key[16];
};

/* At most n_entries sources at a time (RATELIMITER_ENTRIES: 2.3 MiB). 0, -EINVAL or -ENOMEM. */
int ratelimiter_init(struct ratelimiter *limiter, uint32_t n_entries);
void ratelimiter_fini(struct ratelimiter *limiter);
/* `now`: monotonic ns. */
WG_MUST_USE bool ratelimiter_allow(
	struct ratelimiter *limiter, const struct net_addr *source, uint64_t now);
