/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is to be sent gathers in `out` and is written by the prepare watcher, once per turn of the
 * loop; the write watcher runs only while the relay does not take it. Thread of the loop.
 */
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/loop.h>

#include "x25519.h"

#define READ_STEP (32u << 10)
#define READ_PER_TURN (256u << 10)
#define OUT_MAX (512u << 10)
#define KEEP_MAX (64u << 10) /* of an empty buffer */
#define SILENCE_S 120.       /* two keep-alives of the relay */
#define STALL_S 5.

struct bytes {
	uint8_t *data;
	size_t len, size;
};

enum phase { PHASE_KEY, PHASE_INFO, PHASE_UP };

struct derp_session {
	struct derp_session_conf conf;
	enum phase phase;
	struct io_stream *stream;
	struct public_key server;
	struct symmetric_key box;
	struct derp_client_info client_info; /* until it is sent */
	struct derp_server_info info;
	struct bytes in, out;
	size_t in_at;  /* taken of `in` */
	size_t asking; /* bytes of `out` up to the end of the client's info */
	ev_io reads, writes;
	ev_prepare flush;
	ev_timer silence; /* until up: the deadline of the greeting */
	ev_timer stall;
	ev_timer again;     /* with the loop's next turn */
	uint64_t bucket_at; /* ns: when the bucket was as full as `bucket` says */
	double bucket;      /* bytes */
	bool busy, closed;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static void bytes_reserve(struct bytes *bytes, size_t more)
{
	size_t need = bytes->len + more;

	if (need <= bytes->size)
		return;
	need = need > 2 * bytes->size ? need : 2 * bytes->size;
	bytes->data = must(realloc(bytes->data, need));
	bytes->size = need;
}

static void bytes_shift(struct bytes *bytes, size_t n)
{
	bytes->len -= n;
	if (bytes->len) {
		memmove(bytes->data, bytes->data + n, bytes->len);
	} else if (bytes->size > KEEP_MAX) {
		free(bytes->data);
		*bytes = (struct bytes){0};
	}
}

static void release(struct derp_session *session)
{
	if (session->stream) {
		io_stream_close(session->stream);
		free(session->stream);
	}
	free(session->in.data);
	free(session->out.data);
	secret_zero(session, sizeof(*session));
	free(session);
}

void derp_session_close(struct derp_session *session)
{
	struct ev_loop *loop = session->conf.loop;

	session->closed = true;
	ev_io_stop(loop, &session->reads);
	ev_io_stop(loop, &session->writes);
	ev_prepare_stop(loop, &session->flush);
	ev_timer_stop(loop, &session->silence);
	ev_timer_stop(loop, &session->stall);
	ev_timer_stop(loop, &session->again);
	if (!session->busy)
		release(session);
}

struct io_stream *derp_session_detach(struct derp_session *session)
{
	struct io_stream *stream = session->stream;
	size_t ahead = session->in.len - session->in_at;
	size_t early = stream->early_len - stream->early_at;
	uint8_t *all;

