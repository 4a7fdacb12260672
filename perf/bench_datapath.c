/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast the whole graph of the data plane is, between two ports in memory (traffic.h): all of
 * it, from the Ethernet frame that comes in to the one that goes out.
 *
 *   seal:  rx classify route wg_output outer route neighbour tx
 *   open:  rx classify wg_input route neighbour tx
 *
 * A cell (workers, peers, way, size) is measured in short windows, once per round, so that a
 * machine that slows down slows all cells; those that differ in their peers alone are next to each
 * other, and every other round goes backwards. The tables always hold the largest number of peers;
 * a cell addresses some of them. A figure is the median of the windows in which no other thread
 * took a worker's core. Rates count everything that a worker did, the ports in memory included, but
 * not the preparation of sealed packets. Gbit/s counts the inner packets alone.
 *
 * Cycles are ticks of the TSC, as `tailplane graph` counts them; the clock that the cores really
 * run at is measured and printed beside.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <rte_cycles.h>

#include "aead.h"
#include "clock.h"
#include "gateway.h"
#include "interference.h"
#include "machine.h"
#include "search.h"

#define LIST_MAX 8
#define ROUNDS_MAX 99
#define TRIES 4 /* windows for one clean one, at most */
#define NODES_MAX 16
#define PEERS_MAX 100000

struct list {
	unsigned values[LIST_MAX], n;
};

struct node_figure {
	char name[32];
	double cycles, per_call;
};

struct window {
	double pps; /* of all workers together */
	double cycles;
	double io;
	bool clean;
	unsigned n_nodes;
	struct node_figure nodes[NODES_MAX];
};

struct cell {
	unsigned workers, peers, size;
	unsigned flows; /* workers that packets come to; the others may help */
	enum traffic_way way;
	struct window windows[ROUNDS_MAX]; /* sorted in the end */
	double round_pps[ROUNDS_MAX];      /* by round; 0: disturbed */
	unsigned n;
	uint64_t offered, lost, reordered;
	struct cell *next, *before;
};

static const char *const way_names[] = {"seal", "open"};

static struct list workers = {{1}, 1}, peer_counts = {{1, 100, 10000, 100000}, 4},
		   sizes = {{64, 512, 1420, 0}, 4}, ways = {{TRAFFIC_SEAL, TRAFFIC_OPEN}, 2};
static unsigned rounds = 7, window_ms = 5, ring = 1024;
static unsigned handshakes; /* a second; 0: do not measure with them */
static bool as_json, with_nodes, searching;
static double ticks_per_s, clock_hz;
static struct cell *cells, *cells_last, **cells_tail = &cells;
static json_t *other_results; /* of searches and of interference */

/* An outer flow comes to one queue; inner flows are enough for all. */
static unsigned flows_of(unsigned n_workers, unsigned peers, enum traffic_way way)
{
	return way == TRAFFIC_OPEN ? RTE_MIN(n_workers, peers) : n_workers;
}

/* ---- one window ------------------------------------------------------------------------------ */

static struct node_figure figure(const json_t *before, const json_t *after)
{
	struct node_figure f;
	double packets = json_number_value(json_object_get(after, "packets")) -
			 json_number_value(json_object_get(before, "packets"));
	double calls = json_number_value(json_object_get(after, "calls")) -
		       json_number_value(json_object_get(before, "calls"));
	double then = json_number_value(json_object_get(before, "cycles_per_packet")) *
		      json_number_value(json_object_get(before, "packets"));
	double now = json_number_value(json_object_get(after, "cycles_per_packet")) *
		     json_number_value(json_object_get(after, "packets"));

	snprintf(f.name, sizeof(f.name), "%s", json_string_value(json_object_get(after, "node")));
	f.cycles = packets > 0 ? (now - then) / packets : 0;
	f.per_call = calls > 0 ? packets / calls : 0;
	return f;
}

/* What the nodes took; `rx` and `tx` without the ports behind them. */
static void nodes_note(
	struct window *w, const json_t *before, const json_t *after, unsigned n, double packets)
{
	double rx = 0, tx = 0, prepare = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct traffic_stats *s = traffic_stats(i);

