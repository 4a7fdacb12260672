/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items for the AEAD in every shape that aead.h allows. Each range that an item reads or writes
 * lies in a room of its own between unmapped pages, at its start, its end, or anywhere; afterwards
 * the destination is compared, and the sources, and the bytes around all of them, so that a byte
 * written outside the destination is seen too.
 */
#pragma once

#include "aead.h"
#include "guard.h"
#include "prng.h"

#define ROOMS_TEXT_MAX 9000
#define ROOMS_AAD_MAX 300
#define ROOM_LEN 12288

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

struct packet {
	size_t len; /* of the text */
	size_t aad_len;
	enum shape shape;
	enum damage damage;
	uint8_t key[32], nonce[12];
	uint8_t aad[ROOMS_AAD_MAX], text[ROOMS_TEXT_MAX], sealed[ROOMS_TEXT_MAX + AEAD_TAG_LEN];
};

/* A room's bytes in use, and what must be there afterwards. */
struct laid {
	uint8_t *at;
	const uint8_t *bytes;
	size_t len;
};
enum room { ROOM_DST, ROOM_A, ROOM_B, ROOM_AAD, ROOM_KEY, N_ROOMS };

struct rooms {
	struct guard guard;
	struct prng prng;
	size_t margin; /* how many bytes around each range are watched */
	struct aead_item items[AEAD_BURST_MAX];
	struct laid laid[AEAD_BURST_MAX][N_ROOMS];
};

void rooms_init(struct rooms *rooms, size_t margin);
void rooms_fini(struct rooms *rooms);
uint8_t *rooms_at(const struct rooms *rooms, unsigned i, enum room which);

/* Item i for sealing or opening this packet; its bytes stay as they are until rooms_check. */
void rooms_lay_seal(struct rooms *rooms, unsigned i, const struct packet *packet);
void rooms_lay_open(struct rooms *rooms, unsigned i, const struct packet *packet);
/* After the call. What was damaged must have been refused. */
void rooms_check_sealed(const struct rooms *rooms, unsigned i, const struct packet *packet);
void rooms_check_opened(const struct rooms *rooms, unsigned i, const struct packet *packet);

/* Flips one bit of a sealed packet; what has no such part is damaged in its tag. */
void packet_damage(struct packet *packet, struct prng *prng, enum damage damage);
