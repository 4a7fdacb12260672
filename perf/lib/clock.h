/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time for benchmarks. Ticks are the TSC where there is one, nanoseconds elsewhere: cheap and
 * steady, but not what the core runs at. How fast that is at the moment is measured by a chain of
 * dependent adds, one cycle each on every machine.
 */
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline double clock_seconds(clockid_t clock)
{
	return (double)clock_ns(clock) / 1e9;
}

#if defined(__x86_64__)
#define CLOCK_NAME "tsc"

/* Fenced, so that no work moves across. */
static inline uint64_t ticks_begin(void)
{
	__builtin_ia32_lfence();
	uint64_t now = __builtin_ia32_rdtsc();
	__builtin_ia32_lfence();
	return now;
}

static inline uint64_t ticks_end(void)
{
	unsigned cpu;
	uint64_t now = __builtin_ia32_rdtscp(&cpu);

	__builtin_ia32_lfence();
	return now;
}
#else
#define CLOCK_NAME "ns"

static inline uint64_t ticks_begin(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t ticks_end(void)
{
	return ticks_begin();
}
#endif

/* Takes 0.1 s; before the functions below. */
void clock_start(void);
double clock_ticks_per_ns(void);
/* What ticks_begin and ticks_end with nothing between them count. */
uint64_t clock_overhead(void);
/* The core's clock now, in GHz; takes some 20 microseconds. */
double clock_core_ghz(void);
