/* SPDX-License-Identifier: BSD-3-Clause */
/* The relay's connections: handshakes, packets, queues, duplicates, who is told what. */
#include <poll.h>

#include "derp_world.h"

#define DISCO "TS\xf0\x9f\x92\xac"

static uint8_t big[DERP_PACKET_MAX];

static int start(void **state)
{
	(void)state;
	world_start();
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7 + i / 251);
	return 0;
}

/* ---- handshake ---- */

static void test_bad_handshakes_are_closed(void **state)
{
	struct client client;
	uint8_t junk[200] = {1, 2, 3};

	(void)state;
	client_key(&client);
	client_dial(&client, 0);
	send_frame(&client, DERP_CLIENT_INFO, junk, sizeof(junk)); /* a box of nothing */
	expect_closed(&client);
	client_close(&client);

	client_dial(&client, 1);
	memset(junk, 0, sizeof(junk)); /* the key of all zeroes */
	send_frame(&client, DERP_CLIENT_INFO, junk, sizeof(junk));
	expect_closed(&client);
	client_close(&client);

	client_dial(&client, 0);
	send_frame(&client, DERP_CLIENT_INFO, junk, 55); /* too short */
	expect_closed(&client);
	client_close(&client);

	client_dial(&client, 0);
	send_all(&client, "\x02\x00\x04\x00\x01", 5); /* longer than any */
	expect_closed(&client);
	client_close(&client);

	client_dial(&client, 0);
	send_packet(&client, &client, "early", 5);
	expect_closed(&client);
	client_close(&client);
	world_settle();
	assert_int_equal(figures().handshakes_failed, 3);
	assert_int_equal(figures().connections, 0);
	assert_int_equal(figures().memory_bytes, 0);
}

/* Another's key in front of a box that this one sealed. */
static void test_nobody_claims_anothers_key(void **state)
{
	struct client honest, thief;

	(void)state;
	client_new(&honest, 0);
	client_key(&thief);
	client_dial(&thief, 0);
	thief.key = honest.key;
	client_info(&thief, NULL);
	expect_closed(&thief);
	client_close(&thief);
	client_close(&honest);
}

/* ---- packets ---- */

static void relay_sizes(const struct client *a, const struct client *b)
{
	static const size_t sizes[] = {0, 1, 61, 62, 1400, 16384, 65535, 65536};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		send_packet(a, b, big, sizes[i]);
		expect_packet(b, a, big, sizes[i]);
		send_packet(b, a, big, sizes[i]);
		expect_packet(a, b, big, sizes[i]);
	}
}

static void test_packets_are_relayed(void **state)
{
	struct client a, b, c;

	(void)state;
	client_new(&a, 0);
	client_new(&b, 0);
	client_new(&c, 1);
	relay_sizes(&a, &b);
	relay_sizes(&a, &c); /* between loops */
	send_packet(&a, &a, "self", 4);
	expect_packet(&a, &a, "self", 4);
	assert_true(figures().packets_crossed >= 16);
	client_close(&a);
	client_close(&b);
	client_close(&c);
}

/* A frame may come in any pieces; runs for different keys lie in one read. */
static void test_frames_come_in_pieces(void **state)
{
	struct client a, b, c;
	uint8_t frames[6 * (DERP_HEADER_LEN + DERP_KEY_LEN + 10)], *at = frames;
	const struct client *to[6] = {NULL};

	(void)state;
	client_new(&a, 0);
	client_new(&b, 0);
	client_new(&c, 1);
	to[0] = to[1] = to[3] = &b;
	to[2] = to[4] = to[5] = &c;
	for (unsigned i = 0; i < 6; i++) {
		derp_header_put(at, DERP_SEND_PACKET, DERP_KEY_LEN + 10);
		memcpy(at + DERP_HEADER_LEN, to[i]->key.bytes, DERP_KEY_LEN);
		memset(at + DERP_HEADER_LEN + DERP_KEY_LEN, (int)i, 10);
		at += DERP_HEADER_LEN + DERP_KEY_LEN + 10;
	}
	for (size_t step = 1; step <= sizeof(frames); step += 40) {
		for (size_t i = 0; i < sizeof(frames); i += step)
			send_all(&a, frames + i,
				sizeof(frames) - i < step ? sizeof(frames) - i : step);
		for (unsigned i = 0; i < 6; i++) {
			uint8_t packet[10];

			memset(packet, (int)i, sizeof(packet));
			expect_packet(to[i], &a, packet, sizeof(packet));
		}
	}
	client_close(&a);
	client_close(&b);
	client_close(&c);
}

