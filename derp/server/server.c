/* SPDX-License-Identifier: BSD-3-Clause */
/* The relay's life, and its figures. Runs on: the control loop, but for what its loops call. */
#include "server.h"

#include <stdlib.h>
#include <string.h>

#include "relay.h"
#include "x25519.h"

struct server server;

const char *const derp_via_names[] = {
	[DERP_VIA_UPGRADE] = "upgrade",
	[DERP_VIA_FAST] = "fast",
	[DERP_VIA_WEBSOCKET] = "websocket",
	[DERP_VIA_MESH] = "mesh",
	[DERP_VIA_OLDER] = "old process",
	[DERP_VIA_NEWER] = "new process",
};
const char *const derp_drop_names[DERP_DROPS] = {
	[DERP_DROP_UNKNOWN_DEST] = "unknown_dest",
	[DERP_DROP_UNKNOWN_DEST_ON_FWD] = "unknown_dest_on_fwd",
	[DERP_DROP_GONE_DISCONNECTED] = "gone_disconnected",
	[DERP_DROP_QUEUE_HEAD] = "queue_head",
	[DERP_DROP_QUEUE_TAIL] = "queue_tail",
	[DERP_DROP_WRITE_ERROR] = "write_error",
	[DERP_DROP_DUP_CLIENT] = "dup_client",
};
const char *const derp_kind_names[DERP_KINDS] = {
	[DERP_KIND_OTHER] = "other",
	[DERP_KIND_DISCO] = "disco",
};
const char *const derp_rtt_names[DERP_RTTS] = {
	"10ms", "20ms", "50ms", "100ms", "150ms", "250ms", "500ms", "inf"};

struct derp_loop *derp_loop_here(void)
{
	return &server.loops[io_loop_index(io_loop_here())];
}

const struct public_key *derp_server_key(void)
{
	return &server.key;
}

/* ---- life ---- */

static void open_here(void *arg)
{
	struct derp_loop *loop = derp_loop_here();

	(void)arg;
	loop->conf = server.conf;
	loop_open(loop, io_loop_here(), io_loop_index(io_loop_here()));
}

static void configure_here(void *arg)
{
	(void)arg;
	derp_loop_here()->conf = server.conf;
}

static void shut_here(void *arg)
{
	(void)arg;
	loop_shut(derp_loop_here());
}

static void close_here(void *arg)
{
	struct derp_loop *loop = derp_loop_here();

	(void)arg;
	loop_close(loop);
	secret_zero(&loop->conf, sizeof(loop->conf));
}

int derp_server_start(const struct derp_server_conf *conf, struct err *err)
{
	int rc;

	memset(&server, 0, sizeof(server));
	server.conf = *conf;
	x25519_public(&server.key, &conf->key);
	secret_random(&server.seed, sizeof(server.seed));
	server.n = io_loop_count();
	server.loops = aligned_alloc(64, server.n * sizeof(*server.loops));
	if (!server.loops)
		abort();
	memset(server.loops, 0, server.n * sizeof(*server.loops));
	io_on_each(open_here, NULL);
	rc = meta_certificate(err);
	if (!rc)
		rc = upgrade_routes(err);
	if (rc)
		derp_server_stop();
	return rc;
}

void derp_server_stop(void)
{
	front_routes_remove(&server);
	front_extra_certificate(NULL, 0, NULL);
	io_on_each(shut_here, NULL);
	io_flush(); /* what loops told each other of it */
	io_flush(); /* and what came of that */
	io_on_each(close_here, NULL);
	for (unsigned i = 0; i < server.n; i++)
		loop_free(&server.loops[i]);
	limits_fini();
	free(server.loops);
	secret_zero(&server, sizeof(server));
}

void derp_server_configure(const struct derp_server_conf *conf)
{
	server.conf = *conf;
	io_on_each(configure_here, NULL);
}

/* ---- figures ---- */

static uint64_t value(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_loop(struct derp_figures *figures, const struct counters *counters)
{
#define X(name) figures->name += value(&counters->name);
	DERP_COUNTERS(X)
	DERP_GAUGES(X)
#undef X
	for (unsigned why = 0; why < DERP_DROPS; why++) {
		for (unsigned kind = 0; kind < DERP_KINDS; kind++) {
			figures->dropped_packets[why][kind] +=
				value(&counters->dropped_packets[why][kind]);
			figures->dropped_bytes[why][kind] +=
				value(&counters->dropped_bytes[why][kind]);
		}
	}
	for (unsigned i = 0; i < DERP_RTTS; i++)
		figures->tcp_rtt[i] += value(&counters->tcp_rtt[i]);
}

void derp_server_figures(struct derp_figures *figures)
{
	memset(figures, 0, sizeof(*figures));
	for (unsigned i = 0; i < server.n; i++)
		add_loop(figures, &server.loops[i].counters);
}
