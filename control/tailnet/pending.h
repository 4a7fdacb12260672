/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Registrations that wait for a person: in memory alone, bounded in number (the oldest leaves) and
 * in time. Bound to the machine that asked: only it may wait for the answer. Control loop.
 */
#include "tailnet.h"

enum pending_state {
	PENDING_WAITS,
	PENDING_DONE,     /* registered: `node` */
	PENDING_REJECTED, /* `reason` */
};

struct pending_waiter {
	/* The entry was decided (look at it), or is gone (NULL). Once; not after pending_leave. */
	void (*decided)(struct pending_waiter *waiter, const struct pending *pending);
	struct pending_waiter *next, **prev;
};

struct pending {
	char id[AUTH_ID_SIZE];
	struct public_key machine, key, old_key, lock;
	char *hostname, *hostinfo; /* as hostinfo_store made it */
	int64_t expiry_wish;       /* 0: none */
	int64_t cap;
	bool ephemeral;
	int64_t created;   /* Unix ns */
	uint64_t leave_at; /* ns, monotonic */
	enum pending_state state;
	int64_t node;
	char *reason;
	struct pending_waiter *waiters;
	struct pending *newer, **older;
};

struct registration;
/* An entry for what this machine asks: the one that waits already for the same key, or a new one.
 * NULL without memory. */
struct pending *pending_take(struct tailnet *t, const struct registration *asked);
struct pending *pending_by_id(const struct tailnet *t, const char *id);
/* Oldest first: pending_oldest and then newer. */
void pending_wait(struct pending *pending, struct pending_waiter *waiter);
void pending_leave(struct pending_waiter *waiter);
/* `auth register`: for that user; the completion's id is the node's. */
void pending_register(
	struct tailnet *t, const char *id, int64_t user, tailnet_done_fn done, void *arg);
/* 0, or -ENOENT, -EALREADY. */
int pending_reject(struct tailnet *t, const char *id, const char *reason);
void pending_expire(struct tailnet *t);        /* those whose time is over */
uint64_t pending_due(const struct tailnet *t); /* 0: none */
void pending_fini(struct tailnet *t);
