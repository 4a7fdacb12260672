/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handshake against transcripts that another implementation made, and against every way in
 * which a message can be wrong: it must be refused, and the peer must be byte for byte as before.
 *
 * The linker wraps the X25519 functions, so that a test can choose ephemeral keys, and can be an
 * attacker whose Diffie-Hellman results are all zero.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cookie.h"
#include "noise.h"
#include "noise_vectors.h"
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

static void end_init(struct end *end, const struct private_key *own, const struct public_key *other,
	const struct symmetric_key *psk)
{
	memset(end, 0, sizeof(*end));
	noise_local_init(&end->local, own);
	assert_true(noise_peer_init(&end->peer, &end->local, other, psk));
	cookie_maker_init(&end->maker, other);
	cookie_checker_init(&end->checker, &end->local.static_public);
}

static void pair_from(struct pair *p, const struct private_key *i, const struct private_key *r,
	const struct symmetric_key *psk)
{
	struct public_key i_pub, r_pub;

	x25519_public(&i_pub, i);
	x25519_public(&r_pub, r);
	end_init(&p->i, i, &r_pub, psk);
	end_init(&p->r, r, &i_pub, psk);
	p->now = 1000 * SEC;
	p->wall = 1700000000 * SEC;
}

static void pair_init(struct pair *p, const struct symmetric_key *psk)
{
	struct private_key i, r;

	x25519_generate(&i);
	x25519_generate(&r);
	pair_from(p, &i, &r, psk);
}

static void initiate(struct pair *p, struct end *from, struct message_initiation *m, uint32_t index)
{
	from->sent = noise_timestamp_next(&from->sent, p->wall);
	assert_int_equal(noise_create_initiation(m, &from->peer, &from->local, &from->sent, index),
		NOISE_OK);
	cookie_add_macs(&from->maker, m, sizeof(*m), p->now);
}

