/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bursts in every shape that aead.h allows, through every implementation that runs here, against
 * OpenSSL packet by packet, between unmapped pages (aead_rooms.h).
 */
#include "aead_each.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "aead_rooms.h"
#include "openssl_aead.h"

static struct openssl_aead openssl;
static struct rooms rooms;
static struct prng prng = {1};
static struct packet packets[AEAD_BURST_MAX];

static struct openssl_message message_of(const struct packet *p)
{
	return (struct openssl_message){
		.key = p->key,
		.nonce = p->nonce,
		.aad = p->aad,
		.aad_len = p->aad_len,
		.src = p->text,
		.len = p->len,
	};
}

static size_t random_len(void)
{
	static const uint32_t limits[] = {1, 17, 130, 300, 1500, 2100, ROOMS_TEXT_MAX + 1};

	return prng_below(&prng, limits[prng_below(&prng, sizeof(limits) / sizeof(limits[0]))]);
}

static void packet_fill(struct packet *p, size_t len, enum shape shape)
{
	p->len = len;
	p->shape = shape;
	p->damage = NONE;
	p->aad_len = prng_below(&prng, 3) == 0 ? prng_below(&prng, ROOMS_AAD_MAX + 1) : 0;
	memset(p->nonce, 0, 4);
	prng_fill(&prng, p->nonce + 4, 8);
	prng_fill(&prng, p->key, sizeof(p->key));
	prng_fill(&prng, p->aad, p->aad_len);
	prng_fill(&prng, p->text, len);

	struct openssl_message message = message_of(p);
	openssl_seal(&openssl, p->sealed, &message);
}

static void seal_and_compare(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rooms_lay_seal(&rooms, i, &packets[i]);
	aead_seal(rooms.items, n);
	for (unsigned i = 0; i < n; i++)
		rooms_check_sealed(&rooms, i, &packets[i]);
}

static void open_and_compare(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rooms_lay_open(&rooms, i, &packets[i]);
	aead_open(rooms.items, n);
	for (unsigned i = 0; i < n; i++)
		rooms_check_opened(&rooms, i, &packets[i]);
}

static void random_bursts(void **state)
{
	for (int round = 0; round < 150; round++) {
		unsigned n = prng_below(&prng, AEAD_BURST_MAX + 1);
		bool one_key = prng_below(&prng, 4) == 0;

		for (unsigned i = 0; i < n; i++) {
			packet_fill(&packets[i], random_len(), prng_below(&prng, N_SHAPES));
			if (one_key && i > 0) {
				struct openssl_message message;

				memcpy(packets[i].key, packets[0].key, sizeof(packets[0].key));
				message = message_of(&packets[i]);
				openssl_seal(&openssl, packets[i].sealed, &message);
			}
		}
		seal_and_compare(n);
		for (unsigned i = 0; i < n; i++) {
			if (prng_below(&prng, 4) == 0)
				packet_damage(&packets[i], &prng, prng_below(&prng, N_DAMAGES));
		}
		open_and_compare(n);
	}
}

/* Each length, so each tail; in place and apart by turns. */
static void all_lengths(void **state)
{
	for (unsigned len = 0; len <= 2048; len += AEAD_BURST_MAX) {
		for (unsigned i = 0; i < AEAD_BURST_MAX; i++)
			packet_fill(&packets[i], len + i, (len / AEAD_BURST_MAX + i) % 2);
		seal_and_compare(AEAD_BURST_MAX);
		open_and_compare(AEAD_BURST_MAX);
	}
}

/* Equal lengths are what a bulk transfer brings, and what vector code likes best. */
static void equal_lengths(void **state)
{
	static const size_t lens[] = {0, 16, 64, 576, 1420, ROOMS_TEXT_MAX};

	for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
		for (unsigned n = 0; n <= AEAD_BURST_MAX; n = n < 9 ? n + 1 : n * 2 - 1) {
			for (unsigned i = 0; i < n; i++)
				packet_fill(&packets[i], lens[k], IN_PLACE);
			seal_and_compare(n);
			open_and_compare(n);
		}
	}
}

/* Whichever item fails, and by whatever, the others are as if alone. */
static void one_bad_among_good(void **state)
{
	for (unsigned bad = 0; bad < AEAD_BURST_MAX; bad++) {
		for (unsigned i = 0; i < AEAD_BURST_MAX; i++)
			packet_fill(&packets[i], 100 + 40 * (i % 4), IN_PLACE);
		packet_damage(&packets[bad], &prng, 1 + bad % (N_DAMAGES - 1));
		open_and_compare(AEAD_BURST_MAX);
	}
}

static void one_good_among_bad(void **state)
{
	for (unsigned good = 0; good < AEAD_BURST_MAX; good++) {
		for (unsigned i = 0; i < AEAD_BURST_MAX; i++) {
			packet_fill(&packets[i], 1 + prng_below(&prng, 400), i % N_SHAPES);
			if (i != good)
				packet_damage(&packets[i], &prng, 1 + i % (N_DAMAGES - 1));
		}
		open_and_compare(AEAD_BURST_MAX);
	}
}

