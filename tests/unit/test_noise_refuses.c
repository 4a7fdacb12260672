/* SPDX-License-Identifier: BSD-3-Clause */
/* Every way in which a message can be wrong: it must be refused, and the peer must be byte for byte
 * as before. */
#include "noise_pair.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_bit_of_initiation),
		cmocka_unit_test(each_bit_of_response),
		cmocka_unit_test(replayed_initiation),
		cmocka_unit_test(flooded_initiations),
		cmocka_unit_test(wrong_peer),
		cmocka_unit_test(stale_responses),
		cmocka_unit_test(low_order_points),
		cmocka_unit_test(both_initiate_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
