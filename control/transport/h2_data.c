/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DATA of a session's answers. Runs on: its I/O loop.
 *
 * Nearly all that is sent is one small message to thousands of streams. By way of nghttp2 each
 * would cost two walks through its queues and tables, so DATA is framed here; nghttp2 believes that
 * no answer has a byte, and only ends streams. The windows of RFC 9113, section 6.9, are ours with
 * that: what the client says of them is taken out of what it sends (h2_input.h).
 */
#include "private.h"

#define WINDOW_MAX INT32_MAX

void data_enqueue(struct call *call, struct piece *piece)
{
	piece->next = NULL;
	*call->queue_tail = piece;
	call->queue_tail = &piece->next;
}

static struct piece *dequeue(struct call *call)
{
	struct piece *piece = call->queue;

	call->queue = piece->next;
	if (!call->queue)
		call->queue_tail = &call->queue;
	return piece;
}

void data_drop(struct call *call, struct piece *piece)
{
	call_taken(call, piece->len - piece->at);
	piece_free(piece);
}

void data_drop_all(struct call *call)
{
	while (call->queue)
		data_drop(call, dequeue(call));
}

/* ---- windows ---- */

bool data_give_window(struct session *session, struct call *call, uint32_t increment)
{
	if (!call) {
		session->window += increment;
		return session->window <= WINDOW_MAX;
	}
	call->window_used -= increment;
	return session->stream_window - call->window_used <= WINDOW_MAX;
}

bool data_begin_with(struct session *session, uint32_t window)
{
	session->stream_window = window;
	for (const struct call *call = session->calls; call; call = call->next)
		if (window - call->window_used > WINDOW_MAX)
			return false;
	return true;
}

/* Bytes of the next frame; 0: none now. */
static size_t next_len(const struct session *session, const struct call *call)
{
	int64_t window = session->stream_window - call->window_used;
	size_t len;

	if (!call->queue || !call->open)
		return 0;
	if (window > session->window)
		window = session->window;
	if (window <= 0)
		return 0;
	len = call->queue->len - call->queue->at;
	if (len > DATA_MAX)
		len = DATA_MAX;
	return len < (uint64_t)window ? len : (size_t)window;
}

bool data_waits(const struct session *session)
{
	for (const struct call *call = session->calls; call; call = call->next)
		if (next_len(session, call))
			return true;
	return false;
}

/* ---- frames ---- */

static void send_frame(struct session *session, struct call *call, size_t len)
{
	struct flush *flush = &session->loop->flush;
	struct piece *piece = call->queue;
	uint32_t stream = (uint32_t)call->stream;
	uint8_t header[H2_FRAME_HEADER_LEN] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8),
		(uint8_t)len, NGHTTP2_DATA, NGHTTP2_FLAG_NONE, (uint8_t)(stream >> 24),
		(uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

	flush_data(flush, header, piece, len);
	call->in_flight += len;
	call->window_used += (int64_t)len;
	session->window -= (int64_t)len;
	if (piece->at < piece->len)
		return;
	dequeue(call);
	piece->next = flush->spent; /* its bytes are read when they are sealed */
	flush->spent = piece;
	if (call->ended)
		h2_end(call);
}

/* A frame of each in turn, the newest call first: what a client asks for meanwhile does not wait
 * for the end of its map. */
void data_send(struct session *session)
{
	struct flush *flush = &session->loop->flush;
	bool sent = true;

	while (sent) {
		sent = false;
		for (struct call *call = session->calls; call; call = call->next) {
			size_t len = next_len(session, call);

			if (!len)
				continue;
			if (!flush_has_room(flush))
				return;
			send_frame(session, call, len);
			sent = true;
		}
	}
}
