/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What handshakes cost the data: initiations of many peers arrive among the traffic, and are
 * answered the whole way, from the worker's punt over the control loop and a job back to the wire.
 * Windows with and without them take turns. Main thread, the gateway running with one worker.
 */
#include <jansson.h>

#include "series.h"
#include "traffic.h"

/* Where the control loop and the job run: on a core beside the worker, or on the worker's. */
enum placement { BESIDE_WORKER, WITH_WORKER, N_PLACEMENTS };

struct interference {
	unsigned peers, size, per_second;
	enum traffic_way way;
	enum placement placement;
	struct series plain_pps, loaded_pps;
	struct series answered; /* share of the initiations */
};

/* Fills in the rest after `placement`. */
void interference_run(struct interference *interference, unsigned rounds);
void interference_print(const struct interference *interference);
json_t *interference_json(const struct interference *interference, const char *impl);
