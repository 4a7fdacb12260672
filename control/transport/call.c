/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A request on its way up and its answer on the way down. rpc_* run on the control loop, call_* on
 * the I/O loop of the session; what both touch is said in private.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "private.h"

static struct call *call_of(const struct rpc *rpc)
{
	return (struct call *)rpc; /* its first member */
}

static void *must(void *p)
{
	if (!p)
		abort(); /* what the service sent would be lost without a word */
	return p;
}

void piece_free(struct piece *piece)
{
	for (unsigned i = 0; i < piece->n_blobs; i++)
		blob_put(piece->blobs[i]);
	free(piece->fields);
	if (piece->call && (uint8_t *)piece == piece->call->own)
		piece->call->own_used = false;
	else
		free(piece);
}

/* ---- up: I/O loop, then control loop ---- */

static void call_free(struct call *call)
{
	while (call->queue) {
		struct piece *piece = call->queue;

		call->queue = piece->next;
		piece_free(piece);
	}
	free(call->method);
	free(call->path);
	free(call->body);
	free(call->fields);
	free(call);
}

static void release_run(struct io_message *message)
{
	call_free((struct call *)((char *)message - offsetof(struct call, release)));
}

/* Behind everything that was sent down for it. */
static void release_if_over(struct call *call)
{
	if (!call->gone || !call->done || call->drained_queued)
		return;
	call->release.run = release_run;
	io_post(call->loop->io, &call->release);
}

static void arrival_run(struct io_message *message)
{
	struct call *call = (struct call *)((char *)message - offsetof(struct call, arrival));

	transport.ops->request(&call->rpc);
}

static void closing_run(struct io_message *message)
{
	struct call *call = (struct call *)((char *)message - offsetof(struct call, closing));

	if (call->aborted && !call->done)
		transport.ops->closed(&call->rpc);
	call->gone = true;
	release_if_over(call);
}

struct call *call_new(struct session *session, int32_t stream)
{
	struct call *call = aligned_alloc(_Alignof(struct call), sizeof(*call));

	if (!call)
		return NULL;
	memset(call, 0, sizeof(*call));
	call->loop = session->loop;
	call->session = session;
	call->stream = stream;
	call->queue_tail = &call->queue;
	call->rpc.machine = session->machine;
	call->rpc.version = session->version;
	call->rpc.from = session->stream.from;
	call->next = session->calls;
	call->prev = &session->calls;
	if (call->next)
		call->next->prev = &call->next;
	session->calls = call;
	return call;
}

void call_arrived(struct call *call)
{
	char *query = strchr(call->path, '?');

	if (query)
		*query++ = '\0';
	call->rpc.method = call->method;
	call->rpc.path = call->path;
	call->rpc.query = query ? query : "";
	call->rpc.body = call->body ? call->body : (const uint8_t *)"";
	call->rpc.body_len = call->body_len;
	call->arrived = true;
	transport_count(&transport.counts.requests, 1);
	call->arrival.run = arrival_run;
	io_post(io_loop_control(), &call->arrival);
}

void call_closed(struct call *call)
{
	*call->prev = call->next;
	if (call->next)
		call->next->prev = call->prev;
	call->session = NULL;
	if (!call->arrived) {
		call_free(call);
		return;
	}
	call->aborted = !call->complete;
	call->closing.run = closing_run;
	io_post(io_loop_control(), &call->closing);
}

static void drained_run(struct io_message *message)
{
	struct call *call = (struct call *)((char *)message - offsetof(struct call, drained));

	call->drained_asked = call->drained_queued = false;
	if (!call->done)
		transport.ops->drained(&call->rpc);
	release_if_over(call);
}

void call_taken(struct call *call, uint64_t len)
{
	atomic_store_explicit(
		&call->oldest, call->queue ? call->queue->since : 0, memory_order_relaxed);
	/* seq_cst, as in rpc_want_drained: one of the two sees the other */
	if (atomic_fetch_sub(&call->waiting, len) != len)
		return;
	if (!atomic_load(&call->want_drained) || !atomic_exchange(&call->want_drained, false))
		return;
	call->drained.run = drained_run;
	io_post(io_loop_control(), &call->drained);
}

/* ---- down: control loop, then I/O loop ---- */

