/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A name's addresses, asked of the system's resolver in a job. Control loop. */
#include <tailplane/jobs.h>

#include "target.h"

/* The caller's, until `done`; which may free it. */
struct derp_lookup {
	struct derp_target target; /* gets the addresses */
	char host[DERP_HOST_MAX + 1];
	void (*done)(struct derp_lookup *lookup);
	void *user;
	const char *problem; /* NULL: there are addresses; static */
	struct job job;
};

void derp_lookup_start(struct derp_lookup *lookup);
