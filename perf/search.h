/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What the data plane carries without loss, how long packets take at a part of that, and what is
 * left of it when far more is offered. Between the ports of traffic.h, the gateway running. Main
 * thread.
 *
 * A rate is searched as MLRsearch does: from the rate at which packets leave when too many are
 * offered, in steps that double, down to one that passes, then by bisection. A load passes when
 * most of its trials do, so that one disturbance decides nothing; on a virtual machine what the
 * host takes away is measured all the same.
 */
#include <jansson.h>

#include "traffic.h"

enum search_goal { GOAL_NDR, GOAL_PDR, N_GOALS };

struct search_latency {
	double share; /* of the lossless rate; 0: idle, that is IDLE_PPS */
	double pps;
	double p50_us, p99_us, p999_us, p9999_us, max_us;
	uint64_t packets;
	unsigned disturbed; /* trials in which another thread took a worker's core, left out */
};

#define SEARCH_LOADS 4

struct search {
	unsigned workers, peers, size;
	enum traffic_way way;
	double best_pps; /* of any trial */
	double rate_pps[N_GOALS];
	struct search_latency at[SEARCH_LOADS];
	double overload_offered_pps, overload_share; /* delivered, of best_pps */
	uint64_t reordered;
};

/* Fills in the rest after the first four. */
void search_run(struct search *search);
void search_print(const struct search *search);
/* With "op", "size" and so on as other results have them. */
json_t *search_json(const struct search *search, const char *impl);
