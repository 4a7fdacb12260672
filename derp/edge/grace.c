/* SPDX-License-Identifier: BSD-3-Clause */
/* Any one thread. Who gets in was let in, so nobody can fill a set but clients that are known. */
#include "grace.h"

#include <errno.h>
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

/* ---- for another process ---- */

struct packed {
	char magic[8];
	struct entry entries[];
};
static const char magic[8] = "grace 1";
_Static_assert(sizeof(struct packed) + sizeof(struct grace) <= GRACE_BYTES_MAX, "too many entries");

void *grace_pack(const struct grace *grace, size_t *len)
{
	struct packed *packed = malloc(sizeof(*packed) + sizeof(*grace));
	const struct entry *entries = &grace->entries[0][0];
	size_t n = 0;

	if (!packed)
		return NULL;
	memcpy(packed->magic, magic, sizeof(magic));
	for (size_t i = 0; i < SETS * WAYS; i++)
		if (entries[i].at)
			packed->entries[n++] = entries[i];
	*len = sizeof(*packed) + n * sizeof(*entries);
	return packed;
}

static bool is_whole(const void *bytes, size_t len, uint64_t now)
{
	const struct packed *packed = bytes;
	size_t n = (len - sizeof(*packed)) / sizeof(struct entry);

	if (len < sizeof(*packed) || (len - sizeof(*packed)) % sizeof(struct entry) ||
		memcmp(packed->magic, magic, sizeof(magic)) != 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!packed->entries[i].at || packed->entries[i].at > now)
			return false;
	return true;
}

int grace_unpack(struct grace *grace, const void *bytes, size_t len, uint64_t now)
{
	const struct packed *packed = bytes;

	if (!is_whole(bytes, len, now))
		return -EINVAL;
	for (size_t i = 0; i < (len - sizeof(*packed)) / sizeof(struct entry); i++) {
		const struct entry *entry = &packed->entries[i];

		if (!grace_has(grace, &entry->key, now, now - entry->at))
			grace_remember(grace, &entry->key, entry->at);
	}
	return 0;
}
