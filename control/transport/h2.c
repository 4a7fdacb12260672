/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP/2 of one session, by nghttp2. Runs on: the session's I/O loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define FIELDS_MAX 16 /* of an answer */

/* ---- what arrives ---- */

static struct call *call_at(nghttp2_session *h2, int32_t stream)
{
	return nghttp2_session_get_stream_user_data(h2, stream);
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct session *session = user;
	struct call *call;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call = call_new(session, frame->hd.stream_id);
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	session->idle_since = 0;
	session->used = true;
	nghttp2_session_set_stream_user_data(h2, frame->hd.stream_id, call);
	return 0;
}

static int take_text(char **to, const uint8_t *value, size_t len)
{
	if (*to || memchr(value, '\0', len))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	*to = strndup((const char *)value, len);
	return *to ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Authority and scheme say nothing: clients put what they like. */
static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct call *call = call_at(h2, frame->hd.stream_id);

	(void)flags, (void)user;
	if (!call || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call->headers_len += name_len + value_len;
	if (call->headers_len > HEADERS_MAX)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (name_len == 7 && memcmp(name, ":method", 7) == 0)
		return take_text(&call->method, value, value_len);
	if (name_len == 5 && memcmp(name, ":path", 5) == 0)
		return take_text(&call->path, value, value_len);
	return 0;
}

static void answer_here(struct call *call, int status, const char *type, const char *text);

static bool body_room(struct call *call, size_t more)
{
	size_t need = call->body_len + more, size;
	uint8_t *grown;

	if (need <= call->body_size)
		return true;
	size = need < 2 * call->body_size ? 2 * call->body_size : need;
	grown = realloc(call->body, size + 1);
	if (!grown)
		return false;
	call->body = grown;
	call->body_size = size;
	return true;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data,
	size_t len, void *user)
{
	struct session *session = user;
	struct call *call = call_at(h2, stream);

	(void)flags;
	if (!call || call->answering)
		return 0;
	if (call->body_len + len > BODY_MAX) {
		answer_here(call, 413, "text/plain", "the request's body is too long\n");
		return 0;
	}
	if (session->bodies + len > BODIES_MAX || !body_room(call, len))
		return nghttp2_submit_rst_stream(
			h2, NGHTTP2_FLAG_NONE, stream, NGHTTP2_ENHANCE_YOUR_CALM);
	memcpy(call->body + call->body_len, data, len);
	call->body_len += len;
	call->body[call->body_len] = '\0';
	call->body_counted += len;
	session->bodies += len;
	return 0;
}

/* Words that such clients show to their users: those of `up` for registration, in logs else. */
static void answer_too_old(struct call *call)
{
	char text[200], json[256];

	snprintf(text, sizeof(text),
		"this Tailscale client is too old for this server: capability version %u, and %u "
		"is "
		"needed (Tailscale 1.80 or newer)",
		call->rpc.version, TRANSPORT_VERSION_MIN);
	transport_count(&transport.counts.too_old, 1);
	if (strncmp(call->path, "/machine/register", 17) == 0) {
		snprintf(json, sizeof(json), "{\"Error\":\"%s\"}", text);
		answer_here(call, 200, "application/json", json);
	} else {
		answer_here(call, 400, "text/plain", text);
	}
}

static void uncount_body(struct session *session, struct call *call)
{
	session->bodies -= call->body_counted;
	call->body_counted = 0;
}

static void request_is_whole(struct session *session, struct call *call)
{
	uncount_body(session, call);
	if (call->answering)
		return;
	if (call->rpc.version < TRANSPORT_VERSION_MIN)
		answer_too_old(call);
	else if (session->closing)
		answer_here(call, 503, "text/plain", "the server is about to stop\n");
	else
		call_arrived(call);
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct session *session = user;
	struct call *call;

	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
		!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	call = call_at(h2, frame->hd.stream_id);
	if (call && call->method && call->path && !call->arrived)
		request_is_whole(session, call);
	return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t error, void *user)
{
	struct session *session = user;
	struct call *call = call_at(h2, stream);

	(void)error;
	if (!call)
		return 0;
	uncount_body(session, call);
	call_closed(call);
	return 0;
}

static int on_frame_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct call *call;

	(void)user;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		call = call_at(h2, frame->hd.stream_id);
		if (call)
			call->open = true;
	}
	/* an answer that came before the request's end: no more of that */
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
		(frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
		nghttp2_session_get_stream_remote_close(h2, frame->hd.stream_id) != 0)
		return 0;
	return nghttp2_submit_rst_stream(
		h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
}

/* What is said of windows is not for nghttp2, whose own never change: it ends streams whatever they
 * are. An update for a stream without a call it may have to refuse. */
static bool take_part(struct session *session, const struct h2_part *part)
{
	bool update = part->kind == H2_PART_UPDATE;
	struct call *call = update ? call_at(session->h2, part->stream) : NULL;

	if (update && (call || !part->stream))
		return data_give_window(session, call, part->window);
	if (part->len && nghttp2_session_mem_recv(session->h2, part->bytes, part->len) < 0)
		return false;
	return part->kind != H2_PART_INITIAL || data_begin_with(session, part->window);
}

int h2_receive(struct session *session, const uint8_t *text, size_t len)
{
	struct h2_part part;
	bool gave = false;

	while (len) {
		size_t used = h2_input_next(&session->input, text, len, &part);

		if (!take_part(session, &part))
			return -EPROTO;
		gave |= part.kind != H2_PART_OTHER;
		text += used;
		len -= used;
	}
	if (gave && data_waits(session))
		session_due(session);
	if (nghttp2_session_want_write(session->h2) || !nghttp2_session_want_read(session->h2))
		h2_due(session);
	return 0;
}

