/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O loops and the posting between loops. Runs on: each loop's own thread, the control loop for
 * life; io_post anywhere.
 *
 * A queue is a stack that producers push on with one compare-and-swap; the owner takes all of it
 * with one exchange and turns it around. Only the push on an empty stack wakes the loop. An I/O
 * loop never waits for the control loop, so the control loop may wait for I/O loops (io_on_each,
 * io_flush).
 */
#include "io_life.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

/* So many, or so long, looked at every few; then others have their turn. */
#define MESSAGES_A_TURN 256
#define MESSAGES_NS (5 * 1000000ull)
#define MESSAGES_A_LOOK 16

struct io_loop {
	struct ev_loop *ev;
	_Atomic(struct io_message *) posted; /* pushed by anyone, taken by the owner */
	struct io_message *ready;            /* the owner's, in order */
	ev_async wake;
	ev_prepare before_wait;
	ev_check after_wait;
	uint64_t turn_since;
	_Atomic uint64_t busy_ns, messages; /* written by the owner, read by scrapes */
	pthread_t thread;
	unsigned index;
	bool stopping;
};

static struct io_loop control;
static struct {
	struct io_loop *loops;
	unsigned n;
	cpu_set_t cores;
} io;
static _Thread_local struct io_loop *here;

unsigned io_loop_count(void)
{
	return io.n;
}

struct io_loop *io_loop_at(unsigned i)
{
	return &io.loops[i];
}

struct io_loop *io_loop_here(void)
{
	return here;
}

struct io_loop *io_loop_control(void)
{
	return &control;
}

struct ev_loop *io_loop_ev(struct io_loop *loop)
{
	return loop->ev;
}

unsigned io_loop_index(const struct io_loop *loop)
{
	return loop->index;
}

/* ---- messages ---- */

void io_post(struct io_loop *to, struct io_message *message)
{
	/* release: pairs with the acquire in collect_posted; what the message is about is seen */
	struct io_message *head = atomic_load_explicit(&to->posted, memory_order_relaxed);

	do
		message->next = head;
	while (!atomic_compare_exchange_weak_explicit(
		&to->posted, &head, message, memory_order_release, memory_order_relaxed));
	if (!head)
		ev_async_send(to->ev, &to->wake);
}

/* Behind what is ready. */
static void collect_posted(struct io_loop *loop)
{
	struct io_message *newest, *in_order = NULL, **at = &loop->ready;

	newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
	while (newest) {
		struct io_message *next = newest->next;

		newest->next = in_order;
		in_order = newest;
		newest = next;
	}
	while (*at)
		at = &(*at)->next;
	*at = in_order;
}

static void run_messages(struct io_loop *loop)
{
	uint64_t until = core_now() + MESSAGES_NS;
	unsigned n = 0;

	if (!loop->ready)
		collect_posted(loop);
	while (loop->ready && n < MESSAGES_A_TURN && (n % MESSAGES_A_LOOK || core_now() < until)) {
		struct io_message *message = loop->ready;

		loop->ready = message->next;
		message->run(message);
		n++;
	}
	atomic_fetch_add_explicit(&loop->messages, n, memory_order_relaxed);
	/* also for what was posted behind `ready`: whoever posted it may have found the wake-up of
	 * this very call still under way */
	if (loop->ready || atomic_load_explicit(&loop->posted, memory_order_acquire))
		ev_async_send(loop->ev, &loop->wake);
}

static void on_messages(struct ev_loop *ev, ev_async *wake, int revents)
{
	(void)ev, (void)revents;
	run_messages(wake->data);
}

LOOP_CALLBACK(control_messages, ev_async)
{
	(void)loop, (void)revents;
	run_messages(watcher->data);
}

/* ---- the control loop waits ---- */

struct call {
	struct io_message message;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void call_run(struct io_message *message)
{
	struct call *call = (struct call *)message;

