/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pairs of clients, one sends to the other: with a window, as fast as the sockets take it, or at a
 * rate. On the calling thread, or on several.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <stdbool.h>

#include "peer.h"

enum load {
	LOAD_WINDOW, /* `window` packets of each pair are under way */
	LOAD_FLOOD,  /* whatever the sockets take */
	LOAD_RATE,   /* `rate` packets a second over all pairs; the thread spins */
};

struct plan {
	enum load load;
	unsigned pairs, size, window, rate;
	unsigned threads; /* not with a rate */
	bool crossing;    /* of a relay with two loops each pair has both */
	double seconds, warm_up;
	pid_t relay;         /* whose CPU time is counted */
	const char *answers; /* of STUN: what counts them, where they do not come back */
};

struct outcome {
	double seconds, relay_cpu, own_cpu;
	uint64_t sent, received, lost, bytes;
	double p50_us, p99_us, max_us; /* LOAD_RATE */
};

double process_cpu_seconds(pid_t pid);
void pairs_run(const struct plan *plan, struct target *target, struct outcome *out);
