/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* How machines become nodes, and nodes that come back are found again. Control loop. */
#include "tailnet.h"

/* What a machine asks. Texts stay the caller's; the functions copy. */
struct registration {
	struct public_key machine, key, old_key, lock;
	const char *auth_key;   /* "": none */
	const json_t *hostinfo; /* NULL: nothing said */
	int64_t expiry;         /* Unix ns, 0: none asked for */
	int64_t cap;
	bool ephemeral;
};

enum registration_outcome {
	REGISTRATION_ACCEPTED, /* `node` */
	REGISTRATION_EXPIRED,  /* the client is to make a new key; a logout too */
	REGISTRATION_PENDING,  /* a person must decide: make a pending entry */
	REGISTRATION_REFUSED,  /* `why` is for the client's person */
	REGISTRATION_FAILED,   /* ours: the client should try again */
};

struct registration_result {
	enum registration_outcome outcome;
	const char *why;
	int64_t node;
};
typedef void (*registration_done_fn)(void *arg, const struct registration_result *result);

/* Decides and writes. The completion never runs before this returns. */
void tailnet_register(
	struct tailnet *t, const struct registration *asked, registration_done_fn done, void *arg);

/* For a person's decision: in the name of `user` (a pending entry's machine). */
struct pending;
void tailnet_register_for(struct tailnet *t, const struct pending *pending, int64_t user,
	int64_t method, tailnet_done_fn done, void *arg);
