/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of the workers: start and stop, the table that they read, what is freed when none of
 * them can hold it any more. Control loop.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "worker_private.h"

#define RING_PUNT 1024
#define RING_EVENT 4096
#define RING_INJECT 4096
#define RING_HANDOFF 1024
#define RETIRE_POLL_S 0.002

struct all_workers all_workers;

struct retired {
	void *object;
	void (*free_fn)(void *);
	uint64_t token;
	struct retired *next;
};

static struct {
	ev_io control_io;
	ev_timer retire_timer;
	struct retired *retired, **retired_tail;
	void (*punts_waiting)(void);
} life;

LOOP_CALLBACK(control_wakes, ev_io)
{
	uint64_t count;

	(void)loop, (void)revents;
	if (read(watcher->fd, &count, sizeof(count)) < 0)
		return;
	atomic_store(&all_workers.control_waking, false);
	life.punts_waiting();
}

static void retired_run(bool force)
{
	while (life.retired) {
		struct retired *r = life.retired;

		if (!force && rte_rcu_qsbr_check(all_workers.rcu, r->token, false) != 1)
			return;
		life.retired = r->next;
		if (!life.retired)
			life.retired_tail = &life.retired;
		r->free_fn(r->object);
		free(r);
	}
}

LOOP_CALLBACK(retire_tick, ev_timer)
{
	(void)revents;
	retired_run(false);
	if (!life.retired)
		ev_timer_stop(loop, watcher);
}

void workers_retire(void *object, void (*free_fn)(void *))
{
	struct retired *r;

	if (!object)
		return;
	if (!all_workers.n) {
		free_fn(object);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		log_warnx("out of memory: an object of the data plane is not freed");
		return;
	}
	r->object = object;
	r->free_fn = free_fn;
	r->token = rte_rcu_qsbr_start(all_workers.rcu);
	*life.retired_tail = r;
	life.retired_tail = &r->next;
	if (!ev_is_active(&life.retire_timer))
		ev_timer_again(core_loop(), &life.retire_timer);
}

void workers_publish(struct dp_table *table)
{
	/* pairs with the acquire load in worker_round */
	struct dp_table *old = atomic_exchange(&all_workers.table, table);

	for (unsigned i = 0; i < all_workers.n; i++)
		worker_wake(i);
	workers_retire(old, free);
}

const struct dp_table *workers_table(void)
{
	return atomic_load(&all_workers.table);
}

unsigned workers_count(void)
{
	return all_workers.n;
}

struct worker *worker_get(unsigned id)
{
	return id < all_workers.n ? &all_workers.threads[id]->worker : NULL;
}

void workers_poll_mode(enum poll_mode poll, uint64_t idle_before_sleep)
{
	atomic_store(&all_workers.poll, poll);
	atomic_store(&all_workers.idle_before_sleep, idle_before_sleep);
	for (unsigned i = 0; i < all_workers.n; i++)
		worker_wake(i);
}

void workers_graph_rows(json_t *rows)
{
	struct graph *graphs[WORKER_MAX];

	for (unsigned i = 0; i < all_workers.n; i++)
		graphs[i] = all_workers.threads[i]->graph;
	graph_rows(graphs, all_workers.n, rows);
}

static struct rte_ring *ring_new(const char *kind, unsigned id, unsigned size, unsigned flags)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "%s-%u", kind, id);
	return rte_ring_create(name, size, SOCKET_ID_ANY, flags);
}

static bool worker_rings(struct worker *w)
{
	static const char *const kinds[PUNT_CLASSES] = {
		"handshake", "staged", "neighbour", "mirror", "capture"};
	char name[RTE_RING_NAMESIZE];
	bool all_there = true;

	for (unsigned c = 0; c < PUNT_CLASSES; c++) {
		w->punts[c] = ring_new(kinds[c], w->id, RING_PUNT, RING_F_SP_ENQ | RING_F_SC_DEQ);
		all_there &= w->punts[c] != NULL;
	}
	snprintf(name, sizeof(name), "events-%u", w->id);
	w->events = rte_ring_create_elem(name, sizeof(struct worker_event), RING_EVENT,
		SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	w->inject = ring_new("inject", w->id, RING_INJECT, RING_F_SP_ENQ | RING_F_SC_DEQ);
	w->handoff = ring_new("handoff", w->id, RING_HANDOFF, RING_F_SC_DEQ);
	return all_there && w->events && w->inject && w->handoff;
}

static void ring_drain_free(struct rte_ring *ring)
{
	void *m;

	while (ring && !rte_ring_dequeue(ring, &m))
		rte_pktmbuf_free(m);
	rte_ring_free(ring);
}

static void thread_free(struct worker_thread *t)
{
	if (!t)
		return;
	for (unsigned c = 0; c < PUNT_CLASSES; c++)
		ring_drain_free(t->worker.punts[c]);
	rte_ring_free(t->worker.events);
	ring_drain_free(t->worker.inject);
	ring_drain_free(t->worker.handoff);
	work_free(t->worker.opening);
	work_free(t->worker.sealing);
	graph_free(t->graph);
	if (t->epoll >= 0)
		close(t->epoll);
	if (t->wake >= 0)
		close(t->wake);
	free(t);
}

static unsigned core_of(const struct workers_param *param, unsigned id)
{
	unsigned online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);

	/* The last cores: the first ones take interrupts and the control loop. */
	return param->cores ? (unsigned)param->cores[id] : (online - 1 - id % online);
}

