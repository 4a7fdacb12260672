/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One thing at a time for each machine: what reads its nodes, decides, and waits for the store
 * holds the lane of the machine until it is done; what comes meanwhile waits behind it. Control
 * loop.
 */
#include <stdbool.h>

#include "index.h"
#include "secret.h"

struct lane;
struct lane_task {
	void (*run)(struct lane_task *task); /* its turn has come */
	struct lane_task *next;
	struct lane *lane;
	bool started;
};

struct lanes {
	struct index by_machine;
};

/* Runs the task now or later. -ENOMEM: never. */
int lane_enter(struct lanes *lanes, const struct public_key *machine, struct lane_task *task);
/* Nothing is under way for the machine. */
bool lane_is_free(const struct lanes *lanes, const struct public_key *machine);
/* The task that holds it lets go; it may be gone after. */
void lane_leave(struct lanes *lanes, struct lane_task *task);
void lanes_fini(struct lanes *lanes);
