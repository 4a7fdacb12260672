/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front door as a whole: what it serves with, given to the I/O loops; certificates that change
 * on disk; counters. Runs on: the control loop, but for what io_on_each calls.
 */
#include "front_life.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <tailplane/log.h>
#include <tailplane/state.h>
#include <tailplane/plugin.h>

#include "front_private.h"
#include "front_tls.h"
#include "metrics_text.h"

#define LOOK_EVERY 10. /* at the certificates' files */
/* A context has the keys of its session tickets: who learns them can read what was resumed. */
#define TICKETS_FOR (12 * 3600 * 1000000000ull)

/* What connections are served with; made by the control loop, given to all loops. */
struct serving {
	struct tls_context *tls; /* NULL: no TLS */
	struct tls_files *files; /* their texts are ours */
	struct stat *seen;       /* two a pair: certificate, key */
	size_t n_files;
	uint64_t made;      /* when `tls` was */
	struct err problem; /* why files that changed since are not in it */
	struct net_prefix *trusted;
	size_t n_trusted;
	struct front_limits limits;
};

struct front_counts front_counts;
_Atomic unsigned front_metrics_conns;

static struct {
	struct front_loop *loops; /* one per I/O loop */
	struct serving *running, *next;
	uint8_t *extra; /* DER of the certificate behind every chain */
	size_t extra_len;
	ev_timer look;
} front;

struct front_loop *front_loop_of(struct io_loop *loop)
{
	return &front.loops[io_loop_index(loop)];
}

/* ---- what is served with ---- */

static void serving_free(struct serving *serving)
{
	if (!serving)
		return;
	tls_context_put(serving->tls);
	for (size_t i = 0; i < serving->n_files; i++) {
		free((char *)serving->files[i].cert_path);
		free((char *)serving->files[i].key_path);
	}
	free(serving->files);
	free(serving->seen);
	free(serving->trusted);
	free(serving);
}

void front_files_look(const struct tls_files *files, size_t n, struct stat *seen)
{
	for (size_t i = 0; i < n; i++) {
		const char *paths[2] = {files[i].cert_path, files[i].key_path};

		for (unsigned j = 0; j < 2; j++) {
			char *path = state_path(paths[j]);

			memset(&seen[2 * i + j], 0, sizeof(*seen));
			if (path)
				stat(path, &seen[2 * i + j]);
			free(path);
		}
	}
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void files_add(struct serving *serving, const char *cert_path, const char *key_path)
{
	struct tls_files *at = &serving->files[serving->n_files++];

	at->cert_path = must(strdup(cert_path));
	at->key_path = must(strdup(key_path));
}

struct tls_context *front_context_new(const struct tls_files *files, size_t n, struct err *err)
{
	struct tls_provider provider;

	if (tls_files_provider(&provider, files, n, err) != 0)
		return NULL;
	return tls_context_new(provider, front.extra, front.extra_len, err);
}

static int load_tls(struct serving *serving, struct err *err)
{
	front_files_look(serving->files, serving->n_files, serving->seen);
	serving->made = core_now();
	serving->tls = front_context_new(serving->files, serving->n_files, err);
	return serving->tls ? 0 : -EINVAL;
}

static int prepare_tls(struct serving *serving, const struct core_conf *conf, struct err *err)
{
	const struct core_certificate *more = conf->http.tls_more.items;
	size_t n = conf->http.tls_more.count + 1;

	if (!conf->http.tls_cert_path)
		return 0;
	serving->files = must(calloc(n, sizeof(*serving->files)));
	serving->seen = must(calloc(2 * n, sizeof(*serving->seen)));
	files_add(serving, conf->http.tls_cert_path, conf->http.tls_key_path);
	for (size_t i = 0; i + 1 < n; i++)
		files_add(serving, more[i].cert_path, more[i].key_path);
	return load_tls(serving, err);
}

int front_prepare(const struct core_conf *conf, bool starting, struct err *err)
{
	struct serving *next = must(calloc(1, sizeof(*next)));
	const struct setting_list *trusted = &conf->http.trusted_proxies;
	unsigned loops = (unsigned)conf->io_loops;
	int rc;

	front_abandon();
	front.next = next;
	next->n_trusted = trusted->count;
	next->trusted = must(calloc(trusted->count + 1, sizeof(*next->trusted)));
	if (trusted->count)
		memcpy(next->trusted, trusted->items, trusted->count * sizeof(*next->trusted));
	next->limits.half_open = (unsigned)conf->http.half_open_max / loops + 1;
	next->limits.connections = (unsigned)conf->http.connections_max / loops + 1;
	rc = starting ? 0 : prepare_tls(next, conf, err);
	if (!rc)
		rc = front_listeners_prepare(conf, starting, err);
	if (rc)
		front_abandon();
	return rc;
}

int front_prepare_tls(const struct core_conf *conf, struct err *err)
{
	return prepare_tls(front.next, conf, err);
}

void front_abandon(void)
{
	front_listeners_abandon();
	serving_free(front.next);
	front.next = NULL;
}

static void give_here(void *arg)
{
	const struct serving *serving = arg;
	struct front_loop *loop = front_loop_of(io_loop_here());

	tls_context_put(loop->tls);
	loop->tls = tls_context_get(serving->tls);
	loop->limits = &serving->limits;
	loop->proxies = (struct head_proxies){serving->trusted, serving->n_trusted};
}

static void give_port_here(void *arg)
{
	front_loop_of(io_loop_here())->tls_port = *(const uint16_t *)arg;
}

void front_commit(void)
{
	struct serving *old = front.running;
	uint16_t port;
	bool tls;

	if (!front.next)
		return;
	front.running = front.next;
	front.next = NULL;
	io_on_each(give_here, front.running);
	serving_free(old);
	front_listeners_commit();
	port = front_port(&tls);
	io_on_each(give_port_here, &port);
}

struct net_endpoint front_where(bool *tls)
{
	const struct listener *first = front_listeners_first();

	*tls = first && first->tls;
	return first ? front_listener_where(first) : (struct net_endpoint){0};
}

uint16_t front_port(bool *tls)
{
	return front_where(tls).port;
}

/* ---- certificates that change ---- */

/* Connections keep the context that they began with. */
static int renew(struct err *err)
{
	struct serving *serving = front.running;
	struct tls_context *old = serving->tls;
	int rc;

	serving->tls = NULL;
	rc = load_tls(serving, err);
	if (rc) {
		serving->tls = old;
		return rc;
	}
	serving->problem.msg[0] = '\0';
	io_on_each(give_here, serving);
	tls_context_put(old);
	return 0;
}

const char *front_certificates_problem(void)
{
	return front.running && *front.running->problem.msg ? front.running->problem.msg : NULL;
}

bool front_files_differ(const struct stat *a, const struct stat *b, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++) {
		if (!state_file_same(&a[i], &b[i]))
			return true;
	}
	return false;
}

