/* SPDX-License-Identifier: BSD-3-Clause */
#include "aead_rooms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FILL 0xa5

void rooms_init(struct rooms *rooms, size_t margin)
{
	memset(rooms, 0, sizeof(*rooms));
	rooms->prng.state = 1;
	rooms->margin = margin;
	guard_init(&rooms->guard, AEAD_BURST_MAX * N_ROOMS, ROOM_LEN);
}

void rooms_fini(struct rooms *rooms)
{
	guard_fini(&rooms->guard);
}

uint8_t *rooms_at(const struct rooms *rooms, unsigned i, enum room which)
{
	return guard_room(&rooms->guard, i * N_ROOMS + which);
}

/* `len` bytes in a room: at its start, its end, or between. */
static uint8_t *place(struct rooms *rooms, unsigned i, enum room which, size_t len)
{
	size_t spare = ROOM_LEN - len;

	switch (prng_below(&rooms->prng, 4)) {
	case 0:
		return rooms_at(rooms, i, which) + prng_below(&rooms->prng, 4);
	case 1:
		return rooms_at(rooms, i, which) + prng_below(&rooms->prng, (uint32_t)spare + 1);
	default:
		return rooms_at(rooms, i, which) + spare;
	}
}

static size_t margin_before(const struct rooms *rooms, unsigned i, enum room which)
{
	size_t before = (size_t)(rooms->laid[i][which].at - rooms_at(rooms, i, which));

	return before < rooms->margin ? before : rooms->margin;
}

static size_t margin_after(const struct rooms *rooms, unsigned i, enum room which)
{
	const struct laid *laid = &rooms->laid[i][which];
	size_t after = (size_t)(rooms_at(rooms, i, which) + ROOM_LEN - laid->at) - laid->len;

	return after < rooms->margin ? after : rooms->margin;
}

/* The range itself is FILL too, in case that nothing is copied there. */
static uint8_t *reserve(struct rooms *rooms, unsigned i, enum room which, uint8_t *at, size_t len)
{
	rooms->laid[i][which] = (struct laid){at, NULL, len};
	size_t before = margin_before(rooms, i, which);

	memset(at - before, FILL, before + len + margin_after(rooms, i, which));
	return at;
}

static uint8_t *put(struct rooms *rooms, unsigned i, enum room which, uint8_t *at,
	const uint8_t *src, size_t len)
{
	reserve(rooms, i, which, at, len);
	rooms->laid[i][which].bytes = src;
	memcpy(at, src, len);
	return at;
}

/* The source's first segment: mostly near something that could go wrong. */
static size_t random_cut(struct prng *prng, size_t total, size_t text_len)
{
	size_t cut;

	switch (prng_below(prng, 4)) {
	case 0:
		cut = text_len + prng_below(prng, AEAD_TAG_LEN + 1);
		break;
	case 1:
		cut = (size_t)prng_below(prng, 40) * 64 + prng_below(prng, 3) - 1;
		break;
	default:
		cut = prng_below(prng, (uint32_t)total + 1);
		break;
	}
	return cut <= total ? cut : total;
}

/* In dst, which is reserved already. */
static struct aead_segment landed(uint8_t *at, const uint8_t *src, size_t len)
{
	memcpy(at, src, len);
	return (struct aead_segment){at, (uint32_t)len};
}

static struct aead_segment elsewhere(
	struct rooms *rooms, unsigned i, enum room which, const uint8_t *src, size_t len)
{
	uint8_t *at = place(rooms, i, which, len);

	return (struct aead_segment){put(rooms, i, which, at, src, len), (uint32_t)len};
}

/* Lays `src` out in the packet's shape. */
static void source_lay(
	struct rooms *rooms, unsigned i, const struct packet *p, const uint8_t *src, size_t len)
{
	struct aead_item *item = &rooms->items[i];
	size_t cut = random_cut(&rooms->prng, len, p->len);
	struct aead_segment whole;

	switch (p->shape) {
	case APART:
		item->src[0] = elsewhere(rooms, i, ROOM_A, src, len);
		break;
	case IN_PLACE:
		item->src[0] = landed(item->dst, src, len);
		break;
	case FIRST_EMPTY:
		item->src[0].data = rooms_at(rooms, i, ROOM_A);
		item->src[1] = elsewhere(rooms, i, ROOM_B, src, len);
		break;
	case FIRST_NULL_LANDED:
		item->src[1] = landed(item->dst, src, len);
		break;
	case TWO_ADJACENT:
	case TWO_IN_PLACE:
		whole = p->shape == TWO_IN_PLACE ? landed(item->dst, src, len)
						 : elsewhere(rooms, i, ROOM_A, src, len);
		item->src[0] = (struct aead_segment){whole.data, (uint32_t)cut};
		item->src[1] = (struct aead_segment){whole.data + cut, (uint32_t)(len - cut)};
		break;
	default:
		item->src[0] = p->shape == TWO_APART ? elsewhere(rooms, i, ROOM_A, src, cut)
						     : landed(item->dst, src, cut);
		item->src[1] = elsewhere(rooms, i, ROOM_B, src + cut, len - cut);
		break;
	}
}