	if (call->fn)
		call->fn(call->arg);
	sem_post(&call->done);
}

static void call_on(struct io_loop *loop, void (*fn)(void *arg), void *arg)
{
	struct call call = {.message.run = call_run, .fn = fn, .arg = arg};

	sem_init(&call.done, 0, 0);
	io_post(loop, &call.message);
	while (sem_wait(&call.done) != 0)
		continue;
	sem_destroy(&call.done);
}

void io_on_each(void (*fn)(void *arg), void *arg)
{
	for (unsigned i = 0; i < io.n; i++)
		call_on(&io.loops[i], fn, arg);
}

static void mark_reached(struct io_message *message)
{
	message->run = NULL;
}

void io_flush(void)
{
	struct io_message mark = {.run = mark_reached};

	io_on_each(NULL, NULL);
	if (!control.ev)
		return;
	io_post(&control, &mark);
	while (mark.run)
		run_messages(&control);
}

/* ---- threads ---- */

static void turn_begins(struct ev_loop *ev, ev_check *watcher, int revents)
{
	(void)ev, (void)revents;
	((struct io_loop *)watcher->data)->turn_since = core_now();
}

static void turn_ends(struct ev_loop *ev, ev_prepare *watcher, int revents)
{
	struct io_loop *loop = watcher->data;

	(void)ev, (void)revents;
	if (loop->turn_since)
		atomic_fetch_add_explicit(
			&loop->busy_ns, core_now() - loop->turn_since, memory_order_relaxed);
}

static void *io_thread(void *arg)
{
	here = arg;
	while (!here->stopping)
		ev_run(here->ev, EVRUN_ONCE);
	return NULL;
}

static void loop_open(struct io_loop *loop, unsigned index)
{
	loop->index = index;
	loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	if (!loop->ev)
		fatalx("libev has no loop for I/O: no memory or no descriptors");
	ev_async_init(&loop->wake, on_messages);
	ev_async_start(loop->ev, &loop->wake);
	ev_check_init(&loop->after_wait, turn_begins);
	ev_set_priority(&loop->after_wait, EV_MAXPRI);
	ev_check_start(loop->ev, &loop->after_wait);
	ev_prepare_init(&loop->before_wait, turn_ends);
	ev_set_priority(&loop->before_wait, EV_MINPRI);
	ev_prepare_start(loop->ev, &loop->before_wait);
	loop->wake.data = loop->after_wait.data = loop->before_wait.data = loop;
}

static void thread_open(struct io_loop *loop)
{
	char name[16];
	int rc = pthread_create(&loop->thread, NULL, io_thread, loop);

	if (rc)
		fatalx("cannot start a thread for I/O: %s", strerror(rc));
	snprintf(name, sizeof(name), "io%u", loop->index);
	pthread_setname_np(loop->thread, name);
	if (CPU_COUNT(&io.cores))
		pthread_setaffinity_np(loop->thread, sizeof(io.cores), &io.cores);
}

void io_init(void)
{
	if (sched_getaffinity(0, sizeof(io.cores), &io.cores) != 0)
		CPU_ZERO(&io.cores);
	here = &control;
	control.ev = core_loop();
	ev_async_init(&control.wake, control_messages);
	control.wake.data = &control;
	ev_async_start(control.ev, &control.wake);
}

void io_start(unsigned n)
{
	sigset_t all, before;

	io.loops = calloc(n, sizeof(*io.loops));
	if (!io.loops)
		fatalx("no memory for %u I/O loops", n);
	for (unsigned i = 0; i < n; i++)
		loop_open(&io.loops[i], i);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; io.n < n; io.n++)
		thread_open(&io.loops[io.n]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void end_here(void *arg)
{
	(void)arg;
	here->stopping = true;
}

void io_stop(void)
{
	io_flush();
	io_on_each(end_here, NULL);
	for (unsigned i = 0; i < io.n; i++) {
		pthread_join(io.loops[i].thread, NULL);
		ev_loop_destroy(io.loops[i].ev);
	}
	io.n = 0;
	free(io.loops);
	io.loops = NULL;
	io_flush();
	ev_async_stop(control.ev, &control.wake);
}

void io_collect(struct metric_sink *sink)
{
	static const struct metric busy = {"tailplane_io_busy_seconds_total", METRIC_COUNTER,
		"Time that an I/O loop worked rather than waited."};
	static const struct metric messages = {"tailplane_io_messages_total", METRIC_COUNTER,
		"Messages from other loops that an I/O loop took."};
	char number[12];
	struct metric_label label = {"loop", number};

	for (unsigned i = 0; i < io.n; i++) {
		snprintf(number, sizeof(number), "%u", i);
		metric_add(sink, &busy, &label, 1,
			(double)atomic_load_explicit(&io.loops[i].busy_ns, memory_order_relaxed) /
				1e9);
	}
	for (unsigned i = 0; i < io.n; i++) {
		snprintf(number, sizeof(number), "%u", i);
		metric_add(sink, &messages, &label, 1,
			(double)atomic_load_explicit(&io.loops[i].messages, memory_order_relaxed));
	}
}
