/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The reference executor: walks the same node table as rte_graph does, depth first, one burst at a
 * time, with nothing clever. Tests run graph nodes with it and ask where packets ended.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tailplane/node.h"

#define PLAIN_NODES_MAX 32
#define PLAIN_ENDS_MAX 64

/* How many packets ended where: "drop reason", or "node taken". */
struct plain_graph {
	const struct graph_node *const *nodes; /* NULL-terminated */
	struct worker *worker;
	struct {
		char name[64];
		unsigned count;
	} ends[PLAIN_ENDS_MAX];
	unsigned n_ends;
	/* a node of this name ends the walk: packets are kept in `kept` */
	const char *stop_at;
	struct rte_mbuf *kept[NODE_BURST_MAX * 4];
	unsigned n_kept;
};

static inline unsigned *plain_end(struct plain_graph *g, const char *name)
{
	for (unsigned i = 0; i < g->n_ends; i++)
		if (!strcmp(g->ends[i].name, name))
			return &g->ends[i].count;
	if (g->n_ends == PLAIN_ENDS_MAX)
		abort();
	snprintf(g->ends[g->n_ends].name, sizeof(g->ends[0].name), "%s", name);
	return &g->ends[g->n_ends++].count;
}

static inline unsigned plain_count(struct plain_graph *g, const char *name)
{
	return *plain_end(g, name);
}

static inline const struct graph_node *plain_find(const struct plain_graph *g, const char *name)
{
	for (const struct graph_node *const *n = g->nodes; *n; n++)
		if (!strcmp((*n)->name, name))
			return *n;
	return NULL;
}

static inline void plain_run(
	struct plain_graph *g, const char *name, struct rte_mbuf **pkts, uint16_t n);

static inline void plain_verdict(struct plain_graph *g, const struct graph_node *node,
	uint16_t verdict, struct rte_mbuf **pkts, uint16_t n)
{
	if (verdict == VERDICT_TAKEN) {
		*plain_end(g, "taken") += n;
	} else if (VERDICT_IS_DROP(verdict)) {
		*plain_end(g, node->drops[verdict & 0x7fff].name) += n;
		rte_pktmbuf_free_bulk(pkts, n);
	} else {
		plain_run(g, node->next[verdict], pkts, n);
	}
}

static inline void plain_run(
	struct plain_graph *g, const char *name, struct rte_mbuf **pkts, uint16_t n)
{
	const struct graph_node *node = plain_find(g, name);
	uint16_t verdicts[NODE_BURST_MAX];

	if (!node || (g->stop_at && !strcmp(name, g->stop_at))) {
		for (uint16_t i = 0; i < n; i++)
			g->kept[g->n_kept++] = pkts[i];
		*plain_end(g, name) += n;
		return;
	}
	node->process(g->worker, pkts, verdicts, n);
	for (uint16_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && verdicts[end] == verdicts[i]; end++)
			;
		plain_verdict(g, node, verdicts[i], pkts + i, (uint16_t)(end - i));
	}
}
