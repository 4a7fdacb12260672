/* SPDX-License-Identifier: BSD-3-Clause */
#include "clock.h"
#include "interference.h"

#include <dirent.h>
#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <tailplane/jobs.h>
#include <tailplane/loop.h>

#include "control.h"
#include "cookie.h"
#include "gateway.h"
#include "noise.h"

#define WINDOW_MS 250
#define LOOK_EVERY_S 0.002
#define PAUSE_MS 25 /* real-time threads may have 95 % of a core */

struct initiator {
	struct noise_local local;
	struct noise_peer peer;
	struct cookie_maker macs;
	struct noise_timestamp sent;
};

static struct initiator initiators[GATEWAY_INITIATORS];
static struct message_initiation messages[TRAFFIC_ARRIVALS_MAX];
static ev_timer look;

/* ---- the far ends ---------------------------------------------------------------------------- */

static void initiators_init(void)
{
	const struct public_key *gateway = &tunnels[0]->local.static_public;

	for (uint32_t i = 0; i < GATEWAY_INITIATORS; i++) {
		struct initiator *initiator = &initiators[i];
		struct private_key key = gateway_initiator_key(i);

		noise_local_init(&initiator->local, &key);
		if (!noise_peer_init(&initiator->peer, &initiator->local, gateway, NULL))
			errx(1, "no shared secret with the gateway");
		cookie_maker_init(&initiator->macs, gateway);
	}
}

/* The peers take turns, so that none comes more often than a gateway allows. */
static void initiations_make(unsigned n)
{
	static unsigned turn;

	for (unsigned i = 0; i < n; i++) {
		unsigned peer = turn++ % GATEWAY_INITIATORS;
		struct initiator *initiator = &initiators[peer];

		initiator->sent = noise_timestamp_next(&initiator->sent, clock_ns(CLOCK_REALTIME));
		if (noise_create_initiation(&messages[i], &initiator->peer, &initiator->local,
			    &initiator->sent, peer + 1) != NOISE_OK)
			errx(1, "an initiation cannot be made");
		cookie_add_macs(&initiator->macs, &messages[i], sizeof(messages[i]), 0);
	}
}

/* ---- placement ------------------------------------------------------------------------------- */

/* The worker has its core by real-time priority for a window (traffic.c), so what shall share it
 * with the worker needs a higher one; other programs of this machine stay out in both cases. */
static void pin(pid_t thread, unsigned core, bool with_worker)
{
	struct sched_param param = {.sched_priority = with_worker ? 2 : 0};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(thread, sizeof(set), &set) != 0)
		err(1, "core %u", core);
	if (sched_setscheduler(thread, with_worker ? SCHED_FIFO : SCHED_OTHER, &param) != 0)
		err(1, "real-time priority");
}

/* The loop is this thread; those of the pool are known by name. */
static void control_place(unsigned core, bool with_worker)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;

	pin(0, core, with_worker);
	while (tasks && (entry = readdir(tasks))) {
		char path[300], name[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) && !strcmp(name, "jobs\n"))
			pin((pid_t)atoi(entry->d_name), core, with_worker);
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
}

/* ---- one window ------------------------------------------------------------------------------ */

static void look_whether_done(EV_P_ ev_timer *timer, int events)
{
	(void)timer, (void)events;
	if (traffic_done())
		ev_break(EV_A_ EVBREAK_ALL);
}

/* The control loop runs as in the daemon: it wakes for events. */
static void window_wait(const struct traffic_run *run)
{
	traffic_start(run, 1);
	ev_timer_init(&look, look_whether_done, LOOK_EVERY_S, LOOK_EVERY_S);
	ev_timer_start(core_loop(), &look);
	ev_run(core_loop(), 0);
	ev_timer_stop(core_loop(), &look);
	jobs_drain();
	gateway_loop();
	nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
}

static double window_pps(const struct interference *in, const struct traffic_arrivals *arrivals)
{
	double hz = (double)rte_get_tsc_hz();
	struct traffic_run run = {.way = in->way,
		.n_peers = in->peers,
		.size = in->size,
		.ticks = (uint64_t)(hz * WINDOW_MS / 1000),
		.arrivals = arrivals};
	const struct traffic_stats *stats;

	window_wait(&run);
	stats = traffic_stats(0);
	if (!stats->sunk)
		errx(1, "no packet came through");
	return (double)stats->sunk / (double)stats->ticks * hz;
}

static void round_run(struct interference *in)
{
	const struct tunnel_counters *counters = &tunnels[0]->counters;
	unsigned n = in->per_second * WINDOW_MS / 1000;
	struct traffic_arrivals arrivals = {.messages = messages,
		.n = n,
		.n_peers = GATEWAY_INITIATORS,
		.gap_ticks = rte_get_tsc_hz() / in->per_second};
	uint64_t before = counters->responses_sent;

	series_add(&in->plain_pps, window_pps(in, NULL));
	initiations_make(n);
	series_add(&in->loaded_pps, window_pps(in, &arrivals));
	series_add(&in->answered, (double)(counters->responses_sent - before) / n);
}

void interference_run(struct interference *in, unsigned rounds)
{
	unsigned online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN), worker_core = online - 1;

	if (in->per_second * WINDOW_MS / 1000 > TRAFFIC_ARRIVALS_MAX)
		errx(2, "at most %u handshakes a second", TRAFFIC_ARRIVALS_MAX * 1000 / WINDOW_MS);
	initiators_init();
	if (in->placement == WITH_WORKER)
		control_place(worker_core, true);
	else
		control_place(0, false);
	for (unsigned i = 0; i < rounds; i++)
		round_run(in);
	control_place(0, false);
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static const char *placement_name(const struct interference *in)
{
	return in->placement == WITH_WORKER ? "on the worker's core" : "on a core of their own";
}

static double loss_percent(const struct interference *in)
{
	return (1 - series_ratio(&in->loaded_pps, &in->plain_pps).median) * 100;
}

void interference_print(const struct interference *in)
{
	char size[16] = "imix";

	if (in->size)
		snprintf(size, sizeof(size), "%u", in->size);
	printf("%s, %s: %.3f Mpps, with %u handshakes a second %s %.3f: %.1f %% less; %.0f %% "
	       "answered\n",
		in->way == TRAFFIC_SEAL ? "seal" : "open", size,
		series_spread(&in->plain_pps).median / 1e6, in->per_second, placement_name(in),
		series_spread(&in->loaded_pps).median / 1e6, loss_percent(in),
		series_spread(&in->answered).median * 100);
}

json_t *interference_json(const struct interference *in, const char *impl)
{
	struct spread ratio = series_ratio(&in->loaded_pps, &in->plain_pps);

	return json_pack("{ss ss so sI sI ss sf sf sf sf sf sf}", "impl", impl, "op",
		in->way == TRAFFIC_SEAL ? "seal" : "open", "size",
		in->size ? json_integer(in->size) : json_string("imix"), "peers",
		(json_int_t)in->peers, "handshakes_per_second", (json_int_t)in->per_second,
		"placement", in->placement == WITH_WORKER ? "shared" : "own", "plain_mpps",
		series_spread(&in->plain_pps).median / 1e6, "loaded_mpps",
		series_spread(&in->loaded_pps).median / 1e6, "loss_percent", loss_percent(in),
		"loss_percent_min", (1 - ratio.max) * 100, "loss_percent_max",
		(1 - ratio.min) * 100, "answered", series_spread(&in->answered).median);
}