/* A worker that sleeps when idle shares its core with whatever else the machine does: there the
 * kernel places it best, unless cores were named. One that polls all the time owns its core. */
static bool pins(const struct workers_param *param)
{
	return param->cores || param->poll == POLL_BUSY;
}

/* What is not a worker (control loop, jobs) leaves the workers' cores, when others are left. */
static void others_move(const struct workers_param *param)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	for (unsigned i = 0; i < param->n; i++)
		CPU_CLR(core_of(param, i), &set);
	while (tasks && CPU_COUNT(&set) && (entry = readdir(tasks)))
		if (*entry->d_name != '.')
			sched_setaffinity(atoi(entry->d_name), sizeof(set), &set);
	if (tasks)
		closedir(tasks);
}

static struct worker_thread *thread_new(
	const struct workers_param *param, unsigned id, struct err *err)
{
	struct worker_thread *t = aligned_alloc(RTE_CACHE_LINE_SIZE,
		RTE_ALIGN_CEIL(sizeof(struct worker_thread), RTE_CACHE_LINE_SIZE));

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->worker.id = id;
	t->worker.alone = param->n == 1;
	t->worker.pool = param->pools[id];
	t->core = core_of(param, id);
	t->pinned = pins(param);
	t->nice = param->nice;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	t->worker.opening = work_new(transport_open, param->n > 1);
	t->worker.sealing = work_new(transport_seal, param->n > 1);
	if (t->wake < 0 || t->epoll < 0 || !worker_rings(&t->worker) || !t->worker.opening ||
		!t->worker.sealing) {
		err_set(err, -ENOMEM, "worker %u: no memory for its rings", id);
		thread_free(t);
		return NULL;
	}
	t->graph = graph_new(&t->worker, err);
	if (!t->graph) {
		thread_free(t);
		return NULL;
	}
	return t;
}

static int thread_start(struct worker_thread *t, struct err *err)
{
	int rc = pthread_create(&t->thread, NULL, worker_main, t);

	if (rc)
		return err_set(err, -rc, "worker %u: %s", t->worker.id, strerror(rc));
	t->started = true;
	while (!atomic_load(&t->ready))
		sched_yield();
	if (t->start_error)
		return err_set(err, -t->start_error, "worker %u cannot register with DPDK: %s",
			t->worker.id, strerror(t->start_error));
	return 0;
}

static int rcu_new(struct err *err)
{
	size_t size = rte_rcu_qsbr_get_memsize(WORKER_MAX);

	all_workers.rcu =
		aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));
	if (!all_workers.rcu || rte_rcu_qsbr_init(all_workers.rcu, WORKER_MAX))
		return err_set(err, -ENOMEM, "no memory for grace periods");
	return 0;
}

int workers_start(const struct workers_param *param, struct err *err)
{
	int rc;

	memset(&all_workers, 0, sizeof(all_workers));
	memset(&life, 0, sizeof(life));
	atomic_store(&work_helpers, 0);
	life.retired_tail = &life.retired;
	all_workers.poll = param->poll;
	all_workers.idle_before_sleep = param->idle_before_sleep;
	life.punts_waiting = param->punts_waiting;
	all_workers.control_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (all_workers.control_fd < 0)
		return err_set(err, -errno, "eventfd: %s", strerror(errno));
	ev_io_init(&life.control_io, control_wakes, all_workers.control_fd, EV_READ);
	ev_io_start(core_loop(), &life.control_io);
	ev_timer_init(&life.retire_timer, retire_tick, 0., RETIRE_POLL_S);
	rc = rcu_new(err);
	if (pins(param))
		others_move(param);
	for (unsigned i = 0; !rc && i < param->n; i++) {
		all_workers.threads[i] = thread_new(param, i, err);
		if (!all_workers.threads[i])
			rc = err_set(err, -ENOMEM, "worker %u: out of memory", i);
		else
			all_workers.n = i + 1;
	}
	for (unsigned i = 0; !rc && i < all_workers.n; i++)
		rc = thread_start(all_workers.threads[i], err);
	if (rc)
		workers_stop();
	return rc;
}

void workers_stop(void)
{
	unsigned n = all_workers.n;

	atomic_store(&all_workers.stop, true);
	for (unsigned i = 0; i < n; i++) {
		uint64_t one = 1;

		if (!all_workers.threads[i]->started)
			continue;
		/* whether asleep or not: the thread may be on its way to sleep */
		if (write(all_workers.threads[i]->wake, &one, sizeof(one)) < 0)
			log_warn("cannot wake worker %u", i);
		pthread_join(all_workers.threads[i]->thread, NULL);
	}
	all_workers.n = 0;
	retired_run(true);
	free(atomic_exchange(&all_workers.table, NULL));
	for (unsigned i = 0; i < n; i++) {
		thread_free(all_workers.threads[i]);
		all_workers.threads[i] = NULL;
	}
	ev_io_stop(core_loop(), &life.control_io);
	ev_timer_stop(core_loop(), &life.retire_timer);
	if (all_workers.control_fd >= 0)
		close(all_workers.control_fd);
	all_workers.control_fd = -1;
	free(all_workers.rcu);
	all_workers.rcu = NULL;
}
