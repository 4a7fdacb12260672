/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker's thread: rounds of the graph while there is work, sleep when there is none. Runs on
 * workers, except where a function says control loop.
 *
 * A round: take the current table, read the clock, walk the graph, report a quiescent state, wake
 * control if something was punted. A worker in adaptive mode that found nothing goes off line for
 * RCU and sleeps in epoll on the descriptors of its queues and an eventfd.
 *
 * Polling on, for at most `idle_before_sleep`, is for gaps that are shorter than what a sleep and a
 * wake-up cost: it stops paying where packets come singly, and where another thread wants the core,
 * perhaps the one that makes the next packet. Both are measured. A queue without descriptor makes
 * the sleep a short nap, much dearer, so there polling takes its full time.
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

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_pause.h>

#include "work.h"
#include "workers.h"

#define RING_PUNT 1024
#define RING_EVENT 4096
#define RING_INJECT 4096
#define RING_HANDOFF 1024
#define NAP_MS 1
#define GAP_SHORT 15000        /* ns: about a sleep and a wake-up */
#define GAP_LONG 1000000ull    /* ns: longer ones say no more */
#define PREEMPTED 100000       /* ns: no round without packets takes that long by itself */
#define CONTENDED_FOR 10000000 /* ns, after another thread had the core */
#define RETIRE_POLL_S 0.002
#define DRAIN_AFTER 1000000 /* ns without a quiescent state */

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
	_Atomic bool sleeping;
	_Atomic bool ready;
	uint64_t last_busy, last_round, last_quiescent;
	uint64_t idle_since;      /* first round without packets; 0: the last round had some */
	uint64_t gap;             /* ns without packets between rounds with: moving average */
	uint64_t contended_until; /* another thread had the core while this one polled in vain */
};

struct retired {
	void *object;
	void (*free_fn)(void *);
	uint64_t token;
	struct retired *next;
};

static struct {
	struct worker_thread *threads[WORKER_MAX];
	unsigned n;
	struct rte_rcu_qsbr *rcu;
	_Atomic(struct dp_table *) table;
	_Atomic bool stop;
	_Atomic int poll;
	_Atomic uint64_t idle_before_sleep;
	_Atomic bool control_waking;
	int control_fd;
	ev_io control_io;
	ev_timer retire_timer;
	struct retired *retired, **retired_tail;
	void (*punts_waiting)(void);
} all;

const struct drop_reason worker_drops[] = {
	{"handoff_full",
		"a packet belonged to another worker's key and that worker's ring was full"},
	{NULL, NULL},
};

/* ---- on the worker --------------------------------------------------------------------------- */

unsigned worker_id(const struct worker *w)
{
	return w->id;
}

uint64_t worker_now(const struct worker *w)
{
	return w->now;
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

/* The descriptors to sleep on follow the table. */
static void table_taken(struct worker_thread *t)
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
		work_used(t->worker.work))
		return false;
	for (unsigned i = 0; table && i < table->n_ports; i++) {
		struct port_queue *q = worker_queue(&t->worker, i);

		if (q && q->port->ops->arm && !q->port->ops->arm(q))
			return false;
	}
	/* pairs with the seq_cst load of `table` in workers_publish's wake-up */
	return atomic_load(&all.table) == table && !atomic_load(&all.stop);
}

static void worker_sleep(struct worker_thread *t)
{
	struct epoll_event events[4];
	uint64_t count;
	int n = 0;

	/* Partner: worker_wake, which stores first (ring, table) and then reads `sleeping`. */
	atomic_store(&t->sleeping, true);
	if (may_sleep(t)) {
		t->worker.counters.sleeps++;
		rte_rcu_qsbr_thread_offline(all.rcu, t->worker.id);
		n = epoll_wait(t->epoll, events, RTE_DIM(events), t->nap ? NAP_MS : -1);
		rte_rcu_qsbr_thread_online(all.rcu, t->worker.id);
	}
	atomic_store(&t->sleeping, false);
	/* A wake-up that comes late is read after the next sleep, which it makes a short one. */
	for (int i = 0; i < n; i++)
		if (events[i].data.fd == t->wake && read(t->wake, &count, sizeof(count)) < 0 &&
			errno != EAGAIN)
			abort(); /* our own eventfd */
}

static uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void wake_control(void)
{
	uint64_t one = 1;

	/* Partner: control_wakes, which clears it before it drains. */
	if (!atomic_exchange(&all.control_waking, true) &&
		write(all.control_fd, &one, sizeof(one)) < 0)
		atomic_store(&all.control_waking, false);
}

