/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The addresses of a relay are tried as RFC 8305 has it: the next a quarter of a second after the
 * one before, or as soon as that has failed; the first that accepts is it. Thread of the loop.
 */
#include "dial.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tailplane/loop.h>

#include "http.h"
#include "tls.h"

#define TCP_TIMEOUT_NS 1500000000ull
#define TIMEOUT_NS 10000000000ull
#define NEXT_ADDRESS_S 0.25
#define USER_TIMEOUT_MS 15000
#define NOTSENT_LOWAT (128 << 10)
/* A relay that is gone without a word is noticed in 30 s, though nothing is sent. */
#define KEEP_IDLE_S 15
#define KEEP_EVERY_S 5

struct attempt {
	ev_io io;
	int fd; /* -1: none */
	struct derp_dial *dial;
};

struct derp_dial {
	struct derp_dial_conf conf;
	struct derp_target target;
	struct attempt attempts[DERP_ADDRESSES_MAX];
	unsigned next;    /* address */
	unsigned running; /* attempts */
	ev_timer timer;   /* next address */
	ev_timer tcp_deadline, deadline;
	ev_io io; /* of the stream, once there is one */
	struct io_stream *stream;
	struct derp_dialled dialled;
	uint64_t since;
	struct err err; /* the first reason */
	int error;
	size_t head_len;
	uint8_t head[DERP_RESPONSE_MAX];
};

/* ---- ends ---- */

static void attempt_close(struct attempt *attempt)
{
	if (attempt->fd < 0)
		return;
	ev_io_stop(attempt->dial->conf.loop, &attempt->io);
	close(attempt->fd);
	attempt->fd = -1;
	attempt->dial->running--;
}

static void attempts_close(struct derp_dial *dial)
{
	for (unsigned i = 0; i < DERP_ADDRESSES_MAX; i++)
		attempt_close(&dial->attempts[i]);
	ev_timer_stop(dial->conf.loop, &dial->timer);
	ev_timer_stop(dial->conf.loop, &dial->tcp_deadline);
}

void derp_dial_cancel(struct derp_dial *dial)
{
	attempts_close(dial);
	ev_timer_stop(dial->conf.loop, &dial->deadline);
	ev_io_stop(dial->conf.loop, &dial->io);
	if (dial->stream) {
		io_stream_close(dial->stream);
		free(dial->stream);
	}
	free(dial);
}

static void fail(struct derp_dial *dial, int error)
{
	struct derp_dial_conf conf = dial->conf;
	struct err why = dial->err;

	derp_dial_cancel(dial);
	conf.done(conf.user, NULL, error, &why);
}

static void succeed(struct derp_dial *dial)
{
	struct derp_dial_conf conf = dial->conf;
	struct derp_dialled dialled = dial->dialled;

	dialled.http_ns = core_now() - dial->since;
	dialled.stream = dial->stream;
	dial->stream = NULL;
	derp_dial_cancel(dial);
	conf.done(conf.user, &dialled, 0, NULL);
}

/* ---- HTTP ---- */

static void keep_early(struct derp_dial *dial, size_t head_len)
{
	size_t rest = dial->head_len - head_len;

	if (!rest)
		return;
	dial->stream->early = malloc(rest);
	if (!dial->stream->early)
		abort();
	memcpy(dial->stream->early, dial->head + head_len, rest);
	dial->stream->early_len = rest;
	dial->stream->early_at = 0;
}

/* True: the dial is over. */
static bool take_response(struct derp_dial *dial)
{
	struct derp_response response;
	ssize_t n = derp_response_parse(dial->head, dial->head_len, &response);

	if (n == 0)
		return false;
	if (n < 0) {
		err_set(&dial->err, -EPROTO, "what answers is not an HTTP server");
		fail(dial, -EPROTO);
		return true;
	}
	if (response.status != 101) {
		err_set(&dial->err, -EPROTO, "it answers %d %s: no relay is there", response.status,
			response.reason);
		fail(dial, -EPROTO);
		return true;
	}
	keep_early(dial, (size_t)n);
	succeed(dial);
	return true;
}