	assert(session->phase == PHASE_UP && !session->out.len);
	if (ahead) {
		all = must(malloc(ahead + early));
		memcpy(all, session->in.data + session->in_at, ahead);
		if (early)
			memcpy(all + ahead, stream->early + stream->early_at, early);
		free(stream->early);
		stream->early = all;
		stream->early_len = ahead + early;
		stream->early_at = 0;
	}
	session->stream = NULL;
	derp_session_close(session);
	return stream;
}

static void down(struct derp_session *session, int error, const char *why)
{
	if (!session->closed)
		session->conf.ops->down(session->conf.user, error, why);
}

/* Around whatever may call the owner. */
static void enter(struct derp_session *session)
{
	session->busy = true;
}

static void leave(struct derp_session *session)
{
	session->busy = false;
	if (session->closed)
		release(session);
}

/* ---- out ---- */

static void flush(struct derp_session *session)
{
	struct iovec iov;
	size_t at = 0;
	ssize_t n = 0;

	while (at < session->out.len) {
		iov.iov_base = session->out.data + at;
		iov.iov_len = session->out.len - at;
		n = io_stream_writev(session->stream, &iov, 1);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	if (at) {
		session->asking -= at < session->asking ? at : session->asking;
		ev_timer_stop(session->conf.loop, &session->stall);
		bytes_shift(&session->out, at);
	}
	ev_prepare_stop(session->conf.loop, &session->flush);
	if (!session->out.len) {
		ev_io_stop(session->conf.loop, &session->writes);
		return;
	}
	if (n != -EAGAIN && n != 0) {
		down(session, (int)n, strerror((int)-n));
		return;
	}
	ev_io_start(session->conf.loop, &session->writes);
	if (!ev_is_active(&session->stall)) {
		ev_timer_set(&session->stall, STALL_S, 0.);
		ev_timer_start(session->conf.loop, &session->stall);
	}
}

static void on_flush(struct ev_loop *loop, ev_prepare *watcher, int revents)
{
	struct derp_session *session = watcher->data;

	(void)loop, (void)revents;
	enter(session);
	flush(session);
	leave(session);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct derp_session *session = watcher->data;

	(void)loop, (void)revents;
	enter(session);
	flush(session);
	leave(session);
}

static void on_stall(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct derp_session *session = watcher->data;

	(void)loop, (void)revents;
	enter(session);
	down(session, -ETIMEDOUT, "the relay takes nothing");
	leave(session);
}

static void out_arm(struct derp_session *session)
{
	if (!ev_is_active(&session->writes))
		ev_prepare_start(session->conf.loop, &session->flush);
}

int derp_session_send(struct derp_session *session, enum derp_frame_type type,
	const struct iovec *parts, unsigned n)
{
	size_t len = 0;

	if (session->phase == PHASE_KEY || session->closed)
		return -ENOTCONN;
	for (unsigned i = 0; i < n; i++)
		len += parts[i].iov_len;
	if (len > DERP_FORWARD_FRAME_MAX - DERP_HEADER_LEN)
		return -EMSGSIZE;
	if (session->out.len + DERP_HEADER_LEN + len > OUT_MAX)
		return -EAGAIN;
	bytes_reserve(&session->out, DERP_HEADER_LEN + len);
	derp_header_put(session->out.data + session->out.len, type, (uint32_t)len);
	session->out.len += DERP_HEADER_LEN;
	for (unsigned i = 0; i < n; i++) {
		memcpy(session->out.data + session->out.len, parts[i].iov_base, parts[i].iov_len);
		session->out.len += parts[i].iov_len;
	}
	out_arm(session);
	return 0;
}

bool derp_session_allows(struct derp_session *session, size_t len)
{
	double rate = (double)session->info.token_bucket_bytes_per_second;
	double burst = (double)session->info.token_bucket_bytes_burst;
	double need = (double)(DERP_HEADER_LEN + len);
	uint64_t now;

	if (rate == 0.)
		return true;
	now = core_now();
	session->bucket += rate * (double)(now - session->bucket_at) / 1e9;
	if (session->bucket > burst)
		session->bucket = burst;
	session->bucket_at = now;
	if (session->bucket < need)
		return false;
	session->bucket -= need;
	return true;
}

/* ---- in ---- */

static bool put_client_info(struct derp_session *session)
{
	const struct private_key *key = session->conf.key;
	struct public_key own;
	ssize_t n;

	if (!derp_box_key(&session->box, key, &session->server))
		return false;
	x25519_public(&own, key);
	bytes_reserve(&session->out, DERP_INFO_FRAME_MAX);
	n = derp_client_info_seal(session->out.data + session->out.len, DERP_INFO_FRAME_MAX,
		&session->client_info, &own, &session->box);
	secret_zero(&session->client_info, sizeof(session->client_info));
	if (n < 0)
		return false;
	session->out.len += (size_t)n;
	session->asking = session->out.len;
	session->phase = PHASE_INFO;
	out_arm(session);
	return true;
}

static void take_server_key(struct derp_session *session, const struct derp_frame *frame)
{
	const uint8_t *key = frame->type == DERP_SERVER_KEY
				     ? derp_server_key_get(frame->payload, frame->len)
				     : NULL;

	if (!key) {
		down(session, -EPROTO, "what answers does not speak DERP");
		return;
	}
	memcpy(session->server.bytes, key, sizeof(session->server.bytes));
	if (!put_client_info(session))
		down(session, -EPROTO, "the relay has no usable key");
}

static void take_server_info(struct derp_session *session, const struct derp_frame *frame)
{
	const uint8_t *key;

	if (frame->type == DERP_SERVER_KEY) { /* comes after a fast start too, and is known */
		key = derp_server_key_get(frame->payload, frame->len);
		if (!key || memcmp(key, session->server.bytes, sizeof(session->server.bytes)) != 0)
			down(session, -EPROTO,
				"the relay's key is not the one that its certificate names");
		return;
	}
	if (session->asking) {
		down(session, -EPROTO, "the relay answers before it was asked");
		return;
	}
	if (frame->type != DERP_SERVER_INFO || derp_server_info_open(&session->info, &session->box,
						       frame->payload, frame->len) != 0) {
		down(session, -EPROTO, "the relay's answer cannot be read");
		return;
	}
	secret_zero(&session->box, sizeof(session->box));
	session->phase = PHASE_UP;
	session->bucket = (double)session->info.token_bucket_bytes_burst;
	session->bucket_at = core_now();
	ev_timer_stop(session->conf.loop, &session->silence);
	ev_timer_set(&session->silence, 0., SILENCE_S);
	ev_timer_again(session->conf.loop, &session->silence);
	session->conf.ops->up(session->conf.user);
}

static void take_frame(struct derp_session *session, const struct derp_frame *frame)
{
	struct iovec part = {.iov_base = frame->payload, .iov_len = DERP_PING_LEN};

	if (session->phase == PHASE_KEY) {
		take_server_key(session, frame);
	} else if (session->phase == PHASE_INFO) {
		take_server_info(session, frame);
	} else if (frame->type == DERP_PING) {
		if (frame->len >= DERP_PING_LEN)
			derp_session_send(session, DERP_PONG, &part, 1);
	} else if (frame->type != DERP_KEEP_ALIVE) {
		session->conf.ops->frame(session->conf.user, frame);
	}
}

/* Whole frames of `in`. */
static void take_frames(struct derp_session *session)
{
	struct derp_frame frame = {0};
	ssize_t n = 0;

	while (!session->closed) {
		n = derp_frame_get(&frame, session->in.data + session->in_at,
			session->in.len - session->in_at, DERP_FRAME_MAX);
		if (n <= 0)
			break;
		session->in_at += (size_t)n;
		take_frame(session, &frame);
	}
	if (n < 0)
		down(session, (int)n, "the relay sends a frame that is too long");
	if (session->closed)
		return;
	bytes_shift(&session->in, session->in_at);
	session->in_at = 0;
	/* room for the rest of one that is longer than a step */
	if (frame.len > READ_STEP)
		bytes_reserve(&session->in, DERP_HEADER_LEN + frame.len - session->in.len);
}

static void read_burst(struct derp_session *session)
{
	size_t total = 0;
	ssize_t n;

	while (!session->closed && total < READ_PER_TURN) {
		bytes_reserve(&session->in, READ_STEP);
		n = io_stream_read(session->stream, session->in.data + session->in.len,
			session->in.size - session->in.len);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			down(session, n ? (int)n : -ECONNRESET,
				n                            ? strerror((int)-n)
				: session->phase == PHASE_UP ? "the relay closed the connection"
							     : "the relay does not admit this key");
			return;
		}
		total += (size_t)n;
		session->in.len += (size_t)n;
		if (session->phase == PHASE_UP)
			ev_timer_again(session->conf.loop, &session->silence);
		take_frames(session);
	}
	/* TLS may hold more than the socket shows; an event that is fed would come in this turn */
	if (!session->closed)
		ev_timer_start(session->conf.loop, &session->again);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct derp_session *session = watcher->data;

	(void)loop, (void)revents;
	enter(session);
	read_burst(session);
	leave(session);
}

static void on_again(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct derp_session *session = watcher->data;

	on_readable(loop, &session->reads, revents);
}

static void on_silence(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct derp_session *session = watcher->data;

	(void)loop, (void)revents;
	enter(session);
	down(session, -ETIMEDOUT,
		session->phase == PHASE_UP ? "the relay is silent" : "the relay does not greet");
	leave(session);
}

/* ---- begin ---- */

static void init_watchers(struct derp_session *session)
{
	ev_io_init(&session->reads, on_readable, session->stream->fd, EV_READ);
	ev_io_init(&session->writes, on_writable, session->stream->fd, EV_WRITE);
	ev_prepare_init(&session->flush, on_flush);
	ev_timer_init(
		&session->silence, on_silence, (double)session->conf.greet_timeout_ns / 1e9, 0.);
	ev_timer_init(&session->stall, on_stall, STALL_S, 0.);
	ev_timer_init(&session->again, on_again, 0., 0.);
	session->reads.data = session->writes.data = session->flush.data = session;
	session->silence.data = session->stall.data = session->again.data = session;
}

struct derp_session *derp_session_open(const struct derp_session_conf *conf)
{
	struct derp_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->conf = *conf;
	session->client_info = *conf->info;
	session->stream = conf->dialled->stream;
	init_watchers(session);
	ev_io_start(conf->loop, &session->reads);
	ev_timer_start(conf->loop, &session->silence);
	/* what came behind the head shows on no descriptor */
	ev_feed_event(conf->loop, &session->reads, EV_READ);
	if (conf->dialled->fast) {
		session->server = conf->dialled->server;
		/* a key that is none: so is the one that comes, where it can be said */
		put_client_info(session);
	}
	return session;
}

const struct public_key *derp_session_server(const struct derp_session *session)
{
	return &session->server;
}

const struct derp_server_info *derp_session_info(const struct derp_session *session)
{
	return &session->info;
}

const struct io_stream *derp_session_stream(const struct derp_session *session)
{
	return session->stream;
}

bool derp_session_is_up(const struct derp_session *session)
{
	return session->phase == PHASE_UP;
}