		rx += (double)s->rx_ticks;
		tx += (double)s->tx_ticks;
		prepare += (double)s->prepare;
	}
	w->io = (rx + tx) / packets;
	for (size_t i = 0; i < json_array_size(after) && w->n_nodes < NODES_MAX; i++) {
		struct node_figure f = figure(json_array_get(before, i), json_array_get(after, i));

		if (f.cycles <= 0)
			continue;
		if (!strcmp(f.name, "rx"))
			f.cycles -= (rx + prepare) / packets;
		if (!strcmp(f.name, "tx"))
			f.cycles -= tx / packets;
		w->nodes[w->n_nodes++] = f;
	}
}

static struct window window_run(struct cell *cell, unsigned ms)
{
	struct traffic_run run = {.way = cell->way,
		.n_peers = cell->peers,
		.size = cell->size,
		.ticks = (uint64_t)(ticks_per_s * ms / 1000)};
	json_t *before = gateway_graph(), *after;
	struct window w = {.clean = true};
	double packets = 0, ticks = 0;

	traffic_run_wait(&run, cell->flows);
	after = gateway_graph();
	for (unsigned i = 0; i < cell->flows; i++) {
		const struct traffic_stats *s = traffic_stats(i);

		if (!s->sunk)
			errx(1, "no packet came through");
		w.pps += (double)s->sunk / (double)s->ticks * ticks_per_s;
		packets += (double)s->sunk;
		ticks += (double)s->ticks;
		cell->offered += s->offered;
		cell->lost += s->offered - s->sunk;
		cell->reordered += s->reordered;
	}
	for (unsigned i = 0; i < cell->workers; i++)
		w.clean &= traffic_stats(i)->switches == 0;
	w.cycles = ticks / packets;
	nodes_note(&w, before, after, cell->flows, packets);
	json_decref(before);
	json_decref(after);
	return w;
}

/* Every peer has carried something, and what that starts is done. */
static void warm_up(struct cell *cell)
{
	do {
		window_run(cell, 5);
		gateway_loop();
	} while (cell->offered < 3ull * cell->peers);
	cell->offered = cell->lost = cell->reordered = 0;
}

static void cell_round(struct cell *cell)
{
	window_run(cell, window_ms); /* caches hold what they can of it */
	for (unsigned i = 0; i < TRIES; i++) {
		cell->windows[cell->n] = window_run(cell, window_ms);
		if (cell->windows[cell->n].clean)
			break;
	}
	cell->round_pps[cell->n] = cell->windows[cell->n].clean ? cell->windows[cell->n].pps : 0;
	cell->n++;
}

static int by_pps(const void *a, const void *b)
{
	const struct window *wa = a, *wb = b;

	/* those that were disturbed first: the median is taken of the rest */
	if (wa->clean != wb->clean)
		return wa->clean ? 1 : -1;
	return (wa->pps > wb->pps) - (wa->pps < wb->pps);
}

static unsigned dirty(const struct cell *cell)
{
	unsigned n = 0;

	while (n < cell->n && !cell->windows[n].clean)
		n++;
	return n;
}

static const struct window *median(const struct cell *cell)
{
	unsigned skip = dirty(cell) == cell->n ? 0 : dirty(cell);

	return &cell->windows[skip + (cell->n - skip) / 2];
}

/* ---- all cells ------------------------------------------------------------------------------- */

static struct cell *cell_new(
	unsigned n_workers, unsigned peers, enum traffic_way way, unsigned size)
{
	struct cell *cell = calloc(1, sizeof(*cell));

	if (!cell)
		errx(1, "out of memory");
	cell->workers = n_workers;
	cell->peers = peers;
	cell->flows = flows_of(n_workers, peers, way);
	cell->way = way;
	cell->size = size;
	cell->before = cells_last;
	*cells_tail = cells_last = cell;
	cells_tail = &cell->next;
	return cell;
}

