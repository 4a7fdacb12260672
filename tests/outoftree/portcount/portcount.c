/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts (and drops) inner packets to one port: the control half. */
#include <stddef.h>
#include <stdlib.h>

#include <tailplane/loop.h>
#include <tailplane/plugin.h>

#include "portcount.h"

struct portcount_conf {
	int64_t port;
	bool drop;
};

static const struct setting settings[] = {
	{"port", SETTING_INT, 0, offsetof(struct portcount_conf, port), .def = "9", .min = 1,
		.max = 65535, .help = "Destination port to count."},
	{"drop", SETTING_BOOL, 0, offsetof(struct portcount_conf, drop), .def = "false",
		.help = "Drops what is counted."},
	{0},
};

static struct snapshot_slot *slot;
static uint64_t seen_before; /* by snapshots that were replaced */

static uint64_t seen(void)
{
	struct portcount *now = snapshot_get(slot);

	return seen_before + (now ? atomic_load(&now->seen) : 0);
}

static int publish(const struct portcount_conf *conf)
{
	struct portcount *next = calloc(1, sizeof(*next));

	if (!next)
		return -1;
	next->port = (uint16_t)conf->port;
	next->drop = conf->drop;
	seen_before = seen();
	snapshot_publish(slot, next, free);
	return 0;
}

static int start(const void *conf, struct err *err)
{
	slot = snapshot_slot(PORTCOUNT_SLOT);
	return publish(conf) ? err_set(err, -12, "out of memory") : 0;
}

static void stop(void)
{
	snapshot_publish(slot, NULL, NULL);
}

static enum plugin_reload check(const void *running, const void *next, struct err *err)
{
	(void)running, (void)next, (void)err;
	return PLUGIN_ABSORB;
}

static void apply(const void *next)
{
	publish(next);
}

static void collect(struct metric_sink *sink)
{
	static const struct metric metric = {
		"portcount_packets_total", METRIC_COUNTER, "Packets to the chosen port."};

	metric_add(sink, &metric, NULL, 0, (double)seen());
}

/* How long ago the last one came; 0: none has. */
static uint64_t quiet(void)
{
	struct portcount *now = snapshot_get(slot);
	uint64_t last = now ? atomic_load(&now->last) : 0;

	return last ? core_now() - last : 0;
}

static void run(struct op_call *call, const json_t *args)
{
	(void)args;
	op_reply(call,
		json_pack("{sIsI}", "packets", (json_int_t)seen(), "quiet", (json_int_t)quiet()));
}

static const struct op_column columns[] = {
	{"packets", "PACKETS", OP_COUNT}, {"quiet", "QUIET FOR", OP_DURATION}, {0}};
static const struct op ops[] = {
	{"portcount", "Packets to the chosen port", OP_READ, NULL, columns, run}, {0}};

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "portcount",
	.version = "1",
	.summary = "Counts packets to a port",
	.settings = settings,
	.settings_size = sizeof(struct portcount_conf),
	.ops = ops,
	.start = start,
	.stop = stop,
	.check = check,
	.apply = apply,
	.collect = collect,
};