LOOP_CALLBACK(front_look, ev_timer)
{
	struct serving *serving = front.running;
	struct stat *now;
	struct err err = {0};
	bool changed;

	(void)loop, (void)watcher, (void)revents;
	front_own_look(false);
	if (!serving || !serving->tls)
		return;
	now = must(calloc(2 * serving->n_files, sizeof(*now)));
	front_files_look(serving->files, serving->n_files, now);
	changed = front_files_differ(now, serving->seen, serving->n_files);
	free(now);
	if (!changed && core_now() - serving->made < TICKETS_FOR)
		return;
	if (renew(&err)) {
		log_warnx("the certificates changed, and are not taken: %s", err.msg);
		serving->problem = err;
	} else if (changed) {
		log_info("the certificates were renewed");
	}
}

int front_extra_certificate(const void *der, size_t len, struct err *err)
{
	uint8_t *old = front.extra;
	size_t old_len = front.extra_len;
	int rc = 0;

	front.extra = der ? must(malloc(len)) : NULL;
	front.extra_len = len;
	if (der)
		memcpy(front.extra, der, len);
	if (front.running && front.running->tls)
		rc = renew(err);
	if (rc) {
		free(front.extra);
		front.extra = old;
		front.extra_len = old_len;
		return rc;
	}
	free(old);
	front_own_look(true);
	return 0;
}

/* ---- the listener for metrics is a user like any other ---- */

static void serve_metrics(struct front_request *request, void *user)
{
	size_t len;
	char *text = metrics_scrape(&len);

	(void)user;
	if (text)
		front_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
	else
		front_reply(request, 503, NULL, NULL, 0);
	free(text);
}

static void serve_hint(struct front_request *request, void *user)
{
	(void)user;
	front_reply_text(request, 200, "Tailplane. Metrics are at /metrics");
}

static const struct front_route metrics_routes[] = {
	{"GET", "/metrics", NULL, FRONT_METRICS | FRONT_ON_CONTROL, 0, serve_metrics, &front},
	{"GET", "/", NULL, FRONT_METRICS, 0, serve_hint, &front},
};

/* ---- life ---- */

