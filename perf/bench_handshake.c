/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many handshakes a core answers, and where the time goes.
 *
 *   in one thread   what the protocol library takes, step by step
 *   in the pool     the same as jobs, lanes and all, by the CPU time of the whole process
 *   primitives      one by one, beside what else could be used
 *
 * Each is measured once per round, medians over the rounds. A sample is one call or handshake, and
 * the median of the samples of a round counts, so that work of others in between does not.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>
#include <tailplane/jobs.h>

#include "clock.h"
#include "handshake/exchange.h"
#include "handshake/primitives.h"
#include "job_pool.h"
#include "lists.h"
#include "machine.h"
#include "series.h"

#define PRIMITIVES_MAX 16
#define CALLS 41 /* samples of a primitive, each of CALLS_EACH */
#define CALLS_EACH 4
#define POOL_ROUNDS 8
#define THREADS_MAX 64

struct pool_run {
	unsigned threads;
	struct series per_cpu_s, per_s;
};

static struct series whole, steps[N_STEPS], alone[PRIMITIVES_MAX], core_ghz;
static struct pool_run pools[8];
static unsigned n_pools = 1, rounds = 9;
static bool as_json;

static int compare_ticks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double median_ns(uint64_t *ticks, unsigned n)
{
	qsort(ticks, n, sizeof(*ticks), compare_ticks);
	return (double)ticks[n / 2] / clock_ticks_per_ns();
}

/* --- one thread --- */

static void respond_measure(void)
{
	static uint64_t ticks[N_STEPS][EXCHANGE_PEERS], sums[EXCHANGE_PEERS];

	exchange_initiate();
	for (unsigned i = 0; i < EXCHANGE_PEERS; i++) {
		uint64_t each[N_STEPS];

		exchange_respond_timed(i, each);
		sums[i] = 0;
		for (unsigned s = 0; s < N_STEPS; s++) {
			ticks[s][i] = each[s];
			sums[i] += each[s];
		}
	}
	exchange_finish();
	for (unsigned s = 0; s < N_STEPS; s++)
		series_add(&steps[s], median_ns(ticks[s], EXCHANGE_PEERS));
	series_add(&whole, median_ns(sums, EXCHANGE_PEERS));
}

static void primitive_measure(unsigned p)
{
	uint64_t samples[CALLS];

	for (unsigned i = 0; i < CALLS; i++) {
		uint64_t start = ticks_begin();

		for (unsigned k = 0; k < CALLS_EACH; k++)
			primitives[p].run();
		samples[i] = ticks_end() - start;
	}
	series_add(&alone[p], median_ns(samples, CALLS) / CALLS_EACH);
}

/* --- the pool --- */

struct respond_job {
	struct job job;
	unsigned peer;
};

static void respond_run(struct job *job)
{
	exchange_respond(((struct respond_job *)job)->peer);
}

static void pool_measure(struct pool_run *run)
{
	static struct respond_job jobs[EXCHANGE_PEERS];
	double cpu = 0, wall = 0;

	jobs_init();
	jobs_start(run->threads);
	for (unsigned round = 0; round < POOL_ROUNDS; round++) {
		exchange_initiate();
		cpu -= clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
		wall -= clock_seconds(CLOCK_MONOTONIC);
		for (unsigned i = 0; i < EXCHANGE_PEERS; i++) {
			jobs[i] = (struct respond_job){
				.job = {.run = respond_run, .name = "handshake", .lane = i + 1},
				.peer = i,
			};
			job_submit(&jobs[i].job);
		}
		jobs_drain();
		cpu += clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
		wall += clock_seconds(CLOCK_MONOTONIC);
		exchange_finish();
	}
	jobs_stop();
	series_add(&run->per_cpu_s, EXCHANGE_PEERS * POOL_ROUNDS / cpu);
	series_add(&run->per_s, EXCHANGE_PEERS * POOL_ROUNDS / wall);
}

/* --- the report --- */

static void line(const char *what, const struct series *ns, double share)
{
	struct spread spread = series_spread(ns);

	printf("  %-52s %8.2f us (%.2f-%.2f)", what, spread.median / 1e3, spread.min / 1e3,
		spread.max / 1e3);
	if (share > 0)
		printf(" %3.0f %%", share * 100);
	printf("\n");
}

