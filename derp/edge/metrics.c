/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "metrics.h"

#include <stddef.h>

#include "health.h"
#include "mesh.h"
#include "server.h"
#include "stun_server.h"
#include "verify.h"

struct figure {
	struct metric metric;
	size_t offset; /* in struct derp_figures */
};

#define AT(name) offsetof(struct derp_figures, name)

static const struct figure ours[] = {
#define X(name)                                                              \
	{{"tailplane_derp_" #name "_total", METRIC_COUNTER,                  \
		 "Relay: " #name ", as `tailplane derp status` counts it."}, \
		AT(name)},
	DERP_COUNTERS(X)
#undef X
#define X(name) {{"tailplane_derp_" #name, METRIC_GAUGE, "Relay: " #name ", now."}, AT(name)},
		DERP_GAUGES(X)
#undef X
};

#define COUNTER(derper, name)                                                \
	{                                                                    \
		{"derp_" derper, METRIC_COUNTER,                             \
			"derper's name of tailplane_derp_" #name "_total."}, \
			AT(name)                                             \
	}
#define GAUGE(derper, name)                                                                   \
	{                                                                                     \
		{"derp_" derper, METRIC_GAUGE, "derper's name of tailplane_derp_" #name "."}, \
			AT(name)                                                              \
	}

static const struct figure derpers[] = {
	COUNTER("accepts", accepts),
	COUNTER("websocket_accepts", accepts_websocket),
	COUNTER("bytes_received", bytes_received),
	COUNTER("bytes_sent", bytes_sent),
	COUNTER("packets_sent", packets_sent),
	COUNTER("packets_forwarded_in", packets_forwarded_in),
	COUNTER("packets_forwarded_out", packets_forwarded_out),
	COUNTER("unknown_frames", unknown_frames),
	COUNTER("got_ping", got_ping),
	COUNTER("sent_pong", sent_pong),
	COUNTER("home_moves_in", home_moves_in),
	COUNTER("home_moves_out", home_moves_out),
	COUNTER("peer_gone_disconnected_frames", peer_gone_disconnected_frames),
	COUNTER("peer_gone_not_here_frames", peer_gone_not_here_frames),
	COUNTER("multiforwarder_created", multiforwarder_created),
	COUNTER("multiforwarder_deleted", multiforwarder_deleted),
	COUNTER("sclient_write_timeouts", write_timeouts),
	COUNTER("total_dup_client_conns", dup_client_conns),
	GAUGE("current_connections", connections),
	GAUGE("current_home_connections", home_connections),
	GAUGE("current_notideal_connections", not_ideal_connections),
	GAUGE("current_dup_client_keys", dup_client_keys),
	GAUGE("current_dup_client_conns", dup_client_connections),
	GAUGE("clients_local", clients_local),
	GAUGE("clients_remote", clients_remote),
	GAUGE("watchers", watchers),
};

static void add(struct metric_sink *sink, const struct figure *figures, size_t n,
	const struct derp_figures *values)
{
	for (size_t i = 0; i < n; i++)
		metric_add(sink, &figures[i].metric, NULL, 0,
			(double)*(const uint64_t *)((const char *)values + figures[i].offset));
}

static void add_drops(struct metric_sink *sink, const struct metric *metric,
	const uint64_t values[DERP_DROPS][DERP_KINDS])
{
	for (unsigned why = 0; why < DERP_DROPS; why++)
		for (unsigned kind = 0; kind < DERP_KINDS; kind++) {
			struct metric_label labels[] = {
				{"reason", derp_drop_names[why]}, {"kind", derp_kind_names[kind]}};

			metric_add(sink, metric, labels, 2, (double)values[why][kind]);
		}
}

static void add_received(struct metric_sink *sink, const struct derp_figures *f)
{
	static const struct metric all = {"derp_packets_received", METRIC_COUNTER,
		"derper's name of both tailplane_derp_packets_received_..._total."};
	static const struct metric kinds = {"derp_packets_received_kind", METRIC_COUNTER,
		"derper's name of tailplane_derp_packets_received_..._total."};
	struct metric_label disco = {"kind", "disco"}, other = {"kind", "other"};

	metric_add(sink, &all, NULL, 0,
		(double)(f->packets_received_disco + f->packets_received_other));
	metric_add(sink, &kinds, &disco, 1, (double)f->packets_received_disco);
	metric_add(sink, &kinds, &other, 1, (double)f->packets_received_other);
}

static void add_rtt(
	struct metric_sink *sink, const struct metric *metric, const uint64_t values[DERP_RTTS])
{
	for (unsigned i = 0; i < DERP_RTTS; i++) {
		struct metric_label le = {"le", derp_rtt_names[i]};

		metric_add(sink, metric, &le, 1, (double)values[i]);
	}
}

static void add_totals(struct metric_sink *sink, const struct derp_figures *f)
{
	static const struct metric clients = {"derp_clients_total", METRIC_GAUGE,
		"derper's name of tailplane_derp_clients_local and _remote together."};
	static const struct metric works = {
		"tailplane_derp_works", METRIC_GAUGE, "1: a client of our own could connect."};

	metric_add(sink, &clients, NULL, 0, (double)(f->clients_local + f->clients_remote));
	metric_add(sink, &works, NULL, 0, health_problem() ? 0. : 1.);
}

void derp_metrics_collect(struct metric_sink *sink)
{
	static const struct metric packets = {"tailplane_derp_dropped_packets_total",
		METRIC_COUNTER, "Packets that were not relayed, by reason and kind."};
	static const struct metric bytes = {"tailplane_derp_dropped_bytes_total", METRIC_COUNTER,
		"Bytes of packets that were not relayed, by reason and kind."};
	static const struct metric derpers_packets = {"derp_packets_dropped", METRIC_COUNTER,
		"derper's name of tailplane_derp_dropped_packets_total."};
	static const struct metric derpers_bytes = {"derp_bytes_dropped", METRIC_COUNTER,
		"derper's name of tailplane_derp_dropped_bytes_total."};
	static const struct metric rtt = {"tailplane_derp_tcp_rtt_total", METRIC_COUNTER,
		"Round trips to clients as TCP measures them, looked at with each keep-alive, by "
		"how long they take at most (each is counted once)."};
	static const struct metric derpers_rtt = {
		"derp_tcp_rtt", METRIC_COUNTER, "derper's name of tailplane_derp_tcp_rtt_total."};
	struct derp_figures figures;

	derp_server_figures(&figures);
	add(sink, ours, sizeof(ours) / sizeof(*ours), &figures);
	add_drops(sink, &packets, figures.dropped_packets);
	add_drops(sink, &bytes, figures.dropped_bytes);
	add(sink, derpers, sizeof(derpers) / sizeof(*derpers), &figures);
	add_received(sink, &figures);
	add_rtt(sink, &rtt, figures.tcp_rtt);
	add_rtt(sink, &derpers_rtt, figures.tcp_rtt);
	add_totals(sink, &figures);
	add_drops(sink, &derpers_packets, figures.dropped_packets);
	add_drops(sink, &derpers_bytes, figures.dropped_bytes);
	derp_mesh_collect(sink);
	verify_collect(sink);
	stun_collect(sink);
}
