/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include <err.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <sodium.h>

#include "clock.h"
#include "machine.h"

#define COLUMN 20

static double core_ghz(const struct row *rows, unsigned n)
{
	struct series all = {.n = 0};

	for (unsigned i = 0; i < n; i++) {
		for (unsigned m = 0; m < n_methods; m++)
			series_add(&all, series_spread(&rows[i].core_ghz[m]).median);
	}
	return series_spread(&all).median;
}

/* --- for people --- */

/* Rows that differ in nothing but the size are columns of one table. */
static bool same_table(const struct point *a, const struct point *b)
{
	return a->op == b->op && a->cache == b->cache && a->batch == b->batch && a->keys == b->keys;
}

static void line_gbps(const struct row *rows, unsigned n, unsigned m)
{
	printf("%-24s", methods[m].name);
	for (unsigned i = 0; i < n; i++) {
		struct spread ns = series_spread(&rows[i].ns[m]);
		char cell[32];

		snprintf(cell, sizeof(cell), "%.2f (%.1f-%.1f)", rows[i].bytes * 8 / ns.median,
			rows[i].bytes * 8 / ns.max, rows[i].bytes * 8 / ns.min);
		printf("%*s", COLUMN, cell);
	}
	printf("\n%-24s", "   ns, cycles/packet");
	for (unsigned i = 0; i < n; i++) {
		double ns = series_spread(&rows[i].ns[m]).median;
		char cell[32];

		snprintf(cell, sizeof(cell), "%.1f, %.0f", ns,
			ns * series_spread(&rows[i].core_ghz[m]).median);
		printf("%*s", COLUMN, cell);
	}
	printf("\n");
}

static void line_ratio(const struct row *rows, unsigned n, unsigned m, unsigned peer)
{
	char name[64];

	snprintf(name, sizeof(name), "%s / %s", methods[m].name, methods[peer].name);
	printf("%-34s", name);
	for (unsigned i = 0; i < n; i++) {
		struct spread ratio = series_ratio(&rows[i].ns[peer], &rows[i].ns[m]);
		char cell[32];

		snprintf(
			cell, sizeof(cell), "%.2f (%.1f-%.1f)", ratio.median, ratio.min, ratio.max);
		printf("%*s", i == 0 ? COLUMN - 10 : COLUMN, cell);
	}
	printf("\n");
}

static void table_print(const struct row *rows, unsigned n)
{
	const struct point *point = &rows[0].point;

	printf("\n%s, %s, bursts of %u, keys: %u. Gbit/s of text, median (lowest-highest)\n%-24s",
		op_names[point->op], cache_names[point->cache], point->batch, point->keys, "");
	for (unsigned i = 0; i < n; i++)
		printf("%*s", COLUMN, size_name(rows[i].point.size));
	printf("\n");
	for (unsigned m = 0; m < n_methods; m++)
		line_gbps(rows, n, m);
	printf("times as fast, repetition by repetition:\n");
	for (unsigned m = 0; m < n_methods; m++) {
		for (unsigned peer = 0; peer < n_methods; peer++) {
			if (methods[m].ours && !methods[peer].ours)
				line_ratio(rows, n, m, peer);
		}
	}
}

void report_text(const struct row *rows, unsigned n)
{
	char cpu[128];

	machine_cpu_name(cpu, sizeof(cpu));
	printf("%s at %.2f GHz (%s %.3f GHz); libsodium %s, %s, ipsec-mb %s\n", cpu,
		core_ghz(rows, n), CLOCK_NAME, clock_ticks_per_ns(), sodium_version_string(),
		OpenSSL_version(OPENSSL_VERSION), ipsec_mb_version());
	for (unsigned from = 0, to = 0; from < n; from = to) {
		while (to < n && same_table(&rows[from].point, &rows[to].point))
			to++;
		table_print(rows + from, to - from);
	}
}

/* --- for programs --- */

static json_t *point_json(const struct point *point)
{
	return json_pack("{s:s, s:o, s:i, s:i, s:s}", "op", op_names[point->op], "size",
		point->size != 0 ? json_integer(point->size) : json_string("imix"), "batch",
		(int)point->batch, "keys", (int)point->keys, "cache", cache_names[point->cache]);
}

static json_t *cell_json(const struct row *row, unsigned m)
{
	struct spread ns = series_spread(&row->ns[m]);
	double ghz = series_spread(&row->core_ghz[m]).median;
	json_t *cell = json_pack("{s:s}", "impl", methods[m].name);
	json_t *measured = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "gbps",
		row->bytes * 8 / ns.median, "gbps_min", row->bytes * 8 / ns.max, "gbps_max",
		row->bytes * 8 / ns.min, "mpps", 1e3 / ns.median, "ns_per_packet", ns.median,
		"cycles_per_packet", ns.median * ghz, "ticks_per_packet",
		ns.median * clock_ticks_per_ns(), "bytes_per_packet", row->bytes);

	json_object_update_new(cell, point_json(&row->point));
	json_object_update_new(cell, measured);
	return cell;
}

static json_t *ratio_json(const struct row *row, unsigned m, unsigned peer)
{
	struct spread ratio = series_ratio(&row->ns[peer], &row->ns[m]);
	json_t *cell = json_pack("{s:s, s:s, s:f, s:f, s:f}", "impl", methods[m].name, "peer",
		methods[peer].name, "ratio", ratio.median, "ratio_min", ratio.min, "ratio_max",
		ratio.max);

	json_object_update_new(cell, point_json(&row->point));
	return cell;
}

static json_t *head_json(const struct row *rows, unsigned n)
{
	json_t *machine = machine_json(core_ghz(rows, n));

	json_object_set_new(machine, "libsodium", json_string(sodium_version_string()));
	json_object_set_new(machine, "openssl", json_string(OpenSSL_version(OPENSSL_VERSION)));
	json_object_set_new(machine, "ipsec_mb", json_string(ipsec_mb_version()));
	return machine;
}

void report_json(const struct row *rows, unsigned n)
{
	json_t *results = json_array(), *ratios = json_array();

	for (unsigned i = 0; i < n * n_methods; i++)
		json_array_append_new(results, cell_json(&rows[i / n_methods], i % n_methods));
	for (unsigned i = 0; i < n * n_methods * n_methods; i++) {
		unsigned m = i / n_methods % n_methods, peer = i % n_methods;

		if (methods[m].ours && !methods[peer].ours)
			json_array_append_new(
				ratios, ratio_json(&rows[i / n_methods / n_methods], m, peer));
	}
	json_t *report = json_pack("{s:o, s:i, s:o, s:o}", "machine", head_json(rows, n), "rounds",
		(int)rows[0].ns[0].n, "results", results, "ratios", ratios);
	if (report == NULL)
		errx(1, "the report cannot be made");
	json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(5));
	putchar('\n');
	json_decref(report);
}
