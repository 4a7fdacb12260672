/* SPDX-License-Identifier: BSD-3-Clause */
/* Tailscale's STUN request, as fast as answers come; and an echo, the bare cost of datagrams. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "peer.h"

struct stun_outcome {
	double seconds, relay_cpu, own_cpu;
	uint64_t answered, lost;
};

/* `window` requests are under way; an answer that is none ends the program. */
void stun_run(const struct target *target, unsigned window, double seconds, pid_t relay,
	struct stun_outcome *out);
/* Says "ready" on standard output; ends with the process. */
void stun_echo(uint16_t port);
