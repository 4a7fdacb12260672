/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <ev.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/* The control loop. All plugin hooks, operations, timers and completions run on its thread. It is
 * not libev's default loop: ev_child does not work on it, who starts a program waits for it. */
struct ev_loop *core_loop(void);
/* Nanoseconds, CLOCK_MONOTONIC. */
uint64_t core_now(void);

/*
 * A watcher's callback that is timed: one that holds the loop longer than 20 ms is named in a
 * warning and in the metrics. Use:
 *
 *   LOOP_CALLBACK(tick, ev_timer)
 *   {
 *           (void)loop, (void)watcher, (void)revents;
 *   }
 *   ev_timer_init(&t, tick, 1., 1.);
 */
#define LOOP_CALLBACK(fn, watcher_type)                                                   \
	static void fn##_timed(struct ev_loop *loop, watcher_type *watcher, int revents); \
	static void fn(struct ev_loop *loop, watcher_type *watcher, int revents)          \
	{                                                                                 \
		uint64_t since = core_now();                                              \
		fn##_timed(loop, watcher, revents);                                       \
		loop_callback_done(#fn, since);                                           \
	}                                                                                 \
	static void fn##_timed(struct ev_loop *loop, watcher_type *watcher, int revents)

void loop_callback_done(const char *name, uint64_t since);

#pragma GCC visibility pop
