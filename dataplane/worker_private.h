/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Inside of workers: shared by worker.c (rounds), worker_sleep.c and workers.c (their life). */
#include <pthread.h>

#include "work.h"
#include "workers.h"

/* Its thread alone writes the times. */
struct worker_thread {
	struct worker worker;
	pthread_t thread;
	struct graph *graph;
	int epoll, wake;
	bool nap; /* some queue has no descriptor */
	bool started;
	int start_error;
	unsigned core;
	bool pinned;
	int nice;      /* unless pinned */
	bool precedes; /* before other programs, by its nice value */
	bool bulk;     /* packets come in bulk, and it waits for more of them */
	uint64_t window_start, window_packets; /* of the count that tells */
	_Atomic bool sleeping;
	_Atomic bool ready;
	uint64_t last_busy, last_round, last_quiescent;
	uint64_t idle_since;      /* first round without packets; 0: the last round had some */
	uint64_t gap;             /* ns without packets between rounds with: moving average */
	uint64_t contended_until; /* another thread had the core while this one polled in vain */
};

/* Written by: control loop, but `control_waking`. Read by: workers. */
struct all_workers {
	struct worker_thread *threads[WORKER_MAX];
	unsigned n;
	struct rte_rcu_qsbr *rcu;
	_Atomic(struct dp_table *) table;
	_Atomic bool stop;
	_Atomic int poll;
	_Atomic uint64_t idle_before_sleep;
	_Atomic bool control_waking;
	int control_fd;
};
extern struct all_workers all_workers;

uint64_t worker_clock(void); /* ns, monotonic */

/* worker.c: the thread. */
void *worker_main(void *thread);

/* worker_precedence.c: on the worker. */
void precedence_take(struct worker_thread *t);  /* once, at its start */
void precedence_round(struct worker_thread *t); /* after each */
void precedence_calm(struct worker_thread *t);  /* nothing came for a while */

/* worker_sleep.c: on the worker. */
void sleep_table_taken(struct worker_thread *t); /* the descriptors to sleep on follow the table */
void sleep_now(struct worker_thread *t);         /* unless there is something to do */
void sleep_busy_round(struct worker_thread *t);
void sleep_idle_round(struct worker_thread *t); /* sleeps, when that pays */