static void lay(struct rooms *rooms, unsigned i, const struct packet *p, const uint8_t *src,
	size_t src_len, size_t dst_len)
{
	struct aead_item *item = &rooms->items[i];
	/* A source in place may be longer than what is written, by the tag. */
	size_t room_needed = src_len > dst_len ? src_len : dst_len;
	bool apart = p->shape == APART || p->shape == TWO_APART || p->shape == TWO_ADJACENT ||
		     p->shape == FIRST_EMPTY;

	memset(item, 0, sizeof(*item));
	memset(rooms->laid[i], 0, sizeof(rooms->laid[i]));
	if (apart)
		room_needed = dst_len;
	item->dst =
		reserve(rooms, i, ROOM_DST, place(rooms, i, ROOM_DST, room_needed), room_needed);
	source_lay(rooms, i, p, src, src_len);
	memcpy(item->nonce, p->nonce + 4, sizeof(item->nonce));

	/* Keys are aligned, so they can lie at the end of their room alone. */
	item->key = (const struct symmetric_key *)put(rooms, i, ROOM_KEY,
		rooms_at(rooms, i, ROOM_KEY) + ROOM_LEN - sizeof(struct symmetric_key), p->key,
		sizeof(p->key));
	if (p->aad_len > 0 || prng_below(&rooms->prng, 2) == 0) {
		item->aad = put(rooms, i, ROOM_AAD, place(rooms, i, ROOM_AAD, p->aad_len), p->aad,
			p->aad_len);
		item->aad_len = (uint32_t)p->aad_len;
	}
}

void rooms_lay_seal(struct rooms *rooms, unsigned i, const struct packet *p)
{
	lay(rooms, i, p, p->text, p->len, p->len + AEAD_TAG_LEN);
}

void rooms_lay_open(struct rooms *rooms, unsigned i, const struct packet *p)
{
	lay(rooms, i, p, p->sealed, p->len + AEAD_TAG_LEN, p->len);
	rooms->items[i].ok = p->damage != NONE;
}

static bool all_are(const uint8_t *p, size_t len, uint8_t byte)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != byte)
			return false;
	}
	return true;
}

static void around_check(const struct rooms *rooms, unsigned i)
{
	for (enum room which = 0; which < N_ROOMS; which++) {
		const struct laid *laid = &rooms->laid[i][which];

		if (laid->at == NULL)
			continue;
		size_t before = margin_before(rooms, i, which);
		assert_true(all_are(laid->at - before, before, FILL));
		assert_true(all_are(laid->at + laid->len, margin_after(rooms, i, which), FILL));
		if (laid->bytes != NULL && memcmp(laid->at, laid->bytes, laid->len) != 0)
			fail_msg("item %u: room %d was written to", i, (int)which);
	}
}

void rooms_check_sealed(const struct rooms *rooms, unsigned i, const struct packet *p)
{
	assert_memory_equal(rooms->items[i].dst, p->sealed, p->len + AEAD_TAG_LEN);
	around_check(rooms, i);
}

void rooms_check_opened(const struct rooms *rooms, unsigned i, const struct packet *p)
{
	const struct aead_item *item = &rooms->items[i];
	const struct aead_segment *last = &item->src[item->src[1].len > 0];
	const uint8_t *end = last->data + last->len;
	size_t in_dst = 0; /* how much of the source lies there */

	assert_int_equal(item->ok, p->damage == NONE);
	if (p->damage == NONE)
		assert_memory_equal(item->dst, p->text, p->len);
	else
		assert_true(all_are(item->dst, p->len, 0));

	/* Of a tag in place nothing may have changed. */
	if (p->shape == FIRST_IN_PLACE)
		in_dst = item->src[0].len;
	else if (end == item->dst + p->len + AEAD_TAG_LEN)
		in_dst = p->len + AEAD_TAG_LEN;
	if (in_dst > p->len)
		assert_memory_equal(item->dst + p->len, p->sealed + p->len, in_dst - p->len);
	else
		in_dst = p->len;
	assert_true(all_are(item->dst + in_dst, rooms->laid[i][ROOM_DST].len - in_dst, FILL));
	around_check(rooms, i);
}

static void flip(struct prng *prng, uint8_t *at, size_t len)
{
	at[prng_below(prng, (uint32_t)len)] ^= (uint8_t)(1u << prng_below(prng, 8));
}

void packet_damage(struct packet *p, struct prng *prng, enum damage damage)
{
	if ((damage == BODY && p->len == 0) || (damage == AAD && p->aad_len == 0))
		damage = TAG;
	p->damage = damage;
	switch (damage) {
	case BODY:
		flip(prng, p->sealed, p->len);
		break;
	case TAG:
		flip(prng, p->sealed + p->len, AEAD_TAG_LEN);
		break;
	case AAD:
		flip(prng, p->aad, p->aad_len);
		break;
	case NONCE:
		flip(prng, p->nonce + 4, 8);
		break;
	case KEY:
		flip(prng, p->key, sizeof(p->key));
		break;
	default:
		break;
	}
}
