/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients on their way from one process of a node to the other: what waits for them, and until
 * when. */
#include "derp_kin.h"

#define CROWD 200 /* of loop 1, each of which is sent away before who is to stay there */

static struct symmetric_key mesh_key = {.bytes = {3}};

static struct move {
	struct client kin, mover, sender, watcher, crowd[CROWD];
} move;

/* Frames of presence but for `type` of `who` are passed over. */
static void expect_among(const struct client *watcher, uint8_t type, const struct client *who)
{
	uint32_t len;
	int got;

	do {
		got = next_frame(watcher, &len);
		assert_true(got == DERP_PEER_PRESENT || got == DERP_PEER_GONE);
		assert_false(type != DERP_PEER_GONE && got == DERP_PEER_GONE &&
			     memcmp(world_payload, move.mover.key.bytes, DERP_KEY_LEN) == 0);
	} while (got != type || memcmp(world_payload, who->key.bytes, DERP_KEY_LEN) != 0);
}

/* What was sent before has been dealt with; presence is passed over. */
static void ping_among(const struct client *kin)
{
	uint32_t len;

	send_frame(kin, DERP_PING, "12345678", 8);
	while (next_frame(kin, &len) == DERP_PEER_PRESENT)
		continue;
}

/* The mover has been sent away to the other process, and is on its way there. */
static int move_begin(void **state)
{
	world_conf.away = 0;
	world_start();
	world_conf.has_mesh_key = true;
	world_conf.mesh_key = mesh_key;
	world_conf.away = *state ? *(uint64_t *)*state : 0;
	world_configure();
	client_new(&move.mover, 0);
	for (unsigned i = 0; i < CROWD; i++)
		client_new(&move.crowd[i], 1);
	client_new(&move.sender, 1);
	client_key(&move.watcher);
	client_join(&move.watcher, 1, &mesh_key);
	send_frame(&move.watcher, DERP_WATCH_CONNS, NULL, 0);
	expect_among(&move.watcher, DERP_PEER_PRESENT, &move.mover);
	kin_open(&move.kin, true);
	expect_among(&move.kin, DERP_PEER_PRESENT, &move.mover);
	send_packet(&move.mover, &move.sender, "seen", 4);
	expect_packet(&move.sender, &move.mover, "seen", 4);
	derp_server_drain(3600 * SECOND, true, NULL, NULL);
	expect_frame(&move.mover, DERP_RESTARTING, 8);
	expect_closed(&move.mover);
	world_settle();
	return 0;
}

static void move_end(void)
{
	client_close(&move.kin);
	client_close(&move.mover);
	client_close(&move.sender);
	client_close(&move.watcher);
	for (unsigned i = 0; i < CROWD; i++)
		client_close(&move.crowd[i]);
}

/* A key that this loop owns. */
static void key_of_loop(struct client *client, unsigned loop)
{
	do
		client_key(client);
	while (directory_owner(&client->key) != loop);
}

/* The mover, the crowd and the sender are on loop 0, loop 1 owns the mover's key. */
static void mover_of_another_loop(bool kin_is_newer)
{
	key_of_loop(&move.mover, 1);
	client_join(&move.mover, 0, NULL);
	for (unsigned i = 0; i < CROWD; i++)
		client_new(&move.crowd[i], 0);
	client_new(&move.sender, 0);
	kin_open(&move.kin, kin_is_newer);
	expect_among(&move.kin, DERP_PEER_PRESENT, &move.sender);
}

static const char disco[100] = "TS\xf0\x9f\x92\xac";

/* Packets wait, the latest of them, and nobody is told that it is gone, or not here. */
static void test_packets_wait(void **state)
{
	uint64_t dropped;

	(void)state;
	for (unsigned i = 0; i < QUEUE_MAX + 3; i++) {
		uint8_t packet[sizeof(disco)];

		memcpy(packet, disco, sizeof(disco));
		packet[99] = (uint8_t)i;
		send_packet(&move.sender, &move.mover, packet, sizeof(packet));
		ping(&move.sender);
	}
	dropped = figures().dropped_packets[DERP_DROP_QUEUE_HEAD][DERP_KIND_DISCO];
	assert_int_equal(dropped, 3);
	say_present(&move.kin, &move.mover.key);
	for (unsigned i = 3; i < QUEUE_MAX + 3; i++) {
		uint32_t len;

		while (next_frame(&move.kin, &len) != DERP_FORWARD_PACKET)
			continue;
		assert_int_equal(world_payload[len - 1], i);
	}
	expect_among(&move.watcher, DERP_PEER_PRESENT, &move.mover); /* again */
	ping(&move.sender);
	move_end();
}

