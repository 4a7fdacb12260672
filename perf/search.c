/* SPDX-License-Identifier: BSD-3-Clause */
#include "search.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_cycles.h>

#define TRIAL_MS 60
/* Workers are real-time threads for the time of a trial, which may have 95 % of a core. */
#define PAUSE_MS 6
#define TRIALS_MAX 3 /* at a load; two of one mind suffice */
#define WIDTH 0.01   /* of the interval in which the answer lies */
#define STEP_FIRST 0.02
#define LATENCY_TRIALS 8
#define IDLE_PPS 10000
#define OVERLOAD_TRIALS 5

static const double goal_loss[] = {[GOAL_NDR] = 0, [GOAL_PDR] = 0.005};
static const char *const goal_names[] = {[GOAL_NDR] = "ndr", [GOAL_PDR] = "pdr"};
static const double shares[SEARCH_LOADS] = {0, 0.1, 0.5, 0.9};

struct trial {
	double offered, delivered; /* packets a second */
	double loss;
	bool disturbed;
	uint64_t reordered;
};

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static unsigned generators(const struct search *search)
{
	return search->way == TRAFFIC_OPEN && search->peers < search->workers ? search->peers
									      : search->workers;
}

/* Adds what was seen to `latencies`, if any and if nothing disturbed the trial. */
static void latencies_add(uint64_t *latencies, unsigned n, bool disturbed)
{
	for (unsigned i = 0; latencies && !disturbed && i < n; i++) {
		const struct traffic_stats *s = traffic_stats(i);

		for (unsigned b = 0; b < TRAFFIC_BUCKETS; b++)
			latencies[b] += s->latencies[b];
	}
}

/* pps 0: as much as there is room for. */
static struct trial trial_run(const struct search *search, double pps, uint64_t *latencies)
{
	unsigned n = generators(search);
	double hz = (double)rte_get_tsc_hz(), due = 0, sunk = 0, seconds = 0;
	struct traffic_run run = {.way = search->way,
		.n_peers = search->peers,
		.size = search->size,
		.rate = pps / n / hz,
		.ticks = (uint64_t)(hz * TRIAL_MS / 1000),
		.latencies = latencies != NULL};
	struct trial trial = {0};

	traffic_run_wait(&run, n);
	for (unsigned i = 0; i < n; i++) {
		const struct traffic_stats *s = traffic_stats(i);

		due += (double)(s->offered + s->missed);
		sunk += (double)s->sunk;
		seconds = fmax(seconds, (double)s->ticks / hz);
		trial.disturbed |= s->switches != 0;
		trial.reordered += s->reordered;
	}
	if (seconds <= 0 || due <= 0)
		errx(1, "no packet came through");
	latencies_add(latencies, n, trial.disturbed);
	trial.offered = due / seconds;
	trial.delivered = sunk / seconds;
	trial.loss = 1 - sunk / due;
	pause_ms(PAUSE_MS);
	return trial;
}

static struct trial trial_noted(struct search *search, double pps, uint64_t *latencies)
{
	struct trial trial = trial_run(search, pps, latencies);

	search->reordered += trial.reordered;
	search->best_pps = fmax(search->best_pps, trial.delivered);
	return trial;
}

/* ---- the lossless rate ----------------------------------------------------------------------- */

static bool load_passes(struct search *search, double pps, double loss)
{
	int balance = 0;

	for (unsigned i = 0; i < TRIALS_MAX && balance > -2 && balance < 2; i++)
		balance += trial_noted(search, pps, NULL).loss <= loss ? 1 : -1;
	return balance > 0;
}

static double rate_search(struct search *search, double loss)
{
	double high = search->best_pps * (1 + WIDTH), low, step = STEP_FIRST;

	for (low = high; low > IDLE_PPS && !load_passes(search, low, loss); step *= 2) {
		high = low;
		low = high * (1 - fmin(step, 0.5));
	}
	while (high / low > 1 + WIDTH && low > IDLE_PPS) {
		double middle = sqrt(high * low);

		if (load_passes(search, middle, loss))
			low = middle;
		else
			high = middle;
	}
	return low > IDLE_PPS ? low : 0;
}

/* ---- latency, overload ----------------------------------------------------------------------- */

