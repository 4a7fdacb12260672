/* SPDX-License-Identifier: BSD-3-Clause */
/* Any one thread. Who gets in was let in, so nobody can fill a set but clients that are known. */
#include "grace.h"

#include <stdlib.h>
#include <string.h>

#define SETS 4096
#define WAYS 8

struct entry {
	struct public_key key;
	uint64_t at; /* 0: empty */
};

struct grace {
	struct entry entries[SETS][WAYS];
};

struct grace *grace_new(void)
{
	return calloc(1, sizeof(struct grace));
}

void grace_free(struct grace *grace)
{
	free(grace);
}

static unsigned set_of(const struct public_key *key)
{
	uint32_t n;

	memcpy(&n, key->bytes, sizeof(n));
	return n % SETS;
}

static const struct entry *find(const struct grace *grace, const struct public_key *key)
{
	const struct entry *set = grace->entries[set_of(key)];

	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].at && !memcmp(&set[i].key, key, sizeof(*key)))
			return &set[i];
	return NULL;
}

/* Its own entry, else one that is empty, else the oldest. */
static struct entry *place_for(struct grace *grace, const struct public_key *key)
{
	struct entry *set = grace->entries[set_of(key)], *at = (struct entry *)find(grace, key);

	if (at)
		return at;
	at = set;
	for (unsigned i = 1; i < WAYS; i++)
		if (set[i].at < at->at)
			at = &set[i];
	return at;
}

void grace_remember(struct grace *grace, const struct public_key *key, uint64_t now)
{
	*place_for(grace, key) = (struct entry){*key, now ? now : 1};
}

void grace_forget(struct grace *grace, const struct public_key *key)
{
	struct entry *at = (struct entry *)find(grace, key);

	if (at)
		at->at = 0;
}

bool grace_has(
	const struct grace *grace, const struct public_key *key, uint64_t now, uint64_t for_ns)
{
	const struct entry *at = find(grace, key);

	return at && now - at->at <= for_ns;
}
