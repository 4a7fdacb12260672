/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes for a control server, as many as one core carries: perf/control.py starts the server, says
 * what they shall do, and makes figures of it.
 *
 *   bench_control --host A.B.C.D --port N --server-key HEX --auth-key KEY --nodes N
 *                 [--decode N] [--at-once N] [--limit SECONDS]
 *   bench_control --floor CORE --nodes N     what the kernel takes of each send, to a process there
 *
 * Lines on standard input, an object of JSON for each on standard output:
 *
 *   register               all become nodes, and have no stream yet
 *   start                  all (register and) have a stream, and wait until each knows all others
 *   cut                    all connections end
 *   changes ROUNDS GROUP GAP-MS
 *                          GROUP nodes at once report new endpoints; the next round begins
 *                          GAP-MS after all others were told
 *   idle SECONDS
 *
 * Runs on: one thread.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <sodium.h>

#include "clock.h"
#include "aead.h"
#include "frames.h"
#include "load.h"

#define EVENTS_MAX 512
#define TURN_MS 10 /* when nothing comes: who waits for a retry is looked for */
#define SECOND 1000000000ull
#define SHOW_EVERY (SECOND / 4)
#define CHANGES_MAX 4096
#define DESCRIPTORS 65536

static struct load load;
static uint64_t limit_ns = 300 * SECOND;
static bool terminal;
static int floor_core = -1;

uint64_t load_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* ---- turns of the loop ---- */

static void show(const char *what, uint64_t since)
{
	static uint64_t shown;
	uint64_t now = load_now();

	if (!terminal || now - shown < SHOW_EVERY)
		return;
	shown = now;
	fprintf(stderr,
		"\r\e[K%s %.1f s: %u of %u connected, %u registered, %u know all; %.0f MB, own CPU "
		"%.1f s",
		what, (double)(now - since) / 1e9, load.up, load.n, load.registered, load.converged,
		(double)load.bytes / 1e6, clock_seconds(CLOCK_PROCESS_CPUTIME_ID));
}

static void turn(int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n;

	nodes_run(&load);
	n = epoll_wait(load.epoll, events, EVENTS_MAX,
		load.opening || load.waiting ? TURN_MS : timeout_ms);
	for (int i = 0; i < n; i++)
		node_event(&load.nodes[events[i].data.u32], events[i].events);
}

/* False: it took too long. */
static bool turn_until(const char *what, bool (*done)(void))
{
	uint64_t since = load_now();

	while (!done()) {
		if (load_now() - since > limit_ns)
			return false;
		turn(TURN_MS);
		show(what, since);
	}
	return true;
}

static void turn_for(uint64_t ns)
{
	uint64_t since = load_now(), now;

	while ((now = load_now()) - since < ns)
		turn((int)((ns - (now - since)) / 1000000) + 1);
}

static bool all_registered(void)
{
	return load.registered == load.n && !load.opening;
}

static bool all_converged(void)
{
	return load.converged == load.n;
}

/* ---- what was counted between two points ---- */

struct counts {
	uint64_t at;
	double cpu;
	uint64_t bytes, messages, full_maps, records, retries, losses, decoded, distinct;
};

static struct counts count(void)
{
	return (struct counts){load_now(), clock_seconds(CLOCK_PROCESS_CPUTIME_ID), load.bytes,
		load.messages, load.full_maps, load.records, load.retries, load.losses,
		load.decoded, frames_distinct()};
}

static json_t *answer_of(const struct counts *before, bool in_time)
{
	struct counts now = count();

	return json_pack("{sf sf sb sI sI sI sI sI sI sI sI ss}", "seconds",
		(double)(now.at - before->at) / 1e9, "own_cpu_s", now.cpu - before->cpu, "in_time",
		in_time, "bytes", (json_int_t)(now.bytes - before->bytes), "messages",
		(json_int_t)(now.messages - before->messages), "full_maps",
		(json_int_t)(now.full_maps - before->full_maps), "records",
		(json_int_t)(now.records - before->records), "retries",
		(json_int_t)(now.retries - before->retries), "losses",
		(json_int_t)(now.losses - before->losses), "decoded",
		(json_int_t)(now.decoded - before->decoded), "distinct",
		(json_int_t)(now.distinct - before->distinct), "error", load.error);
}

