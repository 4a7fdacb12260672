/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes out on a connection: pieces straight from the arena while the socket takes them, two
 * bounded queues while it does not. Runs on: its I/O loop.
 *
 * A frame that began must end before anything else begins: what is left of it is `rest`. Frames of
 * ours come next; packets that waited go before those of this pass.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "relay.h"

#define IOV_MAX_N 128
#define CONTROL_MAX (256u << 10)      /* of a client that takes nothing */
#define CONTROL_MESH_MAX (256u << 20) /* presence of a million clients */

struct batch_out {
	struct iovec iov[IOV_MAX_N];
	int n;
	size_t len;
};

static enum derp_kind kind_of(const uint8_t *frame, uint32_t len)
{
	uint32_t head = DERP_HEADER_LEN + DERP_KEY_LEN;

	if (frame[0] == DERP_FORWARD_PACKET)
		head += DERP_KEY_LEN;
	return len > head && derp_is_disco(frame + head, len - head) ? DERP_KIND_DISCO
								     : DERP_KIND_OTHER;
}

static uint32_t queue_max(const struct conn *conn)
{
	return is_client(conn) ? QUEUE_MAX : QUEUE_MESH_MAX;
}

static void count_drop(struct conn *conn, enum derp_kind kind, uint32_t len, enum derp_drop why)
{
	add_to(&conn->loop->counters.dropped_packets[why][kind], 1);
	add_to(&conn->loop->counters.dropped_bytes[why][kind], len);
	conn->dropped++;
}

void drop_frames(struct derp_loop *loop, const uint8_t *frames, uint32_t len, enum derp_drop why)
{
	for (uint32_t at = 0; at < len; at += frame_len(frames + at)) {
		uint32_t one = frame_len(frames + at);
		enum derp_kind kind = kind_of(frames + at, one);

		add_to(&loop->counters.dropped_packets[why][kind], 1);
		add_to(&loop->counters.dropped_bytes[why][kind], one);
	}
}

/* ---- queues ---- */

static void packet_free(struct derp_loop *loop, struct packet *packet)
{
	UNCOUNT(loop, memory_bytes, sizeof(*packet) + packet->len);
	free(packet);
}

static struct packet *packet_new(struct derp_loop *loop, const uint8_t *bytes, uint32_t len)
{
	struct packet *packet = malloc(sizeof(*packet) + len);

	if (!packet)
		return NULL;
	packet->next = NULL;
	packet->len = len;
	packet->at = 0;
	memcpy(packet->bytes, bytes, len);
	COUNT(loop, memory_bytes, sizeof(*packet) + len);
	return packet;
}

static struct packet *fifo_take(struct derp_loop *loop, struct fifo *fifo)
{
	struct packet *packet = fifo->head;

	fifo->head = packet->next;
	if (!fifo->head)
		fifo->tail = &fifo->head;
	fifo->n--;
	UNCOUNT(loop, queued_packets, 1);
	return packet;
}

static void enqueue(struct conn *conn, const uint8_t *frame, uint32_t len, enum derp_kind kind)
{
	struct derp_loop *loop = conn->loop;
	struct fifo *fifo = &conn->queue[kind];
	struct packet *packet;

	if (fifo->n == queue_max(conn)) {
		packet = fifo_take(loop, fifo);
		count_drop(conn, kind, packet->len, DERP_DROP_QUEUE_HEAD);
		packet_free(loop, packet);
	}
	packet = limit_memory(loop, len) ? packet_new(loop, frame, len) : NULL;
	if (!packet) {
		count_drop(conn, kind, len, DERP_DROP_QUEUE_TAIL);
		return;
	}
	*fifo->tail = packet;
	fifo->tail = &packet->next;
	fifo->n++;
	COUNT(loop, queued_packets, 1);
}

uint32_t output_queued(const struct conn *conn)
{
	return conn->queue[DERP_KIND_OTHER].n + conn->queue[DERP_KIND_DISCO].n;
}

bool output_waits(const struct conn *conn)
{
	return conn->rest || conn->control.len || output_queued(conn) ||
	       conn->first_piece != NO_PIECE;
}

/* ---- pieces ---- */

void output_dirty(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;

	if (conn->dirty)
		return;
	conn->dirty = true;
	conn->dirty_next = NULL;
	*loop->dirty_tail = conn;
	loop->dirty_tail = &conn->dirty_next;
}

void output_piece(struct conn *conn, uint8_t *bytes, uint32_t len, uint32_t frames)
{
	struct derp_loop *loop = conn->loop;
	struct piece *last = conn->last_piece == NO_PIECE ? NULL : &loop->pieces[conn->last_piece];

	if (last && last->bytes + last->len == bytes) {
		last->len += len;
		last->frames += frames;
		return;
	}
	if (loop->n_pieces == PIECES_MAX) {
		pass_write(loop);
		last = NULL;
	}
	loop->pieces[loop->n_pieces] = (struct piece){bytes, len, frames, NO_PIECE};
	if (last)
		last->next = loop->n_pieces;
	else
		conn->first_piece = loop->n_pieces;
	conn->last_piece = loop->n_pieces++;
	output_dirty(conn);
}

