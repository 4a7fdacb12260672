/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * derp_load: a lean DERP client, many times over, on one thread. Prints one JSON object.
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
#include <sys/resource.h>

#include "ideal.h"
#include "lists.h"
#include "pairs.h"

static const char USAGE[] =
	"derp_load [OPTIONS] ADDRESS PORT window|flood|rate\n"
	"derp_load ideal PORT [PEM FILE]: a relay that only carries\n"
	"  --pairs N (16)   --size BYTES (1400)   --window PACKETS (24)   --rate PACKETS (500)\n"
	"  --seconds N (2)  --relay PID: its CPU time is counted\n"
	"  --tls            --one-a-record: as stock clients write\n";

struct options {
	struct plan plan;
	struct target target;
	const char *what;
	bool tls;
};

static struct option long_options[] = {
	{"pairs", required_argument, NULL, 'p'},
	{"size", required_argument, NULL, 's'},
	{"window", required_argument, NULL, 'w'},
	{"rate", required_argument, NULL, 'r'},
	{"seconds", required_argument, NULL, 't'},
	{"relay", required_argument, NULL, 'P'},
	{"tls", no_argument, NULL, 'T'},
	{"one-a-record", no_argument, NULL, '1'},
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

static json_t *load(struct options *o)
{
	static const char *const names[] = {"window", "flood", "rate"};
	struct outcome out = {0};

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(o->what, names[i]) == 0)
			o->plan.load = (enum load)i;
	if (o->tls)
		o->target.tls = peer_tls(false);
	pairs_run(&o->plan, &o->target, &out);
	return json_pack("{s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "seconds",
		out.seconds, "relay_cpu_s", out.relay_cpu, "own_cpu_s", out.own_cpu, "sent",
		(json_int_t)out.sent, "received", (json_int_t)out.received, "lost",
		(json_int_t)out.lost, "bytes", (json_int_t)out.bytes, "p50_us", out.p50_us,
		"p99_us", out.p99_us, "max_us", out.max_us);
}

int main(int argc, char **argv)
{
	struct options o = {.plan = {.pairs = 16,
				    .size = 1400,
				    .window = 24,
				    .rate = 500,
				    .seconds = 2,
				    .warm_up = 0.3}};
	json_t *result;

	signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0)
		errx(1, "libsodium");
	if (argc > 2 && strcmp(argv[1], "ideal") == 0)
		ideal_serve((uint16_t)number_read(argv[2], 1, 65535), argv[3]);
	options_read(argc, argv, &o);
	result = load(&o);
	json_dumpf(result, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(result);
	SSL_CTX_free(o.target.tls);
	return 0;
}
