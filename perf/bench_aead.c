/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast each implementation of the AEAD is, beside libsodium, OpenSSL's EVP and ipsec-mb's job
 * interface in the same run.
 *
 * Every method once per condition, and the whole sweep repeated, so that a machine that slows down
 * slows all of them, every other time backwards; a figure is the median of the repetitions, a ratio
 * the median of the ratios within each. Cycles are those of the core's clock, measured before and
 * after each cell. Gbit/s counts the text alone.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "aead/report.h"
#include "clock.h"
#include "lists.h"

#define LIST_MAX 16

/* What is swept over; the defaults take a few minutes, --quick some seconds. */
struct plan {
	const char *impls;
	unsigned sizes[LIST_MAX], n_sizes;
	unsigned batches[LIST_MAX], n_batches;
	unsigned keys[LIST_MAX], n_keys;
	bool ops[N_OPS], caches[N_CACHES];
	unsigned rounds;
	double cell_ms;
	bool as_json;
};

static struct plan plan = {
	.sizes = {64, 128, 256, 512, 1024, 1420, 0},
	.n_sizes = 7,
	.batches = {32},
	.n_batches = 1,
	.keys = {32},
	.n_keys = 1,
	.rounds = 15,
	.cell_ms = 2,
};

static const char usage[] =
	"usage: bench_aead [--json] [--quick] [--impls NAME,...] [--ops seal,open]\n"
	"                  [--sizes BYTES|imix,...] [--batch N,...] [--keys N,...]\n"
	"                  [--cache hot,cold] [--rounds N]\n";

static void quick(void)
{
	plan.n_sizes = 4;
	plan.sizes[0] = 64;
	plan.sizes[1] = 512;
	plan.sizes[2] = 1420;
	plan.sizes[3] = 0;
	plan.rounds = 3;
	plan.cell_ms = 1;
	plan.caches[HOT] = true;
}

static const struct option options[] = {
	{"json", no_argument, NULL, 'j'},
	{"quick", no_argument, NULL, 'q'},
	{"impls", required_argument, NULL, 'i'},
	{"ops", required_argument, NULL, 'o'},
	{"sizes", required_argument, NULL, 's'},
	{"batch", required_argument, NULL, 'b'},
	{"keys", required_argument, NULL, 'k'},
	{"cache", required_argument, NULL, 'c'},
	{"rounds", required_argument, NULL, 'r'},
	{NULL, 0, NULL, 0},
};

static void option_read(int c)
{
	switch (c) {
	case 'j':
		plan.as_json = true;
		break;
	case 'q':
		quick();
		break;
	case 'i':
		plan.impls = optarg;
		break;
	case 'o':
		names_read(optarg, op_names, N_OPS, plan.ops);
		break;
	case 's':
		plan.n_sizes = numbers_read(
			optarg, &(struct number_list){plan.sizes, LIST_MAX, 1, TEXT_MAX, "imix"});
		break;
	case 'b':
		plan.n_batches = numbers_read(optarg,
			&(struct number_list){plan.batches, LIST_MAX, 1, AEAD_BURST_MAX, NULL});
		break;
	case 'k':
		plan.n_keys = numbers_read(optarg,
			&(struct number_list){plan.keys, LIST_MAX, 1, AEAD_BURST_MAX, NULL});
		break;
	case 'c':
		plan.caches[HOT] = plan.caches[COLD] = false;
		names_read(optarg, cache_names, N_CACHES, plan.caches);
		break;
	case 'r':
		plan.rounds = number_read(optarg, 1, SERIES_MAX);
		break;
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

static void options_read(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		option_read(c);
	if (optind < argc) {
		fputs(usage, stderr);
		exit(2);
	}
	if (!plan.ops[SEAL] && !plan.ops[OPEN])
		plan.ops[SEAL] = plan.ops[OPEN] = true;
	if (!plan.caches[HOT] && !plan.caches[COLD])
		plan.caches[HOT] = plan.caches[COLD] = true;
}

/* Sizes innermost: they are the columns of a table. */
static unsigned rows_make(struct row **rows)
{
	unsigned tables = N_CACHES * N_OPS * plan.n_batches * plan.n_keys, n = 0;

	*rows = calloc((size_t)tables * plan.n_sizes, sizeof(**rows));
	if (*rows == NULL)
		err(1, "the results");
	for (unsigned i = 0; i < tables * plan.n_sizes; i++) {
		unsigned table = i / plan.n_sizes;
		struct point point = {
			.op = table % N_OPS,
			.cache = table / N_OPS % N_CACHES,
			.keys = plan.keys[table / N_OPS / N_CACHES % plan.n_keys],
			.batch = plan.batches[table / N_OPS / N_CACHES / plan.n_keys],
			.size = plan.sizes[i % plan.n_sizes],
		};

		if (plan.ops[point.op] && plan.caches[point.cache])
			(*rows)[n++].point = point;
	}
	return n;
}

static void row_measure(struct row *row, unsigned round)
{
	double ghz = clock_core_ghz();

	row->bytes = bursts_make(&row->point);
	for (unsigned i = 0; i < n_methods; i++) {
		unsigned m = round % 2 ? n_methods - 1 - i : i;

		if (round == 0)
			bursts_check(&methods[m], &row->point);

		double ns = bursts_measure(&methods[m], &row->point, plan.cell_ms);
		double ghz_after = clock_core_ghz();

		series_add(&row->ns[m], ns);
		series_add(&row->core_ghz[m], (ghz + ghz_after) / 2);
		ghz = ghz_after;
	}
}

int main(int argc, char **argv)
{
	struct row *rows;
	unsigned n;

	options_read(argc, argv);
	clock_start();
	methods_find();
	methods_choose(plan.impls);
	bursts_init();
	n = rows_make(&rows);
	for (unsigned round = 0; round < plan.rounds; round++) {
		for (unsigned i = 0; i < n; i++)
			row_measure(&rows[i], round);
	}
	if (plan.as_json)
		report_json(rows, n);
	else
		report_text(rows, n);
	free(rows);
	return 0;
}
