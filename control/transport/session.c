/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A Noise session: what comes in is opened here, what goes out is made by flush.c. Runs on: its I/O
 * loop. nghttp2's callbacks never close a session: they mark it broken, and who called closes it.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <tailplane/loop.h>

#include "private.h"

#define SECOND 1000000000ull
#define QUANTUM_FIRST (32u << 10)
#define STALL_MAX (60 * SECOND)     /* the kernel took nothing */
#define CLOSING_MAX (5 * SECOND)    /* for what is still to be sent */
#define UNUSED_MAX (30 * SECOND)    /* until the first request */
#define IDLE_MAX (15 * 60 * SECOND) /* since the last one */
#define READS_A_TURN 4
/* What the kernel takes of a full map for a slow client: ten thousand of them must not fill the
 * memory that it has for all sockets. 20 Mbit/s at a round trip of 100 ms. */
#define SEND_BUFFER (256 << 10)

/* ---- in ---- */

/* Opens the records that are whole; what is left of `bytes` (at `at`), or negative. */
static ssize_t take_records(struct session *session, uint8_t *bytes, size_t len)
{
	size_t at = 0;

	for (;;) {
		ssize_t whole = ts2021_record_len(bytes + at, len - at), text;

		if (whole < 0)
			return whole;
		if (!whole || at + (size_t)whole > len)
			return (ssize_t)at;
		text = ts2021_open(&session->receive, bytes + at, (size_t)whole);
		if (text < 0 ||
			h2_receive(session, bytes + at + TS2021_HEADER_LEN, (size_t)text) != 0)
			return -EPROTO;
		at += (size_t)whole;
	}
}

static bool keep_rest(struct session *session, const uint8_t *bytes, size_t len)
{
	if (!len)
		return true;
	session->in = malloc(len);
	if (!session->in)
		return false;
	memcpy(session->in, bytes, len);
	session->in_len = len;
	return true;
}

/* Bytes from the far end, behind what was left of the last ones. */
static bool take_bytes(struct session *session, uint8_t *bytes, size_t len)
{
	ssize_t used = take_records(session, bytes, len);

	return used >= 0 && keep_rest(session, bytes + used, len - (size_t)used);
}

/* 1: there may be more; 0: not now; negative: the session is over. */
static int read_some(struct session *session)
{
	uint8_t *bytes = session->loop->scratch;
	size_t before = session->in_len, room = READ_MAX - before;
	/* there more may come than the descriptor shows */
	bool may_hide = session->stream.early || session->stream.tls;
	ssize_t n, got;

	if (before)
		memcpy(bytes, session->in, before);
	n = got = io_stream_read(&session->stream, bytes + before, room);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return -ECONNRESET;
	free(session->in);
	session->in = NULL;
	session->in_len = 0;
	if (session->websocket) {
		n = websocket_read(session->websocket, bytes + before, (size_t)n);
		if (session->websocket->pong_len)
			session_due(session);
	}
	if (n < 0 || !take_bytes(session, bytes, before + (size_t)n))
		return -EPROTO;
	return may_hide || (size_t)got == room;
}

static void on_event(struct ev_loop *ev, ev_io *io, int revents)
{
	struct session *session = io->data;
	int rc = 1;

	if ((revents & EV_WRITE) && session_is_blocked(session) && !flush_out(session)) {
		session_close(session);
		return;
	}
	if (!(revents & EV_READ))
		return;
	for (unsigned i = 0; rc > 0 && i < READS_A_TURN; i++)
		rc = read_some(session);
	/* TLS may hold more than the descriptor shows; an event that is fed would come in this
	 * turn, and who sends fast would have the loop for himself */
	if (rc > 0)
		ev_timer_start(ev, &session->again);
	if (rc < 0 || session->broken) {
		if (rc == -EPROTO || session->broken)
			transport_count(&transport.counts.broken, 1);
		session_close(session);
	}
}

static void on_again(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct session *session = timer->data;

	(void)revents;
	on_event(ev, &session->io, EV_READ);
}

/* ---- out ---- */

void session_due(struct session *session)
{
	struct transport_loop *loop = session->loop;

	if (session->due)
		return;
	session->due = true;
	session->due_next = NULL;
	*loop->due_tail = session;
	loop->due_tail = &session->due_next;
}

bool session_is_blocked(const struct session *session)
{
	return session->out != NULL;
}

