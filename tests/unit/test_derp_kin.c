/* SPDX-License-Identifier: BSD-3-Clause */
/* One node in two processes: the other one is the test, which speaks on the other end of the pair.
 */
#include "derp_world.h"

/* It watches, as we do. */
static void kin_open(struct client *kin, bool newer)
{
	struct timeval patience = {.tv_sec = WORLD_PATIENCE};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_true(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	kin->fd = fds[0];
	derp_server_kin(fds[1], newer);
}

static void say_present(const struct client *kin, const struct public_key *key)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN];
	struct derp_present present = {.port = 77, .flags = DERP_PRESENT_NOT_IDEAL};

	memcpy(present.key, key->bytes, DERP_KEY_LEN);
	send_all(kin, frame, derp_peer_present_put(frame, &present));
}

static void say_gone(
	const struct client *kin, const struct public_key *key, enum derp_gone_reason reason)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_GONE_LEN];

	send_all(kin, frame, derp_peer_gone_put(frame, key->bytes, reason));
}

static void expect_forward(const struct client *kin, const struct client *from,
	const struct client *to, const char *packet)
{
	expect_frame(kin, DERP_FORWARD_PACKET, (uint32_t)(2 * DERP_KEY_LEN + strlen(packet)));
	assert_memory_equal(world_payload, from->key.bytes, DERP_KEY_LEN);
	assert_memory_equal(world_payload + DERP_KEY_LEN, to->key.bytes, DERP_KEY_LEN);
	assert_memory_equal(world_payload + 2 * DERP_KEY_LEN, packet, strlen(packet));
}

static void expect_key(const struct client *watcher, uint8_t type, const struct client *who)
{
	uint32_t len;

	assert_int_equal(next_frame(watcher, &len), type);
	assert_memory_equal(world_payload, who->key.bytes, DERP_KEY_LEN);
}

/* What was sent to it has been dealt with, on all loops; nothing but the pong came. */
static void kin_settle(const struct client *kin)
{
	ping(kin);
	world_settle();
	ping(kin);
}

/* ---- */

static void test_both_are_one_node(void **state)
{
	struct client kin, here[WORLD_LOOPS], there;

	(void)state;
	assert_false(world_conf.has_mesh_key);
	for (unsigned newer = 0; newer < 2; newer++) {
		client_key(&there);
		client_new(&here[0], 0);
		kin_open(&kin, newer);
		expect_key(&kin, DERP_PEER_PRESENT, &here[0]);
		client_new(&here[1], 1);
		expect_key(&kin, DERP_PEER_PRESENT, &here[1]);
		say_present(&kin, &there.key);
		kin_settle(&kin);
		for (unsigned i = 0; i < WORLD_LOOPS; i++) {
			send_packet(&here[i], &there, "over", 4);
			expect_forward(&kin, &here[i], &there, "over");
			send_forward(&kin, &there.key, &here[i].key, "back");
			expect_packet(&here[i], &there, "back", 4);
		}
		say_gone(&kin, &there.key, DERP_GONE_DISCONNECTED);
		for (unsigned i = 0; i < WORLD_LOOPS; i++)
			expect_gone(&here[i], &there.key, DERP_GONE_DISCONNECTED);
		client_close(&here[1]);
		expect_key(&kin, DERP_PEER_GONE, &here[1]);
		client_close(&kin);
		client_close(&here[0]);
	}
}

/* Nobody else gets what the other process has. */
static void test_clients_stay_clients(void **state)
{
	struct symmetric_key none = {.bytes = {0}};
	uint8_t frame[2 * DERP_KEY_LEN + 1] = {0};
	struct client kin, client;

	(void)state;
	kin_open(&kin, true);
	for (unsigned i = 0; i < 3; i++) {
		client_key(&client);
		client_join(&client, 0, i ? &none : NULL);
		expect_key(&kin, DERP_PEER_PRESENT, &client);
		send_frame(&client, i == 1 ? DERP_FORWARD_PACKET : DERP_WATCH_CONNS, frame,
			i == 1 ? sizeof(frame) : 0);
		expect_closed(&client);
		expect_key(&kin, DERP_PEER_GONE, &client);
		client_close(&client);
	}
	client_new(&client, 0); /* says that somebody is present: frames of no meaning here */
	expect_key(&kin, DERP_PEER_PRESENT, &client);
	say_present(&client, &kin.key);
	ping(&client);
	assert_int_equal(figures().clients_remote, 0);
	client_close(&client);
	client_close(&kin);
}