static void count_kinds(const struct piece *piece, uint32_t left[DERP_KINDS])
{
	for (uint32_t at = 0; at < piece->len; at += frame_len(piece->bytes + at))
		left[kind_of(piece->bytes + at, frame_len(piece->bytes + at))]++;
}

/* The socket is full: the newest packets are copied, those before them would only be dropped. */
static void pieces_to_queues(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;
	uint32_t left[DERP_KINDS] = {0};

	for (uint32_t i = conn->first_piece; i != NO_PIECE; i = loop->pieces[i].next)
		count_kinds(&loop->pieces[i], left);
	for (uint32_t i = conn->first_piece; i != NO_PIECE; i = loop->pieces[i].next) {
		const struct piece *piece = &loop->pieces[i];

		for (uint32_t at = 0; at < piece->len; at += frame_len(piece->bytes + at)) {
			const uint8_t *frame = piece->bytes + at;
			enum derp_kind kind = kind_of(frame, frame_len(frame));

			if (left[kind]-- > queue_max(conn))
				count_drop(conn, kind, frame_len(frame), DERP_DROP_QUEUE_HEAD);
			else
				enqueue(conn, frame, frame_len(frame), kind);
		}
	}
	conn->first_piece = conn->last_piece = NO_PIECE;
}

/* ---- frames of ours ---- */

void output_control(struct conn *conn, const void *bytes, uint32_t len)
{
	uint32_t max = conn->mesh ? CONTROL_MESH_MAX : CONTROL_MAX, size = conn->control.size;

	if (conn->state == CONN_CLOSED || conn->leaving)
		return;
	if (conn->control.len - conn->control.at + len > max ||
		!bytes_append(&conn->control, bytes, len)) {
		conn_abort(conn);
		return;
	}
	COUNT(conn->loop, memory_bytes, conn->control.size - size);
	output_dirty(conn);
}

static void control_free(struct conn *conn)
{
	UNCOUNT(conn->loop, memory_bytes, conn->control.size);
	bytes_free(&conn->control);
	conn->pong_waits = false;
}

/* ---- writing ---- */

static bool add(struct batch_out *out, const uint8_t *bytes, size_t len)
{
	if (out->n == IOV_MAX_N)
		return false;
	out->iov[out->n++] = (struct iovec){(void *)bytes, len};
	out->len += len;
	return true;
}

/* One of each kind in turn: neither starves the other. */
static void gather_queues(struct conn *conn, struct batch_out *out)
{
	struct packet *disco = conn->queue[DERP_KIND_DISCO].head;
	struct packet *other = conn->queue[DERP_KIND_OTHER].head;
	bool turn = conn->other_next;

	while (disco || other) {
		struct packet **from = !disco || (turn && other) ? &other : &disco;

		if (!add(out, (*from)->bytes, (*from)->len))
			return;
		turn = from == &disco;
		*from = (*from)->next;
	}
}

static void gather_out(struct conn *conn, struct batch_out *out)
{
	out->n = 0;
	out->len = 0;
	if (conn->rest)
		add(out, conn->rest->bytes + conn->rest->at, conn->rest->len - conn->rest->at);
	if (conn->control.len)
		add(out, conn->control.data + conn->control.at,
			conn->control.len - conn->control.at);
	gather_queues(conn, out);
	for (uint32_t i = conn->first_piece; i != NO_PIECE; i = conn->loop->pieces[i].next) {
		if (!add(out, conn->loop->pieces[i].bytes, conn->loop->pieces[i].len))
			return;
	}
}

static void count_sent(struct conn *conn, uint32_t packets, uint64_t bytes)
{
	COUNT(conn->loop, packets_sent, packets);
	COUNT(conn->loop, bytes_sent, bytes);
	conn->packets_out += packets;
	conn->bytes_out += bytes;
}

/* `n` bytes went: how many of them were for what is left of a frame. */
static size_t consume_rest(struct conn *conn, size_t n)
{
	struct packet *rest = conn->rest;

	if (!rest)
		return 0;
	if (n < rest->len - rest->at) {
		rest->at += (uint32_t)n;
		return n;
	}
	n = rest->len - rest->at;
	conn->rest = NULL;
	packet_free(conn->loop, rest);
	return n;
}

static size_t consume_control(struct conn *conn, size_t n)
{
	struct bytes *control = &conn->control;

	if (n < control->len - control->at) {
		control->at += (uint32_t)n;
		return n;
	}
	n = control->len - control->at;
	control_free(conn);
	return n;
}

