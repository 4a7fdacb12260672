/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The skeleton behind the node table is DPDK's rte_graph, known to this file alone. A node of ours
 * is a pure burst function that gives verdicts; here a verdict becomes an enqueue, a count and a
 * free. Splices are resolved when the nodes are registered: an edge that leads to X leads to the
 * first node spliced before X, that one to the second, the last to X.
 *
 * Graphs (one per worker) come and go; rte_graph cannot forget a node. Nodes of a plugin that was
 * added since are registered when the data plane starts anew, those of one that is gone stay, with
 * nothing to do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_graph.h>
#include <rte_graph_worker.h>

#include "graph.h"
#include "work.h"
#include "worker.h"

#define NODES_MAX 48
#define NEXT_MAX 16
#define POLLS_PER_WALK 4
/* Then what there is leaves first: 10 to 20 µs. A packet that was late because the core was away
 * for a while waits for two walks. */
#define WORK_PER_WALK (32 * 1024)
#define WORK_WHEN_HELPED (120 * 1024) /* so that there is something to hand out */
#define PACKET_WORK 512               /* what a packet costs beside its bytes, in bytes to seal */

struct node_entry {
	const struct graph_node *node;
	rte_node_t id; /* DPDK's, once it knows the node */
	bool known;
	uint16_t n_next;
	uint16_t drop_base, n_drops;
	const char *next[NEXT_MAX];
};

static struct node_entry entries[NODES_MAX];
static unsigned n_entries;

static struct drop_reason drops[DROPS_MAX];
static unsigned n_drops;

static const struct drop_reason graph_drops[] = {
	{"graph_verdict", "a graph node gave a verdict that it does not declare: a defect of it"},
	{NULL, NULL},
};
static unsigned verdict_drop; /* its number */

__thread struct worker *graph_worker;

struct graph {
	rte_graph_t id;
	struct rte_graph *rte;
};

void graph_register_drops(const struct drop_reason *table)
{
	for (; table && table->name && n_drops < DROPS_MAX; table++)
		drops[n_drops++] = *table;
}

const char *graph_drop_name(unsigned number, const char **meaning)
{
	if (number >= n_drops)
		return NULL;
	*meaning = drops[number].meaning;
	return drops[number].name;
}

unsigned graph_drop_number(const char *name)
{
	for (unsigned i = 0; i < n_drops; i++)
		if (!strcmp(drops[i].name, name))
			return i;
	abort(); /* our own table lacks it */
}

static struct node_entry *entry_find(const char *name)
{
	for (unsigned i = 0; i < n_entries; i++)
		if (!strcmp(entries[i].node->name, name))
			return &entries[i];
	return NULL;
}

/* ---- what runs on workers -------------------------------------------------------------------- */

static inline struct node_entry *entry_of(const struct rte_node *node)
{
	struct node_entry *entry;

	memcpy(&entry, node->ctx, sizeof(entry));
	return entry;
}

static inline void enqueue_run(struct rte_graph *graph, struct rte_node *node,
	const struct node_entry *entry, uint16_t verdict, struct rte_mbuf **pkts, uint16_t n)
{
	unsigned reason = verdict & 0x7fff;

	if (verdict < entry->n_next) {
		rte_node_enqueue(graph, node, verdict, (void **)pkts, n);
	} else if (verdict != VERDICT_TAKEN) {
		reason = VERDICT_IS_DROP(verdict) && reason < entry->n_drops
				 ? entry->drop_base + reason
				 : verdict_drop;
		graph_worker->counters.drops[reason] += n;
		rte_pktmbuf_free_bulk(pkts, n);
	}
}

/* Runs of one verdict go out together: bursts mostly agree. */
static void dispatch(struct rte_graph *graph, struct rte_node *node, const struct node_entry *entry,
	struct rte_mbuf **pkts, const uint16_t *verdicts, uint16_t n)
{
	for (uint16_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && verdicts[end] == verdicts[i]; end++)
			;
		enqueue_run(graph, node, entry, verdicts[i], pkts + i, end - i);
	}
}

static uint16_t node_process(
	struct rte_graph *graph, struct rte_node *node, void **objs, uint16_t n)
{
	const struct node_entry *entry = entry_of(node);
	uint16_t verdicts[NODE_BURST_LARGE];
	uint16_t max = entry->node->burst_max ? entry->node->burst_max : NODE_BURST_MAX;

	for (uint16_t i = 0; i < n; i += max) {
		struct rte_mbuf **pkts = (struct rte_mbuf **)objs + i;
		uint16_t burst = RTE_MIN(n - i, max);

		entry->node->process(graph_worker, pkts, verdicts, burst);
		dispatch(graph, node, entry, pkts, verdicts, burst);
	}
	return n;
}

