/* SPDX-License-Identifier: BSD-3-Clause */
/* Metrics and `tailplane status` of the upper half. Control loop. */
#include <tailplane/metrics.h>

#include "control.h"
#include "policy_door.h"
#include "relays.h"

struct figure {
	struct metric metric;
	uint64_t value;
};

#define COUNTER(name, value, help)                                                \
	{                                                                         \
		{"tailplane_control_" name "_total", METRIC_COUNTER, help}, value \
	}
#define GAUGE(name, value, help)                                       \
	{                                                              \
		{"tailplane_control_" name, METRIC_GAUGE, help}, value \
	}

static void add_all(struct metric_sink *sink, const struct figure *figures, size_t n)
{
	for (size_t i = 0; i < n; i++)
		metric_add(sink, &figures[i].metric, NULL, 0, (double)figures[i].value);
}

static void collect_tailnet(struct metric_sink *sink)
{
	const struct tailnet *t = &control.tailnet;
	const struct server_stats *s = &control.server.stats;
	const struct figure figures[] = {
		GAUGE("users", t->n_users, "Users."),
		GAUGE("nodes", t->n_nodes, "Nodes."),
		GAUGE("nodes_online", t->n_online, "Nodes that others are told are online."),
		GAUGE("pending_registrations", t->n_pending, "Machines that wait for a person."),
		COUNTER("registrations", s->registrations, "Registrations that were accepted."),
		COUNTER("registrations_refused", s->refused, "Registrations that were refused."),
		COUNTER("reports", s->reports, "Map requests that told what changed at a client."),
		COUNTER("unknown_nodes", s->unknown_nodes,
			"Map requests of machines whose node is not there."),
		COUNTER("probes", s->probes, "Routers asked whether they live."),
		COUNTER("probes_lost", s->probes_lost, "Of these, not answered in time."),
	};

	add_all(sink, figures, sizeof(figures) / sizeof(*figures));
}

static void collect_map(struct metric_sink *sink)
{
	const struct map_stats *s = map_stats(control.map);
	const struct figure figures[] = {
		GAUGE("streams", s->streams, "Map streams of clients."),
		COUNTER("map_ticks", s->ticks, "Times that changes were sent."),
		COUNTER("full_maps", s->full_maps, "Full maps sent."),
		COUNTER("full_map_records", s->full_records, "Records of peers in full maps."),
		COUNTER("delta_records", s->delta_records,
			"Whole records of peers sent because they changed."),
		COUNTER("delta_patches", s->patches, "Patches of peers sent."),
		COUNTER("keep_alives", s->keep_alives, "Keep-alives sent."),
		COUNTER("streams_behind", s->behind,
			"Times that a client had too much unread, and got a full map later."),
		COUNTER("blocks_built", s->blocks_built,
			"Shared parts of full maps that were made."),
		COUNTER("blocks_private", s->blocks_private,
			"Parts of full maps that were made for one recipient."),
	};

	add_all(sink, figures, sizeof(figures) / sizeof(*figures));
}

void control_figures(struct metric_sink *sink)
{
	collect_tailnet(sink);
	collect_map(sink);
}

void control_status(json_t *status)
{
	const struct map_stats *map = map_stats(control.map);
	const struct tailnet *t = &control.tailnet;
	const char *problem = control.relays ? relays_problem(control.relays) : "out of memory";
	const char *why;

	json_object_set_new(status, "server_url", json_string(control.server_url));
	json_object_set_new(status, "users", json_integer((json_int_t)t->n_users));
	json_object_set_new(status, "nodes", json_integer((json_int_t)t->n_nodes));
	json_object_set_new(status, "online", json_integer((json_int_t)t->n_online));
	json_object_set_new(status, "pending", json_integer((json_int_t)t->n_pending));
	json_object_set_new(status, "streams", json_integer((json_int_t)map->streams));
	json_object_set_new(status, "policy", json_string(policy_door_state()));
	json_object_set_new(status, "relay_regions",
		json_integer((json_int_t)(control.relays ? relays_count(control.relays) : 0)));
	if (problem)
		json_object_set_new(status, "relays_problem", json_string(problem));
	if (!store_healthy(&why))
		json_object_set_new(status, "store_problem", json_string(why));
}
