/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any thread.
 *
 * Secrets live in chunks of their own: 256 KiB each, kept out of core dumps and locked, cut into
 * power-of-two cells. A mapping per secret was rejected: it costs a page and a TLB shootdown over
 * the polling workers for each key that is made or dropped, and a gateway drops hundreds a second.
 * So cells go back to a list of their size and chunks are never unmapped. What is larger than a
 * cell gets a mapping of its own.
 *
 * A free cell is all zero but for its link, which secret_alloc clears.
 */
#include "secret.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <sodium.h>

#define CELL_MIN 64
#define CELL_MAX 16384
#define CELL_SIZES 9 /* 64, 128, ... 16384 */
#define CHUNK_LEN (256 * 1024)
#define LARGE_LEN (2048 * 1024)

#if defined(__SANITIZE_ADDRESS__)
#define SECRET_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SECRET_ASAN 1
#endif
#endif

/* The sanitizer watches malloc; here it has to be told which cells may be touched, and that
 * pointers in them keep what they point to reachable. */
#ifdef SECRET_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define cell_poison(p, len) __asan_poison_memory_region(p, len)
#define cell_unpoison(p, len) __asan_unpoison_memory_region(p, len)
#define leak_root_add(p, len) __lsan_register_root_region(p, len)
#define leak_root_remove(p, len) __lsan_unregister_root_region(p, len)
#else
#define cell_poison(p, len) ((void)0)
#define cell_unpoison(p, len) ((void)0)
#define leak_root_add(p, len) ((void)0)
#define leak_root_remove(p, len) ((void)0)
#endif

struct cell {
	struct cell *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cell *free_cells[CELL_SIZES]; /* under lock */
static uint8_t *chunk;                      /* under lock: what of the last chunk is uncut */
static size_t chunk_left;

void secret_zero(void *p, size_t len)
{
	explicit_bzero(p, len);
}

bool secret_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

bool secret_is_zero(const void *p, size_t len)
{
	return sodium_is_zero(p, len) == 1;
}

static void *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	/* Many keys are looked up at random: a large page each time beats two look-ups. Before
	 * mlock, which makes the pages. */
	if (len >= LARGE_LEN)
		(void)madvise(p, len, MADV_HUGEPAGE);
	/* A dump with keys in it is worse than no key; swap is the administrator's to encrypt. */
	if (madvise(p, len, MADV_DONTDUMP) < 0) {
		munmap(p, len);
		return NULL;
	}
	(void)mlock(p, len);
	leak_root_add(p, len);
	return p;
}

static unsigned cell_class(size_t len)
{
	unsigned class = 0;

	while (((size_t)CELL_MIN << class) < len)
		class ++;
	return class;
}

/* The rest of the old chunk is lost when it is too small; the waste is bounded by CELL_MAX. */
static struct cell *cell_cut(size_t len)
{
	if (chunk_left < len) {
		uint8_t *fresh = map(CHUNK_LEN);
		if (fresh == NULL)
			return NULL;
		cell_poison(fresh, CHUNK_LEN);
		chunk = fresh;
		chunk_left = CHUNK_LEN;
	}
	struct cell *cell = (struct cell *)chunk;
	chunk += len;
	chunk_left -= len;
	return cell;
}

void *secret_alloc(size_t len)
{
	if (len > CELL_MAX)
		return map(len);

	unsigned class = cell_class(len);
	size_t cell_len = (size_t)CELL_MIN << class;

	pthread_mutex_lock(&lock);
	struct cell *cell = free_cells[class];
	if (cell != NULL) {
		cell_unpoison(cell, cell_len);
		free_cells[class] = cell->next;
		cell->next = NULL;
	} else {
		cell = cell_cut(cell_len);
		if (cell != NULL)
			cell_unpoison(cell, cell_len);
	}
	pthread_mutex_unlock(&lock);
	return cell;
}

void secret_free(void *p, size_t len)
{
	if (p == NULL)
		return;
	secret_zero(p, len);
	if (len > CELL_MAX) {
		leak_root_remove(p, len);
		munmap(p, len);
		return;
	}
	unsigned class = cell_class(len);
	struct cell *cell = p;

	pthread_mutex_lock(&lock);
	cell->next = free_cells[class];
	free_cells[class] = cell;
	cell_poison(cell, (size_t)CELL_MIN << class);
	pthread_mutex_unlock(&lock);
}

void secret_random(void *p, size_t len)
{
	uint8_t *at = p;

	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			perror("getrandom");
			abort();
		}
		at += got;
		len -= (size_t)got;
	}
}
