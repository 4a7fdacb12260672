/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sealing and writing. Runs on: I/O loops, at the end of a turn, when all that came in it has been
 * looked at.
 *
 * Sessions with something to send are taken in groups. HTTP/2 is asked for each one's frames; their
 * text becomes records in the arena, whose sealing is put off until 64 records, of whichever
 * sessions, are together: a burst of the vector kernels. Then each session's part goes to the
 * kernel in one write, and only what the kernel does not take is copied and kept.
 *
 * A DATA frame starts a fresh record, and carries as much as fills whole records: its bytes are cut
 * at the same places for every receiver, and go from the shared blob to the arena in the pass that
 * seals them. The records' text of everything else is put together in the arena first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tailplane/loop.h>

#include "private.h"

#define ARENA (1u << 20)
#define ARENA_KEPT (64u << 10) /* small messages to many need no more */
#define QUANTUM_MIN (16u << 10)
#define QUANTUM_FIRST (32u << 10)
#define QUANTUM_MAX (128u << 10)
/* What one callback may add beyond a quantum: a DATA frame, or a few others. */
#define SLACK (32u << 10)
#define GROUPS_A_TURN 8

int flush_init(struct flush *flush)
{
	flush->arena =
		mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return flush->arena != MAP_FAILED ? 0 : -ENOMEM;
}

void flush_fini(struct flush *flush)
{
	munmap(flush->arena, ARENA);
}

void flush_rest(struct flush *flush)
{
	if (flush->arena_high <= ARENA_KEPT && flush->arena_touched > ARENA_KEPT) {
		madvise(flush->arena + ARENA_KEPT, ARENA - ARENA_KEPT, MADV_DONTNEED);
		flush->arena_touched = 0;
	}
	if (flush->arena_high > flush->arena_touched)
		flush->arena_touched = flush->arena_high;
	flush->arena_high = 0;
}

/* ---- records ---- */

static void seal_now(struct flush *flush)
{
	aead_seal(flush->items, flush->n_items);
	flush->n_items = 0;
	while (flush->spent) {
		struct piece *piece = flush->spent;

		flush->spent = piece->next;
		piece_free(piece);
	}
}

/* The text of `item` is described; `record` is where it goes. */
static void add_item(struct flush *flush, struct aead_item *item, uint8_t *record, size_t text_len)
{
	struct ts2021_cipher *cipher = &flush->now->send;

	if (ts2021_begin_record(cipher, record, text_len, item->nonce) != 0) {
		flush->now->broken = true;
		return;
	}
	item->key = &cipher->key;
	item->dst = record + TS2021_HEADER_LEN;
	flush->items[flush->n_items++] = *item;
	if (flush->n_items == SEAL_ITEMS)
		seal_now(flush);
}

static uint8_t *open_record(struct flush *flush)
{
	flush->record = flush->arena + flush->arena_at;
	flush->record_len = 0;
	return flush->record;
}

static void end_record(struct flush *flush)
{
	struct aead_item item = {0};
	uint8_t *record = flush->record;

	if (!record)
		return;
	flush->record = NULL;
	flush->arena_at += flush->record_len + TS2021_RECORD_OVERHEAD;
	item.src[0] =
		(struct aead_segment){record + TS2021_HEADER_LEN, (uint32_t)flush->record_len};
	add_item(flush, &item, record, flush->record_len);
}

void flush_bytes(struct flush *flush, const uint8_t *bytes, size_t len)
{
	while (len) {
		size_t room, part;

		if (!flush->record)
			open_record(flush);
		room = TS2021_TEXT_MAX - flush->record_len;
		part = len < room ? len : room;
		memcpy(flush->record + TS2021_HEADER_LEN + flush->record_len, bytes, part);
		flush->record_len += part;
		bytes += part;
		len -= part;
		if (flush->record_len == TS2021_TEXT_MAX)
			end_record(flush);
	}
}

/* The next bytes of a piece that lie together. */
static struct aead_segment next_bytes(const struct piece *piece)
{
	uint32_t at = piece->at;

	if (at < piece->prefix_len)
		return (struct aead_segment){piece->prefix + at, piece->prefix_len - at};
	at -= piece->prefix_len;
	for (unsigned i = 0; i < piece->n_blobs; i++) {
		const struct blob *blob = piece->blobs[i];

		if (at < blob->len)
			return (struct aead_segment){blob->data + at, blob->len - at};
		at -= blob->len;
	}
	return (struct aead_segment){NULL, 0};
}

/* One record with `own` bytes that are in it already and `len` of the piece. Where those are all
 * and lie together they are read while sealing; else they are copied beside the others, for the
 * vector kernels take texts in one part. */
