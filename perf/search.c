/* SPDX-License-Identifier: BSD-3-Clause */
#include "search.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_cycles.h>

#include "series.h"

#define TRIAL_MS 60
/* Workers are real-time threads for the time of a trial, which may have 95 % of a core. */
#define PAUSE_MS 6
#define TRIALS_MAX 3 /* at a load; two of one mind suffice */
#define WIDTH 0.01   /* of the interval in which the answer lies */
#define STEP_FIRST 0.02
#define LATENCY_TRIALS 11
#define IDLE_PPS 10000
#define OVERLOAD_TRIALS 9

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

/* What a trial is made with, beside the search's own conditions. */
struct load {
	double pps; /* 0: as much as there is room for */
	bool latencies;
	bool ideal; /* a worker that is as fast, and that only the machine delays */
};

static struct trial trial_run(const struct search *search, const struct load *load)
{
	unsigned n = generators(search);
	double hz = (double)rte_get_tsc_hz(), due = 0, sunk = 0, seconds = 0;
	struct traffic_run run = {.way = search->way,
		.n_peers = search->peers,
		.size = search->size,
		.rate = load->pps / n / hz,
		.ticks = (uint64_t)(hz * TRIAL_MS / 1000),
		.latencies = load->latencies,
		.ideal = load->ideal ? hz * n / search->best_pps : 0};
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
	trial.offered = due / seconds;
	trial.delivered = sunk / seconds;
	trial.loss = 1 - sunk / due;
	pause_ms(PAUSE_MS);
	return trial;
}

static struct trial trial_noted(struct search *search, double pps)
{
	struct trial trial = trial_run(search, &(struct load){.pps = pps});

	search->reordered += trial.reordered;
	search->best_pps = fmax(search->best_pps, trial.delivered);
	return trial;
}

/* ---- the lossless rate ----------------------------------------------------------------------- */

static bool load_passes(struct search *search, double pps, double loss)
{
	int balance = 0;

	for (unsigned i = 0; i < TRIALS_MAX && balance > -2 && balance < 2; i++)
		balance += trial_noted(search, pps).loss <= loss ? 1 : -1;
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

static const double percentiles[N_PERCENTILES] = {0.5, 0.99, 0.999, 0.9999, 1};

/* The trials of one kind at one load. */
struct trials {
	struct series each[N_PERCENTILES];
	uint64_t latencies[TRAFFIC_BUCKETS]; /* of all */
};

/* What the last run saw. */
static void trials_add(struct trials *trials, unsigned n)
{
	uint64_t latencies[TRAFFIC_BUCKETS] = {0};
	double us = 1e6 / (double)rte_get_tsc_hz();

	for (unsigned i = 0; i < n; i++)
		for (unsigned b = 0; b < TRAFFIC_BUCKETS; b++)
			latencies[b] += traffic_stats(i)->latencies[b];
	for (unsigned b = 0; b < TRAFFIC_BUCKETS; b++)
		trials->latencies[b] += latencies[b];
	for (unsigned p = 0; p < N_PERCENTILES; p++)
		series_add(&trials->each[p], traffic_percentile(latencies, percentiles[p]) * us);
}

static void percentiles_take(struct search_percentiles *out, const struct trials *trials)
{
	double us = 1e6 / (double)rte_get_tsc_hz();

	for (unsigned p = 0; p < N_PERCENTILES; p++) {
		out->median[p] = series_spread(&trials->each[p]).median;
		out->all[p] = traffic_percentile(trials->latencies, percentiles[p]) * us;
	}
}

/* With and without packets in turns. */
static void latency_measure(struct search *search, struct search_latency *at, double share)
{
	struct trials kinds[2] = {0};

	at->share = share;
	at->pps = share > 0 ? share * search->rate_pps[GOAL_NDR] : IDLE_PPS;
	for (unsigned i = 0; i < 2 * LATENCY_TRIALS && at->pps > 0; i++) {
		struct load load = {.pps = at->pps, .latencies = true, .ideal = i % 2};
		struct trial trial = trial_run(search, &load);

		search->reordered += trial.reordered;
		at->disturbed += trial.disturbed;
		if (!trial.disturbed)
			trials_add(&kinds[load.ideal], generators(search));
	}
	for (unsigned b = 0; b < TRAFFIC_BUCKETS; b++)
		at->packets += kinds[0].latencies[b];
	percentiles_take(&at->seen, &kinds[0]);
	percentiles_take(&at->ideal, &kinds[1]);
}

/* Twice what passes without loss, beside what passes at best just then. */
static void overload_measure(struct search *search)
{
	double offered = 2 * search->rate_pps[GOAL_NDR];
	struct series best = {.n = 0}, delivered = {.n = 0};

	for (unsigned i = 0; i < OVERLOAD_TRIALS; i++) {
		series_add(&best, trial_noted(search, 0).delivered);
		series_add(&delivered, trial_noted(search, offered).delivered);
	}
	search->overload_offered_pps = offered;
	search->overload_share = series_ratio(&delivered, &best).median;
}

void search_run(struct search *search)
{
	search->best_pps = 0;
	search->reordered = 0;
	for (unsigned i = 0; i < TRIALS_MAX; i++)
		trial_noted(search, 0);
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
	       "%llu\n  %-11s %9s %9s %9s %9s %9s  one way, us, medians of trials\n",
		search->overload_share * 100, (unsigned long long)search->reordered, "load", "p50",
		"p99", "p99.9", "p99.99", "most");
	for (unsigned i = 0; i < SEARCH_LOADS; i++) {
		const struct search_latency *at = &search->at[i];

		printf("  %6.3f Mpps", at->pps / 1e6);
		for (unsigned p = 0; p < N_PERCENTILES; p++)
			printf(" %9.1f", at->seen.median[p]);
		printf("\n  %11s", "of all");
		for (unsigned p = 0; p < N_PERCENTILES; p++)
			printf(" %9.1f", at->seen.all[p]);
		printf("\n  %11s", "ideal");
		for (unsigned p = 0; p < N_PERCENTILES; p++)
			printf(" %9.1f", at->ideal.median[p]);
		printf("\n");
	}
}

static json_t *percentiles_json(const double values[static N_PERCENTILES])
{
	return json_pack("{sf sf sf sf sf}", "p50_us", values[P50], "p99_us", values[P99],
		"p999_us", values[P999], "p9999_us", values[P9999], "max_us", values[P100]);
}

static json_t *latency_json(const struct search_latency *at)
{
	json_t *row = percentiles_json(at->seen.median);

	json_object_update_new(
		row, json_pack("{sf sf so so so sI sI}", "share", at->share, "mpps", at->pps / 1e6,
			     "all", percentiles_json(at->seen.all), "ideal",
			     percentiles_json(at->ideal.median), "ideal_all",
			     percentiles_json(at->ideal.all), "packets", (json_int_t)at->packets,
			     "disturbed", (json_int_t)at->disturbed));
	return row;
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
