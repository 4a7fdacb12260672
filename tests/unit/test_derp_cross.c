/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients on four loops that come, go, change the loop and send, all at random: whoever is there
 * gets every packet once, and those of one sender in their order. Under ThreadSanitizer
 * (-Db_sanitize=thread) it shows what loops share.
 */
#define WORLD_LOOPS 4

#include "derp_world.h"

#define CLIENTS 9
#define MOVERS 3 /* who change the loop; the others send to each other meanwhile */
#define ROUNDS 60
#define BURST 24 /* for one client in a round: fewer than its queue holds */

struct member {
	struct client client;
	uint32_t sent[CLIENTS], got[CLIENTS]; /* numbers: to, and from, each */
	unsigned due;
};

static struct member members[CLIENTS];
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static unsigned random_below(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)((random_state >> 11) % n);
}

static int start(void **state)
{
	(void)state;
	world_start();
	memset(members, 0, sizeof(members));
	for (unsigned i = 0; i < CLIENTS; i++)
		client_new(&members[i].client, random_below(WORLD_LOOPS));
	world_settle();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++)
		client_close(&members[i].client);
	do
		world_settle();
	while (figures().connections);
	assert_int_equal(figures().memory_bytes, 0);
	assert_int_equal(figures().queued_packets, 0);
	derp_server_stop();
	return 0;
}

/* A few, in one write: runs for one key lie together. */
static void send_some(unsigned from, unsigned to, unsigned n)
{
	static uint8_t frames[BURST * (DERP_HEADER_LEN + DERP_KEY_LEN + 1000)];
	uint8_t *at = frames;

	for (unsigned i = 0; i < n; i++) {
		uint32_t len = 5 + random_below(900);

		derp_header_put(at, DERP_SEND_PACKET, DERP_KEY_LEN + len);
		at += DERP_HEADER_LEN;
		memcpy(at, members[to].client.key.bytes, DERP_KEY_LEN);
		memset(at + DERP_KEY_LEN, (int)len, len);
		derp_be32_put(at + DERP_KEY_LEN, ++members[from].sent[to]);
		at += DERP_KEY_LEN + len;
	}
	send_all(&members[from].client, frames, (size_t)(at - frames));
	members[to].due += n;
}

static unsigned member_of(const uint8_t *key)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (memcmp(members[i].client.key.bytes, key, DERP_KEY_LEN) == 0)
			return i;
	}
	fail();
	return 0;
}

/* All that was sent to it; between them it may hear that somebody went. */
static void receive(struct member *member)
{
	uint32_t len = 0;
	int type;

	while (member->due) {
		unsigned from;

		type = next_frame(&member->client, &len);
		if (type == DERP_PEER_GONE)
			continue;
		assert_int_equal(type, DERP_RECV_PACKET);
		from = member_of(world_payload);
		assert_int_equal(derp_be32_get(world_payload + DERP_KEY_LEN), ++member->got[from]);
		assert_int_equal(world_payload[len - 1], (uint8_t)(len - DERP_KEY_LEN));
		member->due--;
	}
}

/* To another loop, with or without a time in between in which it is nowhere. */
static void move(struct member *member)
{
	struct client next;
	unsigned loop = random_below(WORLD_LOOPS);

	if (random_below(2)) {
		client_close(&member->client);
		client_join(&member->client, loop, NULL);
		return;
	}
	client_again(&next, &member->client, loop);
	client_close(&member->client);
	member->client = next;
}

/* Movers send before they go; nobody knows in that time where they are, so nobody sends to them. */
static void round_run(void)
{
	for (unsigned i = 0; i < 12; i++) {
		unsigned from = random_below(CLIENTS);
		unsigned to = MOVERS + random_below(CLIENTS - MOVERS);
		unsigned n = 1 + random_below(BURST);

		if (members[to].due + n <= BURST)
			send_some(from, to, n);
		if (from < MOVERS && random_below(2)) {
			ping(&members[from].client); /* it has been read, or it went with it */
			move(&members[from]);
		}
	}
	for (unsigned i = MOVERS; i < CLIENTS; i++)
		receive(&members[i]);
}

/* Where they are now everybody knows. */
static void movers_hear(void)
{
	world_settle();
	for (unsigned i = 0; i < MOVERS; i++)
		send_some(MOVERS + random_below(CLIENTS - MOVERS), i, 1 + random_below(BURST));
	for (unsigned i = 0; i < MOVERS; i++)
		receive(&members[i]);
}

static void test_order_and_no_loss(void **state)
{
	struct derp_figures end;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		round_run();
		movers_hear();
	}
	end = figures();
	assert_true(end.packets_crossed > ROUNDS);
	for (unsigned why = 0; why < DERP_DROPS; why++)
		assert_int_equal(end.dropped_packets[why][DERP_KIND_OTHER], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_and_no_loss, start, stop),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
