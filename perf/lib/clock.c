/* SPDX-License-Identifier: BSD-3-Clause */
#include "clock.h"

#include <stdlib.h>

#define OVERHEAD_SAMPLES 1001
#define CHAIN_TRIES 7
#define CHAIN_ROUNDS 100
#define CHAIN_STEPS 100

static double ticks_per_ns = 1;
static uint64_t overhead;

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t overhead_measure(void)
{
	static uint64_t samples[OVERHEAD_SAMPLES];

	for (unsigned i = 0; i < OVERHEAD_SAMPLES; i++) {
		uint64_t start = ticks_begin();

		samples[i] = ticks_end() - start;
	}
	qsort(samples, OVERHEAD_SAMPLES, sizeof(samples[0]), compare);
	return samples[OVERHEAD_SAMPLES / 2];
}

void clock_start(void)
{
	double start = clock_seconds(CLOCK_MONOTONIC), now;
	uint64_t from = ticks_begin();

	do
		now = clock_seconds(CLOCK_MONOTONIC);
	while (now - start < 0.1);
	ticks_per_ns = (double)(ticks_end() - from) / ((now - start) * 1e9);
	overhead = overhead_measure();
}

double clock_ticks_per_ns(void)
{
	return ticks_per_ns;
}

uint64_t clock_overhead(void)
{
	return overhead;
}

#define STEP           \
	sum += addend; \
	__asm__ volatile("" : "+r"(sum), "+r"(addend));
#define STEPS_10 STEP STEP STEP STEP STEP STEP STEP STEP STEP STEP
#define STEPS_100 \
	STEPS_10 STEPS_10 STEPS_10 STEPS_10 STEPS_10 STEPS_10 STEPS_10 STEPS_10 STEPS_10 STEPS_10

static uint64_t chain_ticks(void)
{
	uint64_t sum = 1, addend = 3, start = ticks_begin();

	for (unsigned i = 0; i < CHAIN_ROUNDS; i++) {
		STEPS_100
	}
	return ticks_end() - start;
}

double clock_core_ghz(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < CHAIN_TRIES; i++) {
		uint64_t spent = chain_ticks();

		least = spent < least ? spent : least;
	}
	least -= overhead < least ? overhead : 0;
	return (double)CHAIN_ROUNDS * CHAIN_STEPS * ticks_per_ns / (double)least;
}
