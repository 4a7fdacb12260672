/* SPDX-License-Identifier: BSD-3-Clause */
/* One scrape of everything that counts. Runs on: the control loop. */
#include <tailplane/loop.h>

#include "ctl.h"
#include "daemon.h"
#include "front_life.h"
#include "io_life.h"
#include "job_pool.h"
#include "log_thread.h"
#include "loop_lag.h"
#include "metrics_text.h"
#include "plugins.h"
#include "store.h"

static void collect_daemon(struct metric_sink *sink)
{
	static const struct metric uptime = {
		"tailplane_uptime_seconds", METRIC_GAUGE, "Time since the daemon started."};
	static const struct metric lost = {"tailplane_log_lost_total", METRIC_COUNTER,
		"Log lines that found the log's queue full."};
	static const struct metric up = {
		"tailplane_plugin_up", METRIC_GAUGE, "1 for a plugin that runs, by name."};

	metric_add(sink, &uptime, NULL, 0, (double)(core_now() - daemon_since()) / 1e9);
	metric_add(sink, &lost, NULL, 0, (double)log_lost());
	for (struct instance *inst = plugin_first(); inst; inst = inst->next) {
		struct metric_label label = {"plugin", inst->plugin->name};

		metric_add(sink, &up, &label, 1, inst->state == STATE_UP);
	}
}

char *metrics_scrape(size_t *len)
{
	struct metric_sink *sink = metric_sink_new();

	if (!sink)
		return NULL;
	metrics_process_collect(sink);
	loop_lag_collect(sink);
	jobs_collect(sink);
	ctl_collect(sink);
	io_collect(sink);
	front_collect(sink);
	store_collect(sink);
	collect_daemon(sink);
	for (struct instance *inst = plugin_first(); inst; inst = inst->next) {
		uint64_t since = core_now();

		if (inst->state != STATE_UP || !inst->plugin->collect)
			continue;
		inst->plugin->collect(sink);
		loop_callback_done(inst->plugin->name, since);
	}
	return metric_sink_finish(sink, len);
}