/* ---- what is sent ---- */

static ssize_t on_send(nghttp2_session *h2, const uint8_t *bytes, size_t len, int flags, void *user)
{
	struct session *session = user;

	(void)h2, (void)flags;
	if (!flush_has_room(&session->loop->flush))
		return NGHTTP2_ERR_WOULDBLOCK;
	flush_bytes(&session->loop->flush, bytes, len);
	return (ssize_t)len;
}

/* DATA is not nghttp2's, but for the empty frame that ends a stream. */
static ssize_t on_read(nghttp2_session *h2, int32_t stream, uint8_t *buf, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct call *call = source->ptr;

	(void)h2, (void)stream, (void)buf, (void)len, (void)user;
	if (call->queue || !call->ended)
		return NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	call->complete = true;
	return 0;
}

static unsigned fields_of(const struct piece *piece, nghttp2_nv *fields)
{
	const char *at = piece->fields, *end = piece->fields + piece->fields_len;
	unsigned n = 0;

	while (at < end && n < FIELDS_MAX) {
		const char *value = at + strlen(at) + 1;

		fields[n++] = (nghttp2_nv){(uint8_t *)at, (uint8_t *)value, strlen(at),
			strlen(value), NGHTTP2_NV_FLAG_NONE};
		at = value + strlen(value) + 1;
	}
	return n;
}

/* HEADERS; `body`: DATA follows. */
static void begin_answer(struct call *call, const struct piece *piece, bool body)
{
	nghttp2_data_provider provider = {.source.ptr = call, .read_callback = on_read};
	nghttp2_nv fields[FIELDS_MAX + 1];
	char status[12];
	unsigned n;

	call->answering = true;
	snprintf(status, sizeof(status), "%d", piece->status);
	fields[0] = (nghttp2_nv){
		(uint8_t *)":status", (uint8_t *)status, 7, strlen(status), NGHTTP2_NV_FLAG_NONE};
	n = 1 + fields_of(piece, fields + 1);
	if (nghttp2_submit_response(
		    call->session->h2, call->stream, fields, n, body ? &provider : NULL) != 0)
		call->session->broken = true;
	if (!body)
		call->complete = true;
	h2_due(call->session);
}

static void reply(struct call *call, struct piece *piece)
{
	bool body = piece->len && (!call->method || strcmp(call->method, "HEAD") != 0);

	if (call->answering) {
		data_drop(call, piece);
		return;
	}
	call->ended = true;
	begin_answer(call, piece, body);
	if (body)
		data_enqueue(call, piece);
	else
		data_drop(call, piece);
}

static void answer_here(struct call *call, int status, const char *type, const char *text)
{
	struct blob *blob = blob_new(strlen(text));
	struct piece *piece = calloc(1, sizeof(*piece) + sizeof(piece->blobs[0]));
	char *fields = NULL;
	int n = asprintf(&fields, "content-type%c%s", '\0', type);

	if (!blob || !piece || n < 0) {
		blob_put(blob);
		free(piece);
		call->session->broken = true;
		return;
	}
	memcpy(blob->data, text, blob->len);
	piece->status = (uint16_t)status;
	piece->fields = fields;
	piece->fields_len = (uint32_t)n + 1;
	piece->blobs[0] = blob;
	piece->n_blobs = 1;
	piece->len = blob->len;
	atomic_fetch_add(&call->waiting, piece->len); /* taken away again when it is sent */
	reply(call, piece);
}

void h2_due(struct session *session)
{
	session->own_due = true;
	session_due(session);
}

void h2_end(struct call *call)
{
	call->ended = true;
	if (call->queue || !call->answering)
		return;
	nghttp2_session_resume_data(call->session->h2, call->stream);
	h2_due(call->session);
}

void h2_take_piece(struct call *call, struct piece *piece)
{
	session_due(call->session);
	switch (piece->kind) {
	case PIECE_REPLY:
		reply(call, piece);
		return;
	case PIECE_STREAM:
		if (!call->answering)
			begin_answer(call, piece, true);
		break;
	case PIECE_MESSAGE:
		if (!call->ended) {
			data_enqueue(call, piece);
			return;
		}
		break;
	case PIECE_DISCARD:
		data_drop_all(call);
		/* fall through */
	case PIECE_END:
		h2_end(call);
		break;
	}
	data_drop(call, piece);
}

static void send_own(struct session *session)
{
	if (nghttp2_session_send(session->h2) != 0)
		session->broken = true;
	session->own_due = nghttp2_session_want_write(session->h2);
	session->over = !session->own_due && !nghttp2_session_want_read(session->h2);
}

/* An answer's HEADERS before its DATA, and its end after them. */
void h2_send(struct session *session)
{
	if (session->own_due)
		send_own(session);
	data_send(session);
	if (session->own_due)
		send_own(session);
	session->more = session->own_due || data_waits(session);
}

/* ---- life ---- */

static nghttp2_session_callbacks *callbacks_new(void)
{
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	return callbacks;
}

int h2_open(struct session *session)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX},
	};
	nghttp2_session_callbacks *callbacks = callbacks_new();
	int rc;

	if (!callbacks)
		return -ENOMEM;
	rc = nghttp2_session_server_new3(
		&session->h2, callbacks, session, NULL, &session->loop->h2_memory.functions);
	nghttp2_session_callbacks_del(callbacks);
	h2_input_init(&session->input);
	session->own_due = true;
	session->window = session->stream_window = NGHTTP2_INITIAL_WINDOW_SIZE;
	if (rc == 0)
		rc = nghttp2_submit_settings(session->h2, NGHTTP2_FLAG_NONE, settings,
			sizeof(settings) / sizeof(settings[0]));
	return rc ? -ENOMEM : 0;
}
