/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * derp_load: a lean DERP client, many times over. Prints one JSON object.
 */
#include <err.h>
#include <getopt.h>
#include <jansson.h>
#include <netdb.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "crowd.h"
#include "ideal.h"
#include "lists.h"
#include "pairs.h"
#include "stall.h"
#include "stun.h"

static const char USAGE[] =
	"derp_load [OPTIONS] ADDRESS PORT window|flood|rate|stall|pass|stay|stun\n"
	"derp_load ideal PORT [PEM FILE]: a relay that only carries\n"
	"  --pairs N (16)   --size BYTES (1400)   --window PACKETS (24)   --rate PACKETS (500)\n"
	"  --seconds N (2)  --relay PID: its CPU time is counted\n"
	"  --tls            --one-a-record: as stock clients write\n"
	"  --threads N (1): of window and flood\n"
	"  --crossing: each pair has its ends on two loops of a relay; else one in two\n"
	"  --connections N (1000): how many pass or stay; these end when standard input does\n"
	"  --resume: with the ticket of the connection before\n"
	"  --answers FILE: counts those of STUN, which do not come back\n"
	"derp_load echo PORT: the bare cost of datagrams\n";

struct options {
	struct plan plan;
	struct target target;
	const char *what;
	bool tls;
	unsigned connections;
};

static struct option long_options[] = {
	{"pairs", required_argument, NULL, 'p'},
	{"size", required_argument, NULL, 's'},
	{"window", required_argument, NULL, 'w'},
	{"rate", required_argument, NULL, 'r'},
	{"seconds", required_argument, NULL, 't'},
	{"relay", required_argument, NULL, 'P'},
	{"tls", no_argument, NULL, 'T'},
	{"connections", required_argument, NULL, 'c'},
	{"resume", no_argument, NULL, 'R'},
	{"one-a-record", no_argument, NULL, '1'},
	{"threads", required_argument, NULL, 'n'},
	{"crossing", no_argument, NULL, 'X'},
	{"answers", required_argument, NULL, 'A'},
	{0},
};

static void resolve(struct target *target, const char *address, const char *port)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
	int rc = getaddrinfo(address, port, &hints, &found);

	if (rc)
		errx(2, "%s %s: %s", address, port, gai_strerror(rc));
	memcpy(&target->at, found->ai_addr, found->ai_addrlen);
	target->at_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static void options_read(int argc, char **argv, struct options *o)
{
	struct plan *plan = &o->plan;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'p':
			plan->pairs = number_read(optarg, 1, 10000);
			break;
		case 's':
			plan->size = number_read(optarg, 16, 65536);
			break;
		case 'w':
			plan->window = number_read(optarg, 1, 4096);
			break;
		case 'r':
			plan->rate = number_read(optarg, 1, 100000000);
			break;
		case 't':
			plan->seconds = number_read(optarg, 1, 3600);
			break;
		case 'P':
			plan->relay = (pid_t)number_read(optarg, 1, 1 << 30);
			break;
		case 'c':
			o->connections = number_read(optarg, 1, 1000000);
			break;
		case 'R':
			o->target.resume = true;
			break;
		case 'n':
			plan->threads = number_read(optarg, 1, 64);
			break;
		case 'X':
			plan->crossing = true;
			break;
		case 'A':
			plan->answers = optarg;
			break;
		case 'T':
			o->tls = true;
			break;
		case '1':
			o->target.one_a_record = true;
			break;
		default:
			fputs(USAGE, stderr);
			exit(2);
		}
	}
	if (argc - optind != 3) {
		fputs(USAGE, stderr);
		exit(2);
	}
	resolve(&o->target, argv[optind], argv[optind + 1]);
	o->what = argv[optind + 2];
}

static json_t *outcome_json(const struct outcome *out)
{
	return json_pack("{s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "seconds",
		out->seconds, "relay_cpu_s", out->relay_cpu, "own_cpu_s", out->own_cpu, "sent",
		(json_int_t)out->sent, "received", (json_int_t)out->received, "lost",
		(json_int_t)out->lost, "bytes", (json_int_t)out->bytes, "p50_us", out->p50_us,
		"p99_us", out->p99_us, "max_us", out->max_us);
}

static json_t *pairs(struct options *o)
{
	static const char *const names[] = {"window", "flood", "rate"};
	struct outcome out = {0};

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(o->what, names[i]) == 0)
			o->plan.load = (enum load)i;
	pairs_run(&o->plan, &o->target, &out);
	return outcome_json(&out);
}

static json_t *stall(struct options *o)
{
	struct stall_outcome out = {0};

	stall_run(&o->target, o->plan.seconds, o->plan.relay, &out);
	return json_pack("{s:f, s:I, s:o, s:o}", "closed_after_s", out.closed_after, "hidden_bytes",
		(json_int_t)out.hidden_bytes, "before", outcome_json(&out.before), "during",
		outcome_json(&out.during));
}

static json_t *pass(struct options *o)
{
	double start, relay, own;

	crowd_pass(&o->target, 32);
	o->target.resumed = 0;
	start = clock_seconds(CLOCK_MONOTONIC);
	relay = process_cpu_seconds(o->plan.relay);
	own = process_cpu_seconds(getpid());
	crowd_pass(&o->target, o->connections);
	relay = process_cpu_seconds(o->plan.relay) - relay;
	own = process_cpu_seconds(getpid()) - own;
	return json_pack("{s:i, s:i, s:f, s:f, s:f}", "connections", (int)o->connections, "resumed",
		(int)o->target.resumed, "relay_cpu_s", relay, "own_cpu_s", own, "seconds",
		clock_seconds(CLOCK_MONOTONIC) - start);
}

static json_t *stay(struct options *o)
{
	crowd_stay(&o->target, o->connections);
	puts("open");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return json_pack("{s:i}", "connections", (int)o->connections);
}

static json_t *stun(struct options *o)
{
	struct stun_outcome out = {0};

	stun_run(&o->plan, &o->target, &out);
	return json_pack("{s:f, s:f, s:I, s:I}", "seconds", out.seconds, "relay_cpu_s",
		out.relay_cpu, "answered", (json_int_t)out.answered, "lost", (json_int_t)out.lost);
}

static const struct {
	const char *name;
	json_t *(*run)(struct options *o);
	bool crowd;
} modes[] = {
	{"window", pairs, false},
	{"flood", pairs, false},
	{"rate", pairs, false},
	{"stall", stall, false},
	{"pass", pass, true},
	{"stay", stay, true},
	{"stun", stun, false},
};

static json_t *run(struct options *o)
{
	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(o->what, modes[i].name) != 0)
			continue;
		o->target.crowd = modes[i].crowd;
		if (o->tls)
			o->target.tls = peer_tls(modes[i].crowd);
		return modes[i].run(o);
	}
	fputs(USAGE, stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	struct options o = {.plan = {.pairs = 16,
				    .size = 1400,
				    .window = 24,
				    .threads = 1,
				    .rate = 500,
				    .seconds = 2,
				    .warm_up = 0.3},
		.connections = 1000};
	json_t *result;

	signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0)
		errx(1, "libsodium");
	if (argc > 2 && strcmp(argv[1], "ideal") == 0)
		ideal_serve((uint16_t)number_read(argv[2], 1, 65535), argv[3]);
	if (argc > 2 && strcmp(argv[1], "echo") == 0)
		stun_echo((uint16_t)number_read(argv[2], 1, 65535));
	options_read(argc, argv, &o);
	result = run(&o);
	json_dumpf(result, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(result);
	SSL_CTX_free(o.target.tls);
	return 0;
}