/* Of what came in. */
static uint64_t work_so_far(const struct worker *w)
{
	return w->counters.rx_bytes + w->counters.rx_packets * PACKET_WORK;
}

static uint64_t work_most(void)
{
	return atomic_load_explicit(&work_helpers, memory_order_relaxed) ? WORK_WHEN_HELPED
									 : WORK_PER_WALK;
}

static uint16_t node_poll(struct rte_graph *graph, struct rte_node *node, void **objs, uint16_t n)
{
	const struct node_entry *entry = entry_of(node);
	uint16_t verdicts[NODE_BURST_MAX], total = 0;
	struct rte_mbuf *pkts[NODE_BURST_MAX];
	uint64_t before = work_so_far(graph_worker);

	for (unsigned i = 0; i < POLLS_PER_WALK; i++) {
		uint16_t got = entry->node->poll(graph_worker, pkts, verdicts, NODE_BURST_MAX);

		dispatch(graph, node, entry, pkts, verdicts, got);
		total += got;
		if (got < NODE_BURST_MAX / 2 || work_so_far(graph_worker) - before >= work_most())
			break;
	}
	return total;
}

void graph_walk(struct graph *g)
{
	rte_graph_walk(g->rte);
}

/* ---- registration ---------------------------------------------------------------------------- */

static int node_init(const struct rte_graph *graph, struct rte_node *node)
{
	struct node_entry *entry = NULL;

	for (unsigned i = 0; i < n_entries && !entry; i++)
		if (entries[i].id == node->id)
			entry = &entries[i];
	memcpy(node->ctx, &entry, sizeof(entry));
	return entry ? 0 : -1;
}

/* Two nodes with one table, of one file, count together: what happened is the same. */
static int entry_drops(struct node_entry *entry, struct err *err)
{
	const struct drop_reason *table = entry->node->drops;
	unsigned n = 0;

	while (table && table[n].name)
		n++;
	entry->n_drops = (uint16_t)n;
	for (const struct node_entry *e = entries; table && e < entry; e++)
		if (e->node->drops == table) {
			entry->drop_base = e->drop_base;
			return 0;
		}
	if (n_drops + n > DROPS_MAX)
		return err_set(err, -ENOSPC, "more than %d drop reasons", DROPS_MAX);
	entry->drop_base = (uint16_t)n_drops;
	graph_register_drops(table);
	return 0;
}

static int entry_add(const struct graph_node *node, struct err *err)
{
	struct node_entry *entry = &entries[n_entries];
	unsigned n = 0;

	if (n_entries == NODES_MAX)
		return err_set(err, -ENOSPC, "more than %d graph nodes", NODES_MAX);
	if (entry_find(node->name))
		return err_set(err, -EEXIST, "two graph nodes are named %s", node->name);
	for (; node->next && node->next[n]; n++) {
		if (n == NEXT_MAX)
			return err_set(err, -ENOSPC, "graph node %s has more than %d next nodes",
				node->name, NEXT_MAX);
		entry->next[n] = node->next[n];
	}
	entry->node = node;
	entry->n_next = n;
	n_entries++;
	return entry_drops(entry, err);
}

/* Every edge to `entry->node->before` but those of splices already on it leads to `entry`. */
static int entry_splice(struct node_entry *entry, struct err *err)
{
	const char *target = entry->node->before;

	if (!entry_find(target))
		return err_set(err, -ENOENT,
			"graph node %s wants to stand before %s, which does not exist",
			entry->node->name, target);
	if (!entry->n_next || strcmp(entry->next[0], target))
		return err_set(err, -EINVAL,
			"graph node %s stands before %s, so its first next must be it",
			entry->node->name, target);
	for (unsigned i = 0; i < n_entries; i++)
		for (unsigned k = 0; k < entries[i].n_next; k++)
			if (&entries[i] != entry && !strcmp(entries[i].next[k], target))
				entries[i].next[k] = entry->node->name;
	return 0;
}

static int entry_register(struct node_entry *entry, struct err *err)
{
	struct rte_node_register *reg =
		calloc(1, sizeof(*reg) + entry->n_next * sizeof(reg->next_nodes[0]));

	if (!reg)
		return err_set(err, -ENOMEM, "out of memory");
	rte_strscpy(reg->name, entry->node->name, sizeof(reg->name));
	reg->process = entry->node->poll ? node_poll : node_process;
	reg->flags = entry->node->poll ? RTE_NODE_SOURCE_F : 0;
	reg->init = node_init;
	reg->parent_id = RTE_NODE_ID_INVALID;
	reg->nb_edges = entry->n_next;
	for (unsigned i = 0; i < entry->n_next; i++)
		reg->next_nodes[i] = entry->next[i];
	entry->id = __rte_node_register(reg);
	free(reg);
	entry->known = entry->id != RTE_NODE_ID_INVALID;
	return entry->known
		       ? 0
		       : err_set(err, -EINVAL, "DPDK refused the graph node %s", entry->node->name);
}

