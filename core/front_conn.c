/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection to the front door, from accept to answer. Runs on: its I/O loop.
 *
 * Before a request is whole a stranger costs one struct and the bytes that he sent: a ClientHello
 * stays in the kernel until it is whole, and only then there is TLS state. Handing the request to
 * its handler, and answering, are the last things that a callback does with a connection: either
 * may end it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "front_private.h"
#include "front_tls.h"

#define SECOND 1000000000ull
#define READ_MAX 16384
#define HELLO_MAX (16384 + 5)
#define TICK 0.5

static const uint64_t patience[CONN_STATES] = {
	[CONN_HELLO] = 10 * SECOND,
	[CONN_TLS] = 10 * SECOND,
	[CONN_HEAD] = 10 * SECOND,
	[CONN_SERVING] = UINT64_MAX, /* the handler's */
	[CONN_ANSWER] = 15 * SECOND,
	[CONN_IDLE] = 60 * SECOND,
	[CONN_LINGER] = 2 * SECOND,
};

/* ---- lists ---- */

static void list_add(struct conn_list *list, struct front_conn *conn)
{
	conn->next = NULL;
	conn->prev = list->tail;
	*list->tail = conn;
	list->tail = &conn->next;
	atomic_fetch_add_explicit(&list->n, 1, memory_order_relaxed);
}

static void list_remove(struct conn_list *list, struct front_conn *conn)
{
	*conn->prev = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	else
		list->tail = conn->prev;
	atomic_fetch_sub_explicit(&list->n, 1, memory_order_relaxed);
}

static unsigned list_len(const struct conn_list *list)
{
	return atomic_load_explicit(&list->n, memory_order_relaxed);
}

void front_conn_move(struct front_conn *conn, enum conn_state state)
{
	list_remove(&conn->loop->lists[conn->state], conn);
	conn->state = state;
	conn->since = core_now();
	list_add(&conn->loop->lists[state], conn);
}

