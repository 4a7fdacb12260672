/* SPDX-License-Identifier: BSD-3-Clause */
/* The transport's life, its loops and its counters. Runs on: the control loop, but for what its
 * loops call. */
#include "transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>
#include <tailplane/loop.h>

#include "private.h"
#include "x25519.h"

#define WALK_EVERY 5.

struct transport transport;

struct transport_loop *transport_loop_here(void)
{
	return &transport.loops[io_loop_index(io_loop_here())];
}

/* Machine keys are the clients' to choose: the seed keeps them from choosing a bucket. */
unsigned transport_bucket(const struct public_key *machine)
{
	uint64_t word, hash = transport.seed;

	for (unsigned i = 0; i < 4; i++) {
		memcpy(&word, machine->bytes + 8 * i, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
	}
	return (unsigned)(hash % MACHINE_BUCKETS);
}

/* ---- a loop's turn ---- */

/* Between two turns the loop sleeps, unless something is left to do. */
static void on_before_wait(struct ev_loop *ev, ev_prepare *watcher, int revents)
{
	struct transport_loop *loop = watcher->data;

	(void)revents;
	handshakes_run(loop);
	flush_due(loop);
	if (loop->handshakes || loop->due)
		ev_idle_start(ev, &loop->busy);
	else
		ev_idle_stop(ev, &loop->busy);
}

static void on_busy(struct ev_loop *ev, ev_idle *watcher, int revents)
{
	(void)ev, (void)watcher, (void)revents;
}

static void on_walk(struct ev_loop *ev, ev_timer *watcher, int revents)
{
	struct transport_loop *loop = watcher->data;

	(void)ev, (void)revents;
	sessions_walk(loop);
	flush_rest(&loop->flush);
}

/* ---- closing a machine's sessions ---- */

struct close_machine {
	struct io_message message;
	struct public_key machine;
};

static void close_machine_run(struct io_message *message)
{
	struct close_machine *order = (struct close_machine *)message;
	struct transport_loop *loop = transport_loop_here();
	struct session *session = loop->machines[transport_bucket(&order->machine)];

	for (; session; session = session->same_next) {
		if (memcmp(&session->machine, &order->machine, sizeof(order->machine)) == 0)
			session_finish(session);
	}
	free(order);
}

void rpc_close_machine(const struct public_key *machine)
{
	for (unsigned i = 0; i < io_loop_count(); i++) {
		struct close_machine *order = malloc(sizeof(*order));

		if (!order)
			abort();
		order->message.run = close_machine_run;
		order->machine = *machine;
		io_post(io_loop_at(i), &order->message);
	}
}

/* ---- life ---- */

static void open_here(void *arg)
{
	struct transport_loop *loop = transport_loop_here();
	struct ev_loop *ev = io_loop_ev(io_loop_here());

	(void)arg;
	loop->io = io_loop_here();
	loop->due_tail = &loop->due;
	loop->handshakes_tail = &loop->handshakes;
	loop->scratch = malloc(READ_MAX);
	if (!loop->scratch || flush_init(&loop->flush) != 0)
		abort();
	h2_memory_init(&loop->h2_memory);
	ev_prepare_init(&loop->before_wait, on_before_wait);
	ev_prepare_start(ev, &loop->before_wait);
	ev_idle_init(&loop->busy, on_busy);
	ev_timer_init(&loop->walk, on_walk, WALK_EVERY, WALK_EVERY);
	ev_timer_start(ev, &loop->walk);
	loop->before_wait.data = loop->busy.data = loop->walk.data = loop;
}

static void close_here(void *arg)
{
	struct transport_loop *loop = transport_loop_here();
	struct ev_loop *ev = io_loop_ev(io_loop_here());

	(void)arg;
	handshakes_drop(loop);
	for (struct session *s = loop->sessions; s; s = s->next)
		session_finish(s);
	while (loop->due) /* each session once: a closing one does not become due again */
		flush_due(loop);
	while (loop->sessions)
		session_close(loop->sessions);
	ev_prepare_stop(ev, &loop->before_wait);
	ev_idle_stop(ev, &loop->busy);
	ev_timer_stop(ev, &loop->walk);
	flush_fini(&loop->flush);
	h2_memory_fini(&loop->h2_memory);
	free(loop->scratch);
}

static int routes_add(struct err *err)
{
	static const struct front_route routes[] = {
		{"POST", "/ts2021", "tailscale-control-protocol", FRONT_PLAIN, 0, handshake_serve,
			&transport},
		{"GET", "/ts2021", "websocket", FRONT_PLAIN, 0, handshake_serve, &transport},
		{"GET POST", "/ts2021", "", FRONT_PLAIN, 0, handshake_refuse, &transport},
	};
	int rc = pages_add(err);

	for (size_t i = 0; !rc && i < sizeof(routes) / sizeof(routes[0]); i++)
		rc = front_route_add(&routes[i], err);
	return rc;
}

/* No client looks at the challenge any more; old ones know the message. One for all will do. */
static void make_early(void)
{
	struct private_key challenge;
	struct public_key challenge_public;
	int n;

	x25519_generate(&challenge);
	x25519_public(&challenge_public, &challenge);
	secret_zero(&challenge, sizeof(challenge));
	n = snprintf(transport.early, sizeof(transport.early), "{\"nodeKeyChallenge\":\"chalpub:");
	for (unsigned i = 0; i < 32; i++)
		n += snprintf(transport.early + n, sizeof(transport.early) - (size_t)n, "%02x",
			challenge_public.bytes[i]);
	snprintf(transport.early + n, sizeof(transport.early) - (size_t)n, "\"}");
}

int transport_start(const struct transport_conf *conf, const struct rpc_ops *ops, struct err *err)
{
	int rc;

	memset(&transport, 0, sizeof(transport));
	rc = key_file_load(&transport.server, conf->private_key_path, err);
	if (rc)
		return rc;
	transport.ops = ops;
	transport.server_url = strdup(conf->server_url);
	transport.loops = calloc(io_loop_count(), sizeof(*transport.loops));
	if (!transport.server_url || !transport.loops)
		abort();
	secret_random(&transport.seed, sizeof(transport.seed));
	make_early();
	io_on_each(open_here, NULL);
	rc = routes_add(err);
	if (rc)
		transport_stop();
	return rc;
}

void transport_stop(void)
{
	front_routes_remove(&transport);
	io_on_each(close_here, NULL);
	io_flush(); /* the service is told, and lets go */
	io_flush(); /* what it let go is freed */
	free(transport.loops);
	free(transport.server_url);
	secret_zero(&transport.server, sizeof(transport.server));
	transport.loops = NULL;
	transport.server_url = NULL;
}

const struct public_key *transport_public_key(void)
{
	return &transport.server.public_key;
}

/* ---- counters ---- */

void transport_collect(struct metric_sink *sink)
{
	static const struct metric sessions = {
		"tailplane_control_sessions", METRIC_GAUGE, "Noise sessions of clients."};
	static const struct {
		struct metric metric;
		_Atomic uint64_t *value;
	} counters[] = {
		{{"tailplane_control_handshakes_total", METRIC_COUNTER,
			 "Noise handshakes begun by clients."},
			&transport.counts.handshakes},
		{{"tailplane_control_handshakes_failed_total", METRIC_COUNTER,
			 "Noise handshakes for another key, or forged."},
			&transport.counts.handshakes_failed},
		{{"tailplane_control_too_old_total", METRIC_COUNTER,
			 "Requests of clients that are too old."},
			&transport.counts.too_old},
		{{"tailplane_control_requests_total", METRIC_COUNTER, "Requests of clients."},
			&transport.counts.requests},
		{{"tailplane_control_messages_total", METRIC_COUNTER,
			 "Messages on streams to clients, keep-alives among them."},
			&transport.counts.messages},
		{{"tailplane_control_sent_bytes_total", METRIC_COUNTER,
			 "Bytes sealed for clients."},
			&transport.counts.bytes_sealed},
		{{"tailplane_control_stalled_total", METRIC_COUNTER,
			 "Sessions closed because the client took nothing for a minute."},
			&transport.counts.stalled},
		{{"tailplane_control_broken_total", METRIC_COUNTER,
			 "Sessions closed because the client broke the protocol."},
			&transport.counts.broken},
	};
	unsigned n = 0;

	for (unsigned i = 0; i < io_loop_count(); i++)
		n += atomic_load_explicit(&transport.loops[i].n_sessions, memory_order_relaxed);
	metric_add(sink, &sessions, NULL, 0, n);
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		metric_add(sink, &counters[i].metric, NULL, 0,
			(double)atomic_load_explicit(counters[i].value, memory_order_relaxed));
}