/* The edges of a node that DPDK knows, as they lead now. */
static void entry_edges_update(struct node_entry *entry)
{
	if (entry->n_next)
		rte_node_edge_update(entry->id, 0, entry->next, entry->n_next);
}

static int nodes_add(const struct graph_node *const *nodes, struct err *err)
{
	int rc = 0;

	for (; !rc && nodes && *nodes; nodes++) {
		const struct node_entry *entry = entry_find((*nodes)->name);

		if (!entry || entry->node != *nodes)
			rc = entry_add(*nodes, err);
	}
	return rc;
}

static int splices_make(unsigned first, struct err *err)
{
	int rc = 0;

	for (unsigned i = first; !rc && i < n_entries; i++)
		if (entries[i].node->before)
			rc = entry_splice(&entries[i], err);
	return rc;
}

static int edges_check(struct err *err)
{
	for (unsigned i = 0; i < n_entries; i++)
		for (unsigned k = 0; k < entries[i].n_next; k++)
			if (!entry_find(entries[i].next[k]))
				return err_set(err, -ENOENT,
					"graph node %s leads to %s, which does not exist",
					entries[i].node->name, entries[i].next[k]);
	return 0;
}

static int entries_make(const struct graph_node *const *builtin,
	const struct graph_node *const *extra, struct err *err)
{
	unsigned first = n_entries;
	int rc;

	if (!first) {
		graph_register_drops(graph_drops);
		verdict_drop = graph_drop_number(graph_drops[0].name);
	}
	rc = nodes_add(builtin, err);
	if (!rc)
		rc = nodes_add(extra, err);
	if (!rc)
		rc = splices_make(first, err);
	return rc ? rc : edges_check(err);
}

int graph_register(const struct graph_node *const *builtin, const struct graph_node *const *extra,
	struct err *err)
{
	static struct node_entry entries_before[NODES_MAX];
	unsigned n_before = n_entries, drops_before = n_drops;
	int rc;

	memcpy(entries_before, entries, sizeof(entries));
	rc = entries_make(builtin, extra, err);
	if (rc) {
		memcpy(entries, entries_before, sizeof(entries));
		n_entries = n_before;
		n_drops = drops_before;
	}
	for (unsigned i = 0; !rc && i < n_entries; i++)
		if (entries[i].known)
			entry_edges_update(&entries[i]);
		else
			rc = entry_register(&entries[i], err);
	return rc;
}

struct graph *graph_new(struct worker *w, struct err *err)
{
	const char *patterns[NODES_MAX];
	struct rte_graph_param param = {
		.socket_id = SOCKET_ID_ANY,
		.nb_node_patterns = n_entries,
		.node_patterns = patterns,
	};
	char name[RTE_GRAPH_NAMESIZE];
	struct graph *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	for (unsigned i = 0; i < n_entries; i++)
		patterns[i] = entries[i].node->name;
	snprintf(name, sizeof(name), "worker-%u", w->id);
	g->id = rte_graph_create(name, &param);
	if (g->id == RTE_GRAPH_ID_INVALID) {
		err_set(err, -rte_errno, "cannot create the graph of worker %u: %s", w->id,
			rte_strerror(rte_errno));
		free(g);
		return NULL;
	}
	g->rte = rte_graph_lookup(name);
	return g;
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	rte_graph_destroy(g->id);
	free(g);
}

/* ---- what people see ------------------------------------------------------------------------- */

void graph_rows(struct graph *const *graphs, unsigned n, json_t *rows)
{
	for (unsigned i = 0; i < n_entries; i++) {
		uint64_t calls = 0, packets = 0, cycles = 0;

		for (unsigned k = 0; k < n; k++) {
			const struct rte_node *node =
				rte_graph_node_get(graphs[k]->id, entries[i].id);

			if (!node)
				continue;
			calls += node->total_calls;
			packets += node->total_objs;
			cycles += node->total_cycles;
		}
		json_array_append_new(rows,
			json_pack("{ss sI sI sf sf ss}", "node", entries[i].node->name, "calls",
				(json_int_t)calls, "packets", (json_int_t)packets,
				"packets_per_call", calls ? (double)packets / (double)calls : 0.,
				"cycles_per_packet",
				packets ? (double)cycles / (double)packets : 0., "help",
				entries[i].node->help ? entries[i].node->help : ""));
	}
}