static void watch(struct front_conn *conn, int events)
{
	struct ev_loop *ev = io_loop_ev(conn->loop->io);

	if (ev_is_active(&conn->io) && (conn->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(ev, &conn->io);
	if (!events)
		return;
	ev_io_set(&conn->io, conn->stream.fd, events);
	ev_io_start(ev, &conn->io);
}

/* What TLS or we ourselves hold back does not wake anybody. */
static void read_again(struct front_conn *conn)
{
	if (conn->stream.early || tls_pending(conn->stream.tls))
		ev_feed_event(io_loop_ev(conn->loop->io), &conn->io, EV_READ);
}

static void forget(struct front_conn *conn)
{
	watch(conn, 0);
	list_remove(&conn->loop->lists[conn->state], conn);
	if (conn->site == SITE_METRICS)
		atomic_fetch_sub_explicit(&front_metrics_conns, 1, memory_order_relaxed);
	if (conn->request)
		conn->request->conn = NULL;
	head_free(conn->head);
	free(conn->out);
	tls_context_put(conn->context);
}

void front_conn_close(struct front_conn *conn)
{
	forget(conn);
	io_stream_close(&conn->stream);
	free(conn);
}

struct io_stream *front_upgrade(struct front_request *request)
{
	struct front_conn *conn = request->conn;
	struct io_stream *stream = conn ? malloc(sizeof(*stream)) : NULL;

	if (stream) {
		*stream = conn->stream;
		stream->from = request->from;
		forget(conn);
		free(conn);
		front_count(&front_counts.upgraded);
	} else if (conn) {
		front_conn_close(conn);
	}
	front_request_free(request);
	return stream;
}

/* ---- answers ---- */

static void begin_linger(struct front_conn *conn)
{
	tls_say_goodbye(conn->stream.tls);
	shutdown(conn->stream.fd, SHUT_WR);
	front_conn_move(conn, CONN_LINGER);
	watch(conn, EV_READ);
}

static void answered(struct front_conn *conn)
{
	free(conn->out);
	conn->out = NULL;
	if (conn->close_after) {
		begin_linger(conn);
		return;
	}
	front_conn_move(conn, CONN_IDLE);
	watch(conn, EV_READ);
	read_again(conn);
}

static void write_on(struct front_conn *conn)
{
	while (conn->out_at < conn->out_len) {
		struct iovec iov = {conn->out + conn->out_at, conn->out_len - conn->out_at};
		ssize_t n = io_stream_writev(&conn->stream, &iov, 1);

		if (n == -EAGAIN) {
			watch(conn, EV_WRITE);
			return;
		}
		if (n < 0) {
			front_conn_close(conn);
			return;
		}
		conn->out_at += (size_t)n;
		front_conn_move(conn, CONN_ANSWER);
	}
	answered(conn);
}

void front_conn_answer(struct front_conn *conn, uint8_t *out, size_t len, bool close_after)
{
	head_free(conn->head);
	conn->head = NULL;
	conn->out = out;
	conn->out_len = out ? len : 0;
	conn->out_at = 0;
	conn->close_after = close_after || !out;
	front_conn_move(conn, CONN_ANSWER);
	write_on(conn);
}

/* ---- requests ---- */

static void answer_bad(struct front_conn *conn)
{
	front_refuse(conn, conn->head->status, conn->head->why);
}

static void keep_early(struct front_conn *conn, const char *bytes, size_t n)
{
	struct io_stream *stream = &conn->stream;
	size_t left = stream->early ? stream->early_len - stream->early_at : 0;
	uint8_t *early;

	if (!n)
		return;
	early = malloc(n + left);
	if (!early) {
		conn->close_after = true;
		return;
	}
	memcpy(early, bytes, n);
	if (left)
		memcpy(early + n, stream->early + stream->early_at, left);
	free(stream->early);
	stream->early = early;
	stream->early_at = 0;
	stream->early_len = n + left;
}

static void say_continue(struct front_conn *conn)
{
	static char words[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct iovec iov = {words, sizeof(words) - 1};

	/* a client that does not get it goes on after a while */
	if (head_body_announced(conn->head) && head_field_has(conn->head, "Expect", "100-continue"))
		io_stream_writev(&conn->stream, &iov, 1);
}

/* False: it was answered. */
static bool head_is_welcome(struct front_conn *conn)
{
	ssize_t max = front_request_body_max(conn);

	if (max < 0)
		return false;
	if (head_resume(conn->head, (size_t)max) == HEAD_BAD) {
		answer_bad(conn);
		return false;
	}
	say_continue(conn);
	front_conn_move(conn, CONN_HEAD);
	return true;
}

static void take_bytes(struct front_conn *conn, const char *bytes, size_t n)
{
	enum head_result result;
	size_t used;

	for (;;) {
		result = head_feed(conn->head, bytes, n, &used);
		bytes += used;
		n -= used;
		if (result == HEAD_MORE)
			return;
		if (result != HEAD_COMPLETE)
			break;
		if (!head_is_welcome(conn))
			return;
	}
	if (result == HEAD_BAD) {
		answer_bad(conn);
		return;
	}
	keep_early(conn, bytes, n);
	watch(conn, 0);
	front_conn_move(conn, CONN_SERVING);
	front_request_serve(conn);
}

static void read_on(struct front_conn *conn)
{
	char bytes[READ_MAX];
	ssize_t n = io_stream_read(&conn->stream, bytes, sizeof(bytes));

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		front_conn_close(conn);
		return;
	}
	if (!conn->head)
		conn->head = head_new();
	if (!conn->head) {
		front_conn_close(conn);
		return;
	}
	if (conn->state == CONN_IDLE)
		front_conn_move(conn, CONN_HEAD);
	read_again(conn);
	take_bytes(conn, bytes, (size_t)n);
}

static void throw_away(struct front_conn *conn)
{
	char bytes[READ_MAX];
	ssize_t n = read(conn->stream.fd, bytes, sizeof(bytes));

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		front_conn_close(conn);
}

/* ---- TLS ---- */

static void plain_on_tls(struct front_conn *conn)
{
	conn->tls = false;
	front_conn_move(conn, CONN_HEAD);
	front_refuse(conn, 400, "this port speaks https");
}

static void shake_hands(struct front_conn *conn)
{
	int events = tls_accept(conn->stream.tls);

	if (events < 0) {
		front_count(&front_counts.tls_failed);
		front_conn_close(conn);
	} else if (events) {
		watch(conn, events);
	} else {
		front_conn_move(conn, CONN_HEAD);
		watch(conn, EV_READ);
		read_on(conn);
	}
}

static void begin_tls(struct front_conn *conn)
{
	struct tls_context *context = conn->context ? conn->context : conn->loop->tls;
	int one = 1;

	if (conn->hello_len)
		setsockopt(conn->stream.fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	/* none: TLS went by a reload while the ClientHello was on its way */
	conn->stream.tls = context ? tls_new(context, conn->stream.fd) : NULL;
	if (!conn->stream.tls) {
		front_conn_close(conn);
		return;
	}
	front_conn_move(conn, CONN_TLS);
	shake_hands(conn);
}

/* The kernel wakes us when as much is there as the record says, or when no more comes: less than
 * asked for means that. */
static void await_hello(struct front_conn *conn)
{
	uint8_t bytes[HELLO_MAX];
	ssize_t n = recv(conn->stream.fd, bytes, sizeof(bytes), MSG_PEEK);
	int need = 5;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || n < conn->hello_len) {
		front_conn_close(conn);
		return;
	}
	if (bytes[0] != 22) {
		plain_on_tls(conn);
		return;
	}
	if (n >= 5)
		need = 5 + (bytes[3] << 8 | bytes[4]);
	if (n >= need || need > HELLO_MAX) {
		begin_tls(conn);
		return;
	}
	setsockopt(conn->stream.fd, SOL_SOCKET, SO_RCVLOWAT, &need, sizeof(need));
	conn->hello_len = need;
}

/* ---- events ---- */

static void on_event(struct ev_loop *ev, ev_io *io, int revents)
{
	static void (*const handlers[CONN_STATES])(struct front_conn * conn) = {
		[CONN_HELLO] = await_hello,
		[CONN_TLS] = shake_hands,
		[CONN_HEAD] = read_on,
		[CONN_ANSWER] = write_on,
		[CONN_IDLE] = read_on,
		[CONN_LINGER] = throw_away,
	};
	struct front_conn *conn = io->data;

	(void)ev, (void)revents;
	handlers[conn->state](conn);
}

static struct front_conn *oldest_half_open(struct front_loop *loop)
{
	struct front_conn *oldest = NULL;

	for (enum conn_state s = CONN_HELLO; s <= CONN_HEAD; s++) {
		struct front_conn *head = loop->lists[s].head;

		if (head && (!oldest || head->since < oldest->since))
			oldest = head;
	}
	return oldest;
}

static unsigned half_open(const struct front_loop *loop)
{
	return list_len(&loop->lists[CONN_HELLO]) + list_len(&loop->lists[CONN_TLS]) +
	       list_len(&loop->lists[CONN_HEAD]);
}

static unsigned all(const struct front_loop *loop)
{
	unsigned n = 0;

	for (unsigned s = 0; s < CONN_STATES; s++)
		n += list_len(&loop->lists[s]);
	return n;
}

unsigned front_conns_shed(struct front_loop *loop, unsigned n)
{
	struct front_conn *conn;
	unsigned done = 0;

	while (done < n) {
		conn = loop->lists[CONN_LINGER].head;
		if (!conn)
			conn = loop->lists[CONN_IDLE].head;
		if (!conn)
			conn = oldest_half_open(loop);
		if (!conn)
			break;
		front_count(&front_counts.evicted);
		front_conn_close(conn);
		done++;
	}
	return done;
}

/* Room for one more; false: there is none. */
static bool make_room(struct front_loop *loop)
{
	if (half_open(loop) >= loop->limits->half_open) {
		front_count(&front_counts.evicted);
		front_conn_close(oldest_half_open(loop));
	}
	return all(loop) < loop->limits->connections || front_conns_shed(loop, 1);
}

void front_conn_arrive(struct io_message *message)
{
	struct front_conn *conn = (struct front_conn *)message;
	struct front_loop *loop = front_loop_of(io_loop_here());
	bool room = make_room(loop);

	conn->loop = loop;
	conn->since = core_now();
	conn->state = conn->tls ? CONN_HELLO : CONN_HEAD;
	ev_io_init(&conn->io, on_event, conn->stream.fd, EV_READ);
	conn->io.data = conn;
	list_add(&loop->lists[conn->state], conn);
	if (!room || (conn->tls && !conn->context && !loop->tls)) {
		front_count(&front_counts.refused);
		front_conn_close(conn);
		return;
	}
	watch(conn, EV_READ);
	if (!ev_is_active(&loop->tick))
		ev_timer_again(io_loop_ev(loop->io), &loop->tick);
}

void front_conns_tick(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct front_loop *loop = timer->data;
	uint64_t now = core_now();

	(void)revents;
	for (unsigned s = 0; s < CONN_STATES; s++) {
		struct front_conn *conn;

		while ((conn = loop->lists[s].head) && now - conn->since > patience[s]) {
			if (s != CONN_IDLE && s != CONN_LINGER)
				front_count(&front_counts.timed_out);
			front_conn_close(conn);
		}
	}
	if (!all(loop))
		ev_timer_stop(ev, timer);
}
