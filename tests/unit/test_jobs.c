/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool of jobs: order within lanes, completion on the loop, draining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/loop.h>

#include "job_pool.h"

#define MANY 2000
#define LANES 7
#define RESUBMITS 50

struct numbered {
	struct job job;
	unsigned number;
	bool ran, done;
};

static pthread_t loop_thread;
static struct numbered jobs[MANY];
static unsigned last_run[LANES], last_done[LANES], n_done;
static _Atomic unsigned running[LANES];

static int start(void **state)
{
	(void)state;
	loop_thread = pthread_self();
	memset(jobs, 0, sizeof(jobs));
	memset(last_run, 0, sizeof(last_run));
	memset(last_done, 0, sizeof(last_done));
	n_done = 0;
	jobs_init();
	jobs_start(3);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	jobs_stop();
	return 0;
}

/* Two jobs of a lane at a time, or one before its turn, would be seen here. */
static void lane_run(struct job *job)
{
	struct numbered *n = (struct numbered *)job;
	unsigned lane = (unsigned)job->lane - 1;

	assert_int_equal(atomic_fetch_add(&running[lane], 1), 0);
	assert_true(last_run[lane] < n->number);
	last_run[lane] = n->number;
	n->ran = true;
	if (n->number % 5 == 0)
		sched_yield();
	atomic_fetch_sub(&running[lane], 1);
}

static void lane_done(struct job *job)
{
	struct numbered *n = (struct numbered *)job;
	unsigned lane = (unsigned)job->lane - 1;

	assert_true(pthread_equal(pthread_self(), loop_thread));
	assert_true(n->ran && !n->done);
	assert_true(last_done[lane] < n->number);
	last_done[lane] = n->number;
	n->done = true;
	if (++n_done == MANY)
		ev_break(core_loop(), EVBREAK_ALL);
}

static void submit_lanes(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		jobs[i] = (struct numbered){
			.job = {.run = lane_run, .done = lane_done, .name = "lane"},
			.number = i + 1};
		jobs[i].job.lane = i * 31 % LANES + 1;
		job_submit(&jobs[i].job);
	}
}

static void test_lanes_keep_their_order(void **state)
{
	(void)state;
	submit_lanes();
	ev_run(core_loop(), 0);
	assert_int_equal(n_done, MANY);
}

static void test_drain_waits_for_all(void **state)
{
	(void)state;
	submit_lanes();
	jobs_drain();
	assert_int_equal(n_done, MANY);
}

/* ---- one lane does not hold another ---- */

static _Atomic bool let_go;
static unsigned finished;

static void wait_run(struct job *job)
{
	(void)job;
	while (!atomic_load(&let_go))
		sched_yield();
}

static void go_run(struct job *job)
{
	(void)job;
	atomic_store(&let_go, true);
}

static void count_done(struct job *job)
{
	(void)job;
	finished++;
}

static void test_lanes_do_not_wait_for_each_other(void **state)
{
	struct job waits = {.run = wait_run, .done = count_done, .name = "waits", .lane = 1};
	struct job behind = {.run = wait_run, .done = count_done, .name = "waits", .lane = 1};
	struct job goes = {.run = go_run, .done = count_done, .name = "goes", .lane = 2};

	(void)state;
	finished = 0;
	atomic_store(&let_go, false);
	job_submit(&waits);
	job_submit(&behind);
	job_submit(&goes);
	jobs_drain();
	assert_int_equal(finished, 3);
}

/* ---- jobs that nobody waits for, and jobs that go on ---- */

static _Atomic unsigned freed;

static void free_run(struct job *job)
{
	free(job);
	atomic_fetch_add(&freed, 1);
}

static void test_jobs_may_free_themselves(void **state)
{
	(void)state;
	atomic_store(&freed, 0);
	for (unsigned i = 0; i < 100; i++) {
		struct job *job = calloc(1, sizeof(*job));

		*job = (struct job){.run = free_run, .name = "free", .lane = i % 3};
		job_submit(job);
	}
	jobs_drain();
	assert_int_equal(atomic_load(&freed), 100);
}

static void no_run(struct job *job)
{
	(void)job;
}

static void again_done(struct job *job)
{
	if (++n_done < RESUBMITS)
		job_submit(job);
}

static void test_drain_does_not_wait_for_what_comes_later(void **state)
{
	struct job job = {.run = no_run, .done = again_done, .name = "again"};

	(void)state;
	job_submit(&job);
	jobs_drain();
	assert_true(n_done < RESUBMITS);
	while (n_done < RESUBMITS)
		jobs_drain();
}

static unsigned seen_in_drain;

static void draining_done(struct job *job)
{
	(void)job;
	jobs_drain();
	seen_in_drain = n_done;
}

static void test_a_completion_may_drain(void **state)
{
	struct job job = {.run = no_run, .done = draining_done, .name = "drains"};

	(void)state;
	job_submit(&job);
	submit_lanes();
	jobs_drain();
	assert_int_equal(n_done, MANY);
	assert_int_equal(seen_in_drain, MANY);
}

static void submitting_run(struct job *job)
{
	(void)job;
	submit_lanes();
}

static void test_a_job_may_submit(void **state)
{
	struct job job = {.run = submitting_run, .done = count_done, .name = "submits"};

	(void)state;
	job_submit(&job);
	ev_run(core_loop(), 0);
	assert_int_equal(n_done, MANY);
}

static void test_without_threads_the_drain_works(void **state)
{
	(void)state;
	loop_thread = pthread_self();
	memset(last_run, 0, sizeof(last_run));
	memset(last_done, 0, sizeof(last_done));
	n_done = 0;
	submit_lanes();
	jobs_drain();
	assert_int_equal(n_done, MANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_threads_the_drain_works),
		cmocka_unit_test_setup_teardown(test_lanes_keep_their_order, start, stop),
		cmocka_unit_test_setup_teardown(test_drain_waits_for_all, start, stop),
		cmocka_unit_test_setup_teardown(test_lanes_do_not_wait_for_each_other, start, stop),
		cmocka_unit_test_setup_teardown(test_jobs_may_free_themselves, start, stop),
		cmocka_unit_test_setup_teardown(
			test_drain_does_not_wait_for_what_comes_later, start, stop),
		cmocka_unit_test_setup_teardown(test_a_completion_may_drain, start, stop),
		cmocka_unit_test_setup_teardown(test_a_job_may_submit, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
