/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane's metrics and its part of `tailplane status`. Control loop. */
#include <string.h>

#include "aead.h"
#include "control.h"
#include "workers.h"

#define PEERS_MAX 1000 /* bounded cardinality */

static const struct metric drops_metric = {
	"tailplane_drops_total", METRIC_COUNTER, "Packets lost, by reason."};
static const struct metric busy_metric = {"tailplane_worker_busy_ratio", METRIC_GAUGE,
	"Share of its cycles that a worker spent on rounds with packets."};
static const struct metric packets_metric = {
	"tailplane_worker_packets_total", METRIC_COUNTER, "Packets that a worker took."};
static const struct metric bytes_metric = {
	"tailplane_worker_bytes_total", METRIC_COUNTER, "Bytes that a worker took."};
static const struct metric bursts_metric = {"tailplane_worker_bursts_total", METRIC_COUNTER,
	"Bursts that a worker received, by their largest size."};
static const struct metric sleeps_metric = {
	"tailplane_worker_sleeps_total", METRIC_COUNTER, "How often a worker went to sleep."};
static const struct metric punts_metric = {
	"tailplane_worker_punts_total", METRIC_COUNTER, "Packets handed up to control, by class."};
static const struct metric handshakes_metric = {"tailplane_handshakes_total", METRIC_COUNTER,
	"Handshake messages and what became of them."};
static const struct metric peers_metric = {"tailplane_peers", METRIC_GAUGE, "Peers of a tunnel."};
static const struct metric port_rx_metric = {
	"tailplane_port_receive_bytes_total", METRIC_COUNTER, "Bytes received by a port."};
static const struct metric port_tx_metric = {
	"tailplane_port_transmit_bytes_total", METRIC_COUNTER, "Bytes sent by a port."};
static const struct metric port_returns_metric = {"tailplane_port_returns_total", METRIC_COUNTER,
	"Times that a port was opened anew by itself, since the kernel had stopped serving it."};
static const struct metric port_up_metric = {
	"tailplane_port_up", METRIC_GAUGE, "Whether a port's link is up."};
static const struct metric peer_rx_metric = {
	"tailplane_peer_receive_bytes_total", METRIC_COUNTER, "Bytes received from a peer."};
static const struct metric peer_tx_metric = {
	"tailplane_peer_transmit_bytes_total", METRIC_COUNTER, "Bytes sent to a peer."};
static const struct metric peer_handshake_metric = {"tailplane_peer_last_handshake_seconds",
	METRIC_GAUGE, "Unix time of a peer's latest handshake; 0: none."};

static void drops_collect(struct metric_sink *sink)
{
	const char *name, *meaning;

	for (unsigned i = 0; (name = graph_drop_name(i, &meaning)); i++) {
		struct metric_label label = {"reason", name};

		metric_add(sink, &drops_metric, &label, 1, (double)drops_sum(i));
	}
}

static double worker_value(const struct worker_counters *c, const struct metric *metric)
{
	if (metric == &busy_metric)
		return c->total_cycles ? (double)c->busy_cycles / (double)c->total_cycles : 0.;
	if (metric == &packets_metric)
		return (double)c->rx_packets;
	if (metric == &bytes_metric)
		return (double)c->rx_bytes;
	return (double)c->sleeps;
}

static void workers_collect(struct metric_sink *sink)
{
	static const struct metric *const simple[] = {
		&busy_metric, &packets_metric, &bytes_metric, &sleeps_metric};
	char id[12];

	for (unsigned k = 0; k < RTE_DIM(simple); k++)
		for (unsigned i = 0; i < workers_count(); i++) {
			struct metric_label label = {"worker", id};

			snprintf(id, sizeof(id), "%u", i);
			metric_add(sink, simple[k], &label, 1,
				worker_value(&worker_get(i)->counters, simple[k]));
		}
}

static void worker_classes_collect(struct metric_sink *sink)
{
	static const char *const sizes[] = {"1", "2", "4", "8", "16", "32", "64"};
	static const char *const classes[PUNT_CLASSES] = {
		"handshake", "staged", "neighbour", "mirror", "capture"};
	char id[12];
	struct metric_label labels[2] = {{"worker", id}, {0}};

	for (unsigned i = 0; i < workers_count(); i++) {
		snprintf(id, sizeof(id), "%u", i);
		labels[1].name = "size";
		for (unsigned k = 0; k < RTE_DIM(sizes); k++) {
			labels[1].value = sizes[k];
			metric_add(sink, &bursts_metric, labels, 2,
				(double)worker_get(i)->counters.burst_histogram[k]);
		}
	}
	for (unsigned i = 0; i < workers_count(); i++) {
		snprintf(id, sizeof(id), "%u", i);
		labels[1].name = "class";
		for (unsigned k = 0; k < PUNT_CLASSES; k++) {
			labels[1].value = classes[k];
			metric_add(sink, &punts_metric, labels, 2,
				(double)worker_get(i)->counters.punts[k]);
		}
	}
}

