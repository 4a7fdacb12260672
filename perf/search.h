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

enum search_percentile { P50, P99, P999, P9999, P100, N_PERCENTILES };

/* Of latencies, us. Each trial has its own; `median` is of these, `all` of all trials' packets
 * together, so that one bad trial decides the latter. */
struct search_percentiles {
	double median[N_PERCENTILES], all[N_PERCENTILES];
};

struct search_latency {
	double share; /* of the lossless rate; 0: idle, that is IDLE_PPS */
	double pps;
	struct search_percentiles seen;
	struct search_percentiles ideal; /* of an ideal worker (traffic.h), in between */
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
	/* delivered, of what is when there is always one packet more; trial by trial in turns */
	double overload_offered_pps, overload_share;
	uint64_t reordered;
};

/* Fills in the rest after the first four. */
void search_run(struct search *search);
void search_print(const struct search *search);
/* With "op", "size" and so on as other results have them. */
json_t *search_json(const struct search *search, const char *impl);
