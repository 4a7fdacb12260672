/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection's life: made, found by its id, watched by the wheel, closed. Runs on: its I/O loop.
 *
 * A closed connection is in no list and no table from conn_close on; its memory stays until the
 * pass ends, because whoever walks frames may still look at its state.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "relay.h"

#define SLOT_BITS 24
#define USER_TIMEOUT_MS 15000
#define NOTSENT_LOWAT (128 << 10)
#define KEEP_ALIVE (60 * SECOND)
#define KEEP_ALIVE_MORE (5 * SECOND)
#define WRITE_TIMEOUT (2 * SECOND)
#define MESH_WRITE_TIMEOUT (30 * SECOND)
#define LEAVE_WITHIN (2 * SECOND)
#define LOOKS 4 /* at a blocked connection, before it is given up */

/* ---- ids: a loop's slot and how often it was used ---- */

static bool slots_grow(struct derp_loop *loop)
{
	uint32_t more = loop->n_slots ? loop->n_slots : 64, n = loop->n_slots + more;
	struct slot *slots = n < 1u << SLOT_BITS ? realloc(loop->slots, n * sizeof(*slots)) : NULL;

	if (!slots)
		return false;
	loop->slots = slots;
	for (uint32_t i = loop->n_slots; i < n; i++)
		slots[i] = (struct slot){.generation = 1, .next_free = i + 1};
	loop->free_slot = loop->n_slots;
	loop->n_slots = n;
	return true;
}

static bool slot_take(struct derp_loop *loop, struct conn *conn)
{
	struct slot *slot;

	if (loop->free_slot == loop->n_slots && !slots_grow(loop))
		return false;
	slot = &loop->slots[loop->free_slot];
	conn->id = (uint64_t)slot->generation << SLOT_BITS | loop->free_slot;
	loop->free_slot = slot->next_free;
	slot->conn = conn;
	return true;
}

static void slot_give(struct derp_loop *loop, const struct conn *conn)
{
	uint32_t i = (uint32_t)(conn->id & ((1u << SLOT_BITS) - 1));

	loop->slots[i].conn = NULL;
	loop->slots[i].generation++;
	loop->slots[i].next_free = loop->free_slot;
	loop->free_slot = i;
}

struct conn *conn_find(struct derp_loop *loop, uint64_t id)
{
	uint32_t i = (uint32_t)(id & ((1u << SLOT_BITS) - 1));
	struct conn *conn = i < loop->n_slots ? loop->slots[i].conn : NULL;

	return conn && conn->id == id ? conn : NULL;
}

/* ---- time ---- */

static uint64_t write_timeout(const struct conn *conn)
{
	const struct derp_server_conf *conf = &conn->loop->conf;

	if (conn->mesh)
		return conf->mesh_write_timeout ? conf->mesh_write_timeout : MESH_WRITE_TIMEOUT;
	return conf->write_timeout ? conf->write_timeout : WRITE_TIMEOUT;
}

void conn_timer(struct conn *conn)
{
	uint64_t at = conn->keep_alive_at;

	if (conn->state == CONN_CLOSED)
		return;
	if (conn->state != CONN_UP)
		at = conn->since + HANDSHAKE_TIMEOUT;
	if (conn->blocked && core_now() + write_timeout(conn) / LOOKS < at)
		at = core_now() + write_timeout(conn) / LOOKS;
	wheel_set(&conn->loop->wheel, &conn->timer, at);
	if (!ev_is_active(&conn->loop->tick))
		ev_timer_again(conn->loop->ev, &conn->loop->tick);
}

/* Of a long queue the socket tells only when much of it is gone. A reader that is slow and goes on
 * shall be told from one that stands still, so the queue is looked at. */
static bool stands_still(struct conn *conn, uint64_t now)
{
	int unsent;

	if (ioctl(conn->stream->fd, SIOCOUTQ, &unsent) == 0) {
		if (unsent < conn->unsent)
			conn->progress_at = now;
		conn->unsent = unsent;
	}
	return now - conn->progress_at >= write_timeout(conn);
}

static void note_rtt(struct conn *conn)
{
	static const uint32_t at_most_us[DERP_RTTS - 1] = {
		10000, 20000, 50000, 100000, 150000, 250000, 500000};
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	unsigned i = 0;

	if (getsockopt(conn->stream->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
		return;
	while (i < DERP_RTTS - 1 && info.tcpi_rtt > at_most_us[i])
		i++;
	COUNT(conn->loop, tcp_rtt[i], 1);
}

static void on_time(struct conn *conn, uint64_t now)
{
	static const uint8_t keep_alive[DERP_HEADER_LEN] = {DERP_KEEP_ALIVE};

	if (conn->blocked && stands_still(conn, now)) {
		COUNT(conn->loop, write_timeouts, 1);
		conn_abort(conn);
		return;
	}
	if (conn->state != CONN_UP && now - conn->since >= HANDSHAKE_TIMEOUT) {
		COUNT(conn->loop, handshakes_slow, 1);
		conn_close(conn);
		return;
	}
	if (conn->state == CONN_UP && now >= conn->keep_alive_at) {
		if (conn->leaving) {
			conn_close(conn);
			return;
		}
		if (is_client(conn)) {
			output_control(conn, keep_alive, sizeof(keep_alive));
			COUNT(conn->loop, keep_alives_sent, 1);
			note_rtt(conn);
		}
		conn->keep_alive_at = now + conn->keep_alive_every;
	}
	conn_timer(conn);
}

void conns_tick(struct derp_loop *loop)
{
	uint64_t now = core_now();
	struct wheel_entry *entry;

	while ((entry = wheel_next(&loop->wheel, now)))
		on_time((struct conn *)((char *)entry - offsetof(struct conn, timer)), now);
}

/* ---- life ---- */

static void on_readable(struct ev_loop *ev, ev_io *io, int revents)
{
	(void)ev, (void)revents;
	input_ready(io->data);
}

static void on_writable(struct ev_loop *ev, ev_io *io, int revents)
{
	struct conn *conn = io->data;

	(void)ev, (void)revents;
	conn->blocked = false;
	conn->progress_at = core_now(); /* room came from somewhere */
	output_flush(conn);
}

/* The kernel's send buffer shall not hide a queue that nobody reads. */
static void set_patience(int fd)
{
	int unanswered = USER_TIMEOUT_MS, low = NOTSENT_LOWAT;

	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof(unanswered));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &low, sizeof(low));
}

