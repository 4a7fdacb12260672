/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lane {
	struct public_key machine;
	struct lane_task *head, **tail;
	bool dispatching;
};

static uint64_t hash_of(const struct public_key *machine)
{
	return index_hash(machine->bytes, sizeof(machine->bytes));
}

static struct lane *lane_find(
	const struct lanes *lanes, const struct public_key *machine, uint64_t hash)
{
	struct lane *lane;

	for (size_t at = INDEX_FIRST; (lane = index_next(&lanes->by_machine, hash, &at));)
		if (!memcmp(&lane->machine, machine, sizeof(*machine)))
			return lane;
	return NULL;
}

bool lane_is_free(const struct lanes *lanes, const struct public_key *machine)
{
	return !lane_find(lanes, machine, hash_of(machine));
}

static struct lane *lane_of(struct lanes *lanes, const struct public_key *machine)
{
	uint64_t hash = hash_of(machine);
	struct lane *lane = lane_find(lanes, machine, hash);

	if (lane)
		return lane;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return NULL;
	lane->machine = *machine;
	lane->tail = &lane->head;
	if (index_add(&lanes->by_machine, hash, lane)) {
		free(lane);
		return NULL;
	}
	return lane;
}

/* A loop, not a recursion: many tasks in a row may be done at once. */
static void dispatch(struct lanes *lanes, struct lane *lane)
{
	if (lane->dispatching)
		return;
	lane->dispatching = true;
	while (lane->head && !lane->head->started) {
		lane->head->started = true;
		lane->head->run(lane->head);
	}
	lane->dispatching = false;
	if (lane->head)
		return;
	index_remove(&lanes->by_machine, hash_of(&lane->machine), lane);
	free(lane);
}

int lane_enter(struct lanes *lanes, const struct public_key *machine, struct lane_task *task)
{
	struct lane *lane = lane_of(lanes, machine);

	if (!lane)
		return -ENOMEM;
	task->next = NULL;
	task->lane = lane;
	task->started = false;
	*lane->tail = task;
	lane->tail = &task->next;
	dispatch(lanes, lane);
	return 0;
}

void lane_leave(struct lanes *lanes, struct lane_task *task)
{
	struct lane *lane = task->lane;

	lane->head = task->next;
	if (!lane->head)
		lane->tail = &lane->head;
	dispatch(lanes, lane);
}

void lanes_fini(struct lanes *lanes)
{
	index_fini(&lanes->by_machine);
}