static void open_here(void *arg)
{
	struct front_loop *loop = front_loop_of(io_loop_here());

	(void)arg;
	loop->io = io_loop_here();
	for (unsigned s = 0; s < CONN_STATES; s++)
		loop->lists[s].tail = &loop->lists[s].head;
	ev_init(&loop->tick, front_conns_tick);
	loop->tick.repeat = 0.5;
	loop->tick.data = loop;
}

static void close_here(void *arg)
{
	struct front_loop *loop = front_loop_of(io_loop_here());

	(void)arg;
	for (unsigned s = 0; s < CONN_STATES; s++) {
		while (loop->lists[s].head)
			front_conn_close(loop->lists[s].head);
	}
	ev_timer_stop(io_loop_ev(loop->io), &loop->tick);
	tls_context_put(loop->tls);
	loop->tls = NULL;
}

void front_start(void)
{
	front.loops = must(calloc(io_loop_count(), sizeof(*front.loops)));
	io_on_each(open_here, NULL);
	for (unsigned i = 0; i < sizeof(metrics_routes) / sizeof(metrics_routes[0]); i++)
		front_route_add(&metrics_routes[i], NULL);
	front_pages_add();
	ev_timer_init(&front.look, front_look, LOOK_EVERY, LOOK_EVERY);
	ev_timer_start(core_loop(), &front.look);
}

static void leave_here(void *arg)
{
	(void)arg;
	front_loop_of(io_loop_here())->leaving = true;
}

void front_leave(void)
{
	ev_timer_stop(core_loop(), &front.look);
	io_on_each(leave_here, NULL);
	front_listeners_close();
	front_own_leave();
}

void front_stop(void)
{
	ev_timer_stop(core_loop(), &front.look);
	front_listeners_close();
	front_routes_remove(&front);
	front_pages_remove();
	io_on_each(close_here, NULL);
	front_abandon();
	serving_free(front.running);
	free(front.loops);
	free(front.extra);
	memset(&front, 0, sizeof(front));
}

/* ---- counters ---- */

static const char *const state_names[CONN_STATES] = {
	[CONN_HELLO] = "hello",
	[CONN_TLS] = "handshake",
	[CONN_HEAD] = "request",
	[CONN_SERVING] = "serving",
	[CONN_ANSWER] = "answer",
	[CONN_IDLE] = "idle",
	[CONN_LINGER] = "closing",
};

static unsigned in_state(unsigned s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < io_loop_count(); i++)
		n += atomic_load_explicit(&front.loops[i].lists[s].n, memory_order_relaxed);
	return n;
}

bool front_is_busy(void)
{
	for (unsigned s = 0; s < CONN_STATES; s++)
		if (s != CONN_IDLE && s != CONN_LINGER && in_state(s))
			return true;
	return false;
}

void front_collect(struct metric_sink *sink)
{
	static const struct metric open = {"tailplane_http_connections", METRIC_GAUGE,
		"Connections to the HTTP listeners, by what they wait for; upgraded ones are no "
		"longer "
		"among them."};
	static const struct {
		struct metric metric;
		_Atomic uint64_t *value;
	} counters[] = {
		{{"tailplane_http_accepted_total", METRIC_COUNTER, "Connections accepted."},
			&front_counts.accepted},
		{{"tailplane_http_refused_total", METRIC_COUNTER,
			 "Connections closed at once: too many of them, or no memory."},
			&front_counts.refused},
		{{"tailplane_http_evicted_total", METRIC_COUNTER,
			 "Connections closed to make room for newer ones."},
			&front_counts.evicted},
		{{"tailplane_http_timed_out_total", METRIC_COUNTER,
			 "Connections whose handshake, request or reading of an answer took too "
			 "long."},
			&front_counts.timed_out},
		{{"tailplane_http_requests_total", METRIC_COUNTER, "Requests that came whole."},
			&front_counts.requests},
		{{"tailplane_http_upgraded_total", METRIC_COUNTER,
			 "Connections that went to a protocol of their own."},
			&front_counts.upgraded},
		{{"tailplane_http_tls_failed_total", METRIC_COUNTER,
			 "TLS handshakes that failed, wrong names among them."},
			&front_counts.tls_failed},
		{{"tailplane_http_no_descriptors_total", METRIC_COUNTER,
			 "Times that a connection waited and no descriptor was left."},
			&front_counts.no_descriptors},
	};

	for (unsigned s = 0; s < CONN_STATES; s++) {
		struct metric_label label = {"state", state_names[s]};

		metric_add(sink, &open, &label, 1, in_state(s));
	}
	for (unsigned i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		metric_add(sink, &counters[i].metric, NULL, 0,
			(double)atomic_load_explicit(counters[i].value, memory_order_relaxed));
}