static void busy_round(struct worker_thread *t)
{
	uint64_t gap = t->idle_since ? t->worker.now - t->idle_since : 0;

	t->gap = (t->gap * 7 + RTE_MIN(gap, GAP_LONG)) / 8;
	t->idle_since = 0;
	t->last_busy = t->worker.now;
}

static bool polls_on(const struct worker_thread *t)
{
	uint64_t now = t->worker.now;

	if (atomic_load_explicit(&all.poll, memory_order_relaxed) != POLL_ADAPTIVE)
		return true;
	if (now - t->last_busy > atomic_load_explicit(&all.idle_before_sleep, memory_order_relaxed))
		return false;
	return t->nap || (t->gap < GAP_SHORT && now >= t->contended_until);
}

static void idle_round(struct worker_thread *t)
{
	uint64_t now = t->worker.now;

	if (!t->idle_since)
		t->idle_since = now;
	else if (now - t->last_round > PREEMPTED)
		t->contended_until = now + CONTENDED_FOR;
	if (polls_on(t))
		return;
	worker_sleep(t);
	t->worker.now = clock_now(); /* asleep is not preempted */
}

/* Keys that bursts in the FIFO name must live: a quiescent state only when it is empty, and for
 * that it is emptied now and then. */
static void quiescent(struct worker_thread *t)
{
	struct worker *w = &t->worker;

	if (work_used(w->work)) {
		w->work->draining = w->now - t->last_quiescent > DRAIN_AFTER;
		return;
	}
	w->work->draining = false;
	t->last_quiescent = w->now;
	rte_rcu_qsbr_quiescent(all.rcu, w->id);
}

static void worker_round(struct worker_thread *t)
{
	struct worker *w = &t->worker;
	uint64_t before = w->counters.rx_packets, helped = w->helped;
	uint64_t tsc = rte_rdtsc(), spent;
	/* pairs with the release store in workers_publish */
	struct dp_table *table = atomic_load_explicit(&all.table, memory_order_acquire);

	if (table != w->table) {
		w->table = table;
		table_taken(t);
	}
	if (!table) { /* starting: a packet that is there already is for the first table */
		rte_rcu_qsbr_quiescent(all.rcu, w->id);
		worker_sleep(t);
		return;
	}
	w->now = clock_now();
	w->rx_packets_before = before;
	graph_walk(t->graph);
	quiescent(t);
	if (w->punted) {
		w->punted = false;
		wake_control();
	}
	spent = rte_rdtsc() - tsc;
	w->counters.rounds++;
	w->counters.total_cycles += spent;
	if (w->counters.rx_packets != before || w->helped != helped) {
		w->counters.busy_rounds++;
		w->counters.busy_cycles += spent;
		busy_round(t);
	} else {
		idle_round(t);
	}
	t->last_round = w->now;
}

static void *worker_main(void *arg)
{
	struct worker_thread *t = arg;
	char name[16];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(t->core, &set);
	if (t->pinned)
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	snprintf(name, sizeof(name), "worker-%u", t->worker.id);
	pthread_setname_np(pthread_self(), name);
	if (rte_thread_register() < 0) {
		t->start_error = rte_errno;
		atomic_store(&t->ready, true);
		return NULL;
	}
	t->worker.lcore = rte_lcore_id();
	graph_worker = &t->worker;
	rte_rcu_qsbr_thread_register(all.rcu, t->worker.id);
	rte_rcu_qsbr_thread_online(all.rcu, t->worker.id);
	table_taken(t); /* none yet, but what wakes */
	atomic_store(&t->ready, true);
	while (!atomic_load_explicit(&all.stop, memory_order_relaxed))
		worker_round(t);
	rte_rcu_qsbr_thread_offline(all.rcu, t->worker.id);
	rte_rcu_qsbr_thread_unregister(all.rcu, t->worker.id);
	rte_thread_unregister();
	return NULL;
}

/* ---- control loop ---------------------------------------------------------------------------- */

void worker_wake(unsigned id)
{
	struct worker_thread *t = all.threads[id];
	uint64_t one = 1;

	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&t->sleeping) && write(t->wake, &one, sizeof(one)) < 0)
		log_warn("cannot wake worker %u", id);
}

void worker_wake_one(unsigned id)
{
	for (unsigned i = 0; i < all.n; i++)
		if (i != id &&
			atomic_load_explicit(&all.threads[i]->sleeping, memory_order_relaxed)) {
			worker_wake(i);
			return;
		}
}

LOOP_CALLBACK(control_wakes, ev_io)
{
	uint64_t count;

	(void)loop, (void)revents;
	if (read(watcher->fd, &count, sizeof(count)) < 0)
		return;
	atomic_store(&all.control_waking, false);
	all.punts_waiting();
}