static void piece_arrive(struct io_message *message)
{
	struct piece *piece = (struct piece *)message;
	struct call *call = piece->call;

	/* Without a session nothing is said upwards any more: `closing` was the last. */
	if (call->session)
		h2_take_piece(call, piece);
	else
		piece_free(piece);
}

static struct piece *piece_new(struct call *call, enum piece_kind kind, unsigned n_blobs)
{
	struct piece *piece = must(calloc(1, sizeof(*piece) + n_blobs * sizeof(piece->blobs[0])));

	piece->message.run = piece_arrive;
	piece->call = call;
	piece->kind = (uint8_t)kind;
	return piece;
}

static void piece_send(struct piece *piece)
{
	struct call *call = piece->call;

	piece->since = core_now();
	if (piece->len && atomic_fetch_add(&call->waiting, piece->len) == 0)
		call->busy_since = piece->since;
	io_post(call->loop->io, &piece->message);
}

static void add_text(struct call *call, const char *text)
{
	size_t len = strlen(text) + 1;

	call->fields = must(realloc(call->fields, call->fields_len + len));
	memcpy(call->fields + call->fields_len, text, len);
	call->fields_len += len;
}

void rpc_header(struct rpc *rpc, const char *name, const char *value)
{
	add_text(call_of(rpc), name);
	add_text(call_of(rpc), value);
}

static void give_fields(struct call *call, struct piece *piece)
{
	piece->fields = call->fields;
	piece->fields_len = (uint32_t)call->fields_len;
	call->fields = NULL;
	call->fields_len = 0;
}

void rpc_reply(struct rpc *rpc, int status, const char *type, const void *body, size_t len)
{
	struct call *call = call_of(rpc);
	struct piece *piece = piece_new(call, PIECE_REPLY, 1);

	rpc_header(rpc, "content-type", type ? type : "application/json");
	piece->status = (uint16_t)status;
	piece->blobs[0] = must(blob_new(len));
	piece->n_blobs = 1;
	piece->len = (uint32_t)len;
	if (len)
		memcpy(piece->blobs[0]->data, body, len);
	give_fields(call, piece);
	piece_send(piece);
}

void rpc_stream(struct rpc *rpc)
{
	struct call *call = call_of(rpc);
	struct piece *piece = piece_new(call, PIECE_STREAM, 0);

	/* it lasts: the I/O loop is done with the request, and the service says so */
	free(call->body);
	call->body = NULL;
	rpc->body = (const uint8_t *)"";
	rpc->body_len = 0;
	piece->status = 200;
	give_fields(call, piece);
	piece_send(piece);
}

/* The length of a message, before it; that of both together. */
static uint32_t put_prefix(uint8_t *prefix, struct blob *const *blobs, unsigned n)
{
	uint32_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += blobs[i]->len;
	for (unsigned i = 0; i < PREFIX_LEN; i++)
		prefix[i] = (uint8_t)(len >> 8 * i);
	return len + PREFIX_LEN;
}

void rpc_send(struct rpc *rpc, struct blob *const *blobs, unsigned n)
{
	struct piece *piece = piece_new(call_of(rpc), PIECE_MESSAGE, n);

	memcpy(piece->blobs, blobs, n * sizeof(piece->blobs[0]));
	piece->n_blobs = n;
	piece->prefix_len = PREFIX_LEN;
	piece->len = put_prefix(piece->prefix, blobs, n);
	transport_count(&transport.counts.messages, 1);
	piece_send(piece);
}

/* ---- one message to many ---- */

#define AHEAD 4

/* Per I/O loop. The calls outlive it: what frees them comes behind. */
struct letter {
	struct io_message message;
	uint64_t since;
	uint32_t len;
	uint8_t prefix[PREFIX_LEN];
	unsigned n_calls, n_blobs;
	struct call *calls[RPC_MANY_MAX];
	struct blob *blobs[];
};

static struct piece *letter_piece(const struct letter *letter, struct call *call)
{
	struct piece *own = (struct piece *)call->own;

	if (letter->n_blobs > 1 || call->own_used)
		return piece_new(call, PIECE_MESSAGE, letter->n_blobs);
	call->own_used = true;
	*own = (struct piece){.call = call, .kind = PIECE_MESSAGE};
	return own;
}

