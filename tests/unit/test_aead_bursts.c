/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bursts in every shape that aead.h allows, through every implementation that runs here, against
 * OpenSSL packet by packet. Each range that an item reads or writes lies in a room of its own
 * between unmapped pages, at its start, its end, or anywhere; the whole room is compared
 * afterwards, so a byte written outside the destination is seen too.
 */
#include "aead.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guard.h"
#include "openssl_aead.h"
#include "prng.h"

#define TEXT_MAX 9000
#define AAD_MAX 300
#define ROOM_LEN 12288
#define FILL 0xa5

/* Where source and destination lie. */
enum shape {
	APART,             /* one segment */
	IN_PLACE,          /* one segment */
	TWO_APART,         /* two segments, each elsewhere */
	TWO_ADJACENT,      /* two segments that touch, elsewhere */
	TWO_IN_PLACE,      /* both where they land */
	FIRST_IN_PLACE,    /* the second elsewhere */
	FIRST_EMPTY,       /* the first without bytes, the second elsewhere */
	FIRST_NULL_LANDED, /* the first without bytes, the second in place */
	N_SHAPES,
};

/* What was done to a packet before it is opened. */
enum damage { NONE, BODY, TAG, AAD, NONCE, KEY, N_DAMAGES };

enum room { ROOM_DST, ROOM_A, ROOM_B, ROOM_AAD, ROOM_KEY, N_ROOMS };

struct packet {
	size_t len; /* of the text */
	size_t aad_len;
	enum shape shape;
	enum damage damage;
	uint8_t key[32], nonce[12];
	uint8_t aad[AAD_MAX], text[TEXT_MAX], sealed[TEXT_MAX + AEAD_TAG_LEN];
	uint8_t room_after[ROOM_LEN]; /* the destination's room as it must look */
};

static struct openssl_aead openssl;
static struct guard guard;
static struct prng prng = {1};
static struct packet packets[AEAD_BURST_MAX];
static struct aead_item items[AEAD_BURST_MAX];

static uint8_t *room(unsigned packet, enum room which)
{
	return guard_room(&guard, packet * N_ROOMS + which);
}

/* `len` bytes in a room: at its start, its end, or between. */
static uint8_t *place(unsigned packet, enum room which, size_t len)
{
	size_t spare = ROOM_LEN - len;

	switch (prng_below(&prng, 4)) {
	case 0:
		return room(packet, which) + prng_below(&prng, 4);
	case 1:
		return room(packet, which) + prng_below(&prng, (uint32_t)spare + 1);
	default:
		return room(packet, which) + spare;
	}
}

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
	static const uint32_t limits[] = {1, 17, 130, 300, 1500, 2100, TEXT_MAX + 1};

	return prng_below(&prng, limits[prng_below(&prng, sizeof(limits) / sizeof(limits[0]))]);
}

static void packet_fill(struct packet *p, size_t len, enum shape shape)
{
	p->len = len;
	p->shape = shape;
	p->damage = NONE;
	p->aad_len = prng_below(&prng, 3) == 0 ? prng_below(&prng, AAD_MAX + 1) : 0;
	memset(p->nonce, 0, 4);
	prng_fill(&prng, p->nonce + 4, 8);
	prng_fill(&prng, p->key, sizeof(p->key));
	prng_fill(&prng, p->aad, p->aad_len);
	prng_fill(&prng, p->text, len);

	struct openssl_message message = message_of(p);
	openssl_seal(&openssl, p->sealed, &message);
}

/* The source's first segment: mostly near something that could go wrong. */
static size_t random_cut(size_t total, size_t text_len)
{
	size_t cut;

	switch (prng_below(&prng, 4)) {
	case 0:
		cut = text_len + prng_below(&prng, AEAD_TAG_LEN + 1);
		break;
	case 1:
		cut = (size_t)prng_below(&prng, 40) * 64 + prng_below(&prng, 3) - 1;
		break;
	default:
		cut = prng_below(&prng, (uint32_t)total + 1);
		break;
	}
	return cut <= total ? cut : total;
}

static void segment_set(struct aead_segment *segment, uint8_t *at, const uint8_t *src, size_t len)
{
	memcpy(at, src, len);
	segment->data = at;
	segment->len = (uint32_t)len;
}

