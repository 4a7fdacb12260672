/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many random bursts through every implementation that runs here, bit for bit against libsodium:
 * sizes from 0 to 9000 (mostly small, alike, nearly alike or mixed), places, alignments, one to two
 * segments, keys, damages, 1 to 64 packets, between unmapped pages (aead_rooms.h).
 *
 * TAILPLANE_AEAD_BURSTS in the environment asks for another number of bursts, TAILPLANE_AEAD_SEED
 * for others.
 */
#include "aead_each.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "aead_rooms.h"

/* A sanitized build takes ten times as long. */
#ifdef __has_feature
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define BURSTS 3000
#else
#define BURSTS 100000
#endif

#define MARGIN 64
#define POOL_LEN 65536

static struct rooms rooms;
static struct prng prng;
static struct packet packets[AEAD_BURST_MAX];
static uint8_t pool[POOL_LEN];

/* Random bytes at the price of a copy. */
static void pool_copy(uint8_t *out, size_t len)
{
	memcpy(out, pool + prng_below(&prng, (uint32_t)(POOL_LEN - len)), len);
}

static size_t len_small(void)
{
	static const uint16_t limits[] = {1, 17, 65, 130, 300, 300, 600, 1500};

	return prng_below(&prng, limits[prng_below(&prng, 8)] + 1u);
}

static size_t len_any(void)
{
	static const uint16_t imix[] = {64, 64, 64, 64, 64, 64, 64, 576, 576, 576, 576, 1420};

	switch (prng_below(&prng, 32)) {
	case 0:
		return prng_below(&prng, ROOMS_TEXT_MAX + 1);
	case 1:
	case 2:
	case 3:
		return imix[prng_below(&prng, 12)];
	default:
		return len_small();
	}
}

/* Lengths of one burst: what kernels treat apart from each other. */
static void lens_fill(unsigned n)
{
	unsigned kind = prng_below(&prng, 8);
	size_t common = kind == 0 ? len_any() : len_small();

	for (unsigned i = 0; i < n; i++) {
		if (kind < 2)
			packets[i].len = common;
		else if (kind == 2) /* alike but for the last block or two */
			packets[i].len = common + prng_below(&prng, 70);
		else if (kind == 3 && i % 8 != 0)
			packets[i].len = common;
		else
			packets[i].len = len_any();
	}
}

static unsigned random_n(void)
{
	static const uint8_t limits[] = {1, 4, 8, 17, 33, AEAD_BURST_MAX};

	return 1 + prng_below(&prng, limits[prng_below(&prng, 6)]);
}

static void packet_fill(struct packet *p, const struct packet *same_key)
{
	p->shape = prng_below(&prng, 2) ? IN_PLACE : prng_below(&prng, N_SHAPES);
	p->damage = NONE;
	p->aad_len = prng_below(&prng, 4) == 0 ? prng_below(&prng, 70) : 0;
	memset(p->nonce, 0, 4);
	pool_copy(p->nonce + 4, 8);
	if (same_key != NULL)
		memcpy(p->key, same_key->key, sizeof(p->key));
	else
		pool_copy(p->key, sizeof(p->key));
	pool_copy(p->aad, p->aad_len);
	pool_copy(p->text, p->len);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		p->sealed, NULL, p->text, p->len, p->aad, p->aad_len, NULL, p->nonce, p->key);
}

static unsigned burst_run(void)
{
	unsigned n = random_n(), bad_in = 1u << prng_below(&prng, 7);
	bool one_key = prng_below(&prng, 4) == 0;

	lens_fill(n);
	for (unsigned i = 0; i < n; i++) {
		packet_fill(&packets[i], one_key && i > 0 ? &packets[0] : NULL);
		rooms_lay_seal(&rooms, i, &packets[i]);
	}
	aead_seal(rooms.items, n);
	for (unsigned i = 0; i < n; i++)
		rooms_check_sealed(&rooms, i, &packets[i]);

	for (unsigned i = 0; i < n; i++) {
		if (prng_below(&prng, bad_in) == 0)
			packet_damage(&packets[i], &prng, prng_below(&prng, N_DAMAGES));
		rooms_lay_open(&rooms, i, &packets[i]);
	}
	aead_open(rooms.items, n);
	for (unsigned i = 0; i < n; i++)
		rooms_check_opened(&rooms, i, &packets[i]);
	return n;
}

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoul(text, NULL, 0) : otherwise;
}

static void random_bursts(void **state)
{
	unsigned long wanted = from_environment("TAILPLANE_AEAD_BURSTS", BURSTS), n_packets = 0;

	prng.state = from_environment("TAILPLANE_AEAD_SEED", 1);
	rooms.prng.state = prng.state;
	for (unsigned long i = 0; i < wanted; i++)
		n_packets += burst_run();
	print_message("%s: %lu bursts, %lu packets\n", aead_chosen()->name, wanted, n_packets);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(random_bursts)};
	struct prng filler = {42};
	int n_failed;

	rooms_init(&rooms, MARGIN);
	prng_fill(&filler, pool, sizeof(pool));
	n_failed = aead_each(tests, sizeof(tests) / sizeof(tests[0]));
	rooms_fini(&rooms);
	return n_failed;
}
