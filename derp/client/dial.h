/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A way to a relay: TCP to whichever address answers, TLS, the HTTP request. Thread of the loop
 * that it is given.
 */
#include <stdbool.h>
#include <stdint.h>

#include <ev.h>
#include <tailplane/err.h>
#include <tailplane/io.h>

#include "secret.h"
#include "target.h"

struct derp_dial;

/* What the way is like; times in ns since the start, 0 where a step did not come to be. */
struct derp_dialled {
	struct io_stream *stream; /* heap; the taker's, with what came behind the answer in it */
	/* The relay told its key in TLS: it was asked to leave out the answer, and the key needs
	 * not be waited for. */
	bool fast;
	struct public_key server; /* if fast */
	uint64_t tcp_ns, tls_ns, http_ns;
};

struct derp_dial_conf {
	struct ev_loop *loop;
	struct ssl_ctx_st *tls; /* of derp_tls_ctx_new; may be NULL if the target is plain */
	const struct derp_target *target; /* copied */
	uint64_t tcp_timeout_ns;          /* for TCP alone; 0: 1.5 s */
	uint64_t timeout_ns;              /* for the whole; 0: 10 s */
	/* Once, never from within derp_dial_start; the dial is gone when it is called. `dialled`
	 * NULL: it failed, `error` (-errno) and `why` say how. */
	void (*done)(
		void *user, const struct derp_dialled *dialled, int error, const struct err *why);
	void *user;
};

/* NULL: no memory. */
struct derp_dial *derp_dial_start(const struct derp_dial_conf *conf);
/* Before `done`, which is then not called. */
void derp_dial_cancel(struct derp_dial *dial);
