/* SPDX-License-Identifier: BSD-3-Clause */
/* Both MACs and the cookie: made, checked, aged, forged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>

#include "cookie.h"
#include "noise_vectors.h"
#include "x25519.h"

#define NOW (5000 * NS_PER_SEC)

static const struct net_endpoint source4 = {
	.addr = {.family = AF_INET, .bytes = {192, 0, 2, 1}}, .port = 51820};
static const struct net_endpoint source6 = {
	.addr = {.family = AF_INET6, .bytes = {0x20, 1, 0x0d, 0xb8, [15] = 1}}, .port = 51820};

/* A responder and one who sends to it. */
struct pair {
	struct cookie_checker checker;
	struct cookie_maker maker;
	struct message_initiation m;
};

static void pair_init(struct pair *p)
{
	struct private_key private;
	struct public_key public;

	x25519_generate(&private);
	x25519_public(&public, &private);
	cookie_checker_init(&p->checker, &public);
	cookie_maker_init(&p->maker, &public);
	memset(&p->m, 0x5a, sizeof(p->m));
	p->m.type = le32_make(MESSAGE_INITIATION);
	p->m.sender_index = le32_make(0x12345678);
}

static enum cookie_result send_from(
	struct pair *p, const struct net_endpoint *source, uint64_t sent, uint64_t received)
{
	p->m.encrypted_timestamp[0]++; /* no two messages are equal */
	cookie_add_macs(&p->maker, &p->m, sizeof(p->m), sent);
	return cookie_check(&p->checker, &p->m, sizeof(p->m), source, received);
}

static bool give_cookie(struct pair *p, const struct net_endpoint *source, uint64_t now)
{
	struct message_cookie_reply reply;

	cookie_reply_create(&p->checker, &reply, &p->m, sizeof(p->m), source, now);
	assert_int_equal(wg_message_type(&reply, sizeof(reply)), MESSAGE_COOKIE_REPLY);
	assert_int_equal(le32_get(reply.receiver_index), 0x12345678);
	return cookie_reply_consume(&p->maker, &reply, now);
}

static void vectors(void **state)
{
	static struct noise_vector all[NOISE_VECTORS_MAX];
	unsigned n = noise_vectors_read(NOISE_VECTORS, all);

	for (unsigned i = 0; i < n; i++) {
		const struct noise_vector *v = &all[i];
		struct message_cookie_reply reply;
		struct message_initiation m;
		struct private_key private;
		struct public_key public;
		struct cookie_maker maker;

		memcpy(private.bytes, v->static_r, 32);
		x25519_public(&public, &private);
		cookie_maker_init(&maker, &public);
		memcpy(&m, v->initiation, sizeof(m));
		assert_true(cookie_check_mac1(&maker.keys, &m, sizeof(m)));
		if (!secret_is_zero(v->cookie_in, COOKIE_LEN)) {
			memcpy(maker.cookie, v->cookie_in, COOKIE_LEN);
			maker.has_cookie = true;
			maker.cookie_received = NOW;
		}
		memset(&m.macs, 0xff, sizeof(m.macs));
		cookie_add_macs(&maker, &m, sizeof(m), NOW);
		assert_memory_equal(&m, v->initiation, sizeof(m));
		memcpy(&reply, v->cookie_reply, sizeof(reply));
		assert_true(cookie_reply_consume(&maker, &reply, NOW));
		assert_memory_equal(maker.cookie, v->cookie_out, COOKIE_LEN);
	}
}