/* The cells of one number of workers, round by round. */
static void cells_run(struct cell *first)
{
	gateway_busy(true);
	for (struct cell *cell = first; cell; cell = cell->next)
		warm_up(cell);
	for (unsigned r = 0; r < rounds; r++) {
		struct cell *cell = r % 2 ? cells_last : first;

		for (; cell && cell != first->before; cell = r % 2 ? cell->before : cell->next)
			cell_round(cell);
	}
	gateway_busy(false);
	for (struct cell *cell = first; cell; cell = cell->next)
		qsort(cell->windows, cell->n, sizeof(struct window), by_pps);
}

static struct cell *cells_new(unsigned n_workers)
{
	struct cell **first = cells_tail;

	/* one fat flow, which one queue brings */
	for (unsigned i = 0; i < ways.n && n_workers > 1 && peer_counts.values[0] == 1; i++)
		for (unsigned s = 0; s < sizes.n && ways.values[i] == TRAFFIC_SEAL; s++)
			cell_new(n_workers, 1, TRAFFIC_SEAL, sizes.values[s])->flows = 1;
	for (unsigned i = 0; i < ways.n; i++)
		for (unsigned s = 0; s < sizes.n; s++)
			for (unsigned p = 0; p < peer_counts.n; p++)
				cell_new(n_workers, peer_counts.values[p], ways.values[i],
					sizes.values[s]);
	return *first;
}

/* The same conditions, each searched for the rate that it carries (search.h). */
static void group_search(unsigned n_workers, unsigned peers, enum traffic_way way)
{
	for (unsigned i = 0; i < sizes.n; i++) {
		struct search search = {
			.workers = n_workers, .peers = peers, .way = way, .size = sizes.values[i]};

		gateway_peers(peers); /* keys that last until the end of it */
		gateway_busy(true);
		warm_up(&(struct cell){.workers = n_workers,
			.flows = flows_of(n_workers, peers, way),
			.peers = peers,
			.way = way,
			.size = sizes.values[i]});
		search_run(&search);
		gateway_busy(false);
		json_array_append_new(other_results, search_json(&search, aead_chosen()->name));
		if (!as_json)
			search_print(&search);
	}
}

/* The same conditions with handshakes among the data (interference.h). */
static void group_disturb(unsigned n_workers, unsigned peers, enum traffic_way way)
{
	for (unsigned i = 0; i < sizes.n * N_PLACEMENTS; i++) {
		struct interference in = {.per_second = handshakes,
			.peers = peers,
			.way = way,
			.size = sizes.values[i / N_PLACEMENTS],
			.placement = i % N_PLACEMENTS};

		gateway_peers(RTE_MAX(peers, (unsigned)GATEWAY_INITIATORS));
		gateway_busy(true);
		warm_up(&(struct cell){.workers = n_workers,
			.flows = flows_of(n_workers, peers, way),
			.peers = peers,
			.way = way,
			.size = in.size});
		interference_run(&in, rounds);
		gateway_busy(false);
		json_array_append_new(other_results, interference_json(&in, aead_chosen()->name));
		if (!as_json)
			interference_print(&in);
	}
}

static void losses_tell(void)
{
	json_t *drops = gateway_drops();
	const char *name;
	json_t *count;

	json_object_foreach (drops, name, count)
		warnx("lost: %s %lld", name, (long long)json_integer_value(count));
	json_decref(drops);
}

static void all_run(void)
{
	void (*group)(unsigned, unsigned, enum traffic_way) = searching    ? group_search
							      : handshakes ? group_disturb
									   : NULL;
	unsigned peers = peer_counts.values[peer_counts.n - 1];

	for (unsigned w = 0; w < workers.n; w++) {
		gateway_start(
			workers.values[w], RTE_MAX(peers, (unsigned)GATEWAY_INITIATORS), ring);
		gateway_busy(false);
		gateway_peers(peers);
		if (!group)
			cells_run(cells_new(workers.values[w]));
		for (unsigned p = 0; group && p < peer_counts.n; p++)
			for (unsigned i = 0; i < ways.n; i++)
				group(workers.values[w], peer_counts.values[p], ways.values[i]);
		losses_tell();
		gateway_stop();
	}
}

/* ---- what people read ------------------------------------------------------------------------ */