static void report_text(void)
{
	double ns = series_spread(&whole).median;
	char cpu[128];

	machine_cpu_name(cpu, sizeof(cpu));
	printf("%s at %.2f GHz; medians of %u rounds (lowest-highest)\n\n"
	       "A responder in one thread: %.0f handshakes a second\n",
		cpu, series_spread(&core_ghz).median, rounds, 1e9 / ns);
	line("the whole handshake", &whole, 0);
	for (unsigned s = 0; s < N_STEPS; s++)
		line(step_names[s], &steps[s], series_spread(&steps[s]).median / ns);
	for (unsigned p = 0; p < n_pools; p++) {
		struct spread cpu_s = series_spread(&pools[p].per_cpu_s);

		printf("\nIn the pool, threads: %u: %.0f (%.0f-%.0f) for each CPU second of the "
		       "process, %.0f a second by the clock",
			pools[p].threads, cpu_s.median, cpu_s.min, cpu_s.max,
			series_spread(&pools[p].per_s).median);
	}
	printf("\n\nPrimitives\n");
	for (unsigned p = 0; p < n_primitives; p++) {
		char what[96];

		snprintf(what, sizeof(what), "%s, %s", primitives[p].op, primitives[p].impl);
		line(what, &alone[p], 0);
	}
}

static json_t *result(const char *impl, const char *op, const struct series *ns)
{
	struct spread spread = series_spread(ns);

	return json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "impl", impl, "op", op, "ns",
		spread.median, "ns_min", spread.min, "ns_max", spread.max, "per_second",
		1e9 / spread.median, "cycles", spread.median * series_spread(&core_ghz).median);
}

static json_t *pool_json(const struct pool_run *run)
{
	struct spread cpu = series_spread(&run->per_cpu_s);

	return json_pack("{s:s, s:s, s:i, s:f, s:f, s:f, s:f}", "impl", "tailplane", "op",
		"respond in the pool", "threads", (int)run->threads, "per_cpu_second", cpu.median,
		"per_cpu_second_min", cpu.min, "per_cpu_second_max", cpu.max, "per_second",
		series_spread(&run->per_s).median);
}

static void report_json(void)
{
	json_t *results = json_array(), *parts = json_array();

	json_array_append_new(results, result("tailplane", "respond", &whole));
	for (unsigned p = 0; p < n_pools; p++)
		json_array_append_new(results, pool_json(&pools[p]));
	for (unsigned p = 0; p < n_primitives; p++)
		json_array_append_new(
			results, result(primitives[p].impl, primitives[p].op, &alone[p]));
	for (unsigned s = 0; s < N_STEPS; s++)
		json_array_append_new(parts, result("tailplane", step_names[s], &steps[s]));
	json_t *report = json_pack("{s:o, s:i, s:o, s:o}", "machine",
		machine_json(series_spread(&core_ghz).median), "rounds", (int)rounds, "results",
		results, "steps", parts);
	if (report == NULL)
		errx(1, "the report cannot be made");
	json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(report);
}

static void options_read(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"rounds", required_argument, NULL, 'r'},
		{"threads", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	unsigned threads[8] = {1};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			as_json = true;
			break;
		case 'r':
			rounds = number_read(optarg, 1, SERIES_MAX);
			break;
		case 't':
			n_pools = numbers_read(
				optarg, &(struct number_list){threads, 8, 1, THREADS_MAX, NULL});
			break;
		default:
			errx(2, "usage: bench_handshake [--json] [--rounds N] [--threads N,...]");
		}
	}
	for (unsigned i = 0; i < n_pools; i++)
		pools[i].threads = threads[i];
}

int main(int argc, char **argv)
{
	options_read(argc, argv);
	clock_start();
	exchange_init();
	primitives_init();
	for (unsigned round = 0; round < rounds; round++) {
		series_add(&core_ghz, clock_core_ghz());
		respond_measure();
		for (unsigned p = 0; p < n_pools; p++)
			pool_measure(&pools[p]);
		for (unsigned p = 0; p < n_primitives; p++)
			primitive_measure(p);
	}
	if (as_json)
		report_json();
	else
		report_text();
	return 0;
}
