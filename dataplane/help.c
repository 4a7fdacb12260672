/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `help`: a worker with nothing of its own to do opens and seals for others (work.h). Runs on
 * workers.
 */
#include <rte_cycles.h>

#include "nodes.h"
#include "work.h"
#include "workers.h"

#define HELP_LONG 150 /* us; 64 packets of 1420 bytes take a third of it, on one core */
#define HELP_PAUSE 10 /* ms */

/* A helper that loses its core in an item makes the owner of the item wait, so it stays away for a
 * while from where that happens. */
static uint16_t item_help(struct worker *w, struct work *work)
{
	uint64_t tsc = rte_rdtsc(), hz = rte_get_tsc_hz();
	unsigned n = work_help(work);

	if (n && rte_rdtsc() - tsc > hz / 1000000 * HELP_LONG)
		w->no_help_until = rte_rdtsc() + hz / 1000 * HELP_PAUSE;
	w->helped += n;
	return (uint16_t)n;
}

static uint16_t worker_help(struct worker *w, const struct worker *other)
{
	uint16_t n = item_help(w, other->opening);

	return n ? n : item_help(w, other->sealing);
}

/* An item of some worker's that has one. What it brings is for the count alone: the packets are the
 * other's. */
static uint16_t help_poll(
	struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t max)
{
	unsigned workers = workers_count();
	uint16_t n = 0;

	(void)pkts, (void)max;
	if (w->counters.rx_packets != w->rx_packets_before || work_any(w) ||
		rte_rdtsc() < w->no_help_until)
		return 0;
	for (unsigned i = 1; i < workers && !n; i++)
		n = worker_help(w, worker_get((w->id + i) % workers));
	for (uint16_t k = 0; k < n; k++)
		verdicts[k] = VERDICT_TAKEN;
	return n;
}

const struct graph_node node_help = {
	.name = "help",
	.help = "opens and seals packets for other workers that have too many",
	.poll = help_poll,
	.next = (const char *const[]){"route", NULL}, /* never taken; the graph wants an edge */
};