static void letter_deliver(const struct letter *letter, struct call *call)
{
	struct piece *piece = letter_piece(letter, call);

	piece->since = letter->since;
	piece->len = letter->len;
	piece->prefix_len = PREFIX_LEN;
	memcpy(piece->prefix, letter->prefix, PREFIX_LEN);
	piece->n_blobs = letter->n_blobs;
	for (unsigned i = 0; i < letter->n_blobs; i++)
		piece->blobs[i] = blob_get(letter->blobs[i]);
	h2_take_piece(call, piece);
}

static void letter_arrive(struct io_message *message)
{
	struct letter *letter = (struct letter *)message;
	unsigned n = letter->n_calls;

	for (unsigned i = 0; i < n && i < 2 * AHEAD; i++)
		call_fetch(letter->calls[i]);
	for (unsigned i = 0; i < n; i++) {
		if (i + 2 * AHEAD < n)
			call_fetch(letter->calls[i + 2 * AHEAD]);
		if (i + AHEAD < n)
			session_fetch(letter->calls[i + AHEAD]->session);
		if (letter->calls[i]->session)
			letter_deliver(letter, letter->calls[i]);
	}
	for (unsigned i = 0; i < letter->n_blobs; i++)
		blob_put(letter->blobs[i]);
	free(letter);
}

static struct letter *letter_new(struct blob *const *blobs, unsigned n)
{
	struct letter *letter = must(malloc(sizeof(*letter) + n * sizeof(letter->blobs[0])));

	letter->message.run = letter_arrive;
	letter->since = core_now();
	letter->n_calls = 0;
	letter->n_blobs = n;
	for (unsigned i = 0; i < n; i++)
		letter->blobs[i] = blob_get(blobs[i]);
	letter->len = put_prefix(letter->prefix, blobs, n);
	return letter;
}

static void letter_address(struct letter *letter, struct call *call)
{
	if (atomic_fetch_add(&call->waiting, letter->len) == 0)
		call->busy_since = letter->since;
	letter->calls[letter->n_calls++] = call;
}

void rpc_send_many(struct rpc *const *rpcs, unsigned n_rpcs, struct blob *const *blobs, unsigned n)
{
	for (unsigned i = 0; i < io_loop_count(); i++) {
		struct letter *letter = letter_new(blobs, n);

		for (unsigned j = 0; j < n_rpcs; j++)
			if (call_of(rpcs[j])->loop->io == io_loop_at(i))
				letter_address(letter, call_of(rpcs[j]));
		io_post(io_loop_at(i), &letter->message);
	}
	for (unsigned i = 0; i < n; i++)
		blob_put(blobs[i]);
	transport_count(&transport.counts.messages, n_rpcs);
}

void rpc_fetch(const struct rpc *rpc)
{
	__builtin_prefetch(&call_of(rpc)->waiting, 1);
}

struct rpc_backlog rpc_backlog(const struct rpc *rpc)
{
	const struct call *call = call_of(rpc);
	struct rpc_backlog backlog = {.bytes = atomic_load(&call->waiting)};
	uint64_t oldest = atomic_load_explicit(&call->oldest, memory_order_relaxed);

	if (!backlog.bytes)
		return backlog;
	/* what the I/O loop knows may be from before the queue was last empty */
	if (oldest < call->busy_since)
		oldest = call->busy_since;
	backlog.age = core_now() - oldest;
	return backlog;
}

void rpc_want_drained(struct rpc *rpc)
{
	struct call *call = call_of(rpc);

	if (call->drained_asked)
		return;
	call->drained_asked = true;
	atomic_store(&call->want_drained, true);
	if (atomic_load(&call->waiting) || !atomic_exchange(&call->want_drained, false))
		return;
	call->drained_queued = true;
	call->drained.run = drained_run;
	io_post(io_loop_control(), &call->drained);
}

void rpc_end(struct rpc *rpc, bool discard)
{
	piece_send(piece_new(call_of(rpc), discard ? PIECE_DISCARD : PIECE_END, 0));
}

void rpc_done(struct rpc *rpc)
{
	struct call *call = call_of(rpc);

	call->done = true;
	release_if_over(call);
}
