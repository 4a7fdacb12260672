/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The control loop's hold on the workers: start, stop, publish, wake, grace periods. */
#include "dataplane.h"
#include "graph.h"

struct workers_param {
	unsigned n;
	const int64_t *cores; /* n of them, or NULL: the last ones */
	enum poll_mode poll;
	uint64_t idle_before_sleep;       /* ns */
	int nice;                         /* where they are not pinned */
	struct rte_mempool *const *pools; /* one per worker */
	void (*punts_waiting)(void);      /* on the loop: some ring has something */
};

int workers_start(const struct workers_param *param, struct err *err);
/* Joins the threads; every retired object is freed. */
void workers_stop(void);
unsigned workers_count(void);
struct worker *worker_get(unsigned id);
void workers_poll_mode(enum poll_mode poll, uint64_t idle_before_sleep);
/* Publishes `table` and frees the one before after a grace period. */
void workers_publish(struct dp_table *table);
const struct dp_table *workers_table(void);
void worker_wake(unsigned id);
/* Some other worker than `id` that sleeps, if there is one. Workers too. */
void worker_wake_one(unsigned id);
void workers_graph_rows(json_t *rows);
/* As the snapshot door: frees on the loop after a grace period. */
void workers_retire(void *object, void (*free_fn)(void *));