static void retired_run(bool force)
{
	while (all.retired) {
		struct retired *r = all.retired;

		if (!force && rte_rcu_qsbr_check(all.rcu, r->token, false) != 1)
			return;
		all.retired = r->next;
		if (!all.retired)
			all.retired_tail = &all.retired;
		r->free_fn(r->object);
		free(r);
	}
}

LOOP_CALLBACK(retire_tick, ev_timer)
{
	(void)revents;
	retired_run(false);
	if (!all.retired)
		ev_timer_stop(loop, watcher);
}

void workers_retire(void *object, void (*free_fn)(void *))
{
	struct retired *r;

	if (!object)
		return;
	if (!all.n) {
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
	r->token = rte_rcu_qsbr_start(all.rcu);
	*all.retired_tail = r;
	all.retired_tail = &r->next;
	if (!ev_is_active(&all.retire_timer))
		ev_timer_again(core_loop(), &all.retire_timer);
}

void workers_publish(struct dp_table *table)
{
	/* pairs with the acquire load in worker_round */
	struct dp_table *old = atomic_exchange(&all.table, table);

	for (unsigned i = 0; i < all.n; i++)
		worker_wake(i);
	workers_retire(old, free);
}

const struct dp_table *workers_table(void)
{
	return atomic_load(&all.table);
}

unsigned workers_count(void)
{
	return all.n;
}

struct worker *worker_get(unsigned id)
{
	return id < all.n ? &all.threads[id]->worker : NULL;
}

void workers_poll_mode(enum poll_mode poll, uint64_t idle_before_sleep)
{
	atomic_store(&all.poll, poll);
	atomic_store(&all.idle_before_sleep, idle_before_sleep);
	for (unsigned i = 0; i < all.n; i++)
		worker_wake(i);
}

void workers_graph_rows(json_t *rows)
{
	struct graph *graphs[WORKER_MAX];

	for (unsigned i = 0; i < all.n; i++)
		graphs[i] = all.threads[i]->graph;
	graph_rows(graphs, all.n, rows);
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
	work_free(t->worker.work);
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
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	t->worker.work = work_new(param->n > 1);
	if (t->wake < 0 || t->epoll < 0 || !worker_rings(&t->worker) || !t->worker.work) {
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

	all.rcu = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));
	if (!all.rcu || rte_rcu_qsbr_init(all.rcu, WORKER_MAX))
		return err_set(err, -ENOMEM, "no memory for grace periods");
	return 0;
}

int workers_start(const struct workers_param *param, struct err *err)
{
	int rc;

	memset(&all, 0, sizeof(all));
	all.retired_tail = &all.retired;
	all.poll = param->poll;
	all.idle_before_sleep = param->idle_before_sleep;
	all.punts_waiting = param->punts_waiting;
	all.control_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (all.control_fd < 0)
		return err_set(err, -errno, "eventfd: %s", strerror(errno));
	ev_io_init(&all.control_io, control_wakes, all.control_fd, EV_READ);
	ev_io_start(core_loop(), &all.control_io);
	ev_timer_init(&all.retire_timer, retire_tick, 0., RETIRE_POLL_S);
	rc = rcu_new(err);
	if (pins(param))
		others_move(param);
	for (unsigned i = 0; !rc && i < param->n; i++) {
		all.threads[i] = thread_new(param, i, err);
		if (!all.threads[i])
			rc = err_set(err, -ENOMEM, "worker %u: out of memory", i);
		else
			all.n = i + 1;
	}
	for (unsigned i = 0; !rc && i < all.n; i++)
		rc = thread_start(all.threads[i], err);
	if (rc)
		workers_stop();
	return rc;
}

void workers_stop(void)
{
	unsigned n = all.n;

	atomic_store(&all.stop, true);
	for (unsigned i = 0; i < n; i++) {
		uint64_t one = 1;

		if (!all.threads[i]->started)
			continue;
		/* whether asleep or not: the thread may be on its way to sleep */
		if (write(all.threads[i]->wake, &one, sizeof(one)) < 0)
			log_warn("cannot wake worker %u", i);
		pthread_join(all.threads[i]->thread, NULL);
	}
	all.n = 0;
	retired_run(true);
	free(atomic_exchange(&all.table, NULL));
	for (unsigned i = 0; i < n; i++) {
		thread_free(all.threads[i]);
		all.threads[i] = NULL;
	}
	ev_io_stop(core_loop(), &all.control_io);
	ev_timer_stop(core_loop(), &all.retire_timer);
	if (all.control_fd >= 0)
		close(all.control_fd);
	all.control_fd = -1;
	free(all.rcu);
	all.rcu = NULL;
}
