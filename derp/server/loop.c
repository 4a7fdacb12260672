/* SPDX-License-Identifier: BSD-3-Clause */
/* A loop's passes: its arena, and who is written to at the end. Runs on: the I/O loop. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

#define ARENAS_MAX 8 /* while other loops read the others */

/* ---- the arena ---- */

uint8_t *arena_room(struct derp_loop *loop, size_t n)
{
	if (ARENA_SIZE - loop->arena_at < 3 * n)
		pass_end(loop);
	assert(ARENA_SIZE - loop->arena_at >= 3 * n);
	return loop->arena->bytes + loop->arena_at;
}

uint8_t *arena_take(struct derp_loop *loop, size_t n)
{
	uint8_t *bytes = loop->arena->bytes + loop->arena_at;

	assert(ARENA_SIZE - loop->arena_at >= n);
	loop->arena_at += n;
	return bytes;
}

static bool is_free(const struct arena *arena)
{
	/* acquire: pairs with the release in give_back; whoever had it has read the last of it */
	return atomic_load_explicit(&arena->lent, memory_order_acquire) == 0;
}

static struct arena *arena_new(struct derp_loop *loop)
{
	struct arena *arena = aligned_alloc(64, sizeof(*arena));

	if (!arena)
		return NULL;
	atomic_init(&arena->lent, 0);
	arena->next = loop->arenas;
	loop->arenas = arena;
	loop->n_arenas++;
	return arena;
}

static struct arena *other_arena(struct derp_loop *loop)
{
	for (struct arena *arena = loop->arenas; arena; arena = arena->next) {
		if (arena != loop->arena && is_free(arena))
			return arena;
	}
	return server.n > 1 && loop->n_arenas < ARENAS_MAX ? arena_new(loop) : NULL;
}

/* The next pass has an arena that nobody else reads: what was lent has another beside it. */
static void arena_turn(struct derp_loop *loop)
{
	if (!is_free(loop->arena))
		loop->arena = other_arena(loop);
	loop->arena_at = 0;
	loop->may_lend = other_arena(loop) != NULL;
}

/* ---- the end of a pass ---- */

void pass_write(struct derp_loop *loop)
{
	struct conn *conn;

	while ((conn = loop->dirty)) {
		loop->dirty = conn->dirty_next;
		if (!loop->dirty)
			loop->dirty_tail = &loop->dirty;
		conn->dirty = false;
		output_flush(conn);
	}
	loop->n_pieces = 0;
}

void pass_end(struct derp_loop *loop)
{
	pass_write(loop);
	cross_flush(loop);
	cross_free_held(loop);
	arena_turn(loop);
}

static void on_before_wait(struct ev_loop *ev, ev_prepare *watcher, int revents)
{
	struct derp_loop *loop = watcher->data;

	(void)ev, (void)revents;
	pass_end(loop);
	conn_free_dead(loop);
	peers_free_dead(loop);
}

static void on_tick(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct derp_loop *loop = timer->data;
	bool drains, waits;

	(void)revents;
	conns_tick(loop);
	drains = drain_tick(loop, core_now());
	waits = away_tick(loop, core_now());
	if (!drains && !waits && !loop->wheel.n)
		ev_timer_stop(ev, timer);
}

/* ---- life ---- */

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

void loop_open(struct derp_loop *loop, struct io_loop *io, unsigned index)
{
	loop->io = io;
	loop->ev = io_loop_ev(io);
	loop->index = index;
	loop->arena = must(arena_new(loop));
	loop->pieces = must(calloc(PIECES_MAX, sizeof(*loop->pieces)));
	loop->out = must(calloc(server.n, sizeof(struct batch *)));
	if (!wire_init(loop))
		abort();
	loop->dirty_tail = &loop->dirty;
	wheel_init(&loop->wheel, core_now());
	ev_prepare_init(&loop->before_wait, on_before_wait);
	ev_prepare_start(loop->ev, &loop->before_wait);
	ev_init(&loop->tick, on_tick);
	loop->tick.repeat = WHEEL_TICK_NS / 1e9;
	loop->before_wait.data = loop->tick.data = loop;
}

/* Connections first; other loops may still send to this one. */
void loop_shut(struct derp_loop *loop)
{
	loop->stopping = true;
	pass_end(loop);
	for (uint32_t i = 0; i < loop->n_slots; i++) {
		if (loop->slots[i].conn)
			conn_close(loop->slots[i].conn);
	}
}

void loop_close(struct derp_loop *loop)
{
	pass_end(loop);
	ev_prepare_stop(loop->ev, &loop->before_wait);
	ev_timer_stop(loop->ev, &loop->tick);
	conn_free_dead(loop);
	directory_fini(loop);
	watch_fini(loop);
	table_fini(&loop->sightings);
	wire_fini(loop);
	free(loop->out);
	free(loop->slots);
	free(loop->pieces);
}

void loop_free(struct derp_loop *loop)
{
	while (loop->arenas) {
		struct arena *arena = loop->arenas;

		loop->arenas = arena->next;
		free(arena);
	}
	cross_fini(loop);
}
