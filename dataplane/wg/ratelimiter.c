/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protocol library. A chained hash table over a fixed array of entries. Tokens are nanoseconds, so
 * that refilling is an addition. A source idle for the time of a full refill is as good as new, and
 * so its entry may go: that is looked for only when entries run out, once a second at most.
 */
#include "ratelimiter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <sodium.h>

#include "secret.h"

#define TOKENS_PER_MESSAGE (NS_PER_SEC / RATELIMITER_PER_SECOND)
#define TOKENS_MAX (TOKENS_PER_MESSAGE * RATELIMITER_BURST)
#define SWEEP_INTERVAL NS_PER_SEC
#define NONE UINT32_MAX

struct source {
	uint16_t family;
	uint8_t bytes[8]; /* the address, or the first half of an IPv6 address; rest zero */
};

struct ratelimiter_entry {
	uint64_t last; /* when tokens were counted */
	uint32_t tokens;
	uint32_t next; /* in its chain */
	struct source source;
};

static_assert(sizeof(((struct ratelimiter *)0)->hash_key) == crypto_shorthash_KEYBYTES, "SipHash");
static_assert(TOKENS_MAX <= UINT32_MAX, "fits an entry");

static struct source source_of(const struct net_addr *addr)
{
	struct source source = {.family = addr->family};

	memcpy(source.bytes, addr->bytes, addr->family == AF_INET ? 4 : 8);
	return source;
}

/* Keyed, so that nobody can choose sources of one chain. */
static uint32_t *bucket_of(struct ratelimiter *limiter, const struct source *source)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t place;

	static_assert(sizeof(*source) == 10, "no padding to hash");
	crypto_shorthash(hash, (const uint8_t *)source, sizeof(*source), limiter->hash_key);
	memcpy(&place, hash, sizeof(place));
	return &limiter->buckets[place & (limiter->n_buckets - 1)];
}

int ratelimiter_init(struct ratelimiter *limiter, uint32_t n_entries)
{
	uint32_t n_buckets = 1;

	if (n_entries == 0 || n_entries > 1U << 24)
		return -EINVAL;
	while (n_buckets < n_entries)
		n_buckets *= 2;
	*limiter = (struct ratelimiter){.n_entries = n_entries, .n_buckets = n_buckets};
	limiter->entries = calloc(n_entries, sizeof(*limiter->entries));
	limiter->buckets = malloc(n_buckets * sizeof(*limiter->buckets));
	if (!limiter->entries || !limiter->buckets) {
		ratelimiter_fini(limiter);
		return -ENOMEM;
	}
	memset(limiter->buckets, 0xff, n_buckets * sizeof(*limiter->buckets));
	for (uint32_t i = 0; i < n_entries; i++)
		limiter->entries[i].next = i + 1 < n_entries ? i + 1 : NONE;
	secret_random(limiter->hash_key, sizeof(limiter->hash_key));
	return 0;
}

void ratelimiter_fini(struct ratelimiter *limiter)
{
	free(limiter->entries);
	free(limiter->buckets);
	secret_zero(limiter, sizeof(*limiter));
}

static uint64_t elapsed(const struct ratelimiter_entry *entry, uint64_t now)
{
	return now > entry->last ? now - entry->last : 0;
}

static void sweep_chain(struct ratelimiter *limiter, uint32_t *link, uint64_t now)
{
	while (*link != NONE) {
		uint32_t place = *link;
		struct ratelimiter_entry *entry = &limiter->entries[place];

		if (elapsed(entry, now) < TOKENS_MAX) {
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		entry->next = limiter->free;
		limiter->free = place;
		limiter->used--;
	}
}

/* An unused entry, or NONE. */
static uint32_t entry_take(struct ratelimiter *limiter, uint64_t now)
{
	uint32_t place;

	if (limiter->free == NONE && now - limiter->swept >= SWEEP_INTERVAL) {
		for (uint32_t i = 0; i < limiter->n_buckets; i++)
			sweep_chain(limiter, &limiter->buckets[i], now);
		limiter->swept = now;
	}
	place = limiter->free;
	if (place != NONE) {
		limiter->free = limiter->entries[place].next;
		limiter->used++;
	}
	return place;
}

static struct ratelimiter_entry *entry_find(
	struct ratelimiter *limiter, uint32_t bucket, const struct source *source)
{
	for (uint32_t place = bucket; place != NONE; place = limiter->entries[place].next)
		if (memcmp(&limiter->entries[place].source, source, sizeof(*source)) == 0)
			return &limiter->entries[place];
	return NULL;
}

bool ratelimiter_allow(struct ratelimiter *limiter, const struct net_addr *addr, uint64_t now)
{
	struct source source = source_of(addr);
	uint32_t *bucket = bucket_of(limiter, &source);
	struct ratelimiter_entry *entry = entry_find(limiter, *bucket, &source);
	uint64_t tokens;

	if (!entry) {
		uint32_t place = entry_take(limiter, now);

		if (place == NONE) {
			limiter->refused_full++;
			return false;
		}
		entry = &limiter->entries[place];
		*entry = (struct ratelimiter_entry){now, TOKENS_MAX, *bucket, source};
		*bucket = place;
	}
	tokens = entry->tokens + elapsed(entry, now);
	if (tokens > TOKENS_MAX)
		tokens = TOKENS_MAX;
	if (now > entry->last)
		entry->last = now;
	entry->tokens = tokens < TOKENS_PER_MESSAGE ? tokens : tokens - TOKENS_PER_MESSAGE;
	return tokens >= TOKENS_PER_MESSAGE;
}