static const char *size_name(unsigned size)
{
	static char text[4][16];
	static unsigned at;

	at = (at + 1) % 4;
	if (size)
		snprintf(text[at], sizeof(text[0]), "%u", size);
	return size ? text[at] : "imix";
}

static double gbps(const struct cell *cell, double pps)
{
	return pps * traffic_mean_size(cell->size) * 8e-9;
}

static void cell_print(const struct cell *cell)
{
	const struct window *w = median(cell);

	printf("%7u %5u %7u  %-4s %5s %8.2f %8.2f %9.0f %9.0f %6.0f %3u/%u", cell->workers,
		cell->flows, cell->peers, way_names[cell->way], size_name(cell->size), w->pps / 1e6,
		gbps(cell, w->pps), w->cycles, w->cycles * clock_hz / ticks_per_s, w->io,
		cell->n - dirty(cell), cell->n);
	if (cell->lost || cell->reordered)
		printf("  lost %llu, out of order %llu", (unsigned long long)cell->lost,
			(unsigned long long)cell->reordered);
	printf("\n");
	if (!with_nodes)
		return;
	for (unsigned i = 0; i < w->n_nodes; i++)
		printf("%32s %9.1f cycles, %6.1f packets a call\n", w->nodes[i].name,
			w->nodes[i].cycles, w->nodes[i].per_call);
}

static void report_text(void)
{
	char cpu[128];

	machine_cpu_name(cpu, sizeof(cpu));
	printf("%s, core at %.2f GHz, TSC at %.2f GHz, AEAD %s, rings of %u\n", cpu, clock_hz / 1e9,
		ticks_per_s / 1e9, aead_chosen()->name, ring);
	printf("%7s %5s %7s  %-4s %5s %8s %8s %9s %9s %6s %s\n", "workers", "flows", "peers", "way",
		"size", "Mpps", "Gbit/s", "TSC/pkt", "clock/pkt", "io TSC", "clean");
	for (const struct cell *cell = cells; cell; cell = cell->next)
		cell_print(cell);
}

static json_t *nodes_json(const struct window *w)
{
	json_t *nodes = json_object();

	for (unsigned i = 0; i < w->n_nodes; i++)
		json_object_set_new(nodes, w->nodes[i].name, json_real(w->nodes[i].cycles));
	json_object_set_new(nodes, "(ports in memory)", json_real(w->io));
	return nodes;
}

static double batch_of(const struct cell *cell, const struct window *w)
{
	const char *name = cell->way == TRAFFIC_SEAL ? "wg_output" : "wg_input";

	for (unsigned i = 0; i < w->n_nodes; i++)
		if (!strcmp(w->nodes[i].name, name))
			return w->nodes[i].per_call;
	return 0;
}

static json_t *rounds_json(const struct cell *cell)
{
	json_t *rows = json_array();

	for (unsigned i = 0; i < cell->n; i++)
		json_array_append_new(rows,
			cell->round_pps[i] > 0 ? json_real(cell->round_pps[i] / 1e6) : json_null());
	return rows;
}

static json_t *cell_json(const struct cell *cell)
{
	const struct window *w = median(cell);

	return json_pack("{ss ss so sf sI sI sI sI sf sf sf sf sf sf sI sI sI sI so so}", "impl",
		aead_chosen()->name, "op", way_names[cell->way], "size",
		cell->size ? json_integer(cell->size) : json_string("imix"), "batch",
		batch_of(cell, w), "keys", (json_int_t)cell->peers, "peers",
		(json_int_t)cell->peers, "workers", (json_int_t)cell->workers, "flows",
		(json_int_t)cell->flows, "gbps", gbps(cell, w->pps), "gbps_min",
		gbps(cell, cell->windows[0].pps), "gbps_max",
		gbps(cell, cell->windows[cell->n - 1].pps), "mpps", w->pps / 1e6,
		"cycles_per_packet", w->cycles * clock_hz / ticks_per_s, "ticks_per_packet",
		w->cycles, "windows", (json_int_t)cell->n, "undisturbed",
		(json_int_t)(cell->n - dirty(cell)), "lost", (json_int_t)cell->lost, "reordered",
		(json_int_t)cell->reordered, "rounds_mpps", rounds_json(cell), "nodes",
		nodes_json(w));
}