/* All that a receiver does with a datagram that came as an initiation. */
static enum noise_result receive_initiation(
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

static void respond(struct pair *p, struct end *from, struct message_response *m, uint32_t index)
{
	assert_int_equal(noise_create_response(m, &from->peer, index), NOISE_OK);
	cookie_add_macs(&from->maker, m, sizeof(*m), p->now);
}

static enum noise_result receive_response(struct end *to, const struct message_response *m)
{
	if (wg_message_type(m, sizeof(*m)) != MESSAGE_RESPONSE)
		return NOISE_UNEXPECTED;
	if (!cookie_check_mac1(&to->checker.keys, m, sizeof(*m)))
		return NOISE_NOT_AUTHENTIC;
	return noise_consume_response(&to->peer, m, &to->local);
}

static void check_session(struct end *i, struct end *r, uint32_t index_i, uint32_t index_r)
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

static void handshake(struct pair *p, struct end *i, struct end *r, uint32_t index)
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

/* ---- it works ---------------------------------------------------------------------------------
 */

static void vector_check(const struct noise_vector *v)
{
	struct private_key static_i, static_r, ephemeral_i, ephemeral_r;
	struct symmetric_key psk;
	struct message_initiation first;
	struct message_response second;
	struct noise_keys ki, kr;
	struct pair p;

	memcpy(static_i.bytes, v->static_i, 32);
	memcpy(static_r.bytes, v->static_r, 32);
	memcpy(ephemeral_i.bytes, v->ephemeral_i, 32);
	memcpy(ephemeral_r.bytes, v->ephemeral_r, 32);
	memcpy(psk.bytes, v->psk, 32);
	pair_from(&p, &static_i, &static_r, secret_is_zero(v->psk, 32) ? NULL : &psk);
	p.wall = v->unix_ns;
	if (!secret_is_zero(v->cookie_in, 16)) {
		struct cookie_maker *makers[] = {&p.i.maker, &p.r.maker};

		for (int i = 0; i < 2; i++) {
			memcpy(makers[i]->cookie, v->cookie_in, 16);
			makers[i]->has_cookie = true;
			makers[i]->cookie_received = p.now;
		}
	}

	memcpy(&first, v->initiation, sizeof(first));
	next_ephemeral = &ephemeral_i;
	initiate(&p, &p.i, &first, le32_get(first.sender_index));
	assert_memory_equal(p.i.sent.bytes, v->timestamp, sizeof(v->timestamp));
	assert_memory_equal(&first, v->initiation, sizeof(first));
	next_ephemeral = &ephemeral_r;
	assert_int_equal(receive_initiation(&p.r, &first, p.now), NOISE_OK);

	memcpy(&second, v->response, sizeof(second));
	respond(&p, &p.r, &second, le32_get(second.sender_index));
	next_ephemeral = NULL;
	assert_memory_equal(&second, v->response, sizeof(second));
	assert_int_equal(receive_response(&p.i, &second), NOISE_OK);

	assert_int_equal(noise_begin_session(&p.i.peer, &ki), NOISE_OK);
	assert_int_equal(noise_begin_session(&p.r.peer, &kr), NOISE_OK);
	assert_memory_equal(ki.send.bytes, v->key_i, 32);
	assert_memory_equal(ki.receive.bytes, v->key_r, 32);
	assert_memory_equal(kr.send.bytes, v->key_r, 32);
	assert_memory_equal(kr.receive.bytes, v->key_i, 32);
}

static void vectors(void **state)
{
	static struct noise_vector all[NOISE_VECTORS_MAX];
	unsigned n = noise_vectors_read(NOISE_VECTORS, all);

	assert_true(n >= 3);
	for (unsigned i = 0; i < 2 * n; i++) {
		pair_costs_one = i % 2;
		vector_check(&all[i / 2]);
	}
}

static void both_ways(void **state)
{
	struct symmetric_key psk = {{1, 2, 3}};
	struct pair p;

	for (int with_psk = 0; with_psk < 2; with_psk++) {
		pair_init(&p, with_psk ? &psk : NULL);
		for (unsigned round = 1; round < 4; round++) {
			handshake(&p, &p.i, &p.r, 100 * round);
			handshake(&p, &p.r, &p.i, 101 * round);
		}
	}
}

static void changed_keys(void **state)
{
	struct symmetric_key psk = {{9}};
	struct message_initiation first;
	struct message_response second;
	struct private_key other;
	struct pair p;

	/* a preshared key at one end only: the response does not open */
	pair_init(&p, NULL);
	noise_peer_set_preshared_key(&p.r.peer, &psk);
	initiate(&p, &p.i, &first, 1);
	assert_int_equal(receive_initiation(&p.r, &first, p.now), NOISE_OK);
	respond(&p, &p.r, &second, 2);
	assert_int_equal(receive_response(&p.i, &second), NOISE_NOT_AUTHENTIC);
	p.now += SEC;
	noise_peer_set_preshared_key(&p.i.peer, &psk);
	handshake(&p, &p.i, &p.r, 3);
	noise_peer_set_preshared_key(&p.i.peer, NULL);
	noise_peer_set_preshared_key(&p.r.peer, NULL);
	handshake(&p, &p.i, &p.r, 4);

	/* another private key: strangers until the other end knows it */
	x25519_generate(&other);
	noise_local_init(&p.i.local, &other);
	cookie_checker_init(&p.i.checker, &p.i.local.static_public);
	initiate(&p, &p.i, &first, 5);
	assert_true(noise_peer_set_local(&p.i.peer, &p.i.local));
	assert_true(secret_is_zero(&p.i.peer.handshake, sizeof(p.i.peer.handshake)));
	other = p.r.local.static_private;
	end_init(&p.r, &other, &p.i.local.static_public, NULL);
	handshake(&p, &p.i, &p.r, 6);
}

/* ---- it refuses -------------------------------------------------------------------------------
 */

static void each_bit_of_initiation(void **state)
{
	struct message_initiation first, bad;
	struct message_response second;
	struct noise_peer before;
	struct pair p;

	pair_init(&p, NULL);
	initiate(&p, &p.i, &first, 7);
	/* the responder has an initiation of its own under way, which must stay alive */
	struct message_initiation own;
	initiate(&p, &p.r, &own, 8);
	memcpy(&before, &p.r.peer, sizeof(before));

	/* all but mac2, which is not looked at without load */
	for (size_t bit = 0; bit < 8 * offsetof(struct message_initiation, macs.mac2); bit++) {
		bad = first;
		((uint8_t *)&bad)[bit / 8] ^= 1 << bit % 8;
		assert_int_not_equal(receive_initiation(&p.r, &bad, p.now), NOISE_OK);
		assert_memory_equal(&before, &p.r.peer, sizeof(before));
	}
	/* whoever knows the public key can make mac1 right: then the Noise part must refuse */
	for (size_t byte = offsetof(struct message_initiation, ephemeral);
		byte < offsetof(struct message_initiation, macs); byte++) {
		bad = first;
		((uint8_t *)&bad)[byte] ^= 0x80;
		cookie_add_macs(&p.i.maker, &bad, sizeof(bad), p.now);
		assert_int_equal(receive_initiation(&p.r, &bad, p.now), NOISE_NOT_AUTHENTIC);
		assert_memory_equal(&before, &p.r.peer, sizeof(before));
	}
	assert_int_equal(receive_initiation(&p.i, &own, p.now), NOISE_OK);
	respond(&p, &p.i, &second, 9);
	assert_int_equal(receive_response(&p.r, &second), NOISE_OK);
	check_session(&p.r, &p.i, 8, 9);
}

static void each_bit_of_response(void **state)
{
	struct symmetric_key psk = {{5}};
	struct message_initiation first;
	struct message_response second, bad;
	struct noise_peer before;
	struct pair p;

	pair_init(&p, &psk);
	initiate(&p, &p.i, &first, 7);
	assert_int_equal(receive_initiation(&p.r, &first, p.now), NOISE_OK);
	respond(&p, &p.r, &second, 8);
	memcpy(&before, &p.i.peer, sizeof(before));

	for (size_t bit = 0; bit < 8 * offsetof(struct message_response, macs.mac2); bit++) {
		bad = second;
		((uint8_t *)&bad)[bit / 8] ^= 1 << bit % 8;
		assert_int_not_equal(receive_response(&p.i, &bad), NOISE_OK);
		assert_memory_equal(&before, &p.i.peer, sizeof(before));
	}
	for (size_t byte = offsetof(struct message_response, receiver_index);
		byte < offsetof(struct message_response, macs); byte++) {
		bad = second;
		((uint8_t *)&bad)[byte] ^= 0x80;
		cookie_add_macs(&p.r.maker, &bad, sizeof(bad), p.now);
		assert_int_not_equal(receive_response(&p.i, &bad), NOISE_OK);
		assert_memory_equal(&before, &p.i.peer, sizeof(before));
	}
	assert_int_equal(receive_response(&p.i, &second), NOISE_OK);
	check_session(&p.i, &p.r, 7, 8);
}

static void replayed_initiation(void **state)
{
	struct message_initiation first, second, third;
	struct noise_peer before;
	struct pair p;

	pair_init(&p, NULL);
	initiate(&p, &p.i, &first, 1);
	initiate(&p, &p.i, &second, 2);
	assert_int_equal(receive_initiation(&p.r, &second, p.now), NOISE_OK);
	memcpy(&before, &p.r.peer, sizeof(before));
	p.now += SEC;
	/* the same, and an older one that was on its way for long */
	assert_int_equal(receive_initiation(&p.r, &second, p.now), NOISE_REPLAYED);
	assert_int_equal(receive_initiation(&p.r, &first, p.now), NOISE_REPLAYED);
	assert_memory_equal(&before, &p.r.peer, sizeof(before));
	/* another message of an equal timestamp */
	assert_int_equal(
		noise_create_initiation(&third, &p.i.peer, &p.i.local, &p.i.sent, 3), NOISE_OK);
	cookie_add_macs(&p.i.maker, &third, sizeof(third), p.now);
	assert_int_equal(receive_initiation(&p.r, &third, p.now), NOISE_REPLAYED);
	assert_memory_equal(&before, &p.r.peer, sizeof(before));
	/* the mark outlives the session and a change of keys under way */
	noise_peer_forget(&p.r.peer);
	assert_int_equal(receive_initiation(&p.r, &second, p.now), NOISE_REPLAYED);
	initiate(&p, &p.i, &third, 3);
	assert_int_equal(receive_initiation(&p.r, &third, p.now), NOISE_OK);
}

static void flooded_initiations(void **state)
{
	struct message_initiation m[3];
	struct noise_peer before;
	struct pair p;

	pair_init(&p, NULL);
	for (unsigned i = 0; i < 3; i++)
		initiate(&p, &p.i, &m[i], i);
	assert_int_equal(receive_initiation(&p.r, &m[0], p.now), NOISE_OK);
	memcpy(&before, &p.r.peer, sizeof(before));
	assert_int_equal(receive_initiation(&p.r, &m[1], p.now), NOISE_FLOODED);
	assert_int_equal(receive_initiation(&p.r, &m[1], p.now + SEC / 50 - 1), NOISE_FLOODED);
	assert_memory_equal(&before, &p.r.peer, sizeof(before));
	assert_int_equal(receive_initiation(&p.r, &m[1], p.now + SEC / 50), NOISE_OK);
	assert_int_equal(receive_initiation(&p.r, &m[2], p.now + SEC / 50 + 1), NOISE_FLOODED);
}

static void wrong_peer(void **state)
{
	struct message_initiation first;
	struct noise_initiation in;
	struct noise_peer before;
	struct pair p, q;

	pair_init(&p, NULL);
	pair_init(&q, NULL);
	initiate(&p, &p.i, &first, 1);
	/* not for this receiver */
	assert_int_equal(noise_open_initiation(&in, &first, &q.r.local), NOISE_NOT_AUTHENTIC);
	/* the receiver takes it for another of its peers */
	assert_true(noise_peer_set_local(&q.r.peer, &p.r.local));
	memcpy(&before, &q.r.peer, sizeof(before));
	assert_int_equal(noise_open_initiation(&in, &first, &p.r.local), NOISE_OK);
	assert_memory_equal(&in.remote_static, &p.i.local.static_public, 32);
	assert_int_equal(
		noise_accept_initiation(&q.r.peer, &in, &first, p.now), NOISE_NOT_AUTHENTIC);
	assert_memory_equal(&before, &q.r.peer, sizeof(before));
	assert_true(secret_is_zero(&in, sizeof(in)));
}

static void stale_responses(void **state)
{
	struct message_initiation first, newer;
	struct message_response second, late;
	struct noise_peer before;
	struct pair p;

	pair_init(&p, NULL);
	/* nothing under way */
	memcpy(&before, &p.i.peer, sizeof(before));
	memset(&second, 0, sizeof(second));
	assert_int_equal(noise_consume_response(&p.i.peer, &second, &p.i.local), NOISE_UNEXPECTED);
	assert_int_equal(noise_create_response(&second, &p.i.peer, 1), NOISE_UNEXPECTED);
	assert_memory_equal(&before, &p.i.peer, sizeof(before));

	/* the answer to an initiation that a newer one took the place of */
	initiate(&p, &p.i, &first, 1);
	assert_int_equal(receive_initiation(&p.r, &first, p.now), NOISE_OK);
	respond(&p, &p.r, &late, 2);
	p.now += SEC;
	initiate(&p, &p.i, &newer, 3);
	memcpy(&before, &p.i.peer, sizeof(before));
	assert_int_equal(receive_response(&p.i, &late), NOISE_UNEXPECTED);
	assert_memory_equal(&before, &p.i.peer, sizeof(before));
	assert_int_equal(receive_initiation(&p.r, &newer, p.now), NOISE_OK);
	respond(&p, &p.r, &second, 4);
	assert_int_equal(receive_response(&p.i, &second), NOISE_OK);
	/* the same again */
	memcpy(&before, &p.i.peer, sizeof(before));
	assert_int_equal(receive_response(&p.i, &second), NOISE_UNEXPECTED);
	assert_memory_equal(&before, &p.i.peer, sizeof(before));
	check_session(&p.i, &p.r, 3, 4);
	assert_int_equal(receive_response(&p.i, &second), NOISE_UNEXPECTED);
}

static void low_order_points(void **state)
{
	struct message_initiation first;
	struct message_response second;
	struct public_key zero = {{0}};
	struct noise_initiation in;
	struct noise_peer peer, before;
	struct pair p;

	/* a peer whose public key is no point to share a secret with */
	pair_init(&p, NULL);
	assert_false(noise_peer_init(&peer, &p.i.local, &zero, NULL));
	assert_int_equal(noise_create_initiation(&first, &peer, &p.i.local, &p.i.sent, 1),
		NOISE_NOT_AUTHENTIC);
	assert_int_equal(peer.handshake.state, NOISE_ZEROED);

	/* ... in whose name everybody could speak, since ss is known */
	struct pair q;
	pair_init(&q, NULL);
	q.i.local.static_public = zero;
	memset(&q.i.peer.static_static, 0, sizeof(q.i.peer.static_static));
	initiate(&q, &q.i, &first, 1);
	assert_false(noise_peer_init(&peer, &q.r.local, &zero, NULL));
	assert_int_equal(noise_open_initiation(&in, &first, &q.r.local), NOISE_OK);
	assert_memory_equal(&in.remote_static, &peer.remote_static, 32);
	assert_int_equal(noise_accept_initiation(&peer, &in, &first, q.now), NOISE_NOT_AUTHENTIC);

	/* an attacker whose ephemeral makes es zero, so that anyone could compute what follows */
	attacker = true;
	initiate(&p, &p.i, &first, 2);
	attacker = false;
	assert_true(secret_is_zero(first.ephemeral, 32));
	assert_int_equal(noise_open_initiation(&in, &first, &p.r.local), NOISE_NOT_AUTHENTIC);

	/* the same with the response's */
	p.wall += SEC;
	initiate(&p, &p.i, &first, 3);
	pair_costs_one = false; /* its ephemeral comes with the response */
	assert_int_equal(receive_initiation(&p.r, &first, p.now), NOISE_OK);
	attacker = true;
	respond(&p, &p.r, &second, 4);
	attacker = false;
	pair_costs_one = true;
	memcpy(&before, &p.i.peer, sizeof(before));
	assert_int_equal(receive_response(&p.i, &second), NOISE_NOT_AUTHENTIC);
	assert_memory_equal(&before, &p.i.peer, sizeof(before));
}

static void both_initiate_at_once(void **state)
{
	struct message_initiation from_i, from_r;
	struct message_response second;
	struct pair p;

	/* each takes the other's in the place of its own; one response comes through */
	pair_init(&p, NULL);
	initiate(&p, &p.i, &from_i, 1);
	initiate(&p, &p.r, &from_r, 2);
	assert_int_equal(receive_initiation(&p.r, &from_i, p.now), NOISE_OK);
	respond(&p, &p.r, &second, 3);
	assert_int_equal(receive_response(&p.i, &second), NOISE_OK);
	check_session(&p.i, &p.r, 1, 3);
	assert_int_equal(receive_initiation(&p.i, &from_r, p.now), NOISE_OK);
	respond(&p, &p.i, &second, 4);
	assert_int_equal(receive_response(&p.r, &second), NOISE_UNEXPECTED);
}

/* ---- small parts ------------------------------------------------------------------------------
 */

static void timestamps(void **state)
{
	static const struct {
		uint64_t unix_ns;
		uint8_t bytes[12];
	} known[] = {
		{0, {0x40, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0}},
		{(1ULL << 24) - 1, {0x40, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0}},
		{1ULL << 24, {0x40, 0, 0, 0, 0, 0, 0, 0x0a, 1, 0, 0, 0}},
		{999999999, {0x40, 0, 0, 0, 0, 0, 0, 0x0a, 0x3b, 0, 0, 0}},
		{1700000000 * SEC + 5, {0x40, 0, 0, 0, 0x65, 0x53, 0xf1, 0x0a, 0, 0, 0, 0}},
	};
	struct noise_timestamp last = {{0}}, next;
	uint64_t wall = 1700000000 * SEC;

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		next = noise_tai64n(known[i].unix_ns);
		assert_memory_equal(next.bytes, known[i].bytes, 12);
	}
	/* clock still, slow, and stepped back by a year: always after the one before */
	for (unsigned i = 0; i < 1000; i++) {
		if (i == 500)
			wall -= 365ULL * 86400 * SEC;
		next = noise_timestamp_next(&last, wall + i % 7 * 1000000);
		assert_true(memcmp(next.bytes, last.bytes, 12) > 0);
		assert_int_equal(next.bytes[9] | next.bytes[10] | next.bytes[11], 0);
		assert_true(next.bytes[8] <= 0x3b);
		last = next;
	}
	/* and the clock again, once it is ahead */
	wall = 1800000000 * SEC;
	next = noise_timestamp_next(&last, wall);
	last = noise_tai64n(wall);
	assert_memory_equal(next.bytes, last.bytes, 12);
}

