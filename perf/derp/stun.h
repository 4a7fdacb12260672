/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tailscale's STUN request, as fast as answers come; and an echo, the bare cost of datagrams.
 *
 * What an answer costs on its way into a socket of the same machine is the relay's CPU time, and so
 * is a client who looks into that socket meanwhile, or has to be woken. One that looks as soon as
 * there is something does so for every second answer of a slow relay, and for forty at a time of
 * one as fast as itself; of a client elsewhere a relay feels nothing. So this one looks 16 000
 * times a second, and never sleeps. Where answers do not come back to it, as `answers` of the plan
 * tells, it looks at the interface that counts them, without pause.
 */
#pragma once

#include <stdint.h>

#include "pairs.h"

struct stun_outcome {
	double seconds, relay_cpu;
	uint64_t answered, lost;
};

/* Of the plan: window, at most 64; seconds, after those of warming up; relay. An answer that is
 * none ends the program. */
void stun_run(const struct plan *plan, const struct target *target, struct stun_outcome *out);
/* Says "ready" on standard output; ends with the process. */
void stun_echo(uint16_t port);