static void data_record(struct flush *flush, struct piece *piece, uint32_t own, size_t len)
{
	uint8_t *record = flush->arena + flush->arena_at;
	uint8_t *text = record + TS2021_HEADER_LEN;
	struct aead_segment segment = next_bytes(piece);
	struct aead_item item = {.src[0] = {text, own + (uint32_t)len}};
	uint8_t *at = text + own;

	flush->arena_at += own + len + TS2021_RECORD_OVERHEAD;
	if (!own && segment.len >= len) {
		item.src[0].data = segment.data;
		piece->at += (uint32_t)len;
		len = 0;
	}
	while (len) {
		uint32_t part;

		segment = next_bytes(piece);
		part = segment.len < len ? segment.len : (uint32_t)len;
		memcpy(at, segment.data, part);
		piece->at += part;
		at += part;
		len -= part;
	}
	add_item(flush, &item, record, item.src[0].len);
}

void flush_data(struct flush *flush, const uint8_t header[static H2_FRAME_HEADER_LEN],
	struct piece *piece, size_t len)
{
	uint32_t own = H2_FRAME_HEADER_LEN;

	end_record(flush);
	memcpy(flush->arena + flush->arena_at + TS2021_HEADER_LEN, header, H2_FRAME_HEADER_LEN);
	do {
		size_t room = TS2021_TEXT_MAX - own;
		size_t part = len < room ? len : room;

		data_record(flush, piece, own, part);
		len -= part;
		own = 0;
	} while (len);
}

bool flush_has_room(const struct flush *flush)
{
	size_t made =
		flush->arena_at - (size_t)(flush->parts[flush->n_sessions].start - flush->arena);

	return made + flush->record_len < flush->now->quantum;
}

/* ---- one session's part of the arena ---- */

/* Bytes that go before the records, unsealed: the answer to the upgrade, a pong, the header of the
 * WebSocket frame that the records are in. They are known only after the records. */
static size_t room_before(const struct session *session)
{
	size_t room = session->prelude ? session->prelude_len : 0;

	if (session->websocket)
		room += WEBSOCKET_PONG_MAX + WEBSOCKET_HEADER_MAX;
	return room;
}

static void put_before(struct session *session, uint8_t **start, size_t *len)
{
	struct websocket *ws = session->websocket;

	if (ws && *len) {
		size_t n = websocket_header(*start, *len);

		*start -= n;
		*len += n;
	}
	if (ws && ws->pong_len) {
		*start -= ws->pong_len;
		*len += ws->pong_len;
		memcpy(*start, ws->pong, ws->pong_len);
		ws->pong_len = 0;
	}
	if (!session->prelude)
		return;
	*start -= session->prelude_len;
	*len += session->prelude_len;
	memcpy(*start, session->prelude, session->prelude_len);
	free(session->prelude);
	session->prelude = NULL;
}

static void ask(struct flush *flush, struct session *session)
{
	uint8_t *start = flush->arena + flush->arena_at + room_before(session);
	unsigned i = flush->n_sessions;
	size_t len;

	flush->now = session;
	flush->parts[i].start = start;
	flush->arena_at = (size_t)(start - flush->arena);
	if (session->early_text) {
		flush_bytes(flush, session->early_text, session->early_len);
		free(session->early_text);
		session->early_text = NULL;
	}
	if (!session->broken)
		h2_send(session);
	end_record(flush);
	len = flush->arena_at - (size_t)(start - flush->arena);
	put_before(session, &start, &len);
	flush->parts[i].start = start;
	flush->parts[i].len = len;
	flush->sessions[i] = session;
	flush->n_sessions++;
}

/* ---- writing ---- */

static void all_taken(struct session *session)
{
	if (session->stalled_since)
		session->stalled_since = 0;
	for (struct call *call = session->calls; call; call = call->next) {
		uint64_t len = call->in_flight;

		call->in_flight = 0;
		if (len)
			call_taken(call, len);
	}
}

/* The bytes written; -1: broken. */
static ssize_t write_some(struct session *session, uint8_t *bytes, size_t len)
{
	size_t at = 0;

	while (at < len) {
		struct iovec iov = {bytes + at, len - at};
		ssize_t n = io_stream_writev(&session->stream, &iov, 1);

		if (n == -EAGAIN)
			break;
		if (n < 0)
			return -1;
		at += (size_t)n;
	}
	return (ssize_t)at;
}

