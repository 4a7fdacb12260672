/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a relay is like from here: two clients connect to it, send each other packets through it,
 * and ask its STUN. Thread of the loop.
 */
#include <ev.h>
#include <jansson.h>

#include "secret.h"
#include "target.h"

struct derp_probe;

struct derp_probe_conf {
	struct ev_loop *loop;
	const struct derp_target *target; /* with addresses; copied */
	uint16_t stun_port;               /* 0: not asked */
	uint64_t timeout_ns;              /* of the whole; 0: 15 s */
	/* NULL: two keys of the moment. Else this one, for a relay that admits it alone, of one
	 * client that sends to itself. */
	const struct private_key *key;
	struct ssl_ctx_st *tls; /* one reference is taken */
	/* Once, not from within derp_probe_start; `result` is an object, and the callee's. Without
	 * "problem" in it the relay is well. */
	void (*done)(void *user, json_t *result);
	void *user;
};

/* NULL: no memory. */
struct derp_probe *derp_probe_start(const struct derp_probe_conf *conf);
/* Before `done`, which is then not called. */
void derp_probe_cancel(struct derp_probe *probe);