/* Each bit of a small packet counts. */
static void every_bit(void **state)
{
	packet_fill(&packets[0], 33, IN_PLACE);
	for (unsigned bit = 0; bit < (33 + AEAD_TAG_LEN) * 8; bit++) {
		packets[0].sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		packets[0].damage = BODY;
		open_and_compare(1);
		packets[0].sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	packets[0].damage = NONE;
	open_and_compare(1);
}

static void empty_burst(void **state)
{
	aead_seal(NULL, 0);
	aead_open(NULL, 0);
}

static void shorter_than_a_tag(void **state)
{
	uint8_t bytes[AEAD_TAG_LEN] = {1}, same[AEAD_TAG_LEN] = {1};
	const struct symmetric_key key = {{1}};

	for (uint32_t len = 0; len < AEAD_TAG_LEN; len++) {
		struct aead_item item = {.key = &key, .ok = true};

		item.src[0] = (struct aead_segment){bytes, len / 2};
		item.src[1] = (struct aead_segment){bytes + len / 2, len - len / 2};
		aead_open(&item, 1);
		assert_false(item.ok);
		assert_memory_equal(bytes, same, sizeof(bytes));
	}
}

/* The largest text, which does not fit the rooms. */
static void largest(void **state)
{
	struct symmetric_key key = {{9}};
	static const uint8_t nonce[12] = {[4] = 7};
	uint8_t *text = malloc(AEAD_TEXT_MAX), *expected = malloc(AEAD_TEXT_MAX + AEAD_TAG_LEN);
	uint8_t *buf = malloc(AEAD_TEXT_MAX + AEAD_TAG_LEN);
	struct openssl_message message = {
		.key = key.bytes, .nonce = nonce, .src = text, .len = AEAD_TEXT_MAX};
	struct aead_item item = {
		.key = &key, .nonce = {7}, .src = {{text, AEAD_TEXT_MAX}}, .dst = buf};

	prng_fill(&prng, text, AEAD_TEXT_MAX);
	openssl_seal(&openssl, expected, &message);
	aead_seal(&item, 1);
	assert_memory_equal(buf, expected, AEAD_TEXT_MAX + AEAD_TAG_LEN);
	item.src[0] = (struct aead_segment){buf, AEAD_TEXT_MAX + AEAD_TAG_LEN};
	aead_open(&item, 1);
	assert_true(item.ok);
	assert_memory_equal(buf, text, AEAD_TEXT_MAX);
	free(text);
	free(expected);
	free(buf);
}

#ifdef AEAD_CHECK_LAYOUT
/* Whether a burst of `n` times the item ends the process. */
static bool refused_times(struct aead_item item, unsigned n, bool sealing)
{
	struct aead_item items[AEAD_BURST_MAX + 1];
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		for (unsigned i = 0; i < n; i++)
			items[i] = item;
		if (sealing)
			aead_seal(items, n);
		else
			aead_open(items, n);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static bool refused(struct aead_item item, bool sealing)
{
	return refused_times(item, 1, sealing);
}

/* A packet more than a burst, a byte more than a text. */
static void beyond_the_limits(void **state)
{
	struct symmetric_key key = {{1}};
	uint8_t *text = calloc(1, AEAD_TEXT_MAX + 1 + AEAD_TAG_LEN);
	struct aead_item item = {.key = &key, .src = {{text, 0}}, .dst = text};

	assert_non_null(text);
	assert_false(refused_times(item, AEAD_BURST_MAX, false));
	assert_true(refused_times(item, AEAD_BURST_MAX + 1, false));
	assert_true(refused_times(item, AEAD_BURST_MAX + 1, true));
	item.src[0].len = AEAD_TEXT_MAX;
	assert_false(refused(item, true));
	item.src[0].len++;
	assert_true(refused(item, true));
	item.src[0].len = AEAD_TEXT_MAX + AEAD_TAG_LEN;
	assert_false(refused(item, false));
	item.src[0].len++;
	assert_true(refused(item, false));
	free(text);
}

static void forbidden_layouts(void **state)
{
	struct symmetric_key key = {{1}};
	uint8_t buf[400] = {0}, other[400] = {0};
	struct aead_item item = {.key = &key, .dst = buf + 100};

	item.src[0] = (struct aead_segment){buf + 100, 64};
	assert_false(refused(item, true));
	item.src[0].data = buf + 101; /* neither in place nor apart */
	assert_true(refused(item, true));
	item.src[0].data = buf + 40;
	assert_true(refused(item, true));
	item.src[0].data = buf + 36; /* touches */
	assert_false(refused(item, true));
	item.src[0].data = buf + 179; /* in the room of the tag */
	assert_true(refused(item, true));
	assert_false(refused(item, false)); /* which opening does not write */

	item.src[0].data = buf + 100;
	item.src[1] = (struct aead_segment){buf + 164, 20};
	assert_false(refused(item, true));
	item.src[1].data = buf + 165;
	assert_true(refused(item, true));
	item.src[1].data = other;
	assert_false(refused(item, true));
	item.src[0].data = other + 100; /* the second landed, the first not */
	item.src[1].data = buf + 164;
	assert_true(refused(item, true));

	item.src[1] = (struct aead_segment){0};
	item.aad = buf + 150;
	item.aad_len = 8;
	assert_true(refused(item, true));
	item.aad = buf + 180;
	assert_false(refused(item, true));
}
#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_burst),
		cmocka_unit_test(shorter_than_a_tag),
		cmocka_unit_test(every_bit),
		cmocka_unit_test(all_lengths),
		cmocka_unit_test(equal_lengths),
		cmocka_unit_test(one_bad_among_good),
		cmocka_unit_test(one_good_among_bad),
		cmocka_unit_test(random_bursts),
		cmocka_unit_test(largest),
#ifdef AEAD_CHECK_LAYOUT
		cmocka_unit_test(beyond_the_limits),
		cmocka_unit_test(forbidden_layouts),
#endif
	};
	int n_failed;

	openssl_aead_init(&openssl);
	rooms_init(&rooms, ROOM_LEN);
	n_failed = aead_each(tests, sizeof(tests) / sizeof(tests[0]));
	rooms_fini(&rooms);
	openssl_aead_fini(&openssl);
	return n_failed;
}