void session_finish(struct session *session)
{
	if (session->closing)
		return;
	session->closing = true;
	session->closing_since = core_now();
	nghttp2_submit_goaway(session->h2, NGHTTP2_FLAG_NONE,
		nghttp2_session_get_last_proc_stream_id(session->h2), NGHTTP2_NO_ERROR, NULL, 0);
	h2_due(session);
}

/* ---- life ---- */

/* A client that vanished without a word is noticed within two minutes. */
static void set_patience(int fd)
{
	int idle = 60, interval = 15, probes = 4, unanswered_ms = 90000, unsent = SEND_BUFFER;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &unsent, sizeof(unsent));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof(unanswered_ms));
}

static void link_in(struct session *session)
{
	struct transport_loop *loop = session->loop;
	struct session **bucket = &loop->machines[transport_bucket(&session->machine)];

	session->next = loop->sessions;
	session->prev = &loop->sessions;
	if (session->next)
		session->next->prev = &session->next;
	loop->sessions = session;
	session->same_next = *bucket;
	session->same_prev = bucket;
	if (session->same_next)
		session->same_next->same_prev = &session->same_next;
	*bucket = session;
	atomic_fetch_add_explicit(&loop->n_sessions, 1, memory_order_relaxed);
}

static void link_out(struct session *session)
{
	struct transport_loop *loop = session->loop;
	struct session **at = &loop->due;

	*session->prev = session->next;
	if (session->next)
		session->next->prev = session->prev;
	*session->same_prev = session->same_next;
	if (session->same_next)
		session->same_next->same_prev = session->same_prev;
	atomic_fetch_sub_explicit(&loop->n_sessions, 1, memory_order_relaxed);
	if (!session->due)
		return;
	while (*at != session)
		at = &(*at)->due_next;
	*at = session->due_next;
	if (!*at)
		loop->due_tail = at;
}

struct session *session_new(struct transport_loop *loop, struct io_stream *stream,
	const struct public_key *machine, uint16_t version, const struct ts2021_keys *keys)
{
	struct session *session = NULL;

	if (posix_memalign((void **)&session, CACHE_LINE, sizeof(*session)) != 0)
		return NULL;
	memset(session, 0, sizeof(*session));
	session->loop = loop;
	session->stream = *stream;
	session->machine = *machine;
	session->version = version;
	session->send = keys->send;
	session->receive = keys->receive;
	session->quantum = QUANTUM_FIRST;
	session->idle_since = core_now();
	if (h2_open(session) != 0) {
		nghttp2_session_del(session->h2);
		secret_zero(session, sizeof(*session));
		free(session);
		return NULL;
	}
	free(stream);
	link_in(session);
	set_patience(session->stream.fd);
	ev_io_init(&session->io, on_event, session->stream.fd, EV_READ);
	ev_timer_init(&session->again, on_again, 0., 0.);
	session->io.data = session->again.data = session;
	ev_io_start(io_loop_ev(loop->io), &session->io);
	if (session->stream.early)
		ev_feed_event(io_loop_ev(loop->io), &session->io, EV_READ);
	session_due(session);
	return session;
}

void session_close(struct session *session)
{
	ev_io_stop(io_loop_ev(session->loop->io), &session->io);
	ev_timer_stop(io_loop_ev(session->loop->io), &session->again);
	link_out(session);
	nghttp2_session_del(session->h2);
	while (session->calls)
		call_closed(session->calls);
	io_stream_close(&session->stream);
	free(session->websocket);
	free(session->prelude);
	free(session->early_text);
	free(session->in);
	free(session->out);
	secret_zero(session, sizeof(*session));
	free(session);
}

static bool is_late(const struct session *session, uint64_t now)
{
	if (session->stalled_since && now - session->stalled_since > STALL_MAX) {
		transport_count(&transport.counts.stalled, 1);
		return true;
	}
	if (session->closing && now - session->closing_since > CLOSING_MAX)
		return true;
	return !session->used && now - session->idle_since > UNUSED_MAX;
}

void sessions_walk(struct transport_loop *loop)
{
	struct session *session = loop->sessions, *next;
	uint64_t now = core_now();

	for (; session; session = next) {
		next = session->next;
		if (session->calls)
			session->idle_since = 0;
		else if (!session->idle_since)
			session->idle_since = now;
		if (is_late(session, now))
			session_close(session);
		else if (session->idle_since && now - session->idle_since > IDLE_MAX)
			session_finish(session);
	}
}
