/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Two ends of a handshake. The linker wraps the X25519 functions, so that a test can choose
 * ephemeral keys, and can be an attacker whose Diffie-Hellman results are all zero.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cookie.h"
#include "noise.h"

#include "x25519.h"

#define SEC NS_PER_SEC

static const struct private_key *next_ephemeral; /* NULL: random */
static bool attacker;                            /* ephemeral public key and all results are zero */
static bool pair_costs_one = true;               /* or not, as on other machines */

void __real_x25519_generate(struct private_key *key);
void __real_x25519_public(struct public_key *public, const struct private_key *private);
bool __real_x25519_shared(
	uint8_t out[32], const struct private_key *private, const struct public_key *public);
bool __real_x25519_shared_pair(uint8_t out[2][32], const struct x25519_input in[2]);
void __wrap_x25519_generate(struct private_key *key);
bool __wrap_x25519_shared_pair(uint8_t out[2][32], const struct x25519_input in[2]);
void __wrap_x25519_public(struct public_key *public, const struct private_key *private);
bool __wrap_x25519_shared(
	uint8_t out[32], const struct private_key *private, const struct public_key *public);

void __wrap_x25519_generate(struct private_key *key)
{
	if (next_ephemeral)
		*key = *next_ephemeral;
	else
		__real_x25519_generate(key);
}

void __wrap_x25519_public(struct public_key *public, const struct private_key *private)
{
	__real_x25519_public(public, private);
	if (attacker)
		memset(public, 0, sizeof(*public));
}

bool __wrap_x25519_shared(
	uint8_t out[32], const struct private_key *private, const struct public_key *public)
{
	if (!attacker)
		return __real_x25519_shared(out, private, public);
	memset(out, 0, 32);
	return true;
}

bool __wrap_x25519_shared_pair(uint8_t out[2][32], const struct x25519_input in[2])
{
	if (!attacker)
		return __real_x25519_shared_pair(out, in);
	memset(out, 0, 64);
	return true;
}

bool __wrap_x25519_pair_costs_one(void);

bool __wrap_x25519_pair_costs_one(void)
{
	return pair_costs_one;
}

/* ---- two ends -------------------------------------------------------------------------------- */

struct end {
	struct noise_local local;
	struct noise_peer peer; /* the other end */
	struct cookie_maker maker;
	struct cookie_checker checker;
	struct noise_timestamp sent;
};

struct pair {
	struct end i, r;
	uint64_t now, wall;
};

static inline void end_init(struct end *end, const struct private_key *own,
	const struct public_key *other, const struct symmetric_key *psk)
{
	memset(end, 0, sizeof(*end));
	noise_local_init(&end->local, own);
	assert_true(noise_peer_init(&end->peer, &end->local, other, psk));
	cookie_maker_init(&end->maker, other);
	cookie_checker_init(&end->checker, &end->local.static_public);
}

static inline void pair_from(struct pair *p, const struct private_key *i,
	const struct private_key *r, const struct symmetric_key *psk)
{
	struct public_key i_pub, r_pub;

	x25519_public(&i_pub, i);
	x25519_public(&r_pub, r);
	end_init(&p->i, i, &r_pub, psk);
	end_init(&p->r, r, &i_pub, psk);
	p->now = 1000 * SEC;
	p->wall = 1700000000 * SEC;
}

static inline void pair_init(struct pair *p, const struct symmetric_key *psk)
{
	struct private_key i, r;

	x25519_generate(&i);
	x25519_generate(&r);
	pair_from(p, &i, &r, psk);
}

static inline void initiate(
	struct pair *p, struct end *from, struct message_initiation *m, uint32_t index)
{
	from->sent = noise_timestamp_next(&from->sent, p->wall);
	assert_int_equal(noise_create_initiation(m, &from->peer, &from->local, &from->sent, index),
		NOISE_OK);
	cookie_add_macs(&from->maker, m, sizeof(*m), p->now);
}

/* All that a receiver does with a datagram that came as an initiation. */
static inline enum noise_result receive_initiation(
	struct end *to, const struct message_initiation *m, uint64_t now)
{
	struct noise_initiation in;
	enum noise_result result;

	if (wg_message_type(m, sizeof(*m)) != MESSAGE_INITIATION)
		return NOISE_UNEXPECTED;
	if (!cookie_check_mac1(&to->checker.keys, m, sizeof(*m)))
		return NOISE_NOT_AUTHENTIC;
	memset(&in, 0xa5, sizeof(in));
	result = noise_open_initiation(&in, m, &to->local);
	if (result != NOISE_OK)
		return result;
	if (memcmp(&in.remote_static, &to->peer.remote_static, sizeof(in.remote_static)) != 0) {
		noise_initiation_drop(&in);
		result = NOISE_NOT_AUTHENTIC;
	} else {
		result = noise_accept_initiation(&to->peer, &in, m, now);
	}
	assert_true(secret_is_zero(&in, sizeof(in)));
	return result;
}

static inline void respond(
	struct pair *p, struct end *from, struct message_response *m, uint32_t index)
{
	assert_int_equal(noise_create_response(m, &from->peer, index), NOISE_OK);
	cookie_add_macs(&from->maker, m, sizeof(*m), p->now);
}

static inline enum noise_result receive_response(struct end *to, const struct message_response *m)
{
	if (wg_message_type(m, sizeof(*m)) != MESSAGE_RESPONSE)
		return NOISE_UNEXPECTED;
	if (!cookie_check_mac1(&to->checker.keys, m, sizeof(*m)))
		return NOISE_NOT_AUTHENTIC;
	return noise_consume_response(&to->peer, m, &to->local);
}

static inline void check_session(struct end *i, struct end *r, uint32_t index_i, uint32_t index_r)
{
	struct noise_keys ki, kr;

	assert_int_equal(noise_begin_session(&i->peer, &ki), NOISE_OK);
	assert_int_equal(noise_begin_session(&r->peer, &kr), NOISE_OK);
	assert_memory_equal(&ki.send, &kr.receive, 32);
	assert_memory_equal(&ki.receive, &kr.send, 32);
	assert_memory_not_equal(&ki.receive, &ki.send, 32);
	assert_true(ki.initiator);
	assert_false(kr.initiator);
	assert_int_equal(ki.local_index, index_i);
	assert_int_equal(ki.remote_index, index_r);
	assert_int_equal(kr.local_index, index_r);
	assert_int_equal(kr.remote_index, index_i);
	assert_true(secret_is_zero(&i->peer.handshake, sizeof(i->peer.handshake)));
	assert_true(secret_is_zero(&r->peer.handshake, sizeof(r->peer.handshake)));
	/* once */
	assert_int_equal(noise_begin_session(&i->peer, &ki), NOISE_UNEXPECTED);
}

static inline void handshake(struct pair *p, struct end *i, struct end *r, uint32_t index)
{
	struct message_initiation first;
	struct message_response second;

	initiate(p, i, &first, index);
	assert_int_equal(receive_initiation(r, &first, p->now), NOISE_OK);
	respond(p, r, &second, ~index);
	assert_int_equal(receive_response(i, &second), NOISE_OK);
	check_session(i, r, index, ~index);
	p->now += SEC;
	p->wall += SEC;
}