/* Lays `src` out in the packet's shape. */
static void source_lay(unsigned i, const uint8_t *src, size_t len, uint8_t *dst)
{
	struct aead_item *item = &items[i];
	enum shape shape = packets[i].shape;
	size_t cut = random_cut(len, packets[i].len);
	uint8_t *a;

	switch (shape) {
	case APART:
	case IN_PLACE:
		cut = len;
		a = shape == APART ? place(i, ROOM_A, len) : dst;
		segment_set(&item->src[0], a, src, len);
		item->src[1] = (struct aead_segment){0};
		return;
	case FIRST_EMPTY:
	case FIRST_NULL_LANDED:
		item->src[0] = (struct aead_segment){0};
		if (shape == FIRST_EMPTY)
			item->src[0].data = room(i, ROOM_A);
		segment_set(&item->src[1], shape == FIRST_EMPTY ? place(i, ROOM_B, len) : dst, src,
			len);
		return;
	case TWO_ADJACENT:
	case TWO_IN_PLACE:
		a = shape == TWO_ADJACENT ? place(i, ROOM_A, len) : dst;
		segment_set(&item->src[0], a, src, cut);
		segment_set(&item->src[1], a + cut, src + cut, len - cut);
		return;
	default:
		a = shape == TWO_APART ? place(i, ROOM_A, cut) : dst;
		segment_set(&item->src[0], a, src, cut);
		segment_set(&item->src[1], place(i, ROOM_B, len - cut), src + cut, len - cut);
		return;
	}
}

static void item_fill(unsigned i, const uint8_t *src, size_t src_len, size_t dst_len)
{
	struct packet *p = &packets[i];
	struct aead_item *item = &items[i];
	/* A source in place may be longer than what is written, by the tag. */
	size_t room_needed = src_len > dst_len ? src_len : dst_len;
	bool apart = p->shape == APART || p->shape == TWO_APART || p->shape == TWO_ADJACENT ||
		     p->shape == FIRST_EMPTY;

	for (int which = 0; which < N_ROOMS; which++)
		memset(room(i, which), FILL, ROOM_LEN);
	memset(item, 0, sizeof(*item));
	item->dst = place(i, ROOM_DST, apart ? dst_len : room_needed);
	source_lay(i, src, src_len, item->dst);
	memcpy(item->nonce, p->nonce + 4, sizeof(item->nonce));

	/* Keys are aligned, so they can lie at the end of their room alone. */
	struct symmetric_key *key =
		(struct symmetric_key *)(room(i, ROOM_KEY) + ROOM_LEN - sizeof(*key));
	memcpy(key->bytes, p->key, sizeof(p->key));
	item->key = key;
	if (p->aad_len > 0 || prng_below(&prng, 2) == 0) {
		uint8_t *aad = place(i, ROOM_AAD, p->aad_len);

		memcpy(aad, p->aad, p->aad_len);
		item->aad = aad;
		item->aad_len = (uint32_t)p->aad_len;
	}
	memcpy(p->room_after, room(i, ROOM_DST), ROOM_LEN);
}

/* What must be in the destination's room when the call is over; elsewhere nothing may change. */
static void expect(unsigned i, const uint8_t *bytes, size_t len)
{
	uint8_t *at = packets[i].room_after + (items[i].dst - room(i, ROOM_DST));

	if (bytes != NULL)
		memcpy(at, bytes, len);
	else
		memset(at, 0, len);
}

/* The sources' rooms, to see afterwards that nobody wrote there. */
static uint64_t rooms_sum(unsigned i)
{
	uint64_t sum = 0;

	for (int which = ROOM_A; which < N_ROOMS; which++) {
		uint64_t word;

		for (const uint8_t *p = room(i, which); p < room(i, which) + ROOM_LEN; p += 8) {
			memcpy(&word, p, 8);
			sum = (sum ^ word) * 0x9e3779b97f4a7c15;
		}
	}
	return sum;
}