static void test_bad_frames_close(void **state)
{
	static const struct {
		uint8_t type;
		size_t len;
	} bad[] = {
		{DERP_SEND_PACKET, 31},
		{DERP_SEND_PACKET, DERP_KEY_LEN + DERP_PACKET_MAX + 1},
		{DERP_PING, 7},
		{DERP_PING, 1001},
		{DERP_NOTE_PREFERRED, 0},
		{DERP_NOTE_PREFERRED, 2},
		/* these without the mesh key */
		{DERP_WATCH_CONNS, 0},
		{DERP_CLOSE_PEER, 32},
		{DERP_FORWARD_PACKET, 80},
	};
	static uint8_t zeroes[DERP_KEY_LEN + DERP_PACKET_MAX + 1];
	struct client client;

	(void)state;
	client_key(&client);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		client_join(&client, i % WORLD_LOOPS, NULL);
		send_frame(&client, bad[i].type, zeroes, bad[i].len);
		expect_closed(&client);
		client_close(&client);
	}
	client_join(&client, 0, NULL);
	send_all(&client, "\x77\x00\x10\x00\x01", 5); /* unknown, and longer than a frame may be */
	expect_closed(&client);
	client_close(&client);
	assert_int_equal(figures().protocol_errors, 10);
}

/* What is kept until it is whole has a length that is possible: a header that says otherwise ends
 * the connection, also where limits let little be read at a time. */
static void test_nobody_fills_the_arena(void **state)
{
	static const uint8_t types[] = {
		DERP_PING, DERP_NOTE_PREFERRED, DERP_WATCH_CONNS, DERP_CLOSE_PEER};
	struct client client, other;
	uint8_t header[DERP_HEADER_LEN];

	(void)state;
	client_new(&other, 0);
	client_key(&client);
	for (size_t i = 0; i < 2 * sizeof(types); i++) {
		world_conf.client_rate = i < sizeof(types) ? 0 : 1000000000;
		world_configure();
		client_join(&client, 0, NULL);
		derp_header_put(header, types[i % sizeof(types)], DERP_FRAME_MAX);
		send_all(&client, header, sizeof(header));
		for (size_t sent = 0; sent < DERP_FRAME_MAX - 1; sent += sizeof(big)) {
			if (send(client.fd, big, sizeof(big), MSG_NOSIGNAL) < 0)
				break;
		}
		expect_closed(&client);
		client_close(&client);
	}
	assert_int_equal(figures().protocol_errors, 2 * sizeof(types));
	ping(&other);
	client_close(&other);
}

