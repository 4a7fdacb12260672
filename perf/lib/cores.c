/* SPDX-License-Identifier: BSD-3-Clause */
#include "cores.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"

#define TRIPS 4000

struct trips {
	_Alignas(128) atomic_uint turn; /* odd: it is on its way back */
	_Alignas(128) unsigned cpus[2];
	uint64_t least;
};

static bool pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

static bool two_cores(unsigned cpus[2])
{
	unsigned n = 0;

	for (unsigned cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (pin(cpu))
			cpus[n++] = cpu;
	return n == 2;
}

static void *send_back(void *arg)
{
	struct trips *t = arg;

	pin(t->cpus[1]);
	for (unsigned i = 0; i < 2 * TRIPS; i += 2) {
		while (atomic_load_explicit(&t->turn, memory_order_acquire) != i + 1)
			;
		atomic_store_explicit(&t->turn, i + 2, memory_order_release);
	}
	return NULL;
}

static void *send(void *arg)
{
	struct trips *t = arg;
	pthread_t other;

	if (!two_cores(t->cpus) || pthread_create(&other, NULL, send_back, t) != 0)
		return NULL;
	pin(t->cpus[0]);
	t->least = UINT64_MAX;
	for (unsigned i = 0; i < 2 * TRIPS; i += 2) {
		uint64_t start = ticks_begin(), spent;

		atomic_store_explicit(&t->turn, i + 1, memory_order_release);
		while (atomic_load_explicit(&t->turn, memory_order_acquire) != i + 2)
			;
		spent = ticks_end() - start;
		t->least = spent < t->least ? spent : t->least;
	}
	pthread_join(other, NULL);
	return NULL;
}

double cores_round_trip_ns(void)
{
	struct trips t = {0};
	pthread_t thread; /* the caller stays on the core where it is */

	if (pthread_create(&thread, NULL, send, &t) != 0)
		return 0;
	pthread_join(thread, NULL);
	return t.least > clock_overhead()
		       ? (double)(t.least - clock_overhead()) / clock_ticks_per_ns()
		       : 0;
}