static void on_response(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct derp_dial *dial = watcher->data;
	ssize_t n;

	(void)loop, (void)revents;
	while ((n = io_stream_read(dial->stream, dial->head + dial->head_len,
			sizeof(dial->head) - dial->head_len)) > 0) {
		dial->head_len += (size_t)n;
		if (take_response(dial))
			return;
	}
	if (n == -EAGAIN)
		return;
	err_set(&dial->err, n ? (int)n : -ECONNRESET, "HTTP: %s",
		n ? strerror((int)-n) : "the connection was closed");
	fail(dial, n ? (int)n : -ECONNRESET);
}

static void request(struct derp_dial *dial)
{
	char text[DERP_REQUEST_MAX];
	struct iovec iov = {.iov_base = text};
	ssize_t n;

	iov.iov_len = derp_request_write(text, &dial->target, dial->dialled.fast);
	n = io_stream_writev(dial->stream, &iov, 1);
	if (n != (ssize_t)iov.iov_len) {
		/* it always fits into the empty buffer of a fresh socket */
		err_set(&dial->err, -EIO, "the request cannot be written");
		fail(dial, n < 0 ? (int)n : -EIO);
		return;
	}
	if (dial->dialled.fast) {
		succeed(dial);
		return;
	}
	ev_io_stop(dial->conf.loop, &dial->io);
	ev_io_init(&dial->io, on_response, dial->stream->fd, EV_READ);
	ev_io_start(dial->conf.loop, &dial->io);
}

/* ---- TLS ---- */

static void on_handshake(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct derp_dial *dial = watcher->data;
	int rc = derp_tls_handshake(dial->stream->tls, &dial->target, &dial->err);
	uint8_t version = 0;

	(void)revents;
	if (rc > 0) {
		ev_io_stop(loop, &dial->io);
		ev_io_set(&dial->io, dial->stream->fd, rc);
		ev_io_start(loop, &dial->io);
		return;
	}
	if (rc < 0) {
		fail(dial, rc);
		return;
	}
	dial->dialled.tls_ns = core_now() - dial->since;
	dial->dialled.fast =
		derp_tls_meta_key(dial->stream->tls, &dial->dialled.server, &version) && version;
	request(dial);
}

static void on_stream(struct derp_dial *dial, int fd, const struct net_endpoint *to)
{
	dial->dialled.tcp_ns = core_now() - dial->since;
	attempts_close(dial);
	dial->stream = calloc(1, sizeof(*dial->stream));
	if (!dial->stream)
		abort();
	dial->stream->fd = fd;
	dial->stream->from = *to;
	if (dial->target.plain) {
		request(dial);
		return;
	}
	dial->stream->tls = derp_tls_new(dial->conf.tls, &dial->target, fd);
	if (!dial->stream->tls) {
		err_set(&dial->err, -ENOMEM, "OpenSSL cannot make a connection");
		fail(dial, -ENOMEM);
		return;
	}
	ev_io_init(&dial->io, on_handshake, fd, EV_WRITE);
	ev_io_start(dial->conf.loop, &dial->io);
}

/* ---- TCP ---- */

static void attempt_next(struct derp_dial *dial);

static void attempt_failed(struct attempt *attempt, int error)
{
	struct derp_dial *dial = attempt->dial;
	const struct net_endpoint *to = &dial->target.addresses[attempt - dial->attempts];
	char text[NET_ENDPOINT_STRLEN];

	attempt_close(attempt);
	if (!dial->error)
		dial->error = -error;
	err_set(&dial->err, -error, "%s: %s", net_endpoint_format(to, text), strerror(error));
	if (dial->next < dial->target.n_addresses)
		attempt_next(dial);
	else if (!dial->running)
		fail(dial, dial->error);
}