static void conn_init(struct conn *conn)
{
	uint64_t every = conn->loop->conf.keep_alive ? conn->loop->conf.keep_alive : KEEP_ALIVE;
	uint32_t random;

	secret_random(&random, sizeof(random));
	conn->keep_alive_every = every + random % KEEP_ALIVE_MORE;
	conn->since = core_now();
	conn->keep_alive_at = conn->since + conn->keep_alive_every;
	conn->first_piece = conn->last_piece = NO_PIECE;
	for (unsigned k = 0; k < DERP_KINDS; k++)
		conn->queue[k].tail = &conn->queue[k].head;
	ev_init(&conn->readable, on_readable);
	conn->readable.fd = conn->stream->fd;
	/* not ev_io_set: the loop knows the descriptor, and would add it once more in vain */
	ev_io_modify(&conn->readable, EV_READ);
	ev_io_init(&conn->writable, on_writable, conn->stream->fd, EV_WRITE);
	/* room is made before more is read */
	ev_set_priority(&conn->writable, 1);
	conn->readable.data = conn->writable.data = conn;
}

static void stream_free(struct io_stream *stream)
{
	io_stream_close(stream);
	free(stream);
}

struct conn *conn_new(struct derp_loop *loop, struct io_stream *stream, enum derp_via via)
{
	struct conn *conn = loop_is_closing(loop) ? NULL : calloc(1, sizeof(*conn));

	if (!conn || !slot_take(loop, conn)) {
		free(conn);
		stream_free(stream);
		return NULL;
	}
	conn->loop = loop;
	conn->stream = stream;
	conn->from = stream->from;
	conn->via = via;
	conn_init(conn);
	set_patience(stream->fd);
	if (!wire_attach(conn)) {
		slot_give(loop, conn);
		stream_free(stream);
		free(conn);
		return NULL;
	}
	COUNT(loop, connections, 1);
	COUNT(loop, memory_bytes, limit_cost(conn));
	atomic_fetch_add_explicit(&server.connections, 1, memory_order_relaxed);
	ev_io_start(loop->ev, &conn->readable);
	/* what the front door read ahead, or TLS has opened, wakes nobody */
	if (wire_pending(conn))
		ev_feed_event(loop->ev, &conn->readable, EV_READ);
	conn_timer(conn);
	return conn;
}

static void forget_client(struct conn *conn)
{
	if (conn->peer)
		directory_unclaim(conn);
	sightings_forget(conn);
	if (conn->watching)
		watch_end(conn);
	if (conn->home)
		UNCOUNT(conn->loop, home_connections, 1);
	if (conn->not_ideal && conn->state == CONN_UP)
		UNCOUNT(conn->loop, not_ideal_connections, 1);
	if (conn->counted)
		limit_disconnected(&conn->from.addr);
}

static void free_buffers(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;

	output_drop(conn);
	UNCOUNT(loop, memory_bytes, conn->in_len);
	free(conn->in);
	free(conn->app_name);
	free(conn->websocket);
	if (conn->handshake)
		secret_zero(conn->handshake, sizeof(*conn->handshake));
	free(conn->handshake);
	limit_rate_free(conn);
	conn->in = NULL;
	conn->in_len = 0;
}

void conn_close(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;

	if (conn->state == CONN_CLOSED)
		return;
	forget_client(conn);
	if (conn->state == CONN_ASKING)
		loop->asking--;
	conn->state = CONN_CLOSED;
	ev_io_stop(loop->ev, &conn->readable);
	ev_io_stop(loop->ev, &conn->writable);
	wheel_remove(&loop->wheel, &conn->timer);
	slot_give(loop, conn);
	free_buffers(conn);
	wire_detach(conn);
	UNCOUNT(loop, memory_bytes, limit_cost(conn));
	stream_free(conn->stream);
	conn->stream = NULL;
	UNCOUNT(loop, connections, 1);
	atomic_fetch_sub_explicit(&server.connections, 1, memory_order_relaxed);
	conn->dead_next = loop->dead_conns;
	loop->dead_conns = conn;
	if (conn->leaving)
		loop->leaving--;
	if (!is_client(conn)) {
		loop->not_clients--;
		link_closed(conn, "the connection ended");
	}
}

bool conn_leave(struct conn *conn)
{
	if (conn->state != CONN_UP || conn->mesh || output_waits(conn) || !wire_end(conn))
		return false;
	directory_unclaim(conn);
	sightings_forget(conn);
	conn->standby = false;
	conn->leaving = true;
	conn->loop->leaving++;
	conn->keep_alive_at = core_now() + LEAVE_WITHIN;
	conn_timer(conn);
	return true;
}

void conn_abort(struct conn *conn)
{
	struct linger now = {.l_onoff = 1};

	if (conn->state == CONN_CLOSED)
		return;
	setsockopt(conn->stream->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_close(conn);
}

void conn_free_dead(struct derp_loop *loop)
{
	struct conn *conn;

	while ((conn = loop->dead_conns)) {
		loop->dead_conns = conn->dead_next;
		free(conn);
	}
}
