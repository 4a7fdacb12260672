/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers are an mbuf's pitch apart, the text at 16 modulo 64 as packet buffers have it; sealed and
 * opened in place. Hot: every burst in the same buffers. Cold: bursts over a pool larger than a
 * core's own caches, in random order. 64 different bursts, so that no branch is learnt; "imix" is
 * 64, 576 and 1420 bytes, 7 : 4 : 1 in random order.
 *
 * A burst is timed by itself, since opening in place needs its ciphertext brought back, which is
 * not to be counted. Each of the bursts counts with the median of its passes, so that passes
 * during which something else had the core do not count.
 */
#include "bursts.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "openssl_aead.h"
#include "prng.h"

#define PITCH 2304
#define PITCH_LARGE 9216 /* where a text would not fit the pitch */
#define PATTERNS 64
#define POOL_BUFFERS 4096 /* 9.4 MB */
#define HUGE_PAGE (2u << 20)
#define OFFSET 16
#define PASSES_MIN 5
#define PASSES_MAX 64

const char *const op_names[] = {"seal", "open"};
const char *const cache_names[] = {"hot", "cold"};

static struct symmetric_key keys[AEAD_BURST_MAX];
static uint8_t *pool;
static unsigned order[POOL_BUFFERS];
static uint8_t sealed[PATTERNS][AEAD_BURST_MAX][TEXT_MAX + AEAD_TAG_LEN];
static unsigned lens[PATTERNS][AEAD_BURST_MAX];
static struct aead_item items[AEAD_BURST_MAX];
static uint64_t samples[POOL_BUFFERS][PASSES_MAX];
static size_t pitch;

const char *size_name(unsigned size)
{
	static char name[16];

	if (size == 0)
		return "imix";
	snprintf(name, sizeof(name), "%u", size);
	return name;
}

