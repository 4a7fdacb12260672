/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool of jobs. `run` hooks execute on its threads, everything else here on the control loop
 * (job_submit also on the pool's threads).
 *
 * A job with a lane is either in the ready queue (then it is the only one of its lane outside) or
 * waits in its lane behind the one that is. A lane exists while one of its jobs is ready or runs.
 * Finished jobs go through one queue to the loop, in the order in which they finished; that of a
 * lane is therefore the order submitted.
 *
 * jobs_drain must not wait for what is submitted after it was called: jobs carry the epoch of their
 * submission, of which two are in use, and a drain waits until the older one has no job left.
 */
#include "job_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#define LANE_BUCKETS 256
#define NAMES_MAX 32
#define DONE_BATCH 64

struct job_queue {
	struct job *head, **tail;
};

struct job_lane {
	struct job_lane *next;
	uint64_t id;
	struct job_queue waiting;
};

struct job_kind {
	const char *name;
	uint64_t count, ns;
};

static struct {
	pthread_mutex_t lock;    /* guards all down to n_kinds */
	pthread_cond_t work;     /* for threads: ready or stopping */
	pthread_cond_t finished; /* for jobs_drain */
	struct job_queue ready, done;
	struct job_lane *lanes[LANE_BUCKETS];
	uint64_t outstanding[2]; /* submitted, `done` not begun; by epoch */
	unsigned epoch;
	unsigned running;
	bool stopping;
	struct job_kind kinds[NAMES_MAX + 1]; /* the last stands for all further names */
	unsigned n_kinds;
	bool draining; /* this and the rest: control loop only */
	pthread_t *threads;
	unsigned n_threads;
	ev_async wake;
	cpu_set_t cores;
} pool = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.finished = PTHREAD_COND_INITIALIZER,
	.ready = {NULL, &pool.ready.head},
	.done = {NULL, &pool.done.head},
};

static void push(struct job_queue *queue, struct job *job)
{
	job->next = NULL;
	*queue->tail = job;
	queue->tail = &job->next;
}

static struct job *pop(struct job_queue *queue)
{
	struct job *job = queue->head;

	if (job) {
		queue->head = job->next;
		if (!queue->head)
			queue->tail = &queue->head;
	}
	return job;
}

/* ---- lanes: under the lock ---- */