/* Also what comes before the key's owner, another loop, has said that it is on its way. */
static void test_the_first_packet_waits(void **state)
{
	struct world_hold hold;
	uint32_t len;

	(void)state;
	mover_of_another_loop(true);
	world_hold(&hold, 1);
	derp_server_drain(3600 * SECOND, true, NULL, NULL);
	expect_frame(&move.mover, DERP_RESTARTING, 8);
	expect_closed(&move.mover);
	send_packet(&move.sender, &move.mover, "first", 5);
	ping(&move.sender);
	world_release(&hold);
	world_settle();
	say_present(&move.kin, &move.mover.key);
	while (next_frame(&move.kin, &len) != DERP_FORWARD_PACKET)
		continue;
	assert_int_equal(len, 2 * DERP_KEY_LEN + 5);
	assert_memory_equal(world_payload + 2 * DERP_KEY_LEN, "first", 5);
	client_close(&move.kin);
	client_close(&move.mover);
	client_close(&move.sender);
	for (unsigned i = 0; i < CROWD; i++)
		client_close(&move.crowd[i]);
}

/* Of more in one go than may wait, the latest. */
static void test_a_long_run_waits(void **state)
{
	static uint8_t frames[(QUEUE_MAX + 8) * (DERP_HEADER_LEN + DERP_KEY_LEN + 1)];
	uint8_t *at = frames;
	uint32_t len;

	(void)state;
	for (unsigned i = 0; i < QUEUE_MAX + 8; i++) {
		derp_header_put(at, DERP_SEND_PACKET, DERP_KEY_LEN + 1);
		memcpy(at + DERP_HEADER_LEN, move.mover.key.bytes, DERP_KEY_LEN);
		at[DERP_HEADER_LEN + DERP_KEY_LEN] = (uint8_t)i;
		at += DERP_HEADER_LEN + DERP_KEY_LEN + 1;
	}
	send_packet(&move.sender, &move.mover, "before", 6);
	ping(&move.sender);
	send_all(&move.sender, frames, sizeof(frames));
	ping(&move.sender);
	assert_int_equal(figures().dropped_packets[DERP_DROP_QUEUE_HEAD][0], 9);
	say_present(&move.kin, &move.mover.key);
	for (unsigned i = 8; i < QUEUE_MAX + 8; i++) {
		while (next_frame(&move.kin, &len) != DERP_FORWARD_PACKET)
			continue;
		assert_int_equal(world_payload[2 * DERP_KEY_LEN], i);
	}
	move_end();
}

/* What is for the clients of a process that ended, until the owners of their keys know it. */
static void test_kin_that_ended(void **state)
{
	struct client kin, here, there;
	struct world_hold hold;

	(void)state;
	key_of_loop(&there, 1);
	client_new(&here, 0);
	kin_open(&kin, false);
	expect_key(&kin, DERP_PEER_PRESENT, &here);
	say_present(&kin, &there.key);
	kin_settle(&kin);
	world_hold(&hold, 1);
	client_close(&kin);
	ping(&here);
	ping(&here); /* the connection is forgotten */
	send_packet(&here, &there, "wait", 4);
	ping(&here);
	world_release(&hold);
	client_join(&there, 1, NULL);
	expect_packet(&there, &here, "wait", 4);
	client_close(&there);
	client_close(&here);
}

/* Nor is it given to a connection that was sent away, whatever the key's owner, another loop, said
 * before it knew. */
static void test_what_the_owner_said_before(void **state)
{
	struct world_hold before, between;
	uint32_t len;

	(void)state;
	mover_of_another_loop(false);
	world_hold(&before, 1);
	say_present(&move.kin, &move.mover.key); /* the mover has it still, the owner will say */
	ping_among(&move.kin);
	world_hold_later(&between, 1);
	derp_server_drain(3600 * SECOND, true, NULL, NULL);
	expect_frame(&move.mover, DERP_RESTARTING, 8);
	expect_closed(&move.mover);
	sem_post(&before.end);
	world_held(&between); /* it has said so, and does not know of the drain */
	ping(&move.sender);
	client_close(&move.mover);
	ping(&move.sender);
	ping(&move.sender); /* the connection is forgotten */
	send_packet(&move.sender, &move.mover, "wait", 4);
	ping(&move.sender);
	world_release(&between);
	while (next_frame(&move.kin, &len) != DERP_FORWARD_PACKET)
		continue;
	assert_int_equal(len, 2 * DERP_KEY_LEN + 4);
	assert_memory_equal(world_payload + 2 * DERP_KEY_LEN, "wait", 4);
	client_close(&move.kin);
	client_close(&move.sender);
	for (unsigned i = 0; i < CROWD; i++)
		client_close(&move.crowd[i]);
}