static void without_load_mac1_is_enough(void **state)
{
	struct pair p, other;

	pair_init(&p);
	pair_init(&other);
	assert_int_equal(send_from(&p, NULL, NOW, NOW), COOKIE_MAC1);
	/* made for another receiver */
	assert_int_equal(
		cookie_check(&other.checker, &p.m, sizeof(p.m), NULL, NOW), COOKIE_INVALID);
	/* each bit of what it covers, and of itself */
	for (size_t bit = 0; bit < 8 * offsetof(struct message_initiation, macs.mac2); bit++) {
		((uint8_t *)&p.m)[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(
			cookie_check(&p.checker, &p.m, sizeof(p.m), &source4, NOW), COOKIE_INVALID);
		((uint8_t *)&p.m)[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(cookie_check(&p.checker, &p.m, sizeof(p.m), &source4, NOW), COOKIE_MAC1);
}

static void under_load_a_cookie_is_needed(void **state)
{
	const struct net_endpoint *sources[] = {&source4, &source6};

	for (unsigned s = 0; s < 2; s++) {
		struct net_endpoint other = *sources[s];
		struct pair p;

		pair_init(&p);
		assert_int_equal(send_from(&p, sources[s], NOW, NOW), COOKIE_MAC1);
		assert_true(give_cookie(&p, sources[s], NOW));
		assert_int_equal(send_from(&p, sources[s], NOW, NOW), COOKIE_MAC1_MAC2);
		/* mac2, bit for bit */
		for (size_t bit = 0; bit < 8 * COOKIE_LEN; bit++) {
			p.m.macs.mac2[bit / 8] ^= 1 << bit % 8;
			assert_int_equal(
				cookie_check(&p.checker, &p.m, sizeof(p.m), sources[s], NOW),
				COOKIE_MAC1);
			p.m.macs.mac2[bit / 8] ^= 1 << bit % 8;
		}
		/* the cookie is worth nothing at another address or port */
		other.port++;
		assert_int_equal(send_from(&p, &other, NOW, NOW), COOKIE_MAC1);
		other = *sources[s];
		other.addr.bytes[s ? 15 : 3] ^= 1;
		assert_int_equal(send_from(&p, &other, NOW, NOW), COOKIE_MAC1);
	}
}

static void cookies_age(void **state)
{
	const uint64_t s = NS_PER_SEC;
	struct pair p;

	/* the maker stops 5 s before the cookie could be refused on arrival */
	pair_init(&p);
	send_from(&p, &source4, NOW, NOW);
	assert_true(give_cookie(&p, &source4, NOW));
	assert_int_equal(send_from(&p, &source4, NOW + 114 * s, NOW + 119 * s), COOKIE_MAC1_MAC2);
	assert_int_equal(send_from(&p, &source4, NOW + 114 * s, NOW + 120 * s), COOKIE_MAC1);
	pair_init(&p);
	send_from(&p, &source4, NOW, NOW);
	assert_true(give_cookie(&p, &source4, NOW));
	assert_int_equal(send_from(&p, &source4, NOW + 115 * s, NOW + 115 * s), COOKIE_MAC1);
	assert_true(secret_is_zero(p.m.macs.mac2, COOKIE_LEN));
	assert_true(secret_is_zero(p.maker.cookie, COOKIE_LEN));
	/* and a new secret gives new cookies that work */
	assert_true(give_cookie(&p, &source4, NOW + 121 * s));
	assert_int_equal(send_from(&p, &source4, NOW + 122 * s, NOW + 122 * s), COOKIE_MAC1_MAC2);
}

static void replies_are_for_the_last_message_once(void **state)
{
	struct message_cookie_reply reply, bad;
	struct cookie_maker before;
	struct pair p;

	pair_init(&p);
	/* none was sent */
	cookie_reply_create(&p.checker, &reply, &p.m, sizeof(p.m), &source4, NOW);
	assert_false(cookie_reply_consume(&p.maker, &reply, NOW));

	send_from(&p, NULL, NOW, NOW);
	cookie_reply_create(&p.checker, &reply, &p.m, sizeof(p.m), &source4, NOW);
	memcpy(&before, &p.maker, sizeof(before));
	for (size_t bit = 8 * offsetof(struct message_cookie_reply, nonce); bit < 8 * sizeof(bad);
		bit++) {
		bad = reply;
		((uint8_t *)&bad)[bit / 8] ^= 1 << bit % 8;
		assert_false(cookie_reply_consume(&p.maker, &bad, NOW));
		assert_memory_equal(&p.maker, &before, sizeof(before));
	}
	/* to the message before */
	send_from(&p, NULL, NOW, NOW);
	assert_false(cookie_reply_consume(&p.maker, &reply, NOW));
	/* right, and the same again */
	cookie_reply_create(&p.checker, &reply, &p.m, sizeof(p.m), &source4, NOW);
	assert_true(cookie_reply_consume(&p.maker, &reply, NOW));
	assert_false(cookie_reply_consume(&p.maker, &reply, NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(without_load_mac1_is_enough),
		cmocka_unit_test(under_load_a_cookie_is_needed),
		cmocka_unit_test(cookies_age),
		cmocka_unit_test(replies_are_for_the_last_message_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
