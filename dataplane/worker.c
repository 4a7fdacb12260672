/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker's thread: rounds of the graph. Runs on workers.
 *
 * A round: take the current table, read the clock, walk the graph, report a quiescent state, wake
 * control if something was punted. One without packets may end asleep (worker_sleep.c).
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_lcore.h>

#include "worker_private.h"

#define DRAIN_AFTER 1000000 /* ns without a quiescent state */

uint64_t worker_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool worker_punt(struct worker *w, enum punt_class class, struct rte_mbuf *m)
{
	if (rte_ring_sp_enqueue(w->punts[class], m))
		return false;
	w->counters.punts[class]++;
	w->punted = true;
	return true;
}

bool worker_event(struct worker *w, const struct worker_event *event)
{
	if (rte_ring_sp_enqueue_elem(w->events, (void *)(uintptr_t)event, sizeof(*event)))
		return false;
	w->punted = true;
	return true;
}

static void wake_control(void)
{
	uint64_t one = 1;

	/* Partner: control_wakes, which clears it before it drains. */
	if (!atomic_exchange(&all_workers.control_waking, true) &&
		write(all_workers.control_fd, &one, sizeof(one)) < 0)
		atomic_store(&all_workers.control_waking, false);
}

/* Keys that bursts in the FIFOs name must live: a quiescent state only when they are empty, and
 * for that they are emptied now and then. */
static void quiescent(struct worker_thread *t)
{
	struct worker *w = &t->worker;

	w->opening->draining = w->sealing->draining =
		work_any(w) && w->now - t->last_quiescent > DRAIN_AFTER;
	if (work_any(w))
		return;
	t->last_quiescent = w->now;
	rte_rcu_qsbr_quiescent(all_workers.rcu, w->id);
}

static void worker_round(struct worker_thread *t)
{
	struct worker *w = &t->worker;
	uint64_t before = w->counters.rx_packets, helped = w->helped;
	uint64_t tsc = rte_rdtsc(), spent;
	/* pairs with the release store in workers_publish */
	struct dp_table *table = atomic_load_explicit(&all_workers.table, memory_order_acquire);

	if (table != w->table) {
		w->table = table;
		sleep_table_taken(t);
	}
	if (!table) { /* starting: a packet that is there already is for the first table */
		rte_rcu_qsbr_quiescent(all_workers.rcu, w->id);
		sleep_now(t);
		return;
	}
	w->now = worker_clock();
	w->rx_packets_before = before;
	graph_walk(t->graph);
	quiescent(t);
	if (w->punted) {
		w->punted = false;
		wake_control();
	}
	spent = rte_rdtsc() - tsc;
	precedence_round(t);
	w->counters.rounds++;
	w->counters.total_cycles += spent;
	if (w->counters.rx_packets != before || w->helped != helped) {
		w->counters.busy_rounds++;
		w->counters.busy_cycles += spent;
		sleep_busy_round(t);
	} else {
		sleep_idle_round(t);
	}
	t->last_round = w->now;
}

void *worker_main(void *arg)
{
	struct worker_thread *t = arg;
	char name[16];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(t->core, &set);
	if (t->pinned)
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	precedence_take(t);
	snprintf(name, sizeof(name), "worker-%u", t->worker.id);
	pthread_setname_np(pthread_self(), name);
	if (rte_thread_register() < 0) {
		t->start_error = rte_errno;
		atomic_store(&t->ready, true);
		return NULL;
	}
	t->worker.lcore = rte_lcore_id();
	graph_worker = &t->worker;
	rte_rcu_qsbr_thread_register(all_workers.rcu, t->worker.id);
	rte_rcu_qsbr_thread_online(all_workers.rcu, t->worker.id);
	sleep_table_taken(t); /* none yet, but what wakes */
	atomic_store(&t->ready, true);
	while (!atomic_load_explicit(&all_workers.stop, memory_order_relaxed))
		worker_round(t);
	rte_rcu_qsbr_thread_offline(all_workers.rcu, t->worker.id);
	rte_rcu_qsbr_thread_unregister(all_workers.rcu, t->worker.id);
	rte_thread_unregister();
	return NULL;
}