static void seal_and_compare(unsigned n)
{
	uint64_t sums[AEAD_BURST_MAX];

	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &packets[i];

		item_fill(i, p->text, p->len, p->len + AEAD_TAG_LEN);
		expect(i, p->sealed, p->len + AEAD_TAG_LEN);
		sums[i] = rooms_sum(i);
	}
	aead_seal(items, n);
	for (unsigned i = 0; i < n; i++) {
		assert_memory_equal(room(i, ROOM_DST), packets[i].room_after, ROOM_LEN);
		assert_true(rooms_sum(i) == sums[i]);
	}
}

static void flip(uint8_t *at, size_t len)
{
	at[prng_below(&prng, (uint32_t)len)] ^= (uint8_t)(1u << prng_below(&prng, 8));
}

/* After the packet was sealed. What has no such part is damaged in its tag. */
static void packet_damage(struct packet *p, enum damage damage)
{
	if ((damage == BODY && p->len == 0) || (damage == AAD && p->aad_len == 0))
		damage = TAG;
	p->damage = damage;
	switch (damage) {
	case BODY:
		flip(p->sealed, p->len);
		break;
	case TAG:
		flip(p->sealed + p->len, AEAD_TAG_LEN);
		break;
	case AAD:
		flip(p->aad, p->aad_len);
		break;
	case NONCE:
		flip(p->nonce + 4, 8);
		break;
	case KEY:
		flip(p->key, sizeof(p->key));
		break;
	default:
		break;
	}
}

static void open_and_compare(unsigned n)
{
	uint64_t sums[AEAD_BURST_MAX];

	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &packets[i];

		item_fill(i, p->sealed, p->len + AEAD_TAG_LEN, p->len);
		expect(i, p->damage == NONE ? p->text : NULL, p->len);
		items[i].ok = p->damage != NONE;
		sums[i] = rooms_sum(i);
	}
	aead_open(items, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(items[i].ok, packets[i].damage == NONE);
		assert_memory_equal(room(i, ROOM_DST), packets[i].room_after, ROOM_LEN);
		assert_true(rooms_sum(i) == sums[i]);
	}
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
				packet_damage(&packets[i], prng_below(&prng, N_DAMAGES));
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
	static const size_t lens[] = {0, 16, 64, 576, 1420, TEXT_MAX};

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
		packet_damage(&packets[bad], 1 + bad % (N_DAMAGES - 1));
		open_and_compare(AEAD_BURST_MAX);
	}
}

static void one_good_among_bad(void **state)
{
	for (unsigned good = 0; good < AEAD_BURST_MAX; good++) {
		for (unsigned i = 0; i < AEAD_BURST_MAX; i++) {
			packet_fill(&packets[i], 1 + prng_below(&prng, 400), i % N_SHAPES);
			if (i != good)
				packet_damage(&packets[i], 1 + i % (N_DAMAGES - 1));
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
	for (unsigned len = 0; len < AEAD_TAG_LEN; len++) {
		packet_fill(&packets[0], 0, TWO_APART);
		item_fill(0, packets[0].sealed, len, 0);
		items[0].dst = NULL;
		items[0].ok = true;
		aead_open(items, 1);
		assert_false(items[0].ok);
		assert_memory_equal(room(0, ROOM_DST), packets[0].room_after, ROOM_LEN);
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
/* Whether the burst of one ends the process. */
static bool refused(struct aead_item item, bool sealing)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		if (sealing)
			aead_seal(&item, 1);
		else
			aead_open(&item, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
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

static void cannot_run_here(void **state)
{
	print_message("this machine has not the instructions\n");
	skip();
}

static int run(const struct aead_impl *impl)
{
	static const struct CMUnitTest absent[] = {cmocka_unit_test(cannot_run_here)};
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
		cmocka_unit_test(forbidden_layouts),
#endif
	};

	if (aead_init(impl->name) < 0)
		return cmocka_run_group_tests_name(impl->name, absent, NULL, NULL);
	return cmocka_run_group_tests_name(impl->name, tests, NULL, NULL);
}

int main(void)
{
	int n_failed = 0;

	unsetenv("TAILPLANE_AEAD");
	openssl_aead_init(&openssl);
	guard_init(&guard, AEAD_BURST_MAX * N_ROOMS, ROOM_LEN);
	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++)
		n_failed += run(*impl);
	guard_fini(&guard);
	openssl_aead_fini(&openssl);
	return n_failed;
}
