/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets and frames for connections on other loops. Runs on: I/O loops. What a pass has for
 * another loop goes there as one message that tells of runs; that loop writes them straight from
 * the arena of this one, which it is lent until its own pass ends. Only when all arenas are lent
 * are packets copied into the message. It goes home to be filled again: fresh memory would cost
 * more than the packets do.
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

#define BATCH_SIZE (120u << 10)
#define SPARE_MAX 16
#define CROSSING_MAX (16u << 20) /* for a loop that does not keep up */

struct batch {
	struct io_message message;
	struct batch *next; /* held, spare or on its way back */
	unsigned home;      /* the loop that fills it */
	struct arena *lent; /* that runs lie in; NULL: they are behind their records */
	uint32_t used, size;
	uint32_t carried; /* bytes of its runs, INPUT_MAX at most: room for what is made of them */
	_Alignas(8) uint8_t data[];
};

struct record {
	uint8_t destination[DERP_KEY_LEN];
	uint8_t *bytes;
	uint32_t len, frames;
	bool forwarded;
};

#define ALIGN8(n) (((n) + 7u) & ~7u)

static void batch_run(struct io_message *message);

/* What came back becomes spare; more than a few are let go. */
static void collect_spares(struct derp_loop *loop)
{
	/* acquire: pairs with the release in give_back */
	struct batch *batch = atomic_exchange_explicit(&loop->back, NULL, memory_order_acquire);

	while (batch) {
		struct batch *next = batch->next;

		if (loop->n_spare < SPARE_MAX) {
			batch->next = loop->spare;
			loop->spare = batch;
			loop->n_spare++;
		} else {
			free(batch);
		}
		batch = next;
	}
}

static struct batch *batch_new(struct derp_loop *loop, uint32_t need)
{
	uint32_t size = need > BATCH_SIZE ? need : BATCH_SIZE;
	struct batch *batch;

	if (!loop->spare)
		collect_spares(loop);
	batch = size == BATCH_SIZE ? loop->spare : NULL;
	if (batch) {
		loop->spare = batch->next;
		loop->n_spare--;
	} else {
		batch = malloc(sizeof(*batch) + size);
	}
	if (!batch)
		return NULL;
	batch->message.run = batch_run;
	batch->home = loop->index;
	batch->lent = loop->may_lend ? loop->arena : NULL;
	if (batch->lent)
		atomic_fetch_add_explicit(&batch->lent->lent, 1, memory_order_relaxed);
	batch->used = batch->carried = 0;
	batch->size = size;
	return batch;
}

static void give_back(struct batch *batch)
{
	_Atomic(struct batch *) *back = &server.loops[batch->home].back;
	struct batch *head = atomic_load_explicit(back, memory_order_relaxed);

	/* release: pairs with the acquire in is_free */
	if (batch->lent)
		atomic_fetch_sub_explicit(&batch->lent->lent, 1, memory_order_release);
	if (batch->size != BATCH_SIZE) {
		free(batch);
		return;
	}
	do
		batch->next = head;
	while (!atomic_compare_exchange_weak_explicit(
		back, &head, batch, memory_order_release, memory_order_relaxed));
}

static void send_batch(struct derp_loop *loop, unsigned to)
{
	struct batch *batch = loop->out[to];

	loop->out[to] = NULL;
	atomic_fetch_add_explicit(&server.loops[to].crossing, batch->size, memory_order_relaxed);
	io_post(server.loops[to].io, &batch->message);
}

void cross_run(struct derp_loop *loop, unsigned to, const struct run *run)
{
	bool copies = loop->out[to] ? !loop->out[to]->lent : !loop->may_lend;
	uint32_t need = ALIGN8((uint32_t)sizeof(struct record) + (copies ? run->len : 0));
	struct record *record;

	if (loop->out[to] && (loop->out[to]->size - loop->out[to]->used < need ||
				     loop->out[to]->carried + run->len > INPUT_MAX))
		send_batch(loop, to);
	if (!loop->out[to] && atomic_load_explicit(&server.loops[to].crossing,
				      memory_order_relaxed) < CROSSING_MAX)
		loop->out[to] = batch_new(loop, need);
	if (!loop->out[to]) {
		drop_frames(loop, run->bytes, run->len, DERP_DROP_QUEUE_TAIL);
		return;
	}
	record = (struct record *)(loop->out[to]->data + loop->out[to]->used);
	memcpy(record->destination, run->destination, DERP_KEY_LEN);
	record->len = run->len;
	record->frames = run->frames;
	record->forwarded = run->forwarded;
	record->bytes = copies ? memcpy(record + 1, run->bytes, run->len) : run->bytes;
	loop->out[to]->used += need;
	loop->out[to]->carried += run->len;
	COUNT(loop, packets_crossed, run->frames);
}

void cross_flush(struct derp_loop *loop)
{
	for (unsigned i = 0; i < server.n; i++) {
		if (loop->out[i])
			send_batch(loop, i);
	}
}

static void batch_run(struct io_message *message)
{
	struct batch *batch = (struct batch *)message;
	struct derp_loop *loop = derp_loop_here();

	arena_room(loop, batch->carried);
	batch->next = loop->held;
	loop->held = batch;
	for (uint32_t at = 0; at < batch->used;) {
		struct record *record = (struct record *)(batch->data + at);
		struct run run = {
			.destination = record->destination,
			.bytes = record->bytes,
			.len = record->len,
			.frames = record->frames,
			.forwarded = record->forwarded,
			.crossed = true,
		};

		run.source = peer_find(loop, run.bytes + DERP_HEADER_LEN);
		deliver_run(loop, &run);
		at += ALIGN8((uint32_t)sizeof(*record) + (batch->lent ? 0 : record->len));
	}
}

void cross_free_held(struct derp_loop *loop)
{
	struct batch *batch;

	while ((batch = loop->held)) {
		loop->held = batch->next;
		atomic_fetch_sub_explicit(&loop->crossing, batch->size, memory_order_relaxed);
		give_back(batch);
	}
}

void cross_fini(struct derp_loop *loop)
{
	struct batch *batch;

	collect_spares(loop);
	while ((batch = loop->spare)) {
		loop->spare = batch->next;
		free(batch);
	}
}

/* ---- frames of ours ---- */

struct control {
	struct io_message message;
	uint64_t conn;
	uint32_t len;
	uint8_t bytes[];
};

static void control_run(struct io_message *message)
{
	struct control *control = (struct control *)message;
	struct conn *conn = conn_find(derp_loop_here(), control->conn);

	if (conn)
		output_control(conn, control->bytes, control->len);
	free(control);
}

void cross_control(
	struct derp_loop *loop, unsigned to, uint64_t conn_id, const void *bytes, size_t len)
{
	struct conn *conn = to == loop->index ? conn_find(loop, conn_id) : NULL;
	struct control *control;

	if (conn)
		output_control(conn, bytes, (uint32_t)len);
	if (to == loop->index)
		return;
	control = malloc(sizeof(*control) + len);
	if (!control)
		abort(); /* a watcher would miss a change for good */
	control->message.run = control_run;
	control->conn = conn_id;
	control->len = (uint32_t)len;
	memcpy(control->bytes, bytes, len);
	io_post(server.loops[to].io, &control->message);
}
