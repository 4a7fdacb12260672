/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane's operations: what `tailplane peers`, `ports`, `graph`, `drops` ... do. Control
 * loop. */
#include "ops_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "control.h"
#include "ether.h"
#include "neigh.h"
#include "workers.h"

const char *ops_arg_text(const json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

struct tunnel *ops_arg_tunnel(struct op_call *call, const json_t *args)
{
	const char *name = ops_arg_text(args, "tunnel");
	struct tunnel *t = tunnel_find(name);

	if (t)
		return t;
	if (name)
		op_fail(call, "there is no tunnel named \"%s\"", name);
	else if (n_tunnels)
		op_fail(call, "there are %u tunnels: say which with --tunnel NAME", n_tunnels);
	else
		op_fail(call, "no tunnel is configured: add one to dataplane.tunnels");
	return NULL;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static json_t *tunnel_row(const struct tunnel *t)
{
	const struct tunnel_counters *c = &t->counters;
	const struct net_prefix *address;
	char key[45], text[NET_PREFIX_STRLEN];
	json_t *list = json_array();

	tunnel_key_text(t, key);
	for (size_t i = 0; (address = tunnel_address(t, i)); i++)
		json_array_append_new(list, json_string(net_prefix_format(address, text)));
	return json_pack(
		"{ss ss ss si si so si sb s{sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI}}", "name",
		t->name, "interface", t->interface, "public_key", key, "listen_port",
		t->listen_port, "mtu", t->dp->mtu, "addresses", list, "peers", t->n_peers,
		"under_load", core_now() < t->loaded_until, "handshakes", "initiations_sent",
		(json_int_t)c->initiations_sent, "initiations_received",
		(json_int_t)c->initiations_received, "responses_sent",
		(json_int_t)c->responses_sent, "responses_received",
		(json_int_t)c->responses_received, "cookies_sent", (json_int_t)c->cookies_sent,
		"cookies_received", (json_int_t)c->cookies_received, "completed",
		(json_int_t)c->handshakes_completed, "refused_mac1", (json_int_t)c->refused_mac1,
		"refused_authentic", (json_int_t)c->refused_authentic, "refused_unknown_peer",
		(json_int_t)c->refused_unknown_peer, "refused_replayed",
		(json_int_t)c->refused_replayed, "refused_flooded", (json_int_t)c->refused_flooded,
		"refused_unexpected", (json_int_t)c->refused_unexpected, "refused_ratelimit",
		(json_int_t)c->refused_ratelimit, "refused_queue_full",
		(json_int_t)c->refused_queue_full);
}

static void tunnels_run(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();

	(void)args;
	for (uint32_t i = 0; i < n_tunnels; i++)
		if (tunnels[i])
			json_array_append_new(rows, tunnel_row(tunnels[i]));
	op_reply(call, rows);
}

static void tunnels_address_run(struct op_call *call, const json_t *args)
{
	const json_t *list = json_object_get(args, "addresses"), *text;
	struct tunnel *t = ops_arg_tunnel(call, args);
	struct net_prefix address;
	struct err err = {0};
	size_t i;
	int rc = 0;

	if (!t)
		return;
	json_array_foreach (list, i, text) {
		if (!rc && net_prefix_parse(&address, json_string_value(text)))
			rc = err_set(&err, -EINVAL,
				"%s is no address with the length of its network",
				json_string_value(text));
		if (!rc)
			rc = tunnel_address_add(t, &address, &err);
	}
	if (rc)
		op_fail(call, "%s", err.msg);
	else
		op_reply(call, tunnel_row(t));
}

static json_t *port_row(struct port *port)
{
	static const char *const types[] = {"ethernet", "tun", "udp"};
	struct port_counters sum = {0};
	json_t *row;

	for (unsigned i = 0; i < port->n_queues; i++) {
		const struct port_counters *c = &port->queues[i].counters;

		sum.rx_packets += c->rx_packets;
		sum.rx_bytes += c->rx_bytes;
		sum.tx_packets += c->tx_packets;
		sum.tx_bytes += c->tx_bytes;
		sum.rx_calls += c->rx_calls;
		sum.tx_calls += c->tx_calls;
		sum.rx_dropped += c->rx_dropped;
		sum.tx_dropped += c->tx_dropped;
	}
	row = json_pack("{ss ss ss ss si si sI sI sI sI sI sI sI sI}", "name", port->name, "type",
		types[port->type], "state", port->up ? "up" : "down", "reason", port->reason,
		"queues", port->n_queues, "mtu", port->mtu, "rx_packets",
		(json_int_t)sum.rx_packets, "rx_bytes", (json_int_t)sum.rx_bytes, "tx_packets",
		(json_int_t)sum.tx_packets, "tx_bytes", (json_int_t)sum.tx_bytes, "rx_calls",
		(json_int_t)sum.rx_calls, "tx_calls", (json_int_t)sum.tx_calls, "rx_dropped",
		(json_int_t)sum.rx_dropped, "tx_dropped", (json_int_t)sum.tx_dropped);
	if (row && port->ops->describe)
		port->ops->describe(port, row);
	return row;
}

static void ports_run(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();

	(void)args;
	for (unsigned i = 0; i < PORT_MAX; i++)
		if (control_port((uint16_t)i))
			json_array_append_new(rows, port_row(control_port((uint16_t)i)));
	op_reply(call, rows);
}

static void graph_run(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();

	(void)args;
	workers_graph_rows(rows);
	op_reply(call, rows);
}

uint64_t drops_sum(unsigned number)
{
	uint64_t sum = control_drops[number];

	for (unsigned i = 0; i < workers_count(); i++)
		sum += worker_get(i)->counters.drops[number];
	return sum;
}

static void drops_run(struct op_call *call, const json_t *args)
{
	bool all = json_is_true(json_object_get(args, "all"));
	json_t *rows = json_array();
	const char *name, *meaning;

	for (unsigned i = 0; (name = graph_drop_name(i, &meaning)); i++) {
		uint64_t count = drops_sum(i);

		if (count || all)
			json_array_append_new(
				rows, json_pack("{ss sI ss}", "reason", name, "packets",
					      (json_int_t)count, "meaning", meaning));
	}
	op_reply(call, rows);
}

static void workers_run(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();

	(void)args;
	for (unsigned i = 0; i < workers_count(); i++) {
		const struct worker_counters *c = &worker_get(i)->counters;

		json_array_append_new(rows,
			json_pack("{si sI sI sI sf sI sI}", "worker", i, "rounds",
				(json_int_t)c->rounds, "busy_rounds", (json_int_t)c->busy_rounds,
				"sleeps", (json_int_t)c->sleeps, "busy",
				c->total_cycles
					? 100. * (double)c->busy_cycles / (double)c->total_cycles
					: 0.,
				"packets", (json_int_t)c->rx_packets, "bytes",
				(json_int_t)c->rx_bytes));
	}
	op_reply(call, rows);
}

static void neighbours_run(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();

	(void)args;
	if (ether_fib())
		neigh_rows(rows);
	op_reply(call, rows);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define TUNNEL_ARG                                                        \
	{                                                                 \
		"tunnel", SETTING_STRING, 0, NULL, "tunnels:name",        \
			"which tunnel; not needed when there is only one" \
	}
#define PEER_ARGS                                                                             \
	{"name", SETTING_STRING, 0, NULL, NULL, "what to call the peer"},                     \
		{"allowed-ips", SETTING_PREFIX, OP_ARG_LIST, NULL, NULL,                      \
			"prefixes routed to the peer, and accepted from it"},                 \
		{"endpoint", SETTING_ENDPOINT, 0, NULL, NULL, "where it listens: host:port"}, \
		{"persistent-keepalive", SETTING_DURATION, 0, NULL, NULL,                     \
			"an empty packet after this much silence; 0s: off"},                  \
		{"preshared-key-file", SETTING_STRING, OP_ARG_SECRET_FILE, NULL, NULL,        \
			"file with a preshared key; - for standard input"},                   \
		{"volatile", SETTING_BOOL, 0, NULL, NULL,                                     \
			"only until the next restart or reload"},                             \
		TUNNEL_ARG

static const struct op_arg tunnel_args[] = {TUNNEL_ARG, {0}};

static const struct op_arg address_args[] = {
	{"addresses", SETTING_PREFIX, OP_ARG_REQUIRED | OP_ARG_POSITIONAL | OP_ARG_LIST, NULL, NULL,
		"addresses with the length of their network"},
	TUNNEL_ARG, {0}};

static const struct op_arg peers_add_args[] = {
	{"public-key", SETTING_KEY, OP_ARG_REQUIRED | OP_ARG_POSITIONAL, NULL, NULL,
		"the peer's public key, base64"},
	PEER_ARGS, {0}};

static const struct op_arg peers_set_args[] = {
	{"peer", SETTING_STRING, OP_ARG_REQUIRED | OP_ARG_POSITIONAL, NULL, "peers:name",
		"name or public key"},
	PEER_ARGS, {0}};

static const struct op_arg peers_remove_args[] = {
	{"peer", SETTING_STRING, OP_ARG_REQUIRED | OP_ARG_POSITIONAL, NULL, "peers:name",
		"name or public key"},
	{"volatile", SETTING_BOOL, 0, NULL, NULL, "only until the next restart or reload"},
	TUNNEL_ARG, {0}};

static const struct op_arg drops_args[] = {
	{"all", SETTING_BOOL, 0, NULL, NULL, "also those that never happened"}, {0}};

static const struct op_column peers_columns[] = {{"tunnel", "TUNNEL", OP_TEXT},
	{"name", "PEER", OP_TEXT}, {"endpoint", "ENDPOINT", OP_TEXT},
	{"latest_handshake", "LATEST HANDSHAKE", OP_AGO}, {"rx_bytes", "RECEIVED", OP_TRAFFIC},
	{"tx_bytes", "SENT", OP_TRAFFIC}, {"allowed_ips", "ALLOWED IPS", OP_TEXT}, {0}};

/* One peer, as it was added or changed: what has no column stands below. */
static const struct op_column peer_columns[] = {{"tunnel", "TUNNEL", OP_TEXT},
	{"name", "PEER", OP_TEXT}, {"endpoint", "ENDPOINT", OP_TEXT},
	{"latest_handshake", "LATEST HANDSHAKE", OP_AGO}, {"rx_bytes", "RECEIVED", OP_TRAFFIC},
	{"tx_bytes", "SENT", OP_TRAFFIC}, {"allowed_ips", "ALLOWED IPS", OP_TEXT},
	{"persistent_keepalive", "PERSISTENT KEEPALIVE", OP_DURATION}, {0}};

static const struct op_column tunnels_columns[] = {{"name", "TUNNEL", OP_TEXT},
	{"interface", "INTERFACE", OP_TEXT}, {"public_key", "PUBLIC KEY", OP_TEXT},
	{"listen_port", "PORT", OP_TEXT}, {"mtu", "MTU", OP_TEXT},
	{"addresses", "ADDRESSES", OP_TEXT}, {"peers", "PEERS", OP_COUNT}, {0}};

static const struct op_column ports_columns[] = {{"name", "PORT", OP_TEXT},
	{"type", "TYPE", OP_TEXT}, {"state", "STATE", OP_STATE}, {"queues", "QUEUES", OP_COUNT},
	{"mtu", "MTU", OP_TEXT}, {"rx_packets", "RX PACKETS", OP_COUNTER},
	{"rx_bytes", "RX", OP_TRAFFIC}, {"tx_packets", "TX PACKETS", OP_COUNTER},
	{"tx_bytes", "TX", OP_TRAFFIC}, {"rx_dropped", "RX DROPS", OP_COUNTER},
	{"tx_dropped", "TX DROPS", OP_COUNTER}, {"reason", "WHY", OP_TEXT}, {0}};

static const struct op_column graph_columns[] = {{"node", "NODE", OP_TEXT},
	{"calls", "CALLS", OP_COUNTER}, {"packets", "PACKETS", OP_COUNTER},
	{"packets_per_call", "PKTS/CALL", OP_COUNT}, {"cycles_per_packet", "CYCLES/PKT", OP_COUNT},
	{"help", "WHAT IT DOES", OP_TEXT}, {0}};

static const struct op_column drops_columns[] = {{"reason", "REASON", OP_TEXT},
	{"packets", "PACKETS", OP_COUNTER}, {"meaning", "MEANING", OP_TEXT}, {0}};

static const struct op_column workers_columns[] = {{"worker", "WORKER", OP_TEXT},
	{"busy", "BUSY", OP_PERCENT}, {"packets", "PACKETS", OP_COUNTER},
	{"bytes", "BYTES", OP_TRAFFIC}, {"rounds", "ROUNDS", OP_COUNTER},
	{"busy_rounds", "BUSY ROUNDS", OP_COUNTER}, {"sleeps", "SLEEPS", OP_COUNTER}, {0}};

const struct op dataplane_ops[] = {
	{"peers", "Peers of the tunnels, with their latest handshake, endpoint and traffic",
		OP_READ, tunnel_args, peers_columns, peers_run},
	{"peers add", "Adds a peer, and keeps it over restarts", OP_WRITE, peers_add_args,
		peer_columns, peers_add_run},
	{"peers set", "Changes a peer; what is not given stays", OP_WRITE, peers_set_args,
		peer_columns, peers_set_run},
	{"peers remove", "Removes a peer", OP_WRITE, peers_remove_args, peer_columns,
		peers_remove_run},
	{"tunnels", "Tunnels: key, port, addresses, handshake counters", OP_READ, NULL,
		tunnels_columns, tunnels_run},
	{"tunnels address", "Adds addresses of this machine to a tunnel, until it closes", OP_WRITE,
		address_args, tunnels_columns, tunnels_address_run},
	{"ports", "Ports and their traffic", OP_READ, NULL, ports_columns, ports_run},
	{"graph", "Graph nodes: calls, packets, packets per call, cycles per packet", OP_READ, NULL,
		graph_columns, graph_run},
	{"drops", "Every way a packet was lost, and what it means", OP_READ, drops_args,
		drops_columns, drops_run},
	{"workers", "Workers: how busy they are", OP_READ, NULL, workers_columns, workers_run},
	{"neighbours", "Neighbours on the Ethernet ports", OP_READ, NULL, NULL, neighbours_run},
	{"capture", "Captures packets to a pcapng file", OP_READ, capture_args, NULL, capture_op},
	{0},
};