static void tell(json_t *answer)
{
	if (terminal)
		fprintf(stderr, "\r\e[K");
	json_dumpf(answer, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	putchar('\n');
	fflush(stdout);
	json_decref(answer);
	load.error[0] = '\0';
}

/* ---- commands ---- */

static void start_all(bool streams)
{
	load.streams = streams;
	for (unsigned i = 0; i < load.n; i++)
		node_start(&load.nodes[i]);
}

static void do_register(void)
{
	struct counts before = count();

	start_all(false);
	tell(answer_of(&before, turn_until("register", all_registered)));
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The time until a share of them knew all, from when it began. */
static json_t *converged_shares(uint64_t since)
{
	uint64_t *at = calloc(load.n, sizeof(*at));
	json_t *shares;

	for (unsigned i = 0; at && i < load.n; i++)
		at[i] = load.nodes[i].converged_at ? load.nodes[i].converged_at - since
						   : UINT64_MAX;
	if (!at)
		abort();
	qsort(at, load.n, sizeof(*at), by_time);
	shares = json_pack("{sf sf}", "p50", (double)at[load.n / 2] / 1e9, "p99",
		(double)at[load.n * 99 / 100] / 1e9);
	free(at);
	return shares;
}

static void do_start(void)
{
	struct counts before = count();
	json_t *answer;
	bool in_time;

	start_all(true);
	in_time = turn_until("start", all_converged);
	answer = answer_of(&before, in_time);
	json_object_set_new(answer, "converged", json_integer(load.converged));
	json_object_set_new(answer, "when", converged_shares(before.at));
	tell(answer);
}

static void do_cut(void)
{
	struct counts before = count();

	for (unsigned i = 0; i < load.n; i++)
		node_cut(&load.nodes[i]);
	tell(answer_of(&before, true));
}

static uint64_t told_wanted;

static bool all_told(void)
{
	return load.told >= told_wanted;
}

/* The times to the last receiver of each. */
static json_t *latencies(unsigned first, unsigned n)
{
	json_t *list = json_array();

	for (unsigned i = first; i < first + n; i++)
		json_array_append_new(
			list, json_real((double)(load.changes[i].last - load.changes[i].at) / 1e6));
	return list;
}

static bool change_round(unsigned group)
{
	static unsigned turn_of;

	load.told = 0;
	told_wanted = (uint64_t)group * (load.n - 1);
	for (unsigned i = 0; i < group; i++) {
		unsigned number = load.n_changes++;

		load.changes[number] = (struct change){.at = load_now()};
		node_report(&load.nodes[turn_of++ % load.n], number);
	}
	return turn_until("changes", all_told);
}

static void do_changes(unsigned rounds, unsigned group, unsigned gap_ms)
{
	struct counts before = count();
	unsigned first = load.n_changes;
	json_t *answer;
	bool in_time = true;

	for (unsigned i = 0; in_time && i < rounds && load.n_changes + group <= CHANGES_MAX; i++) {
		in_time = change_round(group);
		turn_for(gap_ms * 1000000ull);
	}
	answer = answer_of(&before, in_time);
	json_object_set_new(answer, "last_peer_ms", latencies(first, load.n_changes - first));
	tell(answer);
}

static void do_idle(double seconds)
{
	struct counts before = count();

	turn_for((uint64_t)(seconds * 1e9));
	tell(answer_of(&before, true));
}

/* Connections are served also while nothing is asked. Whoever asks waits for the answer, so that no
 * second line hides in stdio. */
static bool next_line(char *line, size_t size)
{
	struct pollfd input = {STDIN_FILENO, POLLIN, 0};

	while (poll(&input, 1, 0) == 0)
		turn(TURN_MS);
	return fgets(line, (int)size, stdin);
}

/* False: unknown. */
static bool obey(const char *line)
{
	unsigned rounds, group, gap_ms;
	double seconds;

	if (strcmp(line, "register\n") == 0)
		do_register();
	else if (strcmp(line, "start\n") == 0)
		do_start();
	else if (strcmp(line, "cut\n") == 0)
		do_cut();
	else if (sscanf(line, "changes %u %u %u", &rounds, &group, &gap_ms) == 3)
		do_changes(rounds, group, gap_ms);
	else if (sscanf(line, "idle %lf", &seconds) == 1)
		do_idle(seconds);
	else
		return false;
	return true;
}

/* ---- beginning and end ---- */

static void usage(void)
{
	fprintf(stderr,
		"bench_control --host A.B.C.D --port N --server-key HEX --auth-key KEY --nodes N "
		"[--decode N] [--at-once N] [--limit SECONDS]\n");
	exit(2);
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {{"host", 1, NULL, 'h'}, {"port", 1, NULL, 'p'},
		{"server-key", 1, NULL, 'k'}, {"auth-key", 1, NULL, 'a'}, {"nodes", 1, NULL, 'n'},
		{"decode", 1, NULL, 'd'}, {"at-once", 1, NULL, 'o'}, {"limit", 1, NULL, 'l'},
		{"floor", 1, NULL, 'f'}, {0}};
	uint8_t *key = load.conf.server.bytes;
	int c;

	load.conf = (struct load_conf){.decode = 100, .at_once = 2000, .version = 142};
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h')
			load.conf.host = optarg;
		else if (c == 'p')
			load.conf.port = (uint16_t)atoi(optarg);
		else if (c == 'k' &&
			 sodium_hex2bin(key, 32, optarg, strlen(optarg), NULL, NULL, NULL))
			usage();
		else if (c == 'a')
			load.conf.auth_key = optarg;
		else if (c == 'n')
			load.n = (unsigned)atoi(optarg);
		else if (c == 'd')
			load.conf.decode = (unsigned)atoi(optarg);
		else if (c == 'o')
			load.conf.at_once = (unsigned)atoi(optarg);
		else if (c == 'f')
			floor_core = atoi(optarg);
		else if (c == 'l')
			limit_ns = (uint64_t)atoi(optarg) * SECOND;
		else if (c == '?')
			usage();
	}
	if (floor_core >= 0 && load.n)
		return;
	if (!load.conf.host || !load.conf.port || !load.conf.auth_key || load.n < 2)
		usage();
}

static void descriptors_raise(void)
{
	struct rlimit files = {DESCRIPTORS, DESCRIPTORS};

	if (setrlimit(RLIMIT_NOFILE, &files) == 0 || load.n + 64 < files.rlim_cur)
		return;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) == 0 && load.n + 64 < files.rlim_cur)
		return;
	fprintf(stderr, "%u nodes need more open files than the limit allows\n", load.n);
	exit(1);
}

int main(int argc, char **argv)
{
	char line[256];
	int rc = 0;

	if (sodium_init() < 0 || aead_init(NULL) != 0)
		return 1;
	read_options(argc, argv);
	descriptors_raise();
	if (floor_core >= 0)
		return printf("%.2f\n", floor_of_sends(load.n, floor_core)) < 0;
	terminal = isatty(STDERR_FILENO);
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.ids_max = 4 * load.n + 4096;
	load.nodes = calloc(load.n, sizeof(*load.nodes));
	load.changes = calloc(CHANGES_MAX, sizeof(*load.changes));
	load.n_changes = 1; /* 0 means none */
	if (load.epoll < 0 || !load.nodes || !load.changes)
		return 1;
	for (unsigned i = 0; i < load.n; i++)
		node_init(&load, i);
	while (rc == 0 && next_line(line, sizeof(line)))
		rc = obey(line) ? 0 : 2;
	for (unsigned i = 0; i < load.n; i++)
		node_fini(&load.nodes[i]);
	frames_fini();
	free(load.nodes);
	free(load.changes);
	return rc;
}