void bursts_init(void)
{
	struct prng prng = {1};
	size_t size = (size_t)POOL_BUFFERS * PITCH_LARGE;

	pool = aligned_alloc(HUGE_PAGE, (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	if (pool == NULL)
		err(1, "the pool");
	madvise(pool, size, MADV_HUGEPAGE); /* as packet buffers are; without, it is only slower */
	memset(pool, 0x5a, size);           /* no page is met first inside a measurement */
	prng_fill(&prng, keys, sizeof(keys));
	for (unsigned i = 0; i < POOL_BUFFERS; i++) {
		unsigned j = prng_below(&prng, i + 1);

		order[i] = order[j];
		order[j] = i;
	}
}

static unsigned imix_len(struct prng *prng)
{
	unsigned n = prng_below(prng, 12);

	return n < 7 ? 64 : n < 11 ? 576 : 1420;
}

static unsigned n_bursts(const struct point *point)
{
	unsigned all = POOL_BUFFERS / point->batch;

	return point->cache == COLD ? all : PATTERNS;
}

static uint8_t *buffer(const struct point *point, unsigned burst, unsigned i)
{
	unsigned at = point->cache == COLD ? order[burst * point->batch + i] : i;

	return pool + at * pitch + OFFSET;
}

/* Packet i of a pattern always has the same key and counter. */
static void items_set(const struct point *point, unsigned burst)
{
	unsigned pattern = burst % PATTERNS;
	unsigned tag = point->op == OPEN ? AEAD_TAG_LEN : 0;

	for (unsigned i = 0; i < point->batch; i++) {
		uint8_t *at = buffer(point, burst, i);
		uint64_t counter = (uint64_t)pattern * AEAD_BURST_MAX + i;

		items[i] = (struct aead_item){
			.key = &keys[i % point->keys],
			.src = {{at, lens[pattern][i] + tag}},
			.dst = at,
		};
		memcpy(items[i].nonce, &counter, sizeof(counter));
	}
}

static void pattern_seal(struct openssl_aead *openssl, const struct point *point, unsigned pattern)
{
	for (unsigned i = 0; i < point->batch; i++) {
		uint64_t counter = (uint64_t)pattern * AEAD_BURST_MAX + i;
		uint8_t nonce[12] = {0};
		struct openssl_message message = {
			.key = keys[i % point->keys].bytes,
			.nonce = nonce,
			.src = sealed[pattern][i],
			.len = lens[pattern][i],
		};

		memcpy(nonce + 4, &counter, sizeof(counter));
		memset(sealed[pattern][i], (int)(pattern + i), lens[pattern][i]);
		openssl_seal(openssl, sealed[pattern][i], &message);
	}
}

double bursts_make(const struct point *point)
{
	struct openssl_aead openssl;
	struct prng prng = {point->size + 1};
	double bytes = 0;

	pitch = point->size + OFFSET + AEAD_TAG_LEN <= PITCH ? PITCH : PITCH_LARGE;
	openssl_aead_init(&openssl);
	for (unsigned p = 0; p < PATTERNS; p++) {
		for (unsigned i = 0; i < point->batch; i++) {
			lens[p][i] = point->size != 0 ? point->size : imix_len(&prng);
			bytes += lens[p][i];
		}
		pattern_seal(&openssl, point, p);
	}
	openssl_aead_fini(&openssl);
	return bytes / PATTERNS / point->batch;
}

static void ciphertext_restore(const struct point *point, unsigned burst)
{
	unsigned pattern = burst % PATTERNS;

	for (unsigned i = 0; i < point->batch; i++)
		memcpy(buffer(point, burst, i), sealed[pattern][i],
			lens[pattern][i] + AEAD_TAG_LEN);
}

void bursts_check(const struct method *method, const struct point *at)
{
	struct point point = *at;

	for (unsigned p = 0; p < PATTERNS; p++) {
		point.op = OPEN;
		ciphertext_restore(&point, p);
		items_set(&point, p);
		method->open(items, point.batch);
		for (unsigned i = 0; i < point.batch; i++) {
			if (!items[i].ok)
				errx(1, "%s: an authentic packet was refused", method->name);
		}
		point.op = SEAL;
		items_set(&point, p);
		method->seal(items, point.batch);
		for (unsigned i = 0; i < point.batch; i++) {
			if (memcmp(items[i].dst, sealed[p][i], lens[p][i] + AEAD_TAG_LEN) != 0)
				errx(1, "%s: seals otherwise than OpenSSL", method->name);
		}
	}
}

static uint64_t burst_time(const struct method *method, const struct point *point, unsigned burst)
{
	void (*work)(struct aead_item *, unsigned) =
		point->op == SEAL ? method->seal : method->open;

	if (point->op == OPEN && point->cache == HOT)
		ciphertext_restore(point, burst);
	items_set(point, burst);

	uint64_t start = ticks_begin();
	work(items, point->batch);
	uint64_t spent = ticks_end() - start;

	if (point->op == OPEN && !items[0].ok)
		errx(1, "%s: an authentic packet was refused", method->name);
	return spent - (clock_overhead() < spent ? clock_overhead() : spent);
}

static uint64_t pass_run(const struct method *method, const struct point *point, unsigned pass)
{
	uint64_t spent = 0;

	if (point->op == OPEN && point->cache == COLD) {
		for (unsigned b = 0; b < n_bursts(point); b++)
			ciphertext_restore(point, b);
	}
	for (unsigned b = 0; b < n_bursts(point); b++) {
		samples[b][pass] = burst_time(method, point, b);
		spent += samples[b][pass];
	}
	return spent;
}

static int compare_ticks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

double bursts_measure(const struct method *method, const struct point *point, double ms)
{
	uint64_t enough = (uint64_t)(ms * 1e6 * clock_ticks_per_ns()), spent = 0, middle = 0;
	unsigned passes = 0;

	pass_run(method, point, 0); /* brings code and keys into the caches */
	while ((spent < enough || passes < PASSES_MIN) && passes < PASSES_MAX)
		spent += pass_run(method, point, passes++);
	for (unsigned b = 0; b < n_bursts(point); b++) {
		qsort(samples[b], passes, sizeof(samples[b][0]), compare_ticks);
		middle += samples[b][passes / 2];
	}
	return (double)middle / n_bursts(point) / clock_ticks_per_ns() / point->batch;
}