static void latency_measure(struct search *search, struct search_latency *at, double share)
{
	uint64_t latencies[TRAFFIC_BUCKETS] = {0};
	double us = 1e6 / (double)rte_get_tsc_hz();

	at->share = share;
	at->pps = share > 0 ? share * search->rate_pps[GOAL_NDR] : IDLE_PPS;
	for (unsigned i = 0; i < LATENCY_TRIALS && at->pps > 0; i++)
		at->disturbed += trial_noted(search, at->pps, latencies).disturbed;
	for (unsigned b = 0; b < TRAFFIC_BUCKETS; b++)
		at->packets += latencies[b];
	at->p50_us = traffic_percentile(latencies, 0.5) * us;
	at->p99_us = traffic_percentile(latencies, 0.99) * us;
	at->p999_us = traffic_percentile(latencies, 0.999) * us;
	at->p9999_us = traffic_percentile(latencies, 0.9999) * us;
	at->max_us = traffic_percentile(latencies, 1) * us;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Twice what passes without loss. */
static void overload_measure(struct search *search)
{
	double delivered[OVERLOAD_TRIALS], offered = 2 * search->rate_pps[GOAL_NDR];

	for (unsigned i = 0; i < OVERLOAD_TRIALS; i++)
		delivered[i] = trial_noted(search, offered, NULL).delivered;
	qsort(delivered, OVERLOAD_TRIALS, sizeof(delivered[0]), compare);
	search->overload_offered_pps = offered;
	search->overload_share = delivered[OVERLOAD_TRIALS / 2] / search->best_pps;
}

void search_run(struct search *search)
{
	search->best_pps = 0;
	search->reordered = 0;
	for (unsigned i = 0; i < TRIALS_MAX; i++)
		trial_noted(search, 0, NULL);
	for (unsigned goal = 0; goal < N_GOALS; goal++)
		search->rate_pps[goal] = rate_search(search, goal_loss[goal]);
	/* what passes without loss passes; only a disturbance says otherwise */
	search->rate_pps[GOAL_PDR] = fmax(search->rate_pps[GOAL_PDR], search->rate_pps[GOAL_NDR]);
	for (unsigned i = 0; i < SEARCH_LOADS; i++)
		latency_measure(search, &search->at[i], shares[i]);
	overload_measure(search);
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static double gbps(const struct search *search, double pps)
{
	return pps * traffic_mean_size(search->size) * 8e-9;
}

void search_print(const struct search *search)
{
	char size[16] = "imix";

	if (search->size)
		snprintf(size, sizeof(size), "%u", search->size);
	printf("\nworkers %u, peers %u, %s, %s: best %.3f Mpps", search->workers, search->peers,
		search->way == TRAFFIC_SEAL ? "seal" : "open", size, search->best_pps / 1e6);
	for (unsigned goal = 0; goal < N_GOALS; goal++)
		printf("; loss up to %g %%: %.3f Mpps, %.2f Gbit/s", goal_loss[goal] * 100,
			search->rate_pps[goal] / 1e6, gbps(search, search->rate_pps[goal]));
	printf("\n  twice the lossless rate offered: %.0f %% of the best delivered; out of order: "
	       "%llu\n  %-10s %9s %9s %9s %9s %9s  one way, us\n",
		search->overload_share * 100, (unsigned long long)search->reordered, "load", "p50",
		"p99", "p99.9", "p99.99", "most");
	for (unsigned i = 0; i < SEARCH_LOADS; i++) {
		const struct search_latency *at = &search->at[i];

		printf("  %6.3f Mpps %8.1f %9.1f %9.1f %9.1f %9.1f\n", at->pps / 1e6, at->p50_us,
			at->p99_us, at->p999_us, at->p9999_us, at->max_us);
	}
}

static json_t *latency_json(const struct search_latency *at)
{
	return json_pack("{sf sf sf sf sf sf sf sI sI}", "share", at->share, "mpps", at->pps / 1e6,
		"p50_us", at->p50_us, "p99_us", at->p99_us, "p999_us", at->p999_us, "p9999_us",
		at->p9999_us, "max_us", at->max_us, "packets", (json_int_t)at->packets, "disturbed",
		(json_int_t)at->disturbed);
}

json_t *search_json(const struct search *search, const char *impl)
{
	json_t *latencies = json_array();
	json_t *row = json_pack("{ss ss so sI sI sf sf sf sI}", "impl", impl, "op",
		search->way == TRAFFIC_SEAL ? "seal" : "open", "size",
		search->size ? json_integer(search->size) : json_string("imix"), "peers",
		(json_int_t)search->peers, "workers", (json_int_t)search->workers, "best_mpps",
		search->best_pps / 1e6, "overload_mpps", search->overload_offered_pps / 1e6,
		"overload_share", search->overload_share, "reordered",
		(json_int_t)search->reordered);

	for (unsigned goal = 0; goal < N_GOALS; goal++) {
		char name[32];

		snprintf(name, sizeof(name), "%s_mpps", goal_names[goal]);
		json_object_set_new(row, name, json_real(search->rate_pps[goal] / 1e6));
		snprintf(name, sizeof(name), "%s_gbps", goal_names[goal]);
		json_object_set_new(row, name, json_real(gbps(search, search->rate_pps[goal])));
	}
	for (unsigned i = 0; i < SEARCH_LOADS; i++)
		json_array_append_new(latencies, latency_json(&search->at[i]));
	json_object_set_new(row, "latency", latencies);
	return row;
}
