/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The input is a list of changes and look-ups, carried out by the trie and by a list that is
 * searched from end to end: both always answer the same. Addresses keep few free bits, so that
 * prefixes meet.
 */
#include <stdlib.h>
#include <string.h>

#include "allowedips.h"

#define MODEL_MAX 256
#define VALUES 8

enum { INSERT, REMOVE, REMOVE_VALUE, LOOKUP, ACTIONS };

/* One step of the input. */
struct step {
	uint8_t action, value, len, bytes[4];
};

struct entry {
	struct net_prefix prefix; /* masked */
	uint32_t value;
};

static struct {
	struct entry entries[MODEL_MAX];
	unsigned n;
} model;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* The bytes lie at both ends and in the middle of an IPv6 address, on both sides of its words. */
static struct net_prefix prefix_of(const struct step *step)
{
	struct net_prefix p = {.addr.family = step->action & 0x80 ? AF_INET6 : AF_INET};

	if (p.addr.family == AF_INET) {
		memcpy(p.addr.bytes, step->bytes, 4);
		p.len = step->len % 33;
	} else {
		p.addr.bytes[0] = step->bytes[0];
		p.addr.bytes[7] = step->bytes[1];
		p.addr.bytes[8] = step->bytes[2];
		p.addr.bytes[15] = step->bytes[3];
		p.len = step->len % 129;
	}
	return p;
}

static struct entry *model_find(const struct net_prefix *masked)
{
	for (unsigned i = 0; i < model.n; i++) {
		struct entry *e = &model.entries[i];

		if (e->prefix.len == masked->len && net_addr_equal(&e->prefix.addr, &masked->addr))
			return e;
	}
	return NULL;
}

static void model_drop(struct entry *e)
{
	*e = model.entries[--model.n];
}

static uint32_t model_lookup(const struct net_addr *addr)
{
	uint32_t value = ALLOWEDIPS_NONE;
	int best = -1;

	for (unsigned i = 0; i < model.n; i++) {
		const struct entry *e = &model.entries[i];

		if (e->prefix.len <= best || !net_prefix_contains(&e->prefix, addr))
			continue;
		best = e->prefix.len;
		value = e->value;
	}
	return value;
}

static void insert(struct allowedips *table, const struct net_prefix *prefix, uint32_t value)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	struct entry *e = model_find(&masked);
	uint32_t taken = 0, expected = e && e->value != value ? e->value : ALLOWEDIPS_NONE;

	if (!e && model.n == MODEL_MAX)
		return;
	require(allowedips_insert(table, prefix, value, &taken) == 0 && taken == expected);
	if (!e)
		e = &model.entries[model.n++];
	*e = (struct entry){masked, value};
}

static void remove_one(struct allowedips *table, const struct net_prefix *prefix, uint32_t value)
{
	struct net_prefix masked = net_prefix_masked(prefix);
	struct entry *e = model_find(&masked);

	require(allowedips_get(table, prefix) == (e ? e->value : ALLOWEDIPS_NONE));
	require((allowedips_remove(table, prefix, value) == 0) == (e && e->value == value));
	if (e && e->value == value)
		model_drop(e);
}

static void count(void *arg, const struct net_prefix *prefix)
{
	unsigned *n = arg;

	require(model_find(prefix) != NULL);
	(*n)++;
}

static void remove_value(struct allowedips *table, uint32_t value)
{
	unsigned seen = 0, had = 0;

	allowedips_each(table, value, count, &seen);
	allowedips_remove_value(table, value);
	for (unsigned i = model.n; i-- > 0;)
		if (model.entries[i].value == value) {
			model_drop(&model.entries[i]);
			had++;
		}
	require(seen == had);
}

static void lookup(const struct allowedips *table, const struct net_addr *addr)
{
	uint32_t expected = model_lookup(addr), addr4, found;

	if (addr->family == AF_INET6) {
		require(allowedips_lookup6(table, addr->bytes) == expected);
		return;
	}
	memcpy(&addr4, addr->bytes, 4);
	allowedips_lookup_burst4(table, &addr4, &found, 1);
	require(found == expected && allowedips_lookup4(table, addr4) == expected);
}

static void step_run(struct allowedips *table, const struct step *step)
{
	struct net_prefix prefix = prefix_of(step);
	uint32_t value = step->value % VALUES;

	switch (step->action % ACTIONS) {
	case INSERT:
		insert(table, &prefix, value);
		break;
	case REMOVE:
		remove_one(table, &prefix, value);
		break;
	case REMOVE_VALUE:
		remove_value(table, value);
		break;
	default:
		break;
	}
	lookup(table, &prefix.addr);
	require(table->count == model.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct allowedips table;
	struct step step;

	model.n = 0;
	allowedips_init(&table, NULL);
	for (; size >= sizeof(step); data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		step_run(&table, &step);
	}
	allowedips_fini(&table);
	return 0;
}
