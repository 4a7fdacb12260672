/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client stops reading while another sends to it:
 *
 *   sender ---- 20 000 packets a second ----> relay ---x  the one who stalls
 *   a      ------------ 500 ------------------> relay --> b: how much these feel of it
 */
#pragma once

#include "pairs.h"

struct stall_outcome {
	double closed_after;   /* seconds from the first packet; 0: it was not closed */
	uint64_t hidden_bytes; /* the most that the kernel held of the relay's sends to it */
	struct outcome before, during;
};

void stall_run(struct target *target, double seconds, pid_t relay, struct stall_outcome *out);