static void watch(struct session *session)
{
	struct ev_loop *ev = io_loop_ev(session->loop->io);
	int events = EV_READ | (session_is_blocked(session) ? EV_WRITE : 0);

	if ((session->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(ev, &session->io);
	ev_io_set(&session->io, session->stream.fd, events);
	ev_io_start(ev, &session->io);
}

static bool keep(struct session *session, const uint8_t *bytes, size_t len)
{
	session->out = malloc(len);
	if (!session->out)
		return false;
	memcpy(session->out, bytes, len);
	session->out_len = len;
	session->out_at = 0;
	session->stalled_since = core_now();
	return true;
}

/* What the kernel takes at once says how much to seal at once. */
static void adapt(struct session *session, bool took_all)
{
	uint32_t quantum = took_all ? session->quantum * 2 : session->quantum / 2;

	if (quantum < QUANTUM_MIN)
		quantum = QUANTUM_MIN;
	session->quantum = quantum > QUANTUM_MAX ? QUANTUM_MAX : quantum;
}

static void write_part(struct session *session, uint8_t *bytes, size_t len)
{
	ssize_t n = write_some(session, bytes, len);

	if (n < 0 || ((size_t)n < len && !keep(session, bytes + n, len - (size_t)n))) {
		session->broken = true;
		return;
	}
	if (len >= QUANTUM_MIN)
		adapt(session, (size_t)n == len);
	if ((size_t)n < len) {
		watch(session);
		return;
	}
	all_taken(session);
	/* what stopped it may have been its quantum */
	if (len && session->more)
		session_due(session);
}

bool flush_out(struct session *session)
{
	ssize_t n = write_some(
		session, session->out + session->out_at, session->out_len - session->out_at);

	if (n < 0)
		return false;
	session->out_at += (size_t)n;
	if (n)
		session->stalled_since = core_now();
	if (session->out_at < session->out_len)
		return true;
	free(session->out);
	session->out = NULL;
	session->out_len = session->out_at = 0;
	watch(session);
	all_taken(session);
	session_due(session);
	return true;
}

/* ---- groups ---- */

static struct session *next_due(struct transport_loop *loop)
{
	struct session *session = loop->due;

	if (session) {
		loop->due = session->due_next;
		if (!loop->due)
			loop->due_tail = &loop->due;
		session->due = false;
	}
	return session;
}

/* A session that closes waits for what its far end lets it send, for as long as session.c says. */
static bool is_over(const struct session *session)
{
	if (session->broken)
		return true;
	if (session_is_blocked(session) || session->due)
		return false;
	if (session->over)
		return true;
	for (const struct call *call = session->calls; session->closing && call; call = call->next)
		if (call->queue)
			return false;
	return session->closing;
}

static void ask_group(struct transport_loop *loop)
{
	struct flush *flush = &loop->flush;

	while (flush->n_sessions < FLUSH_SESSIONS && loop->due) {
		const struct session *next = loop->due;

		if (flush->arena_at + room_before(next) + next->quantum + SLACK > ARENA)
			break;
		/* one that is blocked goes on when it is not */
		if (session_is_blocked(next))
			next_due(loop);
		else
			ask(flush, next_due(loop));
	}
}

/* Each write goes through so much of the kernel that nothing stays near: while one is under way
 * what the next group is asked for comes from memory, and what this one's next write needs. */
static const struct session *fetch_ahead(
	const struct flush *flush, unsigned i, const struct session *ahead)
{
	if (i < flush->n_sessions) {
		session_fetch(flush->sessions[i]);
		call_fetch(flush->sessions[i]->calls);
	}
	if (!ahead)
		return NULL;
	call_fetch(ahead->calls);
	session_fetch(ahead->due_next);
	return ahead->due_next;
}

static void write_group(struct transport_loop *loop)
{
	struct flush *flush = &loop->flush;
	const struct session *ahead = loop->due;

	for (unsigned i = 0; i < flush->n_sessions; i++) {
		struct session *session = flush->sessions[i];

		ahead = fetch_ahead(flush, i + 1, ahead);
		if (!session->broken)
			write_part(session, flush->parts[i].start, flush->parts[i].len);
		if (is_over(session)) {
			ahead = NULL; /* it may be this one */
			session_close(session);
		}
	}
}

static void flush_group(struct transport_loop *loop)
{
	struct flush *flush = &loop->flush;

	flush->arena_at = 0;
	flush->n_sessions = 0;
	ask_group(loop);
	seal_now(flush);
	transport_count(&transport.counts.bytes_sealed, flush->arena_at);
	if (flush->arena_at > flush->arena_high)
		flush->arena_high = flush->arena_at;
	write_group(loop);
}

/* What is left when many have much to send waits for the next turn: what comes in must be looked at
 * too. */
void flush_due(struct transport_loop *loop)
{
	for (unsigned i = 0; i < GROUPS_A_TURN && loop->due; i++)
		flush_group(loop);
}