static void handshakes_collect(struct metric_sink *sink)
{
	for (uint32_t i = 0; i < n_tunnels; i++) {
		const struct tunnel *t = tunnels[i];
		const struct tunnel_counters *c = t ? &t->counters : NULL;
		const struct {
			const char *event;
			uint64_t value;
		} rows[] = {
			{"initiation_sent", c ? c->initiations_sent : 0},
			{"initiation_received", c ? c->initiations_received : 0},
			{"response_sent", c ? c->responses_sent : 0},
			{"response_received", c ? c->responses_received : 0},
			{"cookie_sent", c ? c->cookies_sent : 0},
			{"cookie_received", c ? c->cookies_received : 0},
			{"completed", c ? c->handshakes_completed : 0},
			{"refused_mac1", c ? c->refused_mac1 : 0},
			{"refused_authentic", c ? c->refused_authentic : 0},
			{"refused_unknown_peer", c ? c->refused_unknown_peer : 0},
			{"refused_replayed", c ? c->refused_replayed : 0},
			{"refused_flooded", c ? c->refused_flooded : 0},
			{"refused_unexpected", c ? c->refused_unexpected : 0},
			{"refused_ratelimit", c ? c->refused_ratelimit : 0},
			{"refused_queue_full", c ? c->refused_queue_full : 0},
		};

		for (unsigned k = 0; t && k < RTE_DIM(rows); k++) {
			struct metric_label labels[] = {
				{"tunnel", t->name}, {"event", rows[k].event}};

			metric_add(sink, &handshakes_metric, labels, 2, (double)rows[k].value);
		}
	}
}

/* Sum over the queues. */
static double port_bytes(const struct port *port, bool received)
{
	uint64_t sum = 0;

	for (unsigned q = 0; q < port->n_queues; q++) {
		const struct port_counters *c = &port->queues[q].counters;

		sum += received ? c->rx_bytes : c->tx_bytes;
	}
	return (double)sum;
}

static double port_value(const struct port *port, const struct metric *metric)
{
	if (metric == &port_up_metric)
		return port->up;
	if (metric == &port_returns_metric)
		return port->back.count;
	return port_bytes(port, metric == &port_rx_metric);
}

static void port_collect(struct metric_sink *sink, const struct metric *metric)
{
	for (unsigned i = 0; i < PORT_MAX; i++) {
		const struct port *port = control_port((uint16_t)i);
		struct metric_label label = {"port", port ? port->name : ""};

		if (port && (metric != &port_returns_metric || port->type == PORT_ETHER))
			metric_add(sink, metric, &label, 1, port_value(port, metric));
	}
}

static double peer_value(const struct peer *p, const struct metric *metric)
{
	struct peer_totals traffic;

	if (metric == &peer_handshake_metric)
		return (double)p->last_handshake_unix;
	peer_traffic_sum(p, &traffic);
	return (double)(metric == &peer_rx_metric ? traffic.rx_bytes : traffic.tx_bytes);
}

static void peers_collect(struct metric_sink *sink, const struct metric *metric)
{
	char key[45];
	unsigned n = 0;

	for (uint32_t i = 0; i < peers.max && n < PEERS_MAX; i++) {
		const struct peer *p = peer_by_index(i);
		struct metric_label labels[] = {{"tunnel", ""}, {"peer", ""}, {"public_key", key}};

		if (!p)
			continue;
		n++;
		labels[0].value = p->tunnel->name;
		labels[1].value = p->spec.name;
		setting_format_key(p->spec.public_key.bytes, key);
		metric_add(sink, metric, labels, 3, peer_value(p, metric));
	}
}

void dataplane_collect(struct metric_sink *sink)
{
	drops_collect(sink);
	workers_collect(sink);
	worker_classes_collect(sink);
	handshakes_collect(sink);
	for (uint32_t i = 0; i < n_tunnels; i++)
		if (tunnels[i]) {
			struct metric_label label = {"tunnel", tunnels[i]->name};

			metric_add(sink, &peers_metric, &label, 1, tunnels[i]->n_peers);
		}
	port_collect(sink, &port_up_metric);
	port_collect(sink, &port_returns_metric);
	port_collect(sink, &port_rx_metric);
	port_collect(sink, &port_tx_metric);
	if (!dataplane_conf()->peer_metrics)
		return;
	peers_collect(sink, &peer_rx_metric);
	peers_collect(sink, &peer_tx_metric);
	peers_collect(sink, &peer_handshake_metric);
}

void dataplane_status(json_t *status)
{
	json_object_set_new(status, "aead", json_string(aead_chosen()->name));
	json_object_set_new(status, "memory", json_string(eal_memory()));
	json_object_set_new(status, "workers", json_integer(workers_count()));
	json_object_set_new(status, "poll",
		json_string(dataplane_conf()->poll == POLL_BUSY ? "busy" : "adaptive"));
	json_object_set_new(status, "tunnels", json_integer(n_tunnels));
}
