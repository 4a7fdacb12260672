/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a machine says of itself. It is kept as it was said, unknown members too; what other nodes
 * get to see of it is made once, when it changes. Protocol library.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <tailplane/net.h>

#define HOSTINFO_MAX (32 * 1024)      /* of the stored text; what is longer loses most members */
#define HOSTINFO_SHOWN_MAX (4 * 1024) /* the same for what others see */
#define HOSTINFO_ROUTES_MAX 2048
#define ENDPOINTS_MAX 64
#define HOSTINFO_SAID_LEN 16

/*
 * The text to keep: canonical; when `info` says nothing of the network (NetInfo comes once the
 * client knows it) that of `before` (may be NULL) stays, and a preferred relay is not taken back.
 * Heap; NULL without memory. `info` NULL or no object: "{}" or what was before.
 */
char *hostinfo_store(const json_t *info, const char *before);

/* The parts of a stored text that the server works with. */
struct hostinfo {
	char *hostname, *os;       /* "" when unknown */
	char *shown;               /* JSON for other nodes */
	uint8_t steady[16];        /* a hash of what of the stored text is no mere measurement */
	unsigned home_derp;        /* 0: unknown */
	struct net_prefix *routes; /* advertised, masked, sorted, each once */
	size_t n_routes;
	char **tags; /* asked for, as said */
	size_t n_tags;
};

int hostinfo_read(struct hostinfo *out, const char *stored); /* 0, -EINVAL, -ENOMEM */
void hostinfo_fini(struct hostinfo *info);

/* The endpoints of a request as a JSON array that others can use: what does not parse, and
 * link-local and zoned addresses, are left out. Heap; NULL without memory. */
char *endpoints_store(const json_t *array);
/* Whether each of `some` is in `all`; both from endpoints_store. */
bool endpoints_within(const char *some, const char *all);

/* Prefixes in a JSON array of strings or what is left of it: masked, sorted, each once. Bad ones
 * are left out and counted in `bad` (may be NULL). 0 or -ENOMEM. */
int prefixes_read(
	const json_t *array, struct net_prefix **prefixes, size_t *n, size_t max, size_t *bad);
int prefix_compare(const struct net_prefix *a, const struct net_prefix *b);
bool prefix_is_exit(const struct net_prefix *prefix); /* 0.0.0.0/0, ::/0 */
