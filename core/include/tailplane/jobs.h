/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

#pragma GCC visibility push(default)

/*
 * A job is work that would hold the loop: handshake crypto, file writes with fsync, look-ups.
 * `run` executes on a thread of the pool, then `done` on the control loop. The struct is the
 * caller's, embedded in what it works on, and must stay valid until `done` returned. Jobs of equal
 * `lane` (nonzero) run in the order submitted, one at a time.
 */
struct job {
	void (*run)(struct job *job);
	void (*done)(struct job *job); /* may be NULL: then the job may free itself in run */
	const char *name;              /* static; shown in metrics and lag warnings */
	uint64_t lane;
	struct job *next;         /* the pool's */
	struct job_lane *in_lane; /* the pool's */
	unsigned epoch;           /* the pool's */
};

/* From the control loop or from a running job. */
void job_submit(struct job *job);
/* Runs until each job that was submitted so far has had its `done`; for stop hooks. */
void jobs_drain(void);

#pragma GCC visibility pop
