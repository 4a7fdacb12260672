/* SPDX-License-Identifier: BSD-3-Clause */
/* Pseudo-random test input, the same in each run (SplitMix64). */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct prng {
	uint64_t state;
};

static inline uint64_t prng_next(struct prng *prng)
{
	uint64_t z = prng->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* 0 .. n - 1 */
static inline uint32_t prng_below(struct prng *prng, uint32_t n)
{
	return (uint32_t)(((prng_next(prng) >> 32) * n) >> 32);
}

static inline void prng_fill(struct prng *prng, void *p, size_t len)
{
	uint8_t *at = p;

	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(prng_next(prng) >> 56);
}
