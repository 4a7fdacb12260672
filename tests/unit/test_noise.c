/* SPDX-License-Identifier: BSD-3-Clause */
/* The handshake against transcripts that another implementation made, and its small parts. */
#include "noise_pair.h"
#include "noise_vectors.h"

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
		cmocka_unit_test(timestamps),
		cmocka_unit_test(message_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
