/* SPDX-License-Identifier: BSD-3-Clause */
/* I/O loops: messages between threads arrive, once and in order; the control loop can wait. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <tailplane/loop.h>

#include "io_life.h"

#define LOOPS 2
#define PRODUCERS 4
#define MESSAGES 20000

struct numbered {
	struct io_message message;
	unsigned producer, number;
};

static struct {
	unsigned next[PRODUCERS]; /* expected; the receiving loop's alone */
	_Atomic unsigned got;
	_Atomic bool disorder;
} seen[LOOPS + 1]; /* the last is the control loop's */

static void take(struct io_message *message)
{
	struct numbered *numbered = (struct numbered *)message;
	unsigned at = io_loop_here() == io_loop_control() ? LOOPS : io_loop_index(io_loop_here());

	if (seen[at].next[numbered->producer]++ != numbered->number)
		seen[at].disorder = true;
	atomic_fetch_add(&seen[at].got, 1);
	free(numbered);
}

static void *produce(void *arg)
{
	unsigned producer = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < MESSAGES; i++) {
		for (unsigned at = 0; at <= LOOPS; at++) {
			struct numbered *numbered = malloc(sizeof(*numbered));

			*numbered = (struct numbered){{take, NULL}, producer, i};
			io_post(at == LOOPS ? io_loop_control() : io_loop_at(at),
				&numbered->message);
		}
	}
	return NULL;
}

static bool all_came(void)
{
	for (unsigned at = 0; at <= LOOPS; at++) {
		if (atomic_load(&seen[at].got) < PRODUCERS * MESSAGES)
			return false;
	}
	return true;
}

/* No io_flush here: that a message wakes its loop by itself is what is tested. */
static void test_messages_arrive_in_order(void **state)
{
	uint64_t deadline = core_now() + 20 * 1000000000ull;
	pthread_t threads[PRODUCERS];

	(void)state;
	for (uintptr_t i = 0; i < PRODUCERS; i++)
		pthread_create(&threads[i], NULL, produce, (void *)i);
	while (!all_came() && core_now() < deadline)
		ev_run(core_loop(), EVRUN_NOWAIT);
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned at = 0; at <= LOOPS; at++) {
		assert_int_equal(atomic_load(&seen[at].got), PRODUCERS * MESSAGES);
		assert_false(seen[at].disorder);
	}
}

struct reply {
	struct io_message message;
	unsigned hops;
	bool done;
};

static void hop(struct io_message *message)
{
	struct reply *reply = (struct reply *)message;

	if (io_loop_here() == io_loop_control()) {
		reply->done = true;
	} else {
		message->run = hop;
		io_post(reply->hops-- ? io_loop_here() : io_loop_control(), message);
	}
}

static void test_flush_waits_for_what_comes_back(void **state)
{
	struct reply replies[LOOPS] = {{{hop, NULL}, 0, false}, {{hop, NULL}, 0, false}};

	(void)state;
	for (unsigned i = 0; i < LOOPS; i++)
		io_post(io_loop_at(i), &replies[i].message);
	io_flush();
	for (unsigned i = 0; i < LOOPS; i++)
		assert_true(replies[i].done);
}

static void note_loop(void *arg)
{
	unsigned *mask = arg;

	*mask |= 1u << io_loop_index(io_loop_here());
}

static void test_each_loop_is_called(void **state)
{
	unsigned mask = 0;

	(void)state;
	io_on_each(note_loop, &mask);
	assert_int_equal(mask, (1u << LOOPS) - 1);
	assert_ptr_equal(io_loop_here(), io_loop_control());
}

static int group_setup(void **state)
{
	(void)state;
	io_init();
	io_start(LOOPS);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	io_stop();
	return io_loop_count() != 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_arrive_in_order),
		cmocka_unit_test(test_flush_waits_for_what_comes_back),
		cmocka_unit_test(test_each_loop_is_called),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
