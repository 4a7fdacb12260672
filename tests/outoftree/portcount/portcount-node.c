/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts (and drops) inner packets to one port: the graph node, before `route`. */
#include <tailplane/node.h>

#include "portcount.h"

enum { NEXT_ROUTE };

static struct snapshot_slot *slot;

static uint16_t destination_port(struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned at = m->data_len > 20 && ip[0] >> 4 == 4 ? (ip[0] & 15u) * 4 : 40;

	if (m->data_len < at + 4u || packet_of(m)->kind != PACKET_IP)
		return 0;
	return (uint16_t)(ip[at + 2] << 8 | ip[at + 3]);
}

static void process(struct worker *w, struct rte_mbuf **pkts, uint16_t *verdicts, uint16_t n)
{
	struct portcount *count = snapshot_get(slot);
	uint64_t seen = 0;

	for (uint16_t i = 0; i < n; i++) {
		bool hit = count && destination_port(pkts[i]) == count->port;

		seen += hit;
		verdicts[i] = hit && count->drop ? VERDICT_DROP(0) : NEXT_ROUTE;
	}
	if (!seen)
		return;
	atomic_store_explicit(&count->last, worker_now(w), memory_order_relaxed);
	atomic_fetch_add_explicit(&count->seen, seen, memory_order_relaxed);
}

static const struct drop_reason drops[] = {
	{"portcount_dropped", "to the port that the plugin portcount is told to drop"},
	{NULL, NULL}};

static const char *const next[] = {"route", NULL};

static const struct graph_node node = {
	.name = "portcount",
	.help = "counts packets to one port",
	.process = process,
	.next = next,
	.drops = drops,
	.before = "route",
};

static const struct graph_node *const nodes[] = {&node, NULL};

/* Before any worker runs. */
static void attach(void)
{
	slot = snapshot_slot(PORTCOUNT_SLOT);
}

__attribute__((visibility("default"))) const struct node_object tailplane_nodes = {
	.abi = TAILPLANE_NODE_ABI,
	.size = sizeof(struct node_object),
	.name = "portcount",
	.nodes = nodes,
	.attach = attach,
};