static void set(void *arg)
{
	*(bool *)arg = true;
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static bool has_passed(void *arg)
{
	return core_now() > *(uint64_t *)arg;
}

/* The process is there until who was sent away last is back. */
static void test_it_stays_for_the_last(void **state)
{
	uint64_t later = core_now() + SECOND;
	struct client mover, kin, there;
	bool done = false;
	uint32_t len;

	(void)state;
	world_conf.away = 60 * SECOND;
	world_configure();
	client_key(&there);
	client_new(&mover, 0);
	kin_open(&kin, true);
	derp_server_drain(SECOND / 10, true, set, &done);
	expect_frame(&mover, DERP_RESTARTING, 8);
	expect_closed(&mover);
	client_close(&mover);
	send_forward(&kin, &there.key, &mover.key, "held");
	world_until(has_passed, &later);
	assert_false(done);
	say_present(&kin, &mover.key);
	while (next_frame(&kin, &len) != DERP_FORWARD_PACKET)
		continue;
	assert_memory_equal(world_payload + 2 * DERP_KEY_LEN, "held", 4);
	world_until(is_set, &done);
	client_close(&kin);
}

static bool mover_is_closed(void *arg)
{
	return figures().connections < *(uint64_t *)arg;
}

/* What it sent before it knew goes on; it is not waited for for ever. */
static void test_still_heard(void **state)
{
	uint64_t connections = figures().connections;

	(void)state;
	send_packet(&move.mover, &move.sender, "late", 4);
	expect_packet(&move.sender, &move.mover, "late", 4);
	send_frame(&move.mover, DERP_PING, "12345678", 8); /* no answer, and no harm */
	send_packet(&move.mover, &move.sender, "later", 5);
	expect_packet(&move.sender, &move.mover, "later", 5);
	send_packet(&move.sender, &move.mover, "wait", 4);
	world_until(mover_is_closed, &connections);
	move_end();
}

/* Whoever told the other process of its client takes that back when it is there. */
static void test_back_there(void **state)
{
	(void)state;
	say_present(&move.kin, &move.mover.key);
	expect_among(&move.kin, DERP_PEER_GONE, &move.mover);
	send_forward(&move.kin, &move.mover.key, &move.sender.key, "there");
	expect_packet(&move.sender, &move.mover, "there", 5);
	say_gone(&move.kin, &move.mover.key, DERP_GONE_NOT_HERE); /* says nothing of the key */
	say_gone(&move.kin, &move.mover.key, DERP_GONE_DISCONNECTED);
	expect_gone(&move.sender, &move.mover.key, DERP_GONE_DISCONNECTED);
	move_end();
}

/* Who is not back in time is gone. */
static void test_not_back(void **state)
{
	(void)state;
	send_packet(&move.sender, &move.mover, "lost", 4);
	expect_gone(&move.sender, &move.mover.key, DERP_GONE_DISCONNECTED);
	expect_among(&move.watcher, DERP_PEER_GONE, &move.mover);
	expect_among(&move.kin, DERP_PEER_GONE, &move.mover);
	ping(&move.sender);
	assert_int_equal(figures().dropped_packets[DERP_DROP_UNKNOWN_DEST][0], 1);
	move_end();
}

/* The older process ends before the last of its clients are here. */
static void test_the_older_ends(void **state)
{
	struct client kin, here, there, late;

	(void)state;
	world_conf.away = 3 * SECOND;
	world_configure();
	client_key(&there);
	client_key(&late);
	client_new(&here, 0);
	kin_open(&kin, false);
	expect_key(&kin, DERP_PEER_PRESENT, &here);
	say_present(&kin, &there.key);
	say_present(&kin, &late.key);
	kin_settle(&kin);
	for (unsigned i = 0; i < 2; i++) {
		send_forward(&kin, i ? &late.key : &there.key, &here.key, "seen");
		expect_packet(&here, i ? &late : &there, "seen", 4);
	}
	client_close(&kin);
	world_settle();
	world_settle();
	send_packet(&here, &there, "wait", 4);
	ping(&here);
	client_join(&there, 1, NULL);
	expect_packet(&there, &here, "wait", 4);
	expect_gone(&here, &late.key, DERP_GONE_DISCONNECTED);
	ping(&here);
	client_close(&there);
	client_close(&here);
}

static uint64_t moment = SECOND / 2;

int main(void)
{
#define TEST(name, begin) cmocka_unit_test_setup_teardown(name, begin, world_end)
	const struct CMUnitTest tests[] = {
		TEST(test_packets_wait, move_begin),
		TEST(test_the_first_packet_waits, world_begin),
		TEST(test_a_long_run_waits, move_begin),
		TEST(test_kin_that_ended, world_begin),
		TEST(test_what_the_owner_said_before, world_begin),
		TEST(test_it_stays_for_the_last, world_begin),
		TEST(test_still_heard, move_begin),
		TEST(test_back_there, move_begin),
		cmocka_unit_test_prestate_setup_teardown(
			test_not_back, move_begin, world_end, &moment),
		TEST(test_the_older_ends, world_begin),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
