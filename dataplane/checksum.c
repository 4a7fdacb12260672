/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sum over payload is the one thing besides the AEAD that touches each byte of host port
 * traffic. Words are taken 8 bytes at a time and their halves added to separate 64-bit lanes:
 * no carry to propagate, so that compilers make vector code of it. Pure; any thread.
 */
#include "checksum.h"

#define BLOCK 64

/* A loop in the shape that compilers vectorize, for each instruction set that includes it. */
static inline __attribute__((always_inline)) uint64_t sum_lanes(const uint8_t *p, size_t n_blocks)
{
	uint64_t low = 0, high = 0, word;

	for (size_t i = 0; i < n_blocks * BLOCK; i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		low += word & 0xffffffff;
		high += word >> 32;
	}
	return low + high;
}

static uint64_t sum_blocks_portable(const uint8_t *p, size_t n_blocks)
{
	return sum_lanes(p, n_blocks);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t sum_blocks_avx2(const uint8_t *p, size_t n_blocks)
{
	return sum_lanes(p, n_blocks);
}

static uint64_t sum_blocks(const uint8_t *p, size_t n_blocks)
{
	return __builtin_cpu_supports("avx2") ? sum_blocks_avx2(p, n_blocks)
					      : sum_blocks_portable(p, n_blocks);
}
#else
#define sum_blocks sum_blocks_portable
#endif

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t word;
	uint16_t half;

	if (len >= BLOCK) {
		sum += sum_blocks(p, len / BLOCK);
		p += len / BLOCK * BLOCK;
		len %= BLOCK;
	}
	for (; len >= 4; len -= 4, p += 4) {
		memcpy(&word, p, 4);
		sum += word;
	}
	if (len >= 2) {
		memcpy(&half, p, 2);
		sum += half;
		p += 2;
		len -= 2;
	}
	if (len) {
		half = 0;
		memcpy(&half, p, 1);
		sum += half;
	}
	return sum;
}
