/* SPDX-License-Identifier: BSD-3-Clause */
/* The relay's side of a mesh: who watches and forwards, and links to other nodes. */
#include "derp_world.h"

static struct symmetric_key mesh_key = {.bytes = {7, 7, 7}};

static int start(void **state)
{
	(void)state;
	world_start();
	world_conf.has_mesh_key = true;
	world_conf.mesh_key = mesh_key;
	world_configure();
	return 0;
}

static void expect_present(
	const struct client *watcher, const struct public_key *key, enum derp_present_flag flags)
{
	struct derp_present present;

	expect_frame(watcher, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
	assert_true(derp_peer_present_get(&present, world_payload, DERP_PEER_PRESENT_LEN));
	assert_memory_equal(present.key, key->bytes, DERP_KEY_LEN);
	assert_int_equal(present.flags, flags);
	assert_int_equal(present.port, 4242);
	assert_memory_equal(present.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07", 16);
}

/* ---- permission ---- */

static void test_the_key_decides(void **state)
{
	struct symmetric_key wrong = mesh_key, none = {.bytes = {0}};
	struct client client;

	(void)state;
	wrong.bytes[31] ^= 1;
	client_key(&client);
	client_join(&client, 0, &wrong); /* a client like any other */
	send_frame(&client, DERP_WATCH_CONNS, NULL, 0);
	expect_closed(&client);
	client_close(&client);
	client_join(&client, 0, &mesh_key);
	send_frame(&client, DERP_WATCH_CONNS, NULL, 0);
	expect_present(&client, &client.key, DERP_PRESENT_MESH);
	client_close(&client);
	/* a relay without a key has no mesh, whatever clients know */
	world_conf.has_mesh_key = false;
	world_conf.mesh_key = none;
	world_configure();
	client_join(&client, 0, &none);
	send_frame(&client, DERP_WATCH_CONNS, NULL, 0);
	expect_closed(&client);
	client_close(&client);
}

/* ---- watchers ---- */

static bool in(const struct client *clients, unsigned n, unsigned *seen)
{
	for (unsigned i = 0; i < n; i++) {
		if (memcmp(clients[i].key.bytes, world_payload, DERP_KEY_LEN) != 0)
			continue;
		*seen |= 1u << i;
		return true;
	}
	return false;
}

static void test_watchers_see_all(void **state)
{
	struct client here[8], watcher, late, again;
	unsigned seen = 0;
	uint32_t len = 0;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		client_new(&here[i], i % WORLD_LOOPS);
	client_key(&watcher);
	client_join(&watcher, 1, &mesh_key);
	send_frame(&watcher, DERP_WATCH_CONNS, NULL, 0);
	for (unsigned i = 0; i < 9; i++) { /* itself among them */
		assert_int_equal(next_frame(&watcher, &len), DERP_PEER_PRESENT);
		if (memcmp(world_payload, watcher.key.bytes, DERP_KEY_LEN) != 0)
			assert_true(in(here, 8, &seen));
		else
			assert_int_equal(world_payload[50], DERP_PRESENT_MESH);
	}
	assert_int_equal(seen, 0xff);
	client_new(&late, 0);
	expect_present(&watcher, &late.key, DERP_PRESENT_REGULAR);
	client_again(&again, &late, 1); /* each connection, but gone only once */
	expect_present(&watcher, &late.key, DERP_PRESENT_REGULAR);
	client_close(&late);
	world_settle();
	client_close(&again);
	expect_gone(&watcher, &late.key, DERP_GONE_DISCONNECTED);
	ping(&watcher);
	assert_int_equal(figures().watchers, 1);
	client_close(&watcher);
	for (unsigned i = 0; i < 8; i++)
		client_close(&here[i]);
}

static void test_a_peer_is_closed(void **state)
{
	struct client node, one, other;

	(void)state;
	client_key(&node);
	client_join(&node, 0, &mesh_key);
	client_new(&one, 1);
	client_new(&other, 1);
	send_frame(&node, DERP_CLOSE_PEER, one.key.bytes, DERP_KEY_LEN);
	expect_closed(&one);
	ping(&other);
	client_close(&node);
	client_close(&one);
	client_close(&other);
}

/* ---- forwarded packets ---- */

static void test_forwarded_packets_go_to_clients(void **state)
{
	struct client node, here, elsewhere;

	(void)state;
	client_key(&elsewhere);
	for (unsigned loop = 0; loop < WORLD_LOOPS; loop++) {
		client_key(&node);
		client_join(&node, 0, &mesh_key);
		client_new(&here, loop);
		send_forward(&node, &elsewhere.key, &here.key, "from afar");
		expect_packet(&here, &elsewhere, "from afar", 9);
		send_forward(&node, &here.key, &elsewhere.key, "nobody");
		ping(&node);
		client_close(&node);
		client_close(&here);
	}
	assert_int_equal(
		figures().dropped_packets[DERP_DROP_UNKNOWN_DEST_ON_FWD][DERP_KIND_OTHER], 2);
}

/* ---- links ---- */

struct far_node { /* the other end of a link */
	struct client client;
	struct derp_link *link;
	struct public_key key;
	_Atomic unsigned frames;
	_Atomic bool closed;
};

static bool on_frame(void *user, uint8_t type, const uint8_t *payload, size_t len)
{
	struct far_node *node = user;
	struct public_key key;

	if (len < sizeof(key))
		return false;
	memcpy(&key, payload, sizeof(key));
	if (type == DERP_PEER_PRESENT)
		derp_forwarder_add(node->link, &key);
	if (type == DERP_PEER_GONE)
		derp_forwarder_remove(node->link, &key);
	node->frames++;
	return true;
}

static void on_closed(void *user, const char *why)
{
	assert_non_null(why);
	((struct far_node *)user)->closed = true;
}

static void node_new(struct far_node *node, unsigned loop)
{
	static const struct derp_link_ops ops = {on_frame, on_closed};
	struct arrival arrival = {
		.ops = &ops, .user = node, .link = &node->link, .peer = &node->key};

	memset(node, 0, sizeof(*node));
	client_key(&node->client);
	node->key = node->client.key;
	node->client.fd = world_connect(loop, &arrival);
	expect_frame(&node->client, DERP_WATCH_CONNS, 0);
}

static void node_tells(struct far_node *node, const struct client *client, bool here)
{
	struct derp_present present = {.flags = DERP_PRESENT_REGULAR};
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN];
	size_t len;

	memcpy(present.key, client->key.bytes, DERP_KEY_LEN);
	if (here)
		len = derp_peer_present_put(frame, &present);
	else
		len = derp_peer_gone_put(frame, client->key.bytes, DERP_GONE_DISCONNECTED);
	send_all(&node->client, frame, len);
	ping(&node->client); /* links answer */
	world_settle();
}

static void expect_forward(const struct far_node *node, const struct client *from,
	const struct client *to, const char *packet)
{
	uint32_t len = (uint32_t)(2 * DERP_KEY_LEN + strlen(packet));

	expect_frame(&node->client, DERP_FORWARD_PACKET, len);
	assert_memory_equal(world_payload, from->key.bytes, DERP_KEY_LEN);
	assert_memory_equal(world_payload + DERP_KEY_LEN, to->key.bytes, DERP_KEY_LEN);
	assert_memory_equal(world_payload + 2 * DERP_KEY_LEN, packet, strlen(packet));
}

static bool is_closed(void *arg)
{
	return ((struct far_node *)arg)->closed;
}

static void links(unsigned link_loop, unsigned client_loop)
{
	struct far_node first, second;
	struct client here, elsewhere, back;

	client_new(&here, client_loop);
	client_key(&elsewhere);
	node_new(&first, link_loop);
	node_new(&second, 0);
	node_tells(&first, &elsewhere, true);
	node_tells(&first, &elsewhere, true); /* twice is once */
	node_tells(&second, &elsewhere, true);
	send_packet(&here, &elsewhere, "one", 3);
	expect_forward(&first, &here, &elsewhere, "one"); /* who said it first */
	node_tells(&first, &elsewhere, false);
	send_packet(&here, &elsewhere, "two", 3);
	expect_forward(&second, &here, &elsewhere, "two");
	node_tells(&first, &elsewhere, true);
	client_close(&second.client); /* and all that it told */
	world_until(is_closed, &second);
	world_settle();
	send_packet(&here, &elsewhere, "three", 5);
	expect_forward(&first, &here, &elsewhere, "three");
	back = elsewhere; /* a client here goes before any node */
	client_join(&back, client_loop, NULL);
	send_packet(&here, &elsewhere, "four", 4);
	expect_packet(&back, &here, "four", 4);
	send_packet(&back, &here, "hi", 2);
	expect_packet(&here, &back, "hi", 2);
	client_close(&back);
	do /* until the relay has seen it */
		world_settle();
	while (!figures().clients_remote);
	send_packet(&here, &elsewhere, "five", 4); /* no PeerGone: it is still in the region */
	expect_forward(&first, &here, &elsewhere, "five");
	ping(&here);
	client_close(&first.client);
	expect_gone(&here, &elsewhere.key, DERP_GONE_DISCONNECTED);
	world_until(is_closed, &first);
	client_close(&here);
	world_settle();
}

static void test_links(void **state)
{
	(void)state;
	links(0, 0);
	links(1, 0);
	links(1, 1);
	assert_int_equal(figures().clients_remote, 0);
	assert_int_equal(figures().multiforwarder_created, 6);
	assert_int_equal(figures().multiforwarder_deleted, 6);
}

/* What came over a link goes to clients alone: two nodes that think that the other has a key would
 * send its packets to and fro. */
static void test_one_hop(void **state)
{
	struct client elsewhere, node;
	struct far_node far;

	(void)state;
	client_key(&elsewhere);
	client_key(&node);
	client_join(&node, 0, &mesh_key);
	node_new(&far, 0);
	node_tells(&far, &elsewhere, true);
	send_forward(&node, &node.key, &elsewhere.key, "to and fro");
	ping(&node);
	assert_int_equal(
		figures().dropped_packets[DERP_DROP_UNKNOWN_DEST_ON_FWD][DERP_KIND_OTHER], 1);
	assert_int_equal(figures().packets_forwarded_out, 0);
	client_close(&far.client);
	world_until(is_closed, &far);
	client_close(&node);
}

/* What another node says is bounded as what clients say. */
static void test_long_frames_end_a_link(void **state)
{
	uint8_t header[DERP_HEADER_LEN];
	struct far_node far;

	(void)state;
	node_new(&far, 0);
	derp_header_put(header, DERP_HEALTH, DERP_FRAME_MAX);
	send_all(&far.client, header, sizeof(header));
	world_until(is_closed, &far);
	client_close(&far.client);
}

/* Packets for what a link had told of, until the key's owner knows that it has ended. */
static void test_a_link_that_ended_gets_nothing(void **state)
{
	struct client here, elsewhere;
	struct world_hold hold;
	struct far_node far;

	(void)state;
	do
		client_key(&elsewhere);
	while (directory_owner(&elsewhere.key) != 1);
	client_new(&here, 0);
	node_new(&far, 0);
	node_tells(&far, &elsewhere, true);
	send_packet(&here, &elsewhere, "one", 3);
	expect_forward(&far, &here, &elsewhere, "one");
	world_hold(&hold, 1);
	client_close(&far.client);
	world_until(is_closed, &far);
	ping(&here); /* the pass in which it ended is over */
	send_packet(&here, &elsewhere, "two", 3);
	ping(&here);
	assert_int_equal(figures().packets_forwarded_out, 1);
	assert_int_equal(figures().dropped_packets[DERP_DROP_GONE_DISCONNECTED][0], 1);
	world_release(&hold);
	client_close(&here);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, world_end)
	const struct CMUnitTest tests[] = {
		TEST(test_the_key_decides),
		TEST(test_watchers_see_all),
		TEST(test_a_peer_is_closed),
		TEST(test_forwarded_packets_go_to_clients),
		TEST(test_links),
		TEST(test_one_hop),
		TEST(test_long_frames_end_a_link),
		TEST(test_a_link_that_ended_gets_nothing),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
