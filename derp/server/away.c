/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys that nobody has, because their connection was ended here so that it is made again in another
 * process. Nobody is told that they are gone, unless they are not back in time; packets for them
 * wait on the loop that they came to. Runs on: I/O loops.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

#define AWAY (5 * SECOND) /* the longest pause of Tailscale's clients between two tries */

/* ---- packets ---- */

/* A run, as it came. */
struct waiting {
	struct io_message message;
	struct waiting *next;
	struct derp_loop *loop;
	struct public_key destination;
	uint32_t len, frames;
	bool forwarded;
	uint8_t bytes[];
};

static void waiting_free(struct waiting *waiting)
{
	UNCOUNT(waiting->loop, memory_bytes, sizeof(*waiting) + waiting->len);
	free(waiting);
}

static void drop_oldest(struct derp_loop *loop, struct peer *peer)
{
	struct waiting *waiting = peer->waiting;

	peer->waiting = waiting->next;
	peer->n_waiting -= waiting->frames;
	drop_frames(loop, waiting->bytes, waiting->len, DERP_DROP_QUEUE_HEAD);
	waiting_free(waiting);
}

/* How many bytes its oldest packets have, of more than may wait. */
static uint32_t excess(const struct run *run, uint32_t *frames)
{
	uint32_t at = 0;

	for (*frames = run->frames; *frames > QUEUE_MAX; --*frames)
		at += frame_len(run->bytes + at);
	return at;
}

void away_hold(struct derp_loop *loop, struct peer *peer, const struct run *run)
{
	uint32_t frames, from = excess(run, &frames), len = run->len - from;
	struct waiting **at = &peer->waiting,
		       *waiting = limit_memory(loop, len) ? malloc(sizeof(*waiting) + len) : NULL;

	drop_frames(loop, run->bytes, from, DERP_DROP_QUEUE_HEAD);
	if (!waiting) {
		drop_frames(loop, run->bytes + from, len, DERP_DROP_QUEUE_TAIL);
		return;
	}
	while (peer->n_waiting + frames > QUEUE_MAX)
		drop_oldest(loop, peer);
	*waiting = (struct waiting){.loop = loop,
		.destination = peer->key,
		.len = len,
		.frames = frames,
		.forwarded = run->forwarded};
	memcpy(waiting->bytes, run->bytes + from, len);
	COUNT(loop, memory_bytes, sizeof(*waiting) + len);
	while (*at)
		at = &(*at)->next;
	*at = waiting;
	peer->n_waiting += frames;
}

static void deliver_again(struct io_message *message)
{
	struct waiting *waiting = (struct waiting *)message;
	struct derp_loop *loop = waiting->loop;
	struct run run = {.destination = waiting->destination.bytes,
		.len = waiting->len,
		.frames = waiting->frames,
		.forwarded = waiting->forwarded};

	run.bytes = memcpy(arena_room(loop, run.len), waiting->bytes, run.len);
	arena_take(loop, run.len);
	run.source = peer_find(loop, run.bytes + DERP_HEADER_LEN);
	deliver_run(loop, &run);
	waiting_free(waiting);
}

void away_release(struct peer *peer)
{
	struct waiting *waiting;

	while ((waiting = peer->waiting)) {
		peer->waiting = waiting->next;
		/* a message: where we are called, frames may be walked */
		waiting->message.run = deliver_again;
		io_post(waiting->loop->io, &waiting->message);
	}
	peer->n_waiting = 0;
}

void away_fini(struct peer *peer)
{
	struct waiting *waiting;

	while ((waiting = peer->waiting)) {
		peer->waiting = waiting->next;
		waiting_free(waiting);
	}
}

/* ---- the owner's ---- */

void away_begin(struct derp_loop *loop, struct peer *peer)
{
	bool listed = peer->away_until != 0;

	peer->away_until = core_now() + (loop->conf.away ? loop->conf.away : AWAY);
	if (listed)
		return;
	peer->away_next = loop->away;
	loop->away = peer;
	if (!ev_is_active(&loop->tick))
		ev_timer_again(loop->ev, &loop->tick);
}

static void end(struct derp_loop *loop, struct peer *peer)
{
	struct update update = {.key = peer->key, .gone = true};

	peer->away_until = 0;
	if (!peer->away) { /* it is back, or was */
		peer_release(loop, peer);
		return;
	}
	watch_gone(loop, peer);
	directory_update(loop, &update);
}

bool away_tick(struct derp_loop *loop, uint64_t now)
{
	struct peer **at = &loop->away, *peer;

	while ((peer = *at)) {
		if (peer->away && now < peer->away_until) {
			at = &peer->away_next;
			continue;
		}
		*at = peer->away_next;
		end(loop, peer);
	}
	return loop->away;
}