/* Frames of all types and lengths, and no frames at all: each ends, and leaves nothing behind. */
static void test_garbage_leaves_nothing(void **state)
{
	uint64_t random = 0x2545f4914f6cdd1du;
	uint8_t bytes[1000];
	struct client client, other;

	(void)state;
	client_new(&other, 0);
	for (unsigned round = 0; round < 300; round++) {
		client_key(&client);
		if (round % 3)
			client_join(&client, round % WORLD_LOOPS, NULL);
		else
			client_dial(&client, round % WORLD_LOOPS);
		for (size_t i = 0; i < sizeof(bytes); i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			/* lengths that are possible, now and then */
			bytes[i] = random >> 61 ? (uint8_t)(random >> 33) % 24 : 0;
		}
		if (round % 3 == 2)
			memcpy(bytes + 5, other.key.bytes, sizeof(other.key.bytes));
		send(client.fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
		shutdown(client.fd, SHUT_WR);
		expect_closed(&client);
		client_close(&client);
	}
	client_close(&other);
	do
		world_settle();
	while (figures().connections);
	assert_int_equal(figures().memory_bytes, 0);
	assert_int_equal(figures().queued_packets, 0);
	assert_int_equal(figures().clients_local, 0);
}

static void test_unknown_frames_are_skipped(void **state)
{
	struct client client;

	(void)state;
	client_new(&client, 0);
	send_frame(&client, 0x77, big, sizeof(big));
	send_frame(&client, 0x77, NULL, 0);
	send_frame(&client, DERP_PONG, "12345678", 8);
	ping(&client);
	assert_int_equal(figures().unknown_frames, 3);
	client_close(&client);
}

/* ---- who is told ---- */

static void test_not_here_is_for_disco(void **state)
{
	struct client a, nobody;
	uint8_t disco[62] = DISCO;
	unsigned told = 0;
	uint32_t len;

	(void)state;
	client_new(&a, 0);
	client_key(&nobody);
	send_packet(&a, &nobody, big, 100);
	send_packet(&a, &nobody, disco, 61); /* too short for one */
	ping(&a);
	for (unsigned i = 0; i < 10; i++)
		send_packet(&a, &nobody, disco, sizeof(disco));
	send_frame(&a, DERP_PING, "12345678", 8);
	while (next_frame(&a, &len) == DERP_PEER_GONE) {
		assert_memory_equal(world_payload, nobody.key.bytes, DERP_KEY_LEN);
		assert_int_equal(world_payload[DERP_KEY_LEN], DERP_GONE_NOT_HERE);
		told++;
	}
	assert_true(told >= 3 && told < 10); /* one more for each second that this took */
	assert_int_equal(figures().dropped_packets[DERP_DROP_UNKNOWN_DEST][DERP_KIND_DISCO], 10);
	assert_int_equal(figures().dropped_packets[DERP_DROP_UNKNOWN_DEST][DERP_KIND_OTHER], 2);
	client_close(&a);
}

/* Of those who go, they hear who got packets of them. */
static void test_gone_is_for_receivers(void **state)
{
	struct client leaver, sender, near, far;

	(void)state;
	client_new(&leaver, 0);
	client_new(&sender, 0);
	client_new(&near, 0);
	client_new(&far, 1);
	send_packet(&sender, &leaver, "x", 1);
	expect_packet(&leaver, &sender, "x", 1);
	send_packet(&leaver, &near, "y", 1);
	send_packet(&leaver, &far, "z", 1);
	expect_packet(&near, &leaver, "y", 1);
	expect_packet(&far, &leaver, "z", 1);
	client_close(&leaver);
	expect_gone(&near, &leaver.key, DERP_GONE_DISCONNECTED);
	expect_gone(&far, &leaver.key, DERP_GONE_DISCONNECTED);
	ping(&sender);
	assert_int_equal(figures().peer_gone_disconnected_frames, 2);
	client_close(&sender);
	client_close(&near);
	client_close(&far);
}

#define MANY 20

/* How long it took until a keep-alive was there, of the first and of the last of them. */
static void await_keep_alives(const struct client clients[MANY], uint64_t took[2])
{
	struct pollfd fds[MANY];
	uint64_t began = core_now();
	unsigned left = MANY;

	for (unsigned i = 0; i < MANY; i++)
		fds[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
	while (left) {
		assert_true(poll(fds, MANY, WORLD_PATIENCE * 1000) > 0);
		for (unsigned i = 0; i < MANY; i++) {
			if (!fds[i].revents)
				continue;
			expect_frame(&clients[i], DERP_KEEP_ALIVE, 0);
			fds[i].fd = -1;
			took[left-- != MANY] = core_now() - began;
		}
	}
}

/* Nobody gives up a relay that has nothing for him; it does not tell all of them at once. */
static void test_idle_clients_hear_of_the_relay(void **state)
{
	struct client clients[MANY];
	uint64_t took[2] = {0};

	(void)state;
	world_conf.keep_alive = SECOND;
	world_configure();
	for (unsigned i = 0; i < MANY; i++)
		client_new(&clients[i], i % WORLD_LOOPS);
	await_keep_alives(clients, took);
	assert_true(took[1] - took[0] > SECOND);
	assert_true(figures().keep_alives_sent >= MANY);
	for (unsigned i = 0; i < MANY; i++)
		client_close(&clients[i]);
}

/* ---- duplicates ---- */

static void duplicates(unsigned first_loop, unsigned second_loop)
{
	struct client one, two, other;

	client_new(&one, first_loop);
	client_new(&other, 0);
	client_again(&two, &one, second_loop);
	world_settle();
	send_packet(&other, &one, "1", 1);
	expect_packet(&two, &other, "1", 1); /* the newest */
	ping(&one);
	world_settle();
	send_packet(&other, &one, "2", 1);
	expect_packet(&one, &other, "2", 1); /* who spoke last */
	ping(&two);
	world_settle();
	send_packet(&other, &one, "3", 1);
	expect_packet(&two, &other, "3", 1);
	send_packet(&two, &other, "4", 1);
	expect_packet(&other, &two, "4", 1);
	assert_int_equal(figures().dup_client_keys, 1);
	assert_int_equal(figures().dup_client_connections, 2);
	client_close(&two);
	do /* until the relay has seen it */
		world_settle();
	while (figures().dup_client_keys);
	send_packet(&other, &one, "5", 1);
	expect_packet(&one, &other, "5", 1); /* who is left */
	client_close(&one);
	expect_gone(&other, &one.key, DERP_GONE_DISCONNECTED); /* once */
	ping(&other);
	client_close(&other);
}

static void test_duplicates(void **state)
{
	(void)state;
	duplicates(0, 0);
	duplicates(0, 1);
	duplicates(1, 0);
	duplicates(1, 1);
}

/* ---- queues ---- */

/* A reader that stalls has the newest of each kind, and nobody else waits. */
static void test_a_queue_keeps_the_newest(void **state)
{
	struct client stalled, sender, other;
	uint32_t len, others = 0, discos = 0, last_other = 0, last_disco = 0;
	uint8_t packet[1400] = DISCO;
	int small = 4096;

	(void)state;
	world_conf.write_timeout = 60 * SECOND;
	world_configure();
	client_new(&stalled, 0);
	client_new(&sender, 0);
	client_new(&other, 0);
	setsockopt(stalled.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (uint32_t i = 1; i <= 2000; i++) {
		packet[0] = i % 8 ? 'x' : 'T';
		derp_be32_put(packet + 100, i);
		send_packet(&sender, &stalled, packet, sizeof(packet));
	}
	send_packet(&sender, &other, "quick", 5);
	expect_packet(&other, &sender, "quick", 5);
	assert_int_equal(figures().queued_packets, 64);
	assert_true(figures().memory_bytes > 64 * sizeof(packet));
	while (last_other < 1999 || last_disco < 2000) {
		uint32_t number;

		assert_int_equal(next_frame(&stalled, &len), DERP_RECV_PACKET);
		assert_int_equal(len, DERP_KEY_LEN + sizeof(packet));
		number = derp_be32_get(world_payload + DERP_KEY_LEN + 100);
		if (number % 8) {
			assert_true(number > last_other);
			last_other = number;
			others++;
		} else {
			assert_true(number > last_disco);
			last_disco = number;
			discos++;
		}
	}
	assert_true(others >= 32 && discos >= 32);
	assert_int_equal(others + discos +
				 figures().dropped_packets[DERP_DROP_QUEUE_HEAD][DERP_KIND_OTHER] +
				 figures().dropped_packets[DERP_DROP_QUEUE_HEAD][DERP_KIND_DISCO],
		2000);
	ping(&stalled);
	assert_int_equal(figures().queued_packets, 0);
	client_close(&stalled);
	client_close(&sender);
	client_close(&other);
}

static void test_a_stalled_reader_is_closed(void **state)
{
	struct client stalled, sender;

	(void)state;
	world_conf.write_timeout = 100 * MILLISECOND;
	world_configure();
	client_new(&stalled, 1);
	client_new(&sender, 0);
	send_packet(&stalled, &sender, "hello", 5);
	expect_packet(&sender, &stalled, "hello", 5);
	for (unsigned i = 0; i < 20; i++)
		send_packet(&sender, &stalled, big, sizeof(big));
	expect_gone(&sender, &stalled.key, DERP_GONE_DISCONNECTED);
	assert_int_equal(figures().write_timeouts, 1);
	client_close(&stalled);
	client_close(&sender);
	world_settle();
	assert_int_equal(figures().queued_packets, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, world_end)
	const struct CMUnitTest tests[] = {
		TEST(test_bad_handshakes_are_closed),
		TEST(test_nobody_claims_anothers_key),
		TEST(test_packets_are_relayed),
		TEST(test_frames_come_in_pieces),
		TEST(test_bad_frames_close),
		TEST(test_nobody_fills_the_arena),
		TEST(test_garbage_leaves_nothing),
		TEST(test_unknown_frames_are_skipped),
		TEST(test_not_here_is_for_disco),
		TEST(test_gone_is_for_receivers),
		TEST(test_idle_clients_hear_of_the_relay),
		TEST(test_duplicates),
		TEST(test_a_queue_keeps_the_newest),
		TEST(test_a_stalled_reader_is_closed),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
