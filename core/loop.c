/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control loop, and who holds it. Runs on: the control loop (core_now anywhere).
 *
 * A turn of the loop is busy from the moment that libev has collected events (ev_check) to the
 * moment before it waits again (ev_prepare): so long may anything that became due in between have
 * waited, which is the lag. Callbacks made with LOOP_CALLBACK report how long they took. They nest
 * (an operation runs inside the read of its connection): each is charged only with what those
 * inside it have not been charged with. A long turn whose callbacks all were short is charged to
 * nobody, and said so.
 */
#include "loop_lag.h"

#include <string.h>
#include <time.h>

#include <tailplane/log.h>

#define HELD_TOO_LONG_NS (20 * 1000000ull)
#define DONE_MAX 64
#define NAMES_MAX 64

struct span {
	uint64_t since, took;
};

struct holder {
	const char *name;
	uint64_t times, ns;
};

static const double bounds[] = {0.0001, 0.001, 0.005, 0.02, 0.1, 0.5, 2};
#define N_BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

static struct {
	ev_prepare before_wait;
	ev_check after_wait;
	uint64_t turn_since;        /* 0: no turn was seen yet */
	struct span done[DONE_MAX]; /* callbacks of this turn, outermost only */
	unsigned n_done;
	uint64_t blamed_ns;                   /* of this turn, in warnings */
	struct holder holders[NAMES_MAX + 1]; /* the last stands for all further names */
	unsigned n_holders;
	uint64_t counts[N_BOUNDS + 1], sum_ns, max_ns;
} lag;

struct ev_loop *core_loop(void)
{
	static struct ev_loop *loop; /* made by the first call: the control loop's thread */

	/* libev's default loop would reap every child of the process, also one that a job waits for
	 */
	if (!loop)
		loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	if (!loop)
		fatalx("libev has no loop for us: no memory or no descriptors");
	return loop;
}

uint64_t core_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct holder *holder_of(const char *name)
{
	for (unsigned i = 0; i < lag.n_holders; i++) {
		if (strcmp(lag.holders[i].name, name) == 0)
			return &lag.holders[i];
	}
	if (lag.n_holders == NAMES_MAX) {
		lag.holders[NAMES_MAX].name = "(others)";
		return &lag.holders[NAMES_MAX];
	}
	lag.holders[lag.n_holders].name = name;
	return &lag.holders[lag.n_holders++];
}

static void blame(const char *name, uint64_t ns)
{
	struct holder *holder = holder_of(name);

	holder->times++;
	holder->ns += ns;
	lag.blamed_ns += ns;
	log_warnx("loop: %s held the loop for %.1f ms", name, (double)ns / 1e6);
}

void loop_callback_done(const char *name, uint64_t since)
{
	uint64_t took = core_now() - since, inside = 0;

	/* before the loop runs and after it, nobody waits */
	if (!lag.turn_since)
		return;
	while (lag.n_done && lag.done[lag.n_done - 1].since >= since)
		inside += lag.done[--lag.n_done].took;
	if (lag.n_done < DONE_MAX)
		lag.done[lag.n_done++] = (struct span){since, took};
	if (took - inside > HELD_TOO_LONG_NS)
		blame(name, took - inside);
}

static void turn_begins(struct ev_loop *loop, ev_check *watcher, int revents)
{
	(void)loop, (void)watcher, (void)revents;
	lag.turn_since = core_now();
	lag.n_done = 0;
	lag.blamed_ns = 0;
}

static void turn_ends(struct ev_loop *loop, ev_prepare *watcher, int revents)
{
	uint64_t took;
	unsigned i = 0;

	(void)loop, (void)watcher, (void)revents;
	if (!lag.turn_since)
		return;
	took = core_now() - lag.turn_since;
	while (i < N_BOUNDS && (double)took / 1e9 > bounds[i])
		i++;
	lag.counts[i]++;
	lag.sum_ns += took;
	if (took > lag.max_ns)
		lag.max_ns = took;
	if (took > HELD_TOO_LONG_NS + lag.blamed_ns)
		blame("(no single callback)", took - lag.blamed_ns);
	lag.turn_since = 0;
}

void loop_lag_start(void)
{
	ev_check_init(&lag.after_wait, turn_begins);
	ev_set_priority(&lag.after_wait, EV_MAXPRI);
	ev_check_start(core_loop(), &lag.after_wait);
	ev_prepare_init(&lag.before_wait, turn_ends);
	ev_set_priority(&lag.before_wait, EV_MINPRI);
	ev_prepare_start(core_loop(), &lag.before_wait);
}

void loop_lag_stop(void)
{
	ev_check_stop(core_loop(), &lag.after_wait);
	ev_prepare_stop(core_loop(), &lag.before_wait);
}

void loop_lag_collect(struct metric_sink *sink)
{
	static const struct metric turns = {"tailplane_loop_lag_seconds", METRIC_HISTOGRAM,
		"How long each turn of the control loop kept what became due waiting."};
	static const struct metric max = {"tailplane_loop_lag_max_seconds", METRIC_GAUGE,
		"The longest turn of the control loop since the last scrape."};
	static const struct metric times = {"tailplane_loop_held_total", METRIC_COUNTER,
		"Times that a callback held the control loop for more than 20 ms."};
	static const struct metric seconds = {"tailplane_loop_held_seconds_total", METRIC_COUNTER,
		"Time that callbacks held the control loop in turns of more than 20 ms."};

	metric_histogram(
		sink, &turns, NULL, 0, bounds, lag.counts, N_BOUNDS, (double)lag.sum_ns / 1e9);
	metric_add(sink, &max, NULL, 0, (double)lag.max_ns / 1e9);
	lag.max_ns = 0;
	for (unsigned i = 0; i <= NAMES_MAX && lag.holders[i].name; i++) {
		struct metric_label label = {"callback", lag.holders[i].name};

		metric_add(sink, &times, &label, 1, (double)lag.holders[i].times);
	}
	for (unsigned i = 0; i <= NAMES_MAX && lag.holders[i].name; i++) {
		struct metric_label label = {"callback", lag.holders[i].name};

		metric_add(sink, &seconds, &label, 1, (double)lag.holders[i].ns / 1e9);
	}
}