static void report_json(void)
{
	json_t *results = other_results, *report;

	for (const struct cell *cell = cells; cell; cell = cell->next)
		json_array_append_new(results, cell_json(cell));
	report = json_pack("{so sI sI sI so}", "machine", machine_json(clock_hz / 1e9), "rounds",
		(json_int_t)rounds, "window_ms", (json_int_t)window_ms, "ring", (json_int_t)ring,
		"results", results);
	if (!report)
		errx(1, "the report cannot be made");
	json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(5));
	putchar('\n');
	json_decref(report);
}

/* ---- options --------------------------------------------------------------------------------- */

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!*text || *end || n < min || n > max)
		errx(2, "'%s': a number from %u to %u would be right", text, min, max);
	return (unsigned)n;
}

/* A copy is taken apart: EAL may start the program anew with its arguments (eal.c). */
static struct list list_read(const char *text, unsigned min, unsigned max)
{
	struct list list = {.n = 0};
	char *copy = strdup(text);

	for (char *word = strtok(copy, ","); word; word = strtok(NULL, ",")) {
		if (list.n == LIST_MAX)
			errx(2, "more than %d values", LIST_MAX);
		list.values[list.n++] = !strcmp(word, "imix")   ? 0
					: !strcmp(word, "seal") ? TRAFFIC_SEAL
					: !strcmp(word, "open") ? TRAFFIC_OPEN
								: number(word, min, max);
	}
	if (!list.n)
		errx(2, "an empty list");
	free(copy);
	return list;
}

static void usage(void)
{
	errx(2, "usage: bench_datapath [--json] [--nodes] [--workers N,..] [--peers N,..]\n"
		"       [--sizes BYTES,..,imix] [--ways seal,open] [--rounds N] [--window MS]\n"
		"       [--ring PACKETS] [--aead NAME] [--search | --handshakes PER_SECOND]\n"
		"peers in rising order, up to 100000; sizes of the inner packets from 64 to 1420\n"
		"--search: lossless rates, latencies below them and what overload leaves\n"
		"--handshakes: what so many cost the data, with one worker");
}

static void options_read(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
		{"nodes", no_argument, NULL, 'n'}, {"workers", required_argument, NULL, 'w'},
		{"peers", required_argument, NULL, 'p'}, {"sizes", required_argument, NULL, 's'},
		{"ways", required_argument, NULL, 'd'}, {"rounds", required_argument, NULL, 'r'},
		{"window", required_argument, NULL, 't'}, {"ring", required_argument, NULL, 'q'},
		{"aead", required_argument, NULL, 'a'}, {"search", no_argument, NULL, 'S'},
		{"handshakes", required_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			as_json = true;
			break;
		case 'n':
			with_nodes = true;
			break;
		case 'S':
			searching = true;
			break;
		case 'h':
			handshakes = number(optarg, 1, 1400);
			break;
		case 'w':
			workers = list_read(optarg, 1, 64);
			break;
		case 'p':
			peer_counts = list_read(optarg, 1, PEERS_MAX);
			break;
		case 's':
			sizes = list_read(optarg, 64, 1420);
			break;
		case 'd':
			ways = list_read(optarg, 0, 1);
			break;
		case 'r':
			rounds = number(optarg, 1, ROUNDS_MAX);
			break;
		case 't':
			window_ms = number(optarg, 1, 1000);
			break;
		case 'q':
			ring = RTE_ALIGN(number(optarg, 64, 8192), 64u);
			break;
		case 'a':
			if (aead_init(optarg))
				errx(2, "no AEAD named %s here", optarg);
			break;
		default:
			usage();
		}
	}
}

int main(int argc, char **argv)
{
	aead_init(NULL);
	options_read(argc, argv);
	other_results = json_array();
	clock_start();
	ticks_per_s = clock_ticks_per_ns() * 1e9;
	clock_hz = clock_core_ghz() * 1e9;
	all_run();
	if (as_json)
		report_json();
	else if (cells)
		report_text();
	return 0;
}