static struct job_lane **lane_find(uint64_t id)
{
	struct job_lane **at = &pool.lanes[(id * 0x9e3779b97f4a7c15u >> 32) % LANE_BUCKETS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

/* True: an earlier job of the lane is on its way, and this one waits for it. */
static bool lane_enter(struct job *job)
{
	struct job_lane **at = lane_find(job->lane);

	job->in_lane = *at;
	if (*at) {
		push(&(*at)->waiting, job);
		return true;
	}
	*at = calloc(1, sizeof(**at));
	if (!*at)
		abort(); /* 40 bytes: nothing that this process does next would work */
	(*at)->id = job->lane;
	(*at)->waiting.tail = &(*at)->waiting.head;
	job->in_lane = *at;
	return false;
}

static void lane_leave(struct job_lane *lane)
{
	struct job *next = pop(&lane->waiting);
	struct job_lane **at;

	if (next) {
		push(&pool.ready, next);
		pthread_cond_signal(&pool.work);
		return;
	}
	at = lane_find(lane->id);
	*at = lane->next;
	free(lane);
}

/* ---- running ---- */

static void count_run(const char *name, uint64_t ns)
{
	struct job_kind *kind = pool.kinds;

	while (kind < pool.kinds + pool.n_kinds && strcmp(kind->name, name) != 0)
		kind++;
	if (kind == pool.kinds + NAMES_MAX)
		name = "(others)";
	else if (kind == pool.kinds + pool.n_kinds)
		pool.n_kinds++;
	kind->name = name;
	kind->count++;
	kind->ns += ns;
}

static void leave_epoch(unsigned epoch)
{
	if (--pool.outstanding[epoch] == 0)
		pthread_cond_signal(&pool.finished);
}

/* Takes the lock off for the time of the run. A job without `done` may be gone after it. */
static void run_one(struct job *job)
{
	struct job_lane *lane = job->in_lane;
	const char *name = job->name;
	bool ends_here = !job->done;
	unsigned epoch = job->epoch;
	uint64_t since;

	pool.running++;
	pthread_mutex_unlock(&pool.lock);
	since = core_now();
	job->run(job);
	since = core_now() - since;
	pthread_mutex_lock(&pool.lock);
	pool.running--;
	count_run(name, since);
	if (ends_here) {
		leave_epoch(epoch);
	} else {
		push(&pool.done, job);
		pthread_cond_signal(&pool.finished);
	}
	if (lane)
		lane_leave(lane);
}

static void *job_thread(void *arg)
{
	struct job *job;

	(void)arg;
	pthread_mutex_lock(&pool.lock);
	while (!pool.stopping) {
		job = pop(&pool.ready);
		if (!job) {
			pthread_cond_wait(&pool.work, &pool.lock);
			continue;
		}
		run_one(job);
		if (!pool.done.head)
			continue;
		/* whoever is woken with the lock held waits for it at once */
		pthread_mutex_unlock(&pool.lock);
		ev_async_send(core_loop(), &pool.wake);
		pthread_mutex_lock(&pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

void job_submit(struct job *job)
{
	bool ready;

	pthread_mutex_lock(&pool.lock);
	job->in_lane = NULL;
	job->epoch = pool.epoch;
	pool.outstanding[job->epoch]++;
	ready = !job->lane || !lane_enter(job);
	if (ready)
		push(&pool.ready, job);
	pthread_mutex_unlock(&pool.lock);
	if (ready)
		pthread_cond_signal(&pool.work);
}

/* ---- back on the loop ---- */

/* With the lock, which is off while `done` runs. A `done` that drains does not wait for its own
 * job: that has left the count. */
static void finish_one(struct job *job)
{
	const char *name = job->name;
	uint64_t since;

	leave_epoch(job->epoch);
	pthread_mutex_unlock(&pool.lock);
	since = core_now();
	job->done(job);
	loop_callback_done(name, since);
	pthread_mutex_lock(&pool.lock);
}

LOOP_CALLBACK(jobs_finished, ev_async)
{
	struct job *job;

	(void)revents;
	pthread_mutex_lock(&pool.lock);
	for (unsigned n = 0; n < DONE_BATCH && (job = pop(&pool.done)); n++)
		finish_one(job);
	if (pool.done.head)
		ev_async_send(loop, watcher);
	pthread_mutex_unlock(&pool.lock);
}

/* Lends a hand where there are no threads: before they start and after they ended. */
static void wait_for_progress(void)
{
	struct job *job = pool.n_threads ? NULL : pop(&pool.ready);

	if (job)
		run_one(job);
	else if (!pool.done.head)
		pthread_cond_wait(&pool.finished, &pool.lock);
}

void jobs_drain(void)
{
	struct job *job;
	bool nested;
	unsigned old;

	pthread_mutex_lock(&pool.lock);
	/* A drain from a `done` that a drain runs waits for both epochs: one more has no number. */
	nested = pool.draining;
	pool.draining = true;
	old = pool.epoch;
	if (!nested && !pool.outstanding[!old])
		pool.epoch = !old;
	while (pool.outstanding[old] || (nested && pool.outstanding[!old])) {
		job = pop(&pool.done);
		if (job)
			finish_one(job);
		else
			wait_for_progress();
	}
	pool.draining = nested;
	pthread_mutex_unlock(&pool.lock);
}

/* ---- life ---- */

void jobs_init(void)
{
	if (sched_getaffinity(0, sizeof(pool.cores), &pool.cores) != 0)
		CPU_ZERO(&pool.cores);
	ev_async_init(&pool.wake, jobs_finished);
	ev_async_start(core_loop(), &pool.wake);
}

void jobs_start(unsigned n)
{
	sigset_t all, before;

	pool.threads = calloc(n, sizeof(*pool.threads));
	if (!pool.threads)
		fatalx("no memory for %u threads", n);
	pool.stopping = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; pool.n_threads < n; pool.n_threads++) {
		pthread_t *thread = &pool.threads[pool.n_threads];
		int rc = pthread_create(thread, NULL, job_thread, NULL);

		if (rc)
			fatalx("cannot start a thread for jobs: %s", strerror(rc));
		pthread_setname_np(*thread, "jobs");
		if (CPU_COUNT(&pool.cores))
			pthread_setaffinity_np(*thread, sizeof(pool.cores), &pool.cores);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void jobs_stop(void)
{
	jobs_drain();
	pthread_mutex_lock(&pool.lock);
	pool.stopping = true;
	pthread_cond_broadcast(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	for (unsigned i = 0; i < pool.n_threads; i++)
		pthread_join(pool.threads[i], NULL);
	pool.n_threads = 0;
	free(pool.threads);
	pool.threads = NULL;
	jobs_drain(); /* what jobs submitted meanwhile */
	ev_async_stop(core_loop(), &pool.wake);
}

void jobs_collect(struct metric_sink *sink)
{
	static const struct metric queued = {"tailplane_jobs_queued", METRIC_GAUGE,
		"Jobs that wait for a thread, or for an earlier one of their lane."};
	static const struct metric running = {
		"tailplane_jobs_running", METRIC_GAUGE, "Jobs that a thread works on."};
	static const struct metric count = {
		"tailplane_jobs_total", METRIC_COUNTER, "Jobs that ran, by name."};
	static const struct metric seconds = {
		"tailplane_jobs_seconds_total", METRIC_COUNTER, "Time that jobs ran, by name."};
	struct job_kind kinds[NAMES_MAX + 1];
	double waiting, active;

	pthread_mutex_lock(&pool.lock);
	memcpy(kinds, pool.kinds, sizeof(kinds));
	active = pool.running;
	waiting = (double)(pool.outstanding[0] + pool.outstanding[1]) - active;
	for (const struct job *job = pool.done.head; job; job = job->next)
		waiting--;
	pthread_mutex_unlock(&pool.lock);
	metric_add(sink, &queued, NULL, 0, waiting);
	metric_add(sink, &running, NULL, 0, active);
	for (unsigned i = 0; i <= NAMES_MAX && kinds[i].name; i++) {
		struct metric_label label = {"job", kinds[i].name};

		metric_add(sink, &count, &label, 1, (double)kinds[i].count);
	}
	for (unsigned i = 0; i <= NAMES_MAX && kinds[i].name; i++) {
		struct metric_label label = {"job", kinds[i].name};

		metric_add(sink, &seconds, &label, 1, (double)kinds[i].ns / 1e9);
	}
}