static void on_connected(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct attempt *attempt = watcher->data;
	struct derp_dial *dial = attempt->dial;
	int error = 0, fd = attempt->fd;
	socklen_t len = sizeof(error);

	(void)loop, (void)revents;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error) {
		attempt_failed(attempt, error);
		return;
	}
	ev_io_stop(dial->conf.loop, &attempt->io);
	attempt->fd = -1;
	dial->running--;
	on_stream(dial, fd, &dial->target.addresses[attempt - dial->attempts]);
}

static void socket_options(int fd)
{
	const int one = 1, timeout = USER_TIMEOUT_MS, lowat = NOTSENT_LOWAT;
	const int idle = KEEP_IDLE_S, every = KEEP_EVERY_S;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
}

/* 0: under way; else errno. */
static int attempt_start(struct derp_dial *dial, unsigned i)
{
	struct attempt *attempt = &dial->attempts[i];
	struct sockaddr_storage to;
	socklen_t len = net_endpoint_to_sockaddr(&dial->target.addresses[i], &to);

	attempt->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (attempt->fd < 0)
		return errno;
	dial->running++;
	socket_options(attempt->fd);
	ev_io_init(&attempt->io, on_connected, attempt->fd, EV_WRITE);
	attempt->io.data = attempt;
	if (connect(attempt->fd, (struct sockaddr *)&to, len) != 0 && errno != EINPROGRESS)
		return errno;
	ev_io_start(dial->conf.loop, &attempt->io);
	return 0;
}

static void attempt_next(struct derp_dial *dial)
{
	struct attempt *attempt = &dial->attempts[dial->next];
	int error = attempt_start(dial, dial->next++);

	ev_timer_stop(dial->conf.loop, &dial->timer);
	if (error) {
		attempt_failed(attempt, error);
		return;
	}
	if (dial->next == dial->target.n_addresses)
		return;
	ev_timer_set(&dial->timer, NEXT_ADDRESS_S, 0.);
	ev_timer_start(dial->conf.loop, &dial->timer);
}

static void on_next(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct derp_dial *dial = watcher->data;

	(void)loop, (void)revents;
	if (dial->target.n_addresses) {
		attempt_next(dial);
		return;
	}
	err_set(&dial->err, -EDESTADDRREQ, "%s has no address", dial->target.host);
	fail(dial, -EDESTADDRREQ);
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct derp_dial *dial = watcher->data;

	(void)loop, (void)revents;
	err_set(&dial->err, -ETIMEDOUT, "%s: no answer in time",
		!dial->stream                                ? "TCP"
		: dial->dialled.tls_ns || dial->target.plain ? "HTTP"
							     : "TLS");
	fail(dial, -ETIMEDOUT);
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

struct derp_dial *derp_dial_start(const struct derp_dial_conf *conf)
{
	struct derp_dial *dial = calloc(1, sizeof(*dial));

	if (!dial)
		return NULL;
	ev_now_update(conf->loop); /* timers count from the loop's idea of now */
	dial->conf = *conf;
	dial->target = *conf->target;
	dial->since = core_now();
	for (unsigned i = 0; i < DERP_ADDRESSES_MAX; i++) {
		dial->attempts[i].fd = -1;
		dial->attempts[i].dial = dial;
	}
	dial->io.data = dial->timer.data = dial->deadline.data = dial->tcp_deadline.data = dial;
	ev_timer_init(&dial->timer, on_next, 0., 0.); /* the first */
	ev_timer_init(&dial->tcp_deadline, on_deadline,
		seconds(conf->tcp_timeout_ns ? conf->tcp_timeout_ns : TCP_TIMEOUT_NS), 0.);
	ev_timer_init(&dial->deadline, on_deadline,
		seconds(conf->timeout_ns ? conf->timeout_ns : TIMEOUT_NS), 0.);
	ev_timer_start(conf->loop, &dial->timer);
	ev_timer_start(conf->loop, &dial->tcp_deadline);
	ev_timer_start(conf->loop, &dial->deadline);
	return dial;
}