static size_t consume_queues(struct conn *conn, size_t n)
{
	size_t before = n;

	while (n && output_queued(conn)) {
		struct fifo *disco = &conn->queue[DERP_KIND_DISCO];
		struct fifo *other = &conn->queue[DERP_KIND_OTHER];
		bool from_other = !disco->n || (conn->other_next && other->n);
		struct packet *packet = fifo_take(conn->loop, from_other ? other : disco);

		conn->other_next = !from_other;
		count_sent(conn, 1, packet->len);
		if (n < packet->len) {
			packet->at = (uint32_t)n;
			conn->rest = packet;
			return before;
		}
		n -= packet->len;
		packet_free(conn->loop, packet);
	}
	return before - n;
}

/* Takes `n` bytes from a piece's start; a frame of which only a part went becomes the rest. False:
 * no memory. */
static bool consume_part(struct conn *conn, struct piece *piece, uint32_t n)
{
	uint32_t at = 0, frames = 0;

	while (at + frame_len(piece->bytes + at) <= n) {
		at += frame_len(piece->bytes + at);
		frames++;
	}
	if (at < n) {
		uint32_t len = frame_len(piece->bytes + at);

		conn->rest = packet_new(conn->loop, piece->bytes + at, len);
		if (!conn->rest)
			return false;
		conn->rest->at = n - at;
		at += len;
		frames++;
	}
	count_sent(conn, frames, at);
	piece->bytes += at;
	piece->len -= at;
	piece->frames -= frames;
	return true;
}

static bool consume_pieces(struct conn *conn, size_t n)
{
	struct derp_loop *loop = conn->loop;

	while (n && conn->first_piece != NO_PIECE) {
		struct piece *piece = &loop->pieces[conn->first_piece];

		if (n < piece->len) {
			if (!consume_part(conn, piece, (uint32_t)n))
				return false;
			if (piece->len)
				return true;
			n = 0;
		} else {
			n -= piece->len;
			count_sent(conn, piece->frames, piece->len);
		}
		conn->first_piece = piece->next;
	}
	if (conn->first_piece == NO_PIECE)
		conn->last_piece = NO_PIECE;
	return true;
}

static bool consume(struct conn *conn, size_t n)
{
	n -= consume_rest(conn, n);
	if (n && conn->control.len)
		n -= consume_control(conn, n);
	n -= consume_queues(conn, n);
	return consume_pieces(conn, n);
}

static void await_room(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;

	pieces_to_queues(conn);
	if (ev_is_active(&conn->writable))
		return;
	ev_io_start(loop->ev, &conn->writable);
	conn->progress_at = core_now();
	conn->unsent = 0;
	conn_timer(conn);
}

static void broken(struct conn *conn)
{
	COUNT(conn->loop, write_errors, 1);
	conn->broken = true;
	conn_close(conn);
}

/* All that the socket takes. False: the connection is broken. */
static bool write_on(struct conn *conn)
{
	struct batch_out out;

	while (!conn->blocked) {
		ssize_t n;

		gather_out(conn, &out);
		if (!out.n)
			return true;
		n = wire_write(conn, out.iov, out.n);
		if (n == -EAGAIN)
			return true;
		if (n < 0 || !consume(conn, (size_t)n))
			return false;
		if ((size_t)n < out.len && !conn->tls && !conn->websocket)
			conn->blocked = true;
	}
	return true;
}

bool output_flush(struct conn *conn)
{
	int rc;

	if (conn->state == CONN_CLOSED)
		return false;
	if (!conn->blocked && conn->raw.len) {
		rc = wire_continue(conn);
		if (rc && rc != -EAGAIN) {
			broken(conn);
			return false;
		}
	}
	if (!write_on(conn)) {
		broken(conn);
		return false;
	}
	if (conn->blocked)
		await_room(conn);
	else if (ev_is_active(&conn->writable))
		ev_io_stop(conn->loop->ev, &conn->writable);
	return true;
}

static enum derp_drop why_dropped(const struct conn *conn)
{
	return conn->broken ? DERP_DROP_WRITE_ERROR : DERP_DROP_GONE_DISCONNECTED;
}

static void drop_queue(struct conn *conn, enum derp_kind kind)
{
	while (conn->queue[kind].n) {
		struct packet *packet = fifo_take(conn->loop, &conn->queue[kind]);

		count_drop(conn, kind, packet->len, why_dropped(conn));
		packet_free(conn->loop, packet);
	}
}

void output_drop(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;

	for (uint32_t i = conn->first_piece; i != NO_PIECE; i = loop->pieces[i].next)
		drop_frames(loop, loop->pieces[i].bytes, loop->pieces[i].len, why_dropped(conn));
	conn->first_piece = conn->last_piece = NO_PIECE;
	for (unsigned kind = 0; kind < DERP_KINDS; kind++)
		drop_queue(conn, kind);
	if (conn->rest)
		packet_free(loop, conn->rest);
	conn->rest = NULL;
	control_free(conn);
}