/* What came from there never goes back there. */
static void test_no_way_back(void **state)
{
	struct client kin, here, there;

	(void)state;
	client_key(&there);
	client_new(&here, 1);
	kin_open(&kin, false);
	expect_key(&kin, DERP_PEER_PRESENT, &here);
	say_present(&kin, &there.key);
	kin_settle(&kin);
	send_forward(&kin, &here.key, &there.key, "again");
	kin_settle(&kin);
	assert_int_equal(figures().dropped_packets[DERP_DROP_UNKNOWN_DEST_ON_FWD][0], 1);
	client_close(&here);
	client_close(&kin);
}

/* Who went there came later: the older process sends there what it has, the newer one does not. */
static void test_who_is_newer(void **state)
{
	struct client kin, both, sender;

	(void)state;
	for (unsigned newer = 0; newer < 2; newer++) {
		client_new(&both, 0);
		client_new(&sender, 1);
		kin_open(&kin, newer);
		expect_frame(&kin, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
		expect_frame(&kin, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
		say_present(&kin, &both.key);
		kin_settle(&kin);
		send_packet(&sender, &both, "where", 5);
		if (newer)
			expect_forward(&kin, &sender, &both, "where");
		else
			expect_packet(&both, &sender, "where", 5);
		client_close(&both);
		expect_key(&kin, DERP_PEER_GONE, &both);
		client_close(&kin);
		client_close(&sender);
	}
}

/* Other nodes see the clients of both processes, and reach them at whichever they are connected to.
 */
static void test_the_region(void **state)
{
	struct symmetric_key key = {.bytes = {3}};
	struct client kin, node, there;
	struct derp_present present;

	(void)state;
	world_conf.has_mesh_key = true;
	world_conf.mesh_key = key;
	world_configure();
	client_key(&there);
	client_key(&node);
	client_join(&node, 1, &key);
	send_frame(&node, DERP_WATCH_CONNS, NULL, 0);
	expect_key(&node, DERP_PEER_PRESENT, &node);
	kin_open(&kin, false);
	expect_key(&kin, DERP_PEER_PRESENT, &node);
	say_present(&kin, &there.key);
	expect_frame(&node, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
	assert_true(derp_peer_present_get(&present, world_payload, DERP_PEER_PRESENT_LEN));
	assert_memory_equal(present.key, there.key.bytes, DERP_KEY_LEN);
	assert_int_equal(present.flags, DERP_PRESENT_NOT_IDEAL);
	assert_int_equal(present.port, 77);
	send_forward(&node, &node.key, &there.key, "through");
	expect_forward(&kin, &node, &there, "through");
	say_gone(&kin, &there.key, DERP_GONE_DISCONNECTED);
	expect_gone(&node, &there.key, DERP_GONE_DISCONNECTED);
	client_close(&node);
	expect_key(&kin, DERP_PEER_GONE, &node);
	client_close(&kin);
}

/* A process takes over while the one before has not ended: the three are one node. */
static void test_three(void **state)
{
	struct client older, newer, first, last;

	(void)state;
	client_key(&first);
	client_key(&last);
	kin_open(&older, false);
	kin_open(&newer, true);
	say_present(&older, &first.key);
	expect_key(&newer, DERP_PEER_PRESENT, &first);
	say_present(&newer, &last.key);
	expect_key(&older, DERP_PEER_PRESENT, &last);
	kin_settle(&older);
	send_forward(&older, &first.key, &last.key, "on");
	expect_forward(&newer, &first, &last, "on");
	send_forward(&newer, &last.key, &first.key, "back");
	expect_forward(&older, &last, &first, "back");
	/* the first comes to the last process: no longer at the oldest, says the oldest */
	say_present(&newer, &first.key);
	expect_key(&older, DERP_PEER_PRESENT, &first);
	say_gone(&older, &first.key, DERP_GONE_DISCONNECTED);
	expect_key(&newer, DERP_PEER_GONE, &first);
	kin_settle(&newer);
	client_close(&older);
	client_close(&newer);
}

struct listed {
	const struct public_key *here, *there;
	enum derp_via via;
	bool done;
};

static void look_at_list(void *user, const struct derp_client *clients, size_t n)
{
	struct listed *listed = user;

	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		const struct derp_client *one = &clients[i];
		bool elsewhere = memcmp(&one->key, listed->there, sizeof(one->key)) == 0;

		assert_memory_equal(
			&one->key, elsewhere ? listed->there : listed->here, sizeof(one->key));
		assert_int_equal(one->elsewhere, elsewhere);
		if (!elsewhere)
			continue;
		assert_int_equal(one->via, listed->via);
		assert_int_equal(one->from.port, 77);
		assert_true(one->not_ideal && !one->mesh && !one->active);
	}
	listed->done = true;
}

static bool is_listed(void *arg)
{
	return ((struct listed *)arg)->done;
}

/* People who ask this process are told of the clients of the other. */
static void test_all_are_listed(void **state)
{
	struct client kin, here, there;

	(void)state;
	for (unsigned newer = 0; newer < 2; newer++) {
		struct listed listed = {
			&here.key, &there.key, newer ? DERP_VIA_NEWER : DERP_VIA_OLDER, false};

		client_key(&there);
		client_new(&here, 1);
		kin_open(&kin, newer);
		expect_key(&kin, DERP_PEER_PRESENT, &here);
		say_present(&kin, &there.key);
		kin_settle(&kin);
		derp_server_clients(look_at_list, &listed);
		world_until(is_listed, &listed);
		client_close(&kin);
		client_close(&here);
	}
}

/* And end their connections: told to one process, done by all, and said to none twice. */
static void test_closed_in_all(void **state)
{
	struct client older, newer, mine, other;

	(void)state;
	client_new(&other, 1);
	kin_open(&older, false);
	kin_open(&newer, true);
	expect_key(&older, DERP_PEER_PRESENT, &other);
	expect_key(&newer, DERP_PEER_PRESENT, &other);
	for (unsigned i = 0; i < 2; i++) {
		client_new(&mine, i);
		expect_key(&older, DERP_PEER_PRESENT, &mine);
		expect_key(&newer, DERP_PEER_PRESENT, &mine);
		if (i)
			send_frame(&older, DERP_CLOSE_PEER, mine.key.bytes, DERP_KEY_LEN);
		else
			derp_server_close_peer(&mine.key);
		expect_closed(&mine);
		if (!i)
			expect_key(&older, DERP_CLOSE_PEER, &mine);
		expect_key(&older, DERP_PEER_GONE, &mine);
		expect_key(&newer, DERP_CLOSE_PEER, &mine);
		expect_key(&newer, DERP_PEER_GONE, &mine);
		kin_settle(&older);
		client_close(&mine);
	}
	derp_server_close_key(&other.key); /* admission's word is each process's own */
	expect_closed(&other);
	expect_key(&older, DERP_PEER_GONE, &other);
	kin_settle(&older);
	client_close(&other);
	client_close(&older);
	client_close(&newer);
}

/* ---- on the way ---- */

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
	do
		client_key(&move.mover);
	while (directory_owner(&move.mover.key) != 1);
	client_join(&move.mover, 0, NULL);
	for (unsigned i = 0; i < CROWD; i++)
		client_new(&move.crowd[i], 0);
	client_new(&move.sender, 0);
	kin_open(&move.kin, true);
	expect_among(&move.kin, DERP_PEER_PRESENT, &move.sender);
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
	do
		client_key(&there);
	while (directory_owner(&there.key) != 1);
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
	do
		client_key(&move.mover);
	while (directory_owner(&move.mover.key) != 1);
	client_join(&move.mover, 0, NULL);
	for (unsigned i = 0; i < CROWD; i++)
		client_new(&move.crowd[i], 0);
	client_new(&move.sender, 0);
	kin_open(&move.kin, false);
	expect_among(&move.kin, DERP_PEER_PRESENT, &move.sender);
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_are_one_node, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_clients_stay_clients, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_no_way_back, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_who_is_newer, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_the_region, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_three, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_all_are_listed, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_closed_in_all, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_packets_wait, move_begin, world_end),
		cmocka_unit_test_setup_teardown(
			test_the_first_packet_waits, world_begin, world_end),
		cmocka_unit_test_setup_teardown(
			test_what_the_owner_said_before, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_a_long_run_waits, move_begin, world_end),
		cmocka_unit_test_setup_teardown(test_kin_that_ended, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_it_stays_for_the_last, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_back_there, move_begin, world_end),
		cmocka_unit_test_setup_teardown(test_still_heard, move_begin, world_end),
		cmocka_unit_test_prestate_setup_teardown(
			test_not_back, move_begin, world_end, &moment),
		cmocka_unit_test_setup_teardown(test_the_older_ends, world_begin, world_end),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