static void message_types(void **state)
{
	static const struct {
		uint8_t head[4];
		size_t len;
		enum message_type type;
	} cases[] = {
		{{1}, 148, MESSAGE_INITIATION},
		{{1}, 147, MESSAGE_INVALID},
		{{1}, 149, MESSAGE_INVALID},
		{{1, 1}, 148, MESSAGE_INVALID},
		{{1, 0, 1}, 148, MESSAGE_INVALID},
		{{1, 0, 0, 1}, 148, MESSAGE_INVALID},
		{{2}, 92, MESSAGE_RESPONSE},
		{{2}, 91, MESSAGE_INVALID},
		{{2}, 93, MESSAGE_INVALID},
		{{3}, 64, MESSAGE_COOKIE_REPLY},
		{{3}, 63, MESSAGE_INVALID},
		{{3}, 65, MESSAGE_INVALID},
		{{4}, 32, MESSAGE_DATA},
		{{4}, 31, MESSAGE_INVALID},
		{{4}, 65535, MESSAGE_DATA},
		{{4, 0, 0, 1}, 32, MESSAGE_INVALID},
		{{0}, 148, MESSAGE_INVALID},
		{{5}, 148, MESSAGE_INVALID},
		{{4}, 3, MESSAGE_INVALID},
		{{4}, 0, MESSAGE_INVALID},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(wg_message_type(cases[i].head, cases[i].len), cases[i].type);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(both_ways),
		cmocka_unit_test(changed_keys),
		cmocka_unit_test(each_bit_of_initiation),
		cmocka_unit_test(each_bit_of_response),
		cmocka_unit_test(replayed_initiation),
		cmocka_unit_test(flooded_initiations),
		cmocka_unit_test(wrong_peer),
		cmocka_unit_test(stale_responses),
		cmocka_unit_test(low_order_points),
		cmocka_unit_test(both_initiate_at_once),
		cmocka_unit_test(timestamps),
		cmocka_unit_test(message_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
