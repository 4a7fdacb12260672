/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a worker sleeps, and who wakes it. Runs on workers; the wake-ups on any thread.
 *
 * A worker in adaptive mode that found nothing goes off line for RCU and sleeps in epoll on the
 * descriptors of its queues and an eventfd.
 *
 * Polling on, for at most `idle_before_sleep`, is for gaps that are shorter than what a sleep and a
 * wake-up cost: it stops paying where packets come singly, and where another thread wants the core,
 * perhaps the one that makes the next packet. Both are measured. A queue without descriptor makes
 * the sleep a short nap, much dearer, so there polling takes its full time.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "worker_private.h"

#define NAP_MS 1
#define CALM_MS 10             /* asleep that long: packets do not come in bulk any more */
#define GAP_SHORT 15000        /* ns: about a sleep and a wake-up */
#define GAP_LONG 1000000ull    /* ns: longer ones say no more */
#define PREEMPTED 100000       /* ns: no round without packets takes that long by itself */
#define IDLE_HELPS 10000       /* ns without packets: then it may help others */
#define CONTENDED_FOR 10000000 /* ns, after another thread had the core */

void sleep_table_taken(struct worker_thread *t)
{
	const struct dp_table *table = t->worker.table;

	close(t->epoll);
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->nap = false;
	epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->wake,
		&(struct epoll_event){.events = EPOLLIN, .data.fd = t->wake});
	for (unsigned i = 0; table && i < table->n_ports; i++) {
		struct port_queue *q = worker_queue(&t->worker, i);

		/* set before the table was published */
		if (q && atomic_load_explicit(&q->port->gone, memory_order_relaxed))
			continue;
		if (q && q->fd >= 0)
			epoll_ctl(t->epoll, EPOLL_CTL_ADD, q->fd,
				&(struct epoll_event){.events = EPOLLIN, .data.fd = q->fd});
		else if (q)
			t->nap = true;
	}
}

static bool may_sleep(struct worker_thread *t)
{
	const struct dp_table *table = t->worker.table;

	if (!rte_ring_empty(t->worker.inject) || !rte_ring_empty(t->worker.handoff) ||
		work_any(&t->worker))
		return false;
	for (unsigned i = 0; table && i < table->n_ports; i++) {
		struct port_queue *q = worker_queue(&t->worker, i);

		if (q && q->port->ops->arm && !q->port->ops->arm(q))
			return false;
	}
	/* pairs with the seq_cst load of `table` in workers_publish's wake-up */
	return atomic_load(&all_workers.table) == table && !atomic_load(&all_workers.stop);
}

/* ms, or -1 */
static int sleep_most(const struct worker_thread *t)
{
	return t->nap ? NAP_MS : t->bulk ? CALM_MS : -1;
}

void sleep_now(struct worker_thread *t)
{
	struct epoll_event events[4];
	uint64_t count;
	int n = 0;

	/* Partner: worker_wake, which stores first (ring, table) and then reads `sleeping`. */
	atomic_store(&t->sleeping, true);
	if (may_sleep(t)) {
		t->worker.counters.sleeps++;
		rte_rcu_qsbr_thread_offline(all_workers.rcu, t->worker.id);
		n = epoll_wait(t->epoll, events, RTE_DIM(events), sleep_most(t));
		if (!n && !t->nap)
			precedence_calm(t);
		rte_rcu_qsbr_thread_online(all_workers.rcu, t->worker.id);
	}
	atomic_store(&t->sleeping, false);
	/* A wake-up that comes late is read after the next sleep, which it makes a short one. */
	for (int i = 0; i < n; i++)
		if (events[i].data.fd == t->wake && read(t->wake, &count, sizeof(count)) < 0 &&
			errno != EAGAIN)
			abort(); /* our own eventfd */
}

/* Counted among those who could help. */
static void idle_set(struct worker *w, bool idle)
{
	if (w->idle == idle)
		return;
	w->idle = idle;
	atomic_fetch_add_explicit(&work_helpers, idle ? 1 : -1u, memory_order_relaxed);
}

void sleep_busy_round(struct worker_thread *t)
{
	uint64_t gap = t->idle_since ? t->worker.now - t->idle_since : 0;

	t->gap = (t->gap * 7 + RTE_MIN(gap, GAP_LONG)) / 8;
	t->idle_since = 0;
	t->last_busy = t->worker.now;
	if (t->worker.counters.rx_packets != t->worker.rx_packets_before)
		idle_set(&t->worker, false);
}

static bool polls_on(const struct worker_thread *t)
{
	uint64_t now = t->worker.now;

	if (atomic_load_explicit(&all_workers.poll, memory_order_relaxed) != POLL_ADAPTIVE)
		return true;
	if (now - t->last_busy >
		atomic_load_explicit(&all_workers.idle_before_sleep, memory_order_relaxed))
		return false;
	return t->nap || (t->gap < GAP_SHORT && now >= t->contended_until);
}

void sleep_idle_round(struct worker_thread *t)
{
	uint64_t now = t->worker.now;
	bool stays;

	if (!t->idle_since)
		t->idle_since = now;
	else if (now - t->last_round > PREEMPTED)
		t->contended_until = now + CONTENDED_FOR;
	stays = polls_on(t);
	/* until packets of its own come: what it helps with does not make it busy */
	idle_set(&t->worker, (t->worker.idle || !stays || now - t->idle_since >= IDLE_HELPS) &&
				     rte_rdtsc() >= t->worker.no_help_until);
	if (stays)
		return;
	sleep_now(t);
	t->worker.now = worker_clock(); /* asleep is not preempted */
}

void worker_wake(unsigned id)
{
	struct worker_thread *t = all_workers.threads[id];
	uint64_t one = 1;

	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&t->sleeping) && write(t->wake, &one, sizeof(one)) < 0)
		log_warn("cannot wake worker %u", id);
}

void worker_wake_one(unsigned id)
{
	for (unsigned i = 0; i < all_workers.n; i++)
		if (i != id && atomic_load_explicit(
				       &all_workers.threads[i]->sleeping, memory_order_relaxed)) {
			worker_wake(i);
			return;
		}
}
